"""The abstract floats that elementary functions are written for, and what all of them share.

Rules for a program:

- No instruction may carry a fast-math flag: `(x + MAGIC) - MAGIC` is how floats are rounded to integers.
- Products of an integer and the high part of a split constant are exact, so that a machine without a fused
  multiply-add, where `fma` rounds twice, loses some accuracy and nothing else.
- Integers have the float's width and only wrap, shift logically and mask: AVX2 has no arithmetic right shift
  of 64 bits and no conversion between doubles and 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

Truth = Any  # the answer of a comparison, which only `where` takes


class Real(Protocol):
    """A float64 or float32 of the program that is being printed; a Python number beside it has its type."""

    @property
    def width(self) -> int: ...
    def __add__(self, other: Real | float) -> Real: ...
    def __radd__(self, other: float) -> Real: ...
    def __sub__(self, other: Real | float) -> Real: ...
    def __rsub__(self, other: float) -> Real: ...
    def __mul__(self, other: Real | float) -> Real: ...
    def __rmul__(self, other: float) -> Real: ...
    def __truediv__(self, other: Real | float) -> Real: ...
    def __rtruediv__(self, other: float) -> Real: ...
    def __neg__(self) -> Real: ...
    def constant(self, number: float) -> Real: ...
    def fma(self, factor: Real | float, term: Real | float) -> Real:
        """`self * factor + term`, rounded once where the machine can."""
        ...

    def absolute(self) -> Real: ...
    def copysign(self, sign: Real) -> Real: ...
    def compare(self, operator: str, other: Real | float) -> Truth:
        """An ordered comparison, false where either side is nan; `!=` is true there."""
        ...

    def where(self, condition: Truth, other: Real | float) -> Real:
        """`self` where `condition` holds, else `other`."""
        ...

    def sqrt(self) -> Real: ...
    def floor(self) -> Real: ...
    def bits(self) -> Bits: ...
    def widened(self) -> Real:
        """A float32 as float64."""
        ...

    def narrowed(self) -> Real:
        """A float64 rounded to float32."""
        ...

    def rescue(self, condition: Truth, symbol: str, *args: Real) -> Real:
        """`self`, but the C function `symbol` of `args` where `condition` holds; called only if it does."""
        ...


class Bits(Protocol):
    """An integer as wide as the program's float, without sign; arithmetic wraps."""

    def __add__(self, other: Bits | int) -> Bits: ...
    def __sub__(self, other: Bits | int) -> Bits: ...
    def __and__(self, other: Bits | int) -> Bits: ...
    def __or__(self, other: Bits | int) -> Bits: ...
    def __lshift__(self, count: int) -> Bits: ...
    def __rshift__(self, count: int) -> Bits: ...
    def __xor__(self, other: Bits | int) -> Bits: ...
    def has(self, mask: int) -> Truth:
        """Is any bit of `mask` set?"""
        ...

    def real(self) -> Real: ...


@dataclass(frozen=True)
class Format:
    """A binary float type.

    fraction: stored bits of the significand; bias: of the exponent
    ln2: ln(2) as a high part, short enough for exact products with an exponent, and a low part
    """

    fraction: int
    bias: int
    ln2: tuple[float, float]

    @property
    def magic(self) -> float:
        """Adding it rounds a small float to an integer, which then lies in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def tiny(self) -> float:
        """|x| below which odd functions are x itself to the last bit."""
        return 2.0 ** -(self.fraction // 2 + 3)


_FORMATS: Mapping[int, Format] = MappingProxyType(
    {
        64: Format(52, 1023, (6.93147180369123816490e-01, 1.90821492927058770002e-10)),
        32: Format(23, 127, (0.693145751953125, 1.4286068203094173e-06)),
    }
)


def format_of(x: Real) -> Format:
    return _FORMATS[x.width]


def polynomial(x: Real, coefficients: Sequence[float]) -> Real:
    """The sum of c[i] * x**i by Estrin's scheme, whose chains of dependent steps are short."""
    terms = [x.constant(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [high.fma(x, low) for low, high in zip(terms[::2], terms[1::2])]
        terms = pairs + terms[len(terms) - len(terms) % 2 :]
        x = x * x
    return terms[0]


def two_sum(a: Real, b: Real | float) -> tuple[Real, Real]:
    """a + b and its rounding error, whichever is larger."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def limited(x: Real, bounds: tuple[float, float]) -> Real:
    """`x` held within `bounds`; nan stays."""
    low, high = bounds
    x = x.constant(low).where(x.compare("<", low), x)
    return x.constant(high).where(x.compare(">", high), x)
