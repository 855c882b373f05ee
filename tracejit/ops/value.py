"""`Value`: a handle on an atom of the graph being built, with arithmetic; rules are written in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, InternalError, TracerError
from tracejit.ir import (
    ArrayType,
    Atom,
    Builder,
    Const,
    Eqn,
    Primitive,
    constant,
    current_builder,
    is_active,
    open_builders,
    type_of,
)


class Value:
    """An array that does not exist yet: an atom, the builder it belongs to, and how weak its dtype is.

    `weak` is `bool`, `int` or `float` for what stems from a Python number (NEP 50), None for NumPy dtypes.
    Operators are attached by `ops.operators`.
    """

    __slots__ = ("atom", "builder", "weak")
    __array_ufunc__ = None  # NumPy must not take a Value for an object array

    def __init__(self, builder: Builder | None, atom: Atom, weak: type | None = None) -> None:
        self.builder = builder
        self.atom = atom
        self.weak = weak

    @property
    def type(self) -> ArrayType:
        return self.atom.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.atom.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.atom.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.atom.type.shape)

    @property
    def size(self) -> int:
        return self.atom.type.size

    @property
    def definition(self) -> Eqn | None:
        """The equation behind this value, when it was emitted into the same graph."""
        return self.builder.definition(self.atom) if self.builder is not None else None

    def __bool__(self) -> bool:
        raise InternalError("a rule branched on a traced value")

    # Attached by ops.operators; stated here for readers and type checkers.
    __add__: Callable[..., Value]
    __radd__: Callable[..., Value]
    __sub__: Callable[..., Value]
    __rsub__: Callable[..., Value]
    __mul__: Callable[..., Value]
    __rmul__: Callable[..., Value]
    __truediv__: Callable[..., Value]
    __rtruediv__: Callable[..., Value]
    __floordiv__: Callable[..., Value]
    __rfloordiv__: Callable[..., Value]
    __mod__: Callable[..., Value]
    __rmod__: Callable[..., Value]
    __pow__: Callable[..., Value]
    __rpow__: Callable[..., Value]
    __neg__: Callable[..., Value]
    __abs__: Callable[..., Value]
    __lt__: Callable[..., Value]
    __le__: Callable[..., Value]
    __gt__: Callable[..., Value]
    __ge__: Callable[..., Value]
    __eq__: Callable[..., Value]  # pyright: ignore[reportIncompatibleMethodOverride]
    __ne__: Callable[..., Value]  # pyright: ignore[reportIncompatibleMethodOverride]
    __and__: Callable[..., Value]
    __or__: Callable[..., Value]
    __xor__: Callable[..., Value]
    __invert__: Callable[..., Value]

    def __repr__(self) -> str:
        return f"Value({self.type})"


_FLOAT = ArrayType((), np.dtype(np.float64))


def as_value(x: Any, what: str = "operand") -> Value:
    """A `Value` of the current trace for a value, a number, or an array (captured by reference)."""
    if isinstance(x, Value):
        return x
    if type(x) is float:
        return Value(None, Const(np.float64(x), _FLOAT), float)  # pyright: ignore[reportArgumentType]
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        kind = bool if isinstance(x, bool) else int if isinstance(x, int) else float
        if kind is int and not -(2**63) <= x < 2**64:
            # Next to floats it is a float; converting it to an integer dtype fails.
            return Value(None, constant(float(x), np.float64), int)
        dtype = (
            np.uint64
            if kind is int and x >= 2**63
            else {bool: np.bool_, int: np.int64, float: np.float64}[kind]
        )
        return Value(None, constant(x, dtype), kind if kind is not bool else None)
    if isinstance(x, np.generic):
        return Value(None, constant(x, type_of(x).dtype))
    if isinstance(x, np.ndarray):
        return capture(x)
    if isinstance(x, (list, tuple)):
        return capture(np.asarray(x))
    far = capture_elsewhere(x)
    if far is None:
        raise refused_operand(x, what)
    return far


def is_foreign(x: Any) -> bool:
    """Is it an array of another library, such as CuPy's or torch's? Its class says so."""
    names = ("__cuda_array_interface__", "__dlpack__")
    return not isinstance(x, np.ndarray) and any(hasattr(type(x), name) for name in names)


def is_on_device(x: Any) -> bool:
    """Does an array of another library lie on a CUDA device?"""
    if not hasattr(type(x), "__cuda_array_interface__"):
        return False
    if hasattr(x, "is_cuda"):
        return bool(x.is_cuda)
    try:
        return hasattr(x, "__cuda_array_interface__")
    except RuntimeError:  # of a device that is there, and asked to wait for a stream
        return True


def class_name(x: Any) -> str:
    """The class of an object, with its library where it is an array of another one: `cupy.ndarray`."""
    library = f"{type(x).__module__.partition('.')[0]}." if is_foreign(x) else ""
    return f"{library}{type(x).__name__}"


def refused_operand(x: Any, what: str) -> ArgumentError:
    """The error for what no operation takes: arrays of other libraries, too, where they cannot be read."""
    if not is_foreign(x):
        return ArgumentError(f"{what} has type {type(x).__name__}, which is not an array or a number")
    builder = current_builder()
    if builder is not None and builder.elsewhere is not None:
        return ArgumentError(
            f"{what} is a {class_name(x)} that does not lie on a CUDA device",
            hint="copy it there, as with x.cuda(), or make it an array of NumPy's: np.asarray(x)",
        )
    return ArgumentError(
        f"{what} is a {class_name(x)}, which is not a NumPy array",
        hint='convert it to one; with target="cuda" an array on a device is read where it lies',
    )


def type_elsewhere(x: Any) -> ArrayType | None:
    """The type of an array on a device, in a trace that may read these; None for anything else."""
    builder = current_builder()
    if builder is None or builder.elsewhere is None or not is_foreign(x):
        return None
    return builder.elsewhere.type_of(x)


def capture_elsewhere(x: Any) -> Value | None:
    """The same as `capture` for an array on a device; None where `type_elsewhere` is None."""
    type = type_elsewhere(x)
    if type is None:
        return None
    builder = active_builder()
    return Value(builder, builder.lift(("array", id(x)), x, type))


def capture(array: np.ndarray[Any, Any]) -> Value:
    """A concrete array used in a trace: an input that the user did not have to name, read at each call."""
    builder = active_builder()
    var = builder.lift(("array", id(array)), array, type_of(array))
    return Value(builder, var)


def freeze(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`array`, noted as one whose content every trace under way relies on, so that its owner can guard it."""
    for builder in open_builders():
        if not any(known is array for known in builder.frozen):
            builder.frozen.append(array)
    return array


def active_builder() -> Builder:
    builder = current_builder()
    if builder is None:
        raise TracerError(
            "leak: a traced value was used after its trace had ended",
            hint="return it from the traced function instead of storing it",
        )
    return builder


def localize(value: Value, builder: Builder) -> Atom:
    """The atom of `value` in `builder`, lifting it when it belongs to an enclosing trace."""
    if value.builder is builder or isinstance(value.atom, Const):
        return value.atom
    owner = value.builder
    if owner is None or not is_active(owner):
        raise TracerError(
            f"leak: a traced value of type {value.type} was used outside the trace that made it"
            + (f" (the trace of {owner.name})" if owner is not None else ""),
            hint="return it from the traced function instead of storing it",
        )
    return builder.lift(value.atom, value, value.type)


def emit(primitive: Primitive, *values: Value, **params: Any) -> Value:
    """One equation in the current trace; operands must already have the types that the primitive takes."""
    builder = current_builder()
    if builder is None:
        if all(isinstance(v.atom, Const) for v in values) and values:
            return Value(None, Builder().emit(primitive, [v.atom for v in values], params))
        builder = active_builder()
    atoms = [v.atom if v.builder is builder else localize(v, builder) for v in values]
    return Value(builder, builder.emit(primitive, atoms, params))
