"""Index expressions: sums of multiples of loop axes, quotients, remainders and loaded indices.

They are hashable and in normal form, so equal addresses are equal objects and common loads are found by key.
Every integer in them is a size or a position of this trace; the printer replaces large ones by symbols.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AxisRef:
    """The counter of one loop."""

    axis: int


@dataclass(frozen=True)
class Quotient:
    """`numerator // divisor` for a non-negative numerator and a positive divisor."""

    numerator: Index
    divisor: int


@dataclass(frozen=True)
class Remainder:
    """`numerator % divisor`, with Python's sign."""

    numerator: Index
    divisor: int


@dataclass(frozen=True)
class Loaded:
    """An index that is data: a scalar of the kernel, already wrapped and checked."""

    scalar: Any


Factor = AxisRef | Quotient | Remainder | Loaded


@dataclass(frozen=True)
class Guard:
    """`index >= 0` (op ">="), `index == 0` (op "=="). True as a bool when it holds whatever the loops do."""

    op: str
    index: Index

    def __bool__(self) -> bool:
        constant = not self.index.terms
        return constant and (self.index.constant >= 0 if self.op == ">=" else self.index.constant == 0)

    def negated(self) -> Guard:
        """The guard that holds where this one, an inequality, does not."""
        if self.op != ">=":
            raise ValueError("only inequalities have a guard that is their negation")
        return Guard(">=", -self.index - 1)

    def always_holds(self, extents: Mapping[int, int]) -> bool:
        """Does it hold throughout loops of these extents?"""
        reached = self.index.bounds(extents)
        return reached is not None and (reached[0] >= 0 if self.op == ">=" else reached == (0, 0))


@dataclass(frozen=True, eq=False)
class Index:
    """`constant + sum(coefficient * factor)`; terms are sorted by first use of their factor."""

    terms: tuple[tuple[Factor, int], ...] = ()
    constant: int = 0

    @staticmethod
    def of(x: Index | int) -> Index:
        return x if isinstance(x, Index) else Index((), int(x))

    @staticmethod
    def factor(factor: Factor) -> Index:
        return Index(((factor, 1),), 0)

    def __add__(self, other: Index | int) -> Index:
        other = Index.of(other)
        sums: dict[Factor, int] = dict(self.terms)
        for factor, coefficient in other.terms:
            sums[factor] = sums.get(factor, 0) + coefficient
        terms = tuple((f, c) for f, c in sums.items() if c)
        return Index(terms, self.constant + other.constant)

    __radd__ = __add__

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + -Index.of(other)

    def __rsub__(self, other: Index | int) -> Index:
        return Index.of(other) - self

    def __mul__(self, k: int) -> Index:
        return Index(tuple((f, c * k) for f, c in self.terms) if k else (), self.constant * k)

    __rmul__ = __mul__

    def __floordiv__(self, k: int) -> Index:
        if k == 1:
            return self
        if not self.terms:
            return Index((), self.constant // k)
        if self.constant % k == 0 and all(c % k == 0 for _, c in self.terms):
            return Index(tuple((f, c // k) for f, c in self.terms), self.constant // k)
        return Index.factor(Quotient(self, k))

    def __mod__(self, k: int) -> Index:
        if k == 1:
            return Index()
        if not self.terms:
            return Index((), self.constant % k)
        if self.constant % k == 0 and all(c % k == 0 for _, c in self.terms):
            return Index()
        return Index.factor(Remainder(self, k))

    def __ge__(self, other: Index | int) -> Guard:
        return Guard(">=", self - other)

    def __gt__(self, other: Index | int) -> Guard:
        return Guard(">=", self - other - 1)

    def __le__(self, other: Index | int) -> Guard:
        return Guard(">=", Index.of(other) - self)

    def __lt__(self, other: Index | int) -> Guard:
        return Guard(">=", Index.of(other) - self - 1)

    def __eq__(self, other: Any) -> Any:
        """A guard; as a bool it says whether the two expressions are the same, so they can be keys."""
        return Guard("==", self - other) if isinstance(other, (Index, int)) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash((frozenset(self.terms), self.constant))

    @property
    def axes(self) -> frozenset[int]:
        """The loop axes that the value depends on (loaded indices excluded)."""
        found: set[int] = set()
        for factor, _ in self.terms:
            if isinstance(factor, AxisRef):
                found.add(factor.axis)
            elif isinstance(factor, (Quotient, Remainder)):
                found |= factor.numerator.axes
        return frozenset(found)

    @property
    def loaded(self) -> tuple[Any, ...]:
        """The scalars that the value depends on."""
        found: list[Any] = []
        for factor, _ in self.terms:
            if isinstance(factor, Loaded):
                found.append(factor.scalar)
            elif isinstance(factor, (Quotient, Remainder)):
                found.extend(factor.numerator.loaded)
        return tuple(found)

    def bounds(self, extents: Mapping[int, int]) -> tuple[int, int] | None:
        """The least and the greatest value over loops of these extents; None when it depends on data."""
        low = high = self.constant
        for factor, coefficient in self.terms:
            ends = _factor_bounds(factor, extents)
            if ends is None:
                return None
            reached = sorted(coefficient * end for end in ends)
            low, high = low + reached[0], high + reached[1]
        return low, high

    def single_axis(self) -> tuple[int, int, int] | None:
        """`(axis, coefficient, constant)` when the value is affine in one loop axis alone."""
        if len(self.terms) == 1 and isinstance(self.terms[0][0], AxisRef):
            return self.terms[0][0].axis, self.terms[0][1], self.constant
        return None


def strongest(guards: Sequence[Guard]) -> tuple[Guard, ...]:
    """Without the inequalities that follow from another one of them."""
    least: dict[frozenset[tuple[Factor, int]], Guard] = {}
    for guard in guards:
        if guard.op == ">=":
            terms = frozenset(guard.index.terms)
            if terms not in least or guard.index.constant < least[terms].index.constant:
                least[terms] = guard
    kept = dict.fromkeys(g if g.op != ">=" else least[frozenset(g.index.terms)] for g in guards)
    return tuple(kept)


def _factor_bounds(factor: Factor, extents: Mapping[int, int]) -> tuple[int, int] | None:
    if isinstance(factor, AxisRef):
        return 0, max(extents[factor.axis] - 1, 0)
    if isinstance(factor, Loaded):
        return None
    if isinstance(factor, Remainder):
        return 0, factor.divisor - 1
    ends = factor.numerator.bounds(extents)
    return None if ends is None else (ends[0] // factor.divisor, ends[1] // factor.divisor)
