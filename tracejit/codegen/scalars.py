"""The scalar language: what an elementwise `body` builds when it is called with scalars of a kernel.

`s.exp(x)` and the operators of `ScalarRef` make scalars; equal ones are found again (common subexpressions),
and each is placed in the outermost loop where its operands exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.codegen.loops import Scalar

BOOL = np.dtype(np.bool_)
_PREDICATES = frozenset({"isnan", "isinf", "isfinite", "signbit", "logical_not"})


class ScalarRef:
    """A scalar with operators, as bodies see it."""

    __slots__ = ("language", "scalar")

    def __init__(self, language: ScalarLanguage, scalar: Scalar) -> None:
        self.language = language
        self.scalar = scalar

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scalar.dtype

    def _binary(
        self, op: str, other: Any, reverse: bool = False, out: np.dtype[Any] | None = None
    ) -> ScalarRef:
        right = self.language.like(other, self)
        left, right = (right, self) if reverse else (self, right)
        return self.language.make(op, left, right, dtype=out or self.dtype)

    def __add__(self, other: Any) -> ScalarRef:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> ScalarRef:
        return self._binary("add", other, reverse=True)

    def __sub__(self, other: Any) -> ScalarRef:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> ScalarRef:
        return self._binary("sub", other, reverse=True)

    def __mul__(self, other: Any) -> ScalarRef:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> ScalarRef:
        return self._binary("mul", other, reverse=True)

    def __truediv__(self, other: Any) -> ScalarRef:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> ScalarRef:
        return self._binary("div", other, reverse=True)

    def __and__(self, other: Any) -> ScalarRef:
        return self._binary("and", other)

    def __or__(self, other: Any) -> ScalarRef:
        return self._binary("or", other)

    def __xor__(self, other: Any) -> ScalarRef:
        return self._binary("xor", other)

    def __lt__(self, other: Any) -> ScalarRef:
        return self._binary("lt", other, out=BOOL)

    def __le__(self, other: Any) -> ScalarRef:
        return self._binary("le", other, out=BOOL)

    def __gt__(self, other: Any) -> ScalarRef:
        return self._binary("gt", other, out=BOOL)

    def __ge__(self, other: Any) -> ScalarRef:
        return self._binary("ge", other, out=BOOL)

    def __eq__(self, other: Any) -> Any:
        return self._binary("eq", other, out=BOOL)

    def __ne__(self, other: Any) -> Any:
        return self._binary("ne", other, out=BOOL)

    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> ScalarRef:
        return self.language.make("neg", self)

    def __invert__(self) -> ScalarRef:
        return self.language.make("not", self)

    def __abs__(self) -> ScalarRef:
        return self.language.make("abs", self)

    def __bool__(self) -> bool:
        raise TypeError("a scalar body must not branch; use s.select")


class ScalarLanguage:
    """Named functions on scalars; `emit(op, args, dtype)` is the kernel builder's."""

    def __init__(self, emit: Callable[[str, tuple[Any, ...], np.dtype[Any]], Scalar]) -> None:
        self._emit = emit

    def wrap(self, scalar: Scalar) -> ScalarRef:
        return ScalarRef(self, scalar)

    def make(self, op: str, *operands: ScalarRef, dtype: Any = None) -> ScalarRef:
        scalars = tuple([x.scalar for x in operands])
        kind = scalars[0].dtype if dtype is None else np.dtype(dtype)
        return ScalarRef(self, self._emit(op, scalars, kind))

    def constant(self, value: Any, like: ScalarRef | None = None, dtype: Any = None) -> ScalarRef:
        """A constant in the dtype of `like`, or in `dtype`."""
        kind = np.dtype(dtype) if dtype is not None else like.dtype if like is not None else np.dtype(float)
        with np.errstate(all="ignore"):
            number = np.asarray(value).astype(kind)[()]
        return ScalarRef(self, self._emit("const", (number,), kind))

    def like(self, x: Any, other: ScalarRef) -> ScalarRef:
        return x if isinstance(x, ScalarRef) else self.constant(x, like=other)

    def select(self, c: ScalarRef, a: Any, b: Any) -> ScalarRef:
        """`a` where `c` holds, else `b`; both are evaluated."""
        known = a if isinstance(a, ScalarRef) else b
        a, b = self.like(a, known), self.like(b, known)
        return self.make("select", c, a, b, dtype=a.dtype)

    def cast(self, x: ScalarRef, dtype: Any) -> ScalarRef:
        known = x.scalar.dtype
        return x if known is dtype or known == np.dtype(dtype) else self.make("cast", x, dtype=dtype)

    def __getattr__(self, name: str) -> Callable[..., ScalarRef]:
        if name.startswith("_"):
            raise AttributeError(name)

        def function(*operands: Any) -> ScalarRef:
            first = next(x for x in operands if isinstance(x, ScalarRef))
            settled = [self.like(x, first) for x in operands]
            return self.make(name, *settled, dtype=BOOL if name in _PREDICATES else settled[0].dtype)

        return function
