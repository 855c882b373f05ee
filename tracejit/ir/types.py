"""Array types: what the IR knows of a value before it exists (its shape and its dtype)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import DTypeError

DTYPE_NAMES: dict[np.dtype[Any], str] = {
    np.dtype(np.bool_): "bool",
    **{np.dtype(f"i{size}"): f"i{8 * size}" for size in (1, 2, 4, 8)},
    **{np.dtype(f"u{size}"): f"u{8 * size}" for size in (1, 2, 4, 8)},
    np.dtype(np.float32): "f32",
    np.dtype(np.float64): "f64",
}
DTYPES: dict[str, np.dtype[Any]] = {name: dtype for dtype, name in DTYPE_NAMES.items()}


@dataclass(frozen=True)
class ArrayType:
    """A shape and a dtype; its text is `f64[3,4]`, and `f64` at rank 0.

    >>> str(ArrayType((3, 4), np.dtype("float32")))
    'f32[3,4]'
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @functools.cached_property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    def with_shape(self, shape: tuple[int, ...]) -> ArrayType:
        return self if shape == self.shape else ArrayType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: Any) -> ArrayType:
        return self if dtype is self.dtype else ArrayType(self.shape, np.dtype(dtype))

    def __str__(self) -> str:
        name = DTYPE_NAMES.get(self.dtype) or str(self.dtype)
        return f"{name}[{','.join(map(str, self.shape))}]" if self.shape else name


def check_dtype(dtype: np.dtype[Any], what: str = "an array") -> np.dtype[Any]:
    """NumPy's own object for `dtype` in native byte order, or a `DTypeError` when no kernel can hold it.

    Calls compare dtypes by identity, which an equal dtype made anew would fail.
    """
    name = DTYPE_NAMES.get(dtype.newbyteorder("="))
    if name is not None:
        return DTYPES[name]
    hints = {
        "O": "convert it to a float array first: np.asarray(x, dtype=float)",
        "U": "strings have no gradient: pass it as a static argument (static_argnames=...)",
        "S": "strings have no gradient: pass it as a static argument (static_argnames=...)",
        "c": "complex numbers come in a later release: split into real and imaginary parts",
        "f": "use float32 or float64",
    }
    hint = hints.get(dtype.kind, "use a float, integer or bool array")
    raise DTypeError(f"dtype: {what} has dtype {dtype}, which is not supported", hint=hint)


def type_of(value: Any) -> ArrayType:
    """The type of a NumPy array or scalar, or of a Python number."""
    array = np.asarray(value)
    return ArrayType(array.shape, check_dtype(array.dtype))
