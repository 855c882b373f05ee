"""The methods of `ndarray`, each by the NumPy function of the same meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracejit.errors import TracerError, UnsupportedError
from tracejit.frontend import dispatch
from tracejit.ir import find_source
from tracejit.ops import Value
from tracejit.ops.indexing import getitem
from tracejit.ops.shape import astype

# The method's parameters after `self` are those of the function after its first.
SAME_AS_FUNCTION: dict[str, Callable[..., Any]] = {
    "all": np.all,
    "any": np.any,
    "argmax": np.argmax,
    "argmin": np.argmin,
    "argsort": np.argsort,
    "argpartition": np.argpartition,
    "choose": np.choose,
    "clip": np.clip,
    "conj": np.conjugate,
    "conjugate": np.conjugate,
    "cumprod": np.cumprod,
    "cumsum": np.cumsum,
    "diagonal": np.diagonal,
    "dot": np.dot,
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "nonzero": np.nonzero,
    "prod": np.prod,
    "ravel": np.ravel,
    "repeat": np.repeat,
    "round": np.round,
    "searchsorted": np.searchsorted,
    "squeeze": np.squeeze,
    "std": np.std,
    "sum": np.sum,
    "swapaxes": np.swapaxes,
    "take": np.take,
    "trace": np.trace,
    "var": np.var,
}

# Methods that change the array itself, and what to write instead.
IN_PLACE: dict[str, str] = {
    "byteswap": "x = x.astype(...)",
    "fill": "x = np.full_like(x, value)",
    "itemset": "np.where(mask, value, x)",
    "partition": "y = np.partition(x, ...)",
    "put": "np.where(mask, value, x)",
    "resize": "y = np.resize(x, shape)",
    "setfield": "np.where(mask, value, x)",
    "setflags": "a copy: y = x.copy()",
    "sort": "y = np.sort(x)",
}

# Methods and attributes that need numbers, or memory, that do not exist yet.
NEED_CONTENT = (
    "item",
    "tolist",
    "tobytes",
    "tofile",
    "dump",
    "dumps",
    "data",
    "ctypes",
    "base",
    "flags",
    "strides",
    "flat",
    "getfield",
    "view",
    "to_device",
    "compress",
)


def _source_text() -> str | None:
    source = find_source()
    return source.describe() if source is not None else None


class ArrayMethods:
    """Everything an `ndarray` offers by name; `Tracer` adds the operators and Python's protocols."""

    __slots__ = ()

    _value: Value

    # --- what is known while tracing ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype

    @property
    def ndim(self) -> int:
        return self._value.ndim

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def itemsize(self) -> int:
        return self._value.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._value.type.nbytes

    @property
    def T(self) -> Any:
        return self._call(np.transpose)

    @property
    def mT(self) -> Any:
        return self._call(np.matrix_transpose)

    @property
    def real(self) -> Any:
        return self._call(np.real)

    @property
    def imag(self) -> Any:
        return self._call(np.imag)

    # --- methods whose parameters differ from the function's ------------------------------------------------

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Any:
        """`x.reshape(3, 4)` and `x.reshape((3, 4))`; one size may be -1."""
        return self._call(np.reshape, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        """`x.transpose()`, `x.transpose(1, 0)` and `x.transpose((1, 0))`."""
        return self._call(np.transpose, (axes[0] if len(axes) == 1 else axes) if axes else None)

    def flatten(self, order: str = "C") -> Any:
        """All elements in one row."""
        return self._call(np.ravel, order=order)

    def copy(self, order: str = "C") -> Any:
        """The same values."""
        return self._call(np.copy)

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        """Every element converted to `dtype`."""
        return dispatch.apply(
            self._type(), astype, "astype", (self, dtype), {"casting": casting}, self._is_immutable()
        )

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        is_scalar = not any(k is Ellipsis for k in keys)
        return dispatch.apply(self._type(), getitem, "indexing", (self, key), {}, is_scalar)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(self.shape[0]))

    # --- dispatch -------------------------------------------------------------------------------------------

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return dispatch.call_function(self._type(), function, (self, *args), kwargs)

    def _type(self) -> Any:
        return type(self)

    def _is_immutable(self) -> bool:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name in IN_PLACE:
            raise UnsupportedError(
                f".{name}: changing an array in place is not supported in a traced function yet",
                where=_source_text(),
                hint=f"write {IN_PLACE[name]}",
            )
        if name in NEED_CONTENT:
            raise TracerError(
                f".{name}: a traced {self._value.type} has no content while its function is traced",
                where=_source_text(),
                hint="use NumPy's functions on it, and look at concrete numbers outside the traced function",
            )
        if hasattr(np.ndarray, name) and not name.startswith("_"):
            raise dispatch.unsupported(f"ndarray.{name}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def _method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: ArrayMethods, *args: Any, **kwargs: Any) -> Any:
        return self._call(function, *args, **kwargs)

    method.__name__, method.__qualname__ = name, f"ArrayMethods.{name}"
    method.__doc__ = f"See `numpy.{function.__name__}`."
    return method


for _name, _function in SAME_AS_FUNCTION.items():
    setattr(ArrayMethods, _name, _method(_name, _function))
