"""A loop over time whose state is each element's own: `scan`, with the loops that its derivatives are.

The body is a graph over scalars, `(*carries, *scanned, *others) -> (*carries, *ys)`, and runs for each
element of a shape, `steps` times one after the other. An equation is one result of the loop, by its number:
the last carries, then the ys, one row a step, then for each carry its rows, as they were before each step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import (
    ArrayType,
    Atom,
    Builder,
    Graph,
    Kind,
    Primitive,
    Var,
    active_vars,
    building,
    evaluate,
    needed_vars,
    substitute,
)
from tracejit.ops.arithmetic import zeros_of
from tracejit.ops.tables import register
from tracejit.ops.value import Value, emit

Shape = tuple[int, ...]
Differentiate = Callable[..., Graph]


def _infer(
    *types: ArrayType,
    body: Graph,
    steps: int,
    shape: Shape,
    carries: int,
    scanned: int,
    reverse: bool,
    result: int,
) -> ArrayType:
    for k, (type_, inner) in enumerate(zip(types, body.inputs, strict=True)):
        wanted = (steps, *shape) if carries <= k < carries + scanned else shape
        if type_ != ArrayType(wanted, inner.type.dtype):
            raise ShapeError(f"scan: operand {k} is {type_}, not {ArrayType(wanted, inner.type.dtype)}")
    return ArrayType(shape if result < carries else (steps, *shape), _dtype(body, result))


def _dtype(body: Graph, result: int) -> np.dtype[Any]:
    """That of a result, by its number."""
    made = len(body.outputs)
    return (body.outputs[result] if result < made else body.inputs[result - made]).type.dtype


def _evaluate(
    *arrays: Any,
    body: Graph,
    steps: int,
    shape: Shape,
    carries: int,
    scanned: int,
    reverse: bool,
    result: int,
) -> Any:
    state = list(arrays[:carries])
    rows, others = arrays[carries : carries + scanned], arrays[carries + scanned :]
    made = len(body.outputs)
    kept: list[Any] = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        before = state
        found = evaluate(body, [*state, *(x[t] for x in rows), *others])
        state = found[:carries]
        kept[t] = before[result - made] if result >= made else found[result]
    if result < carries:
        return np.broadcast_to(state[result], shape)
    kept = [np.broadcast_to(x, shape) for x in kept]
    return np.array(kept, _dtype(body, result)).reshape(steps, *shape)


# --- the parts of a loop ------------------------------------------------------------------------------------


class Loop:
    """The operands of a scan by their roles, as a rule collects them; `run` emits results of the loop."""

    def __init__(self, carries: Sequence[Any], scanned: Sequence[Any], others: Sequence[Any]) -> None:
        self.carries = list(carries)
        self.scanned = list(scanned)
        self.others = list(others)

    @staticmethod
    def split(items: Sequence[Any], carries: int, scanned: int) -> Loop:
        return Loop(items[:carries], items[carries : carries + scanned], items[carries + scanned :])

    @property
    def all(self) -> list[Any]:
        return [*self.carries, *self.scanned, *self.others]

    def run(
        self, body: Graph, steps: int, shape: Shape, reverse: bool, results: Sequence[int]
    ) -> list[Value]:
        """The results of these numbers; the operands are values."""
        counts = {"carries": len(self.carries), "scanned": len(self.scanned)}
        return [
            emit(scan, *self.all, body=body, steps=steps, shape=shape, **counts, reverse=reverse, result=k)
            for k in results
        ]


class NewLoop:
    """A loop under construction: operands, each with the scalar that stands for it in the body."""

    def __init__(self, name: str) -> None:
        self.builder = Builder(name)
        self.loop = Loop([], [], [])
        self.inputs = Loop([], [], [])

    def enter(self, role: str, operand: Value) -> Value:
        """A new operand: one of the `carries`, of what is `scanned`, or of the `others`."""
        var = Var(ArrayType((), operand.dtype))
        getattr(self.loop, role).append(operand)
        getattr(self.inputs, role).append(var)
        return Value(self.builder, var)

    def emit(self, graph: Graph, needed: set[Var], given: Mapping[Var, Value]) -> list[Value]:
        """The outputs of `graph`, whose equations outside of `needed` nothing reads."""
        env: dict[Var, Atom] = {v: x.atom for v, x in given.items()}
        for eqn in graph.eqns:
            if eqn.out in needed:
                with self.builder.at(eqn.source):
                    inputs = [substitute(env, a) for a in eqn.inputs]
                    env[eqn.out] = self.builder.emit(eqn.primitive, inputs, dict(eqn.params))
        return [Value(self.builder, substitute(env, a)) for a in graph.outputs]

    def body(self, outputs: Sequence[Value]) -> Graph:
        self.builder.inputs = self.inputs.all
        return self.builder.finish([x.atom for x in outputs])


def _spread(body: Graph, moving: Sequence[bool], carries: int) -> list[bool]:
    """Which inputs of the body move, once what the carries make of one another has settled."""
    moves = list(moving)
    while True:
        active = active_vars(body, [v for v, m in zip(body.inputs, moves, strict=True) if m])
        grown = [m or (k < carries and body.outputs[k] in active) for k, m in enumerate(moves)]
        if grown == moves:
            return moves
        moves = grown


def needed_parts(body: Graph, carries: int, results: Iterable[int]) -> tuple[list[int], set[Var]]:
    """The carries and the variables of a body that these results need, those that carries need included."""
    made = len(body.outputs)
    kept = {k if k < carries else k - made for k in results if k < carries or k >= made}
    outputs = {k for k in results if carries <= k < made}
    while True:
        needed = needed_vars(body, kept | outputs)
        grown = kept | {k for k in range(carries) if body.inputs[k] in needed}
        if grown == kept:
            return sorted(kept), needed
        kept = grown


# --- forward mode -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _tangent_body(
    differentiate: Differentiate, body: Graph, carries: int, scanned: int, moves: tuple[bool, ...]
) -> tuple[Graph, tuple[int, ...]]:
    """The body with tangents: carries, then theirs, and so on; and where the tangent of each output stands.

    Cached, so that the results of one loop have tangents that are the results of one loop.
    """
    graph = differentiate(body, moves)
    inputs = Loop.split(graph.inputs[: len(body.inputs)], carries, scanned)
    given = dict(zip([k for k, m in enumerate(moves) if m], graph.inputs[len(body.inputs) :], strict=True))
    tangents = [
        [v for k, v in given.items() if low <= k < high] for low, high in _bounds(body, carries, scanned)
    ]
    n = len(body.outputs)
    floats = [k for k, a in enumerate(body.outputs) if a.type.is_float]
    found = dict(zip(floats, graph.outputs[n:], strict=True))
    active = active_vars(body, [v for v, m in zip(body.inputs, moves, strict=True) if m])
    moved = [k for k in floats if (body.outputs[k] in active if k >= carries else moves[k])]
    order = [k for k in moved if k < carries], [k for k in moved if k >= carries]
    outputs: list[Atom] = [*graph.outputs[:carries], *(found[k] for k in order[0])]
    outputs += [*graph.outputs[carries:n], *(found[k] for k in order[1])]
    places = {k: carries + j for j, k in enumerate(order[0])}
    places |= {k: n + len(order[0]) + j for j, k in enumerate(order[1])}
    joined = [
        *inputs.carries,
        *tangents[0],
        *inputs.scanned,
        *tangents[1],
        *inputs.others,
        *tangents[2],
    ]
    made = Graph(tuple(joined), graph.eqns, tuple(outputs), graph.name)
    return made, tuple(places.get(k, -1) for k in range(n))


def _bounds(body: Graph, carries: int, scanned: int) -> tuple[tuple[int, int], ...]:
    rows = carries + scanned
    return (0, carries), (carries, rows), (rows, len(body.inputs))


def _jvp(
    differentiate: Differentiate,
    primals: Sequence[Value],
    tangents: Sequence[Value | None],
    out: Value,
    body: Graph,
    steps: int,
    shape: Shape,
    carries: int,
    scanned: int,
    reverse: bool,
    result: int,
) -> Value | None:
    moves = tuple(_spread(body, [t is not None for t in tangents], carries))
    made, places = _tangent_body(differentiate, body, carries, scanned, moves)
    n = len(body.outputs)
    if result >= n:
        if not moves[result - n]:
            return None
        place = len(made.outputs) + places[result - n]
    else:
        place = places[result]
        if place < 0:
            return None
    given = [
        zeros_of(p.type) if t is None else t for p, t, m in zip(primals, tangents, moves, strict=True) if m
    ]
    numbers = [k for k, m in enumerate(moves) if m]
    parts = Loop.split(primals, carries, scanned)
    for role, (low, high) in zip(
        (parts.carries, parts.scanned, parts.others), _bounds(body, carries, scanned), strict=True
    ):
        role += [t for k, t in zip(numbers, given, strict=True) if low <= k < high]
    return parts.run(made, steps, shape, reverse, [place])[0]


# --- reverse mode -------------------------------------------------------------------------------------------
#
# With c the carries before a step and y what it gives, the cotangents of all steps' carries obey
#   ct(c) = d(body)/dc^T (ct(c after), ct(y)) + ct(rows of c),
# a loop from the last step to the first; those of what all steps read are summed on the way. Each step of it
# runs the body again from the carries before the step, which the forward loop leaves in rows.


def _vjp(
    differentiate: Differentiate,
    cts: Mapping[int, Value],
    primals: Sequence[Value],
    needed: Sequence[bool],
    body: Graph,
    steps: int,
    shape: Shape,
    carries: int,
    scanned: int,
    reverse: bool,
    result: int,
) -> list[Value | None]:
    moves = _spread(body, needed, carries)
    n, last = len(body.outputs), carries + scanned
    moved, wrt = [k for k in range(carries) if moves[k]], [k for k, m in enumerate(moves) if m]
    seeds = [k in moved or (k >= carries and k in cts) for k in range(n)]
    pulled = differentiate(body, wrt, seeds)
    read = needed_vars(pulled, range(n, len(pulled.outputs)))
    forward = Loop.split(primals, carries, scanned)

    back = NewLoop(f"back_{body.name}")
    after = {k: back.enter("carries", cts[k] if k in cts else zeros_of(primals[k].type)) for k in moved}
    sums = {k: back.enter("carries", zeros_of(primals[k].type)) for k in wrt if k >= last}
    given: dict[Var, Value] = {}
    for k, var in enumerate(body.inputs):
        if var in read:
            before = forward.run(body, steps, shape, reverse, [n + k])[0] if k < carries else primals[k]
            given[var] = back.enter("others" if k >= last else "scanned", before)
    for k, var in zip([k for k in range(n) if seeds[k]], pulled.inputs[len(body.inputs) :], strict=True):
        given[var] = after[k] if k in after else back.enter("scanned", cts[k])
    more = {k: back.enter("scanned", cts[n + k]) for k in moved if n + k in cts}
    with building(back.builder):
        found = dict(zip(wrt, back.emit(pulled, read, given)[n:], strict=True))
        results = {k: found[k] + more[k] if k in more else found[k] for k in moved}
        results |= {k: total + found[k] for k, total in sums.items()}
        results |= {k: found[k] for k in wrt if carries <= k < last}
        made = back.body(list(results.values()))
    wanted = [(j, k) for j, k in enumerate(results) if needed[k]]
    values = back.loop.run(made, steps, shape, not reverse, [j for j, _ in wanted])
    pairs = dict(zip([k for _, k in wanted], values, strict=True))
    return [pairs.get(k) for k in range(len(primals))]


scan = register(
    Primitive("scan", Kind.CONTROL, _infer, _evaluate, jvp=_jvp, vjp=_vjp, results="result", cost=4)
)
