"""The four families of primitives: what is stated of an op, and the rules that follow from it.

Every derivative rule is written in `Value`s, so it can be traced and differentiated again. The callables that
declarations return promote and broadcast first: a primitive itself sees equal shapes and settled dtypes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, ShapeError
from tracejit.ir import ArrayType, Kind, Primitive, check_dtype, resolve_as_float16
from tracejit.ops.core import broadcast_to, convert
from tracejit.ops.tables import NUMPY, register
from tracejit.ops.value import Value, as_value, emit

Partial = Value | float | None
Resolve = Callable[..., tuple[np.dtype[Any], ...]]


@dataclass(frozen=True, eq=False)
class Operation:
    """What a declaration returns: call it with values, numbers or arrays inside a trace."""

    primitive: Primitive
    call: Callable[..., Value]

    def __call__(self, *args: Any, **params: Any) -> Value:
        return self.call(*args, **params)

    @property
    def name(self) -> str:
        return self.primitive.name


# --- elementwise ---------------------------------------------------------------------------------------


def elementwise(
    name: str,
    ufunc: Any = None,
    *,
    partials: Callable[..., tuple[Partial, ...]] | None,
    body: Callable[..., Any],
    evaluate: Callable[..., Any] | None = None,
    resolve: Resolve | None = None,
    cost: int = 1,
) -> Operation:
    """An op on each element: `partials(*args, out)` gives one partial derivative an operand.

    A partial is a `Value`, a Python number, or None for zero; `partials=None` says that all are zero.
    `body(s, *scalars)` is the scalar program. `resolve(*dtypes)` (dtypes, or `int`/`float` for Python
    numbers) returns the operand dtypes and the result dtype; it defaults to the ufunc's own resolution.
    """
    resolve_types = resolve or functools.partial(resolve_ufunc, name, ufunc)

    def infer(*types: ArrayType) -> ArrayType:
        first = types[0]
        for t in types:
            if t is not first and t.shape != first.shape:
                raise ShapeError(f"{name}: shapes differ, {', '.join(map(str, types))}")
        given = tuple([t.dtype for t in types])
        dtypes = resolve_types(*given)
        if tuple(dtypes[:-1]) != given:
            raise DTypeError(f"{name}: operands must be promoted first, {', '.join(map(str, types))}")
        return first.with_dtype(dtypes[-1])

    primitive = register(
        Primitive(
            name,
            Kind.ELEMENTWISE,
            infer,
            evaluate or ufunc,
            jvp=functools.partial(_elementwise_jvp, partials),
            vjp=functools.partial(_elementwise_vjp, partials),
            body=body,
            cost=cost,
        )
    )

    def call(*args: Any) -> Value:
        values = promote(name, resolve_types, args)
        return emit(primitive, *broadcast_values(name, values))

    operation = Operation(primitive, call)
    if ufunc is not None:
        NUMPY[ufunc] = operation
    return operation


@functools.lru_cache(maxsize=4096)
def resolve_ufunc(name: str, ufunc: Any, *dtypes: Any) -> tuple[np.dtype[Any], ...]:
    """NumPy's own choice of operand and result dtypes, Python numbers being weak."""
    if all(isinstance(d, type) for d in dtypes):  # only Python numbers: they become NumPy's defaults
        dtypes = tuple(np.dtype(d) for d in dtypes)
    try:
        resolved = resolve_as_float16(
            dtypes, lambda given: ufunc.resolve_dtypes((*given, *[None] * ufunc.nout)), name
        )
    except DTypeError:
        raise
    except TypeError:
        names = ", ".join(np.dtype(d).name for d in dtypes)
        raise DTypeError(
            f"{name}: not defined for {names}", hint="convert the operands with .astype(...)"
        ) from None
    for dtype in resolved:
        check_dtype(dtype, f"{name} of {', '.join(np.dtype(d).name for d in dtypes)}")
    return tuple(resolved[: len(dtypes) + 1])


def promote(name: str, resolve: Resolve, args: Sequence[Any]) -> list[Value]:
    """Operands as values of the dtypes that `resolve` asks for."""
    values = [a if isinstance(a, Value) else as_value(a, f"{name}: operand {k}") for k, a in enumerate(args)]
    dtypes = resolve(*[v.weak or v.atom.type.dtype for v in values])
    return [
        v if v.weak is None and v.atom.type.dtype is dtype else convert(v, dtype)
        for v, dtype in zip(values, dtypes)
    ]


def broadcast_values(name: str, values: Sequence[Value]) -> list[Value]:
    """Values of one common shape."""
    shapes = {v.atom.type.shape for v in values}
    if len(shapes) == 1:
        return list(values)
    shapes.discard(())
    try:
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
    except ValueError:
        types = ", ".join(str(v.type) for v in values)
        raise ShapeError(
            f"{name}: shapes do not broadcast, {types}",
            hint="sizes must be equal or 1, counted from the last axis; add axes with x[:, None] or reshape",
        ) from None
    return [broadcast_to(v, shape) for v in values]


def scale(ct: Value, partial: Partial) -> Value | None:
    """`ct * partial` without work for None, 1 and -1."""
    if partial is None:
        return None
    if isinstance(partial, Value):
        return ct * partial
    if partial == 1:
        return ct
    return -ct if partial == -1 else ct * partial


def add_values(terms: Sequence[Value | None]) -> Value | None:
    """The sum of the terms that are there; None when there are none."""
    total: Value | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


def _elementwise_jvp(
    partials: Callable[..., Any] | None,
    primals: Sequence[Value],
    tangents: Sequence[Value | None],
    out: Value,
) -> Value | None:
    if partials is None or not out.type.is_float:
        return None
    factors = partials(*primals, out)
    terms = [None if t is None else scale(t, p) for t, p in zip(tangents, factors, strict=True)]
    return add_values(terms)


def _elementwise_vjp(
    partials: Callable[..., Any] | None,
    ct: Value,
    primals: Sequence[Value],
    out: Value,
    needed: Sequence[bool],
) -> tuple[Value | None, ...]:
    if partials is None:
        return (None,) * len(primals)
    factors = partials(*primals, out)
    return tuple(scale(ct, p) if need else None for need, p in zip(needed, factors, strict=True))


# --- linear and multilinear ----------------------------------------------------------------------------


def linear(
    name: str,
    kind: Kind,
    *,
    infer: Callable[..., ArrayType],
    evaluate: Callable[..., Any],
    transpose: Callable[..., Value],
    index: Callable[..., Any] | None = None,
    identity_axes: Callable[..., Any] | None = None,
    reducer: str | None = None,
    cost: int = 1,
) -> Operation:
    """An op linear in its first operand; further operands (indices) are data.

    `transpose(ct, in_type, *others, **params)` is the adjoint map, `in_type` the first operand's type.
    """

    def jvp(
        primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any
    ) -> Value | None:
        tangent = tangents[0]
        return None if tangent is None else emit(primitive, tangent, *primals[1:], **params)

    def vjp(
        ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], **params: Any
    ) -> tuple[Value | None, ...]:
        first = transpose(ct, primals[0].type, *primals[1:], **params) if needed[0] else None
        return (first, *(None for _ in primals[1:]))

    primitive = register(
        Primitive(
            name,
            kind,
            infer,
            evaluate,
            jvp=jvp,
            vjp=vjp,
            index=index,
            identity_axes=identity_axes,
            reducer=reducer,
            cost=cost,
        )
    )
    return _direct(primitive)


def multilinear(
    name: str,
    kind: Kind,
    *,
    infer: Callable[..., ArrayType],
    evaluate: Callable[..., Any],
    transposes: Sequence[Callable[..., Value]],
    index: Callable[..., Any] | None = None,
    evaluate_into: Callable[..., Any] | None = None,
    cost: int = 1,
) -> Operation:
    """An op linear in each operand: `transposes[k](ct, *primals, **params)` is the cotangent of operand k."""

    def jvp(
        primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any
    ) -> Value | None:
        terms: list[Value | None] = []
        for k, tangent in enumerate(tangents):
            if tangent is not None:
                terms.append(emit(primitive, *primals[:k], tangent, *primals[k + 1 :], **params))
        return add_values(terms)

    def vjp(
        ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], **params: Any
    ) -> tuple[Value | None, ...]:
        return tuple(
            t(ct, *primals, **params) if need else None for t, need in zip(transposes, needed, strict=True)
        )

    facts: dict[str, Any] = {"index": index, "evaluate_into": evaluate_into, "cost": cost}
    primitive = register(Primitive(name, kind, infer, evaluate, jvp=jvp, vjp=vjp, **facts))
    return _direct(primitive)


def primitive(
    name: str,
    kind: Kind,
    *,
    infer: Callable[..., ArrayType],
    evaluate: Callable[..., Any],
    jvp: Callable[..., Value | None] | None = None,
    vjp: Callable[..., tuple[Value | None, ...]] | None = None,
    **facts: Any,
) -> Operation:
    """An op with every rule by hand (`jvp`/`vjp` None: the result carries no derivative)."""
    return _direct(register(Primitive(name, kind, infer, evaluate, jvp=jvp, vjp=vjp, **facts)))


def _direct(primitive: Primitive) -> Operation:
    def call(*args: Any, **params: Any) -> Value:
        return emit(primitive, *(as_value(a, primitive.name) for a in args), **params)

    return Operation(primitive, call)
