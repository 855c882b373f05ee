"""`Tracer`: what a user's function sees in place of an array while it is traced."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tracejit.errors import TracejitError, TracerError, UnsupportedError
from tracejit.frontend import dispatch
from tracejit.frontend.methods import ArrayMethods
from tracejit.ir import find_source
from tracejit.ops import Value
from tracejit.ops.contraction import matmul
from tracejit.ops.operators import BINARY, COMPARISONS, UNARY
from tracejit.ops.value import is_foreign

_NUMBERS = (int, float, complex, np.ndarray, np.generic, list, tuple)

# The message and the hint where `y[i] = traced` meets a concrete y.
INTO_CONCRETE = (
    "assignment: a traced value cannot be written into a concrete array",
    "build the array of traced values: np.stack, np.concatenate, np.where",
)

_IN_PLACE_SYMBOLS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
}


class Tracer(ArrayMethods):
    """An array, or a number, that does not exist yet: every operation on it is recorded.

    `is_scalar` says that NumPy would hold an immutable scalar here, not a 0-d array: `y += 1` then makes a
    new one, as it does for Python numbers.
    """

    __slots__ = ("_is_scalar", "_value")

    def __init__(self, value: Value, is_scalar: bool = False) -> None:
        _set_value(self, value)
        _set_is_scalar(self, is_scalar and not value.atom.type.shape)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        return dispatch.call_ufunc(Tracer, ufunc, method, args, kwargs)

    def __array_function__(
        self, function: Any, types: Sequence[type], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return dispatch.call_function(Tracer, function, args, kwargs)

    def __repr__(self) -> str:
        return f"Tracer({self._value.type})"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Tracer:
        return Tracer(self._value, self._is_scalar)

    def __deepcopy__(self, memo: Any) -> Tracer:
        return Tracer(self._value, self._is_scalar)

    __hash__ = None  # type: ignore[assignment]  # as arrays: `==` compares elements

    def _is_immutable(self) -> bool:
        return self._is_scalar

    def __setattr__(self, name: str, value: Any) -> None:
        raise _refused(
            UnsupportedError,
            f".{name}: attributes of a traced array cannot be assigned",
            "write y = x.reshape(...), y = x.astype(...)",
        )

    # --- assignment -----------------------------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise _refused(
            UnsupportedError,
            "assignment: x[...] = v is not supported in a traced function yet",
            "build a new array: np.where(mask, v, x), np.concatenate, or np.stack of the parts",
        )

    def __delitem__(self, key: Any) -> NoReturn:
        raise TypeError("cannot delete array elements")

    # --- Python asks for a concrete number ------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        raise _refused(
            TracerError,
            f"bool(): whether a traced {self._value.type} is true is not known while its function is traced",
            "`if`, `while`, `and`, `or`, `not` and `in` need a concrete value: "
            "write np.where(condition, a, b), "
            "np.logical_and(a, b); or make the argument static (static_argnames=...)",
        )

    def __contains__(self, item: Any) -> NoReturn:
        self.__bool__()

    def __float__(self) -> NoReturn:
        self._no_number("float()")

    def __int__(self) -> NoReturn:
        self._no_number("int()")

    def __complex__(self) -> NoReturn:
        self._no_number("complex()")

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None:
            self._no_number("int()")
        return self._call(np.round, digits)

    def __index__(self) -> NoReturn:
        raise _refused(
            TracerError,
            f"index: a traced {self._value.type} is not a concrete integer while its function is traced",
            "range(), sizes and indices of lists need one: take it from a shape, or make the argument static "
            "(static_argnames=...)",
        )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        source = find_source()
        if source is not None and re.search(r"\]\s*=(?!=)", source.text):
            raise _refused(UnsupportedError, *INTO_CONCRETE)
        raise _refused(
            TracerError,
            f"np.asarray(): a traced {self._value.type} is no concrete array while its function is traced",
            "NumPy's functions take it as it is; join values with np.stack; an array to be indexed with it "
            "must be an argument",
        )

    def _no_number(self, what: str) -> NoReturn:
        source = find_source()
        called = re.search(r"\bmath\.(\w+)", source.text) if source is not None else None
        hint = "keep it an array, or return it and convert the result outside the traced function"
        if called is not None:
            hint = f"write {_numpy_name(called[1])} in place of math.{called[1]}"
        raise _refused(
            TracerError,
            f"{what}: a traced {self._value.type} has no value while its function is traced",
            hint,
        )


# The slots themselves: assigning attributes is refused, at a cost that every traced operation would pay.
_set_value = vars(Tracer)["_value"].__set__
_set_is_scalar = vars(Tracer)["_is_scalar"].__set__


def _numpy_name(name: str) -> str:
    """What stands in NumPy or SciPy for a function of `math`."""
    renamed = {"pow": "power", "fsum": "sum", "lgamma": "gammaln"}.get(name, name)
    return f"np.{renamed}" if hasattr(np, renamed) else f"scipy.special.{renamed}"


def _refused(kind: type[TracejitError], message: str, hint: str) -> TracejitError:
    source = find_source()
    return kind(message, where=source.describe() if source is not None else None, hint=hint)


# --- operators ----------------------------------------------------------------------------------------------


def _is_operand(x: Any) -> bool:
    """Is it an array, of whatever library, or a number? With other objects the operation may be their own."""
    return isinstance(x, (Tracer, *_NUMBERS)) or is_foreign(x)


def _unary(name: str, operation: Callable[..., Any]) -> Callable[[Tracer], Any]:
    return lambda self: dispatch.apply(Tracer, operation, name, (self,), {}, True)


def _binary(name: str, operation: Callable[..., Any]) -> Callable[[Tracer, Any], Any]:
    def operate(self: Tracer, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return dispatch.apply(Tracer, operation, name, (self, other), {}, True)

    return operate


def _reflected(name: str, operation: Callable[..., Any]) -> Callable[[Tracer, Any], Any]:
    def operate(self: Tracer, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return dispatch.apply(Tracer, operation, name, (other, self), {}, True)

    return operate


def _in_place(name: str, operation: Callable[..., Any]) -> Callable[[Tracer, Any], Any]:
    operate = _binary(name, operation)
    symbol = _IN_PLACE_SYMBOLS[name]

    def assign(self: Tracer, other: Any) -> Any:
        if self._is_scalar:
            return operate(self, other)
        raise _refused(
            UnsupportedError,
            f"assignment: y {symbol}= v changes an array in place, which is not supported in a traced "
            "function yet",
            f"write y = y {symbol} v, which makes a new array",
        )

    return assign


def _attach() -> None:
    """Make the operators, which rules use on values too, methods of `Tracer`."""
    for name, operation in UNARY.items():
        setattr(Tracer, f"__{name}__", _unary(name, operation))
    for name, operation in (BINARY | {"matmul": matmul}).items():
        setattr(Tracer, f"__{name}__", _binary(name, operation))
        setattr(Tracer, f"__r{name}__", _reflected(name, operation))
        if name in _IN_PLACE_SYMBOLS:
            setattr(Tracer, f"__i{name}__", _in_place(name, operation))
    for name, operation in COMPARISONS.items():
        setattr(Tracer, f"__{name}__", _binary(name, operation))


_attach()
