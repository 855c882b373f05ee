"""Array types: what the IR knows of a value before it exists (its shape and its dtype)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, UnsupportedError

DTYPE_NAMES: dict[np.dtype[Any], str] = {
    np.dtype(np.bool_): "bool",
    **{np.dtype(f"i{size}"): f"i{8 * size}" for size in (1, 2, 4, 8)},
    **{np.dtype(f"u{size}"): f"u{8 * size}" for size in (1, 2, 4, 8)},
    np.dtype(np.float16): "f16",
    np.dtype(np.float32): "f32",
    np.dtype(np.float64): "f64",
}
_NAMED = {name: dtype for dtype, name in DTYPE_NAMES.items()}

# --- floats of two bytes ------------------------------------------------------------------------------------
#
# NumPy's float16, and the bfloat16 of the package `ml_dtypes`, which JAX, CuPy and TensorFlow share: NumPy
# takes it for a kind of its own ("V"). Both are dtypes of arrays in memory; arithmetic is float32's.

_F16, _F32 = np.dtype(np.float16), np.dtype(np.float32)


@functools.cache
def bfloat16() -> np.dtype[Any]:
    """The dtype bfloat16; UnsupportedError where `ml_dtypes`, which NumPy has it from, is not installed."""
    try:
        return np.dtype(import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise UnsupportedError(
            "bfloat16: NumPy knows this dtype from the package ml_dtypes, which is not installed",
            hint="pip install ml_dtypes, or use float16 or float32",
        ) from None


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "V" and dtype.type.__name__ == "bfloat16"


def is_floating(dtype: np.dtype[Any]) -> bool:
    """A float, bfloat16 among them?"""
    return dtype.kind == "f" or is_bfloat16(dtype)


def is_half(dtype: np.dtype[Any]) -> bool:
    """float16 or bfloat16?"""
    return dtype is _F16 or dtype == _F16 or is_bfloat16(dtype)


def computed_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What arithmetic on a dtype runs in: float32 for the floats of two bytes, else the dtype itself."""
    return _F32 if is_half(dtype) else dtype


def as_float16(dtype: Any) -> Any:
    """float16 in place of bfloat16, for questions that NumPy answers for its own dtypes alone."""
    return _F16 if isinstance(dtype, np.dtype) and is_bfloat16(dtype) else dtype


def resolve_as_float16(
    dtypes: Sequence[Any], resolve: Callable[[Sequence[Any]], Sequence[np.dtype[Any]]], what: str
) -> Sequence[np.dtype[Any]]:
    """What `resolve` makes of some dtypes, bfloat16 being promoted as float16 is.

    `ml_dtypes` itself promotes bfloat16 and a Python float to float32, which JAX, torch and NumPy's rule for
    its own floats do not.
    """
    if not any(isinstance(d, np.dtype) and is_bfloat16(d) for d in dtypes):
        return resolve(dtypes)
    if any(d == _F16 for d in dtypes if isinstance(d, np.dtype)):
        raise DTypeError(
            f"{what}: bfloat16 and float16 have no common dtype",
            hint="convert one of them, or both with x.astype(np.float32)",
        )
    return [bfloat16() if d == _F16 else d for d in resolve([as_float16(d) for d in dtypes])]


def result_type(*operands: Any, what: str = "promotion") -> np.dtype[Any]:
    """`np.result_type` of dtypes and numbers, which knows bfloat16.

    >>> result_type(np.dtype(np.float16), np.dtype(np.float32))
    dtype('float32')
    """
    (found,) = resolve_as_float16(operands, lambda given: [np.result_type(*given)], what)
    return found


def can_cast(source: np.dtype[Any], target: np.dtype[Any], casting: Any = "safe") -> bool:
    """`np.can_cast`, which knows bfloat16; the floats of two bytes do not hold one another's values."""
    if is_half(source) and is_half(target) and source != target:
        return casting in ("same_kind", "unsafe")
    return np.can_cast(as_float16(source), as_float16(target), casting)


def float_info(dtype: np.dtype[Any]) -> Any:
    """`np.finfo`, also of bfloat16."""
    return import_module("ml_dtypes").finfo(dtype) if is_bfloat16(dtype) else np.finfo(dtype)


# --- types --------------------------------------------------------------------------------------------------


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """A dtype in the IR's notation: f64, u8, bf16; None for those that no kernel can hold."""
    return DTYPE_NAMES.get(dtype) or ("bf16" if is_bfloat16(dtype) else None)


def dtype_source(dtype: np.dtype[Any]) -> str:
    """A dtype as a user writes it: np.float32."""
    return f"{'ml_dtypes' if is_bfloat16(dtype) else 'np'}.{dtype}"


def dtype_named(name: str) -> np.dtype[Any] | None:
    """The dtype of a name in the IR's notation; None for any other text."""
    return bfloat16() if name == "bf16" else _NAMED.get(name)


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
        return is_floating(self.dtype)

    def with_shape(self, shape: tuple[int, ...]) -> ArrayType:
        return self if shape == self.shape else ArrayType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: Any) -> ArrayType:
        return self if dtype is self.dtype else ArrayType(self.shape, np.dtype(dtype))

    def __str__(self) -> str:
        name = dtype_name(self.dtype) or str(self.dtype)
        return f"{name}[{','.join(map(str, self.shape))}]" if self.shape else name


def check_dtype(dtype: np.dtype[Any], what: str = "an array") -> np.dtype[Any]:
    """NumPy's own object for `dtype` in native byte order, or a `DTypeError` when no kernel can hold it.

    Calls compare dtypes by identity, which an equal dtype made anew would fail.
    """
    native = dtype_named(dtype_name(dtype.newbyteorder("=")) or "")
    if native is not None:
        return native
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
