"""`scan`: a loop that stays a loop, for states that pass from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, DTypeError, ShapeError, TracejitError, UnsupportedError
from tracejit.frontend import Argument, Tracer, argument_of, embed, trace
from tracejit.frontend.dispatch import located, unwrap
from tracejit.ir import ArrayType, Const, Eqn, Graph, calling, current_builder
from tracejit.ops import Value, as_value, zeros_of
from tracejit.ops.core import broadcast, permute, reshape
from tracejit.ops.joining import join
from tracejit.ops.loop import Loop
from tracejit.ops.slicing import slice_axis, take_slices
from tracejit.pytree import TreeDef, first_difference, flatten
from tracejit.transforms import partition_graph
from tracejit.transforms.elements import Dims, Elements, per_element

MOST_UNROLLED = 20_000  # equations


def scan(f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each x of `xs`, one after the other: the last carry, and all ys.

    f: a step, in plain NumPy; arrays that it uses besides its arguments are read, and differentiated, too
    init: the first carry, an array or any nesting of them; every step must keep its shapes and dtypes
    xs: arrays with one leading axis in common, along which they are taken; None: each x is None
    length: the number of steps, which `xs` says where there are any
    Returns `(carry, ys)`, each y stacked along a new leading axis.

    The step is traced once. Where it computes every element of the state by itself (NumPy's arithmetic and
    functions of one element, with broadcasting, in any nesting of arrays), the whole loop is one kernel: the
    state stays in registers, xs are read and ys written on the way, another length runs the same machine
    code, and a gradient is one more such loop, from the last step to the first, over carries that the first
    has stored. Any other step (with a sum, a matrix product, a slice in it) is written out, step after step,
    as a Python loop is when it is traced. Outside a traced function it is that Python loop.

    Raises ArgumentError where `f` returns no pair, or another nesting; ShapeError or DTypeError where a carry
    does not keep its type; UnsupportedError for a step that would be written out to over 20000 equations.

    >>> @tj.jit
    ... def orbit(q, p, dt):
    ...     def step(state, _):
    ...         q, p = state
    ...         p = p - dt * q
    ...         q = q + dt * p
    ...         return (q, p), q
    ...     return tj.scan(step, (q, p), length=1000)
    >>> (q, p), path = orbit(np.ones(3), np.zeros(3), 0.01)
    >>> path.shape, bool(np.allclose(q, np.cos(10.0), atol=0.01))
    ((1000, 3), True)
    """
    carries, tree = flatten(init)
    rows, rows_tree = flatten(xs)
    try:
        with calling("tj.scan"):
            loop = _Scan(f, carries, tree, rows, rows_tree, _length(rows, rows_tree, length))
            return loop.run() if current_builder() is None else loop.emit()
    except TracejitError as error:
        raise located(error) from None


def type_of_leaf(leaf: Any) -> ArrayType:
    return argument_of(leaf).type


def as_numpy(leaf: Any) -> Any:
    """A Python number as the NumPy number that it is in a traced loop: of 64 bits, also beside float32."""
    return type_of_leaf(leaf).dtype.type(leaf) if isinstance(leaf, (bool, int, float)) else leaf


def check_count(what: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 0:
        raise ArgumentError(f"{what} must be an integer from 0 on, got {given!r}")
    return int(given)


def check_nesting(what: str, before: TreeDef, after: TreeDef) -> None:
    if after != before:
        raise ArgumentError(f"{what} changes its nesting, {first_difference(before, after)}")


def check_kept(what: str, before: ArrayType, after: ArrayType) -> None:
    """A step must keep the type of what it carries."""
    if before == after:
        return
    message = f"{what} goes into a step as {before} and comes out as {after}"
    if before.shape != after.shape:
        raise ShapeError(message, hint="start with an array of the shape that the step gives")
    raise DTypeError(message, hint="start with that dtype, or convert what the step gives with .astype(...)")


def _length(rows: Sequence[Any], tree: TreeDef, length: int | None) -> int:
    """The number of steps that `xs` and `length` agree on."""
    found: dict[int, str] = {}
    for leaf, path in zip(rows, tree.leaf_paths(), strict=True):
        shape = type_of_leaf(leaf).shape
        if not shape:
            raise ShapeError(
                f"scan: xs{path} has no axis to step along",
                hint="make an array of a list of numbers: np.array(xs); f may read a number as it is",
            )
        found.setdefault(shape[0], f"xs{path}")
    if length is not None:
        found.setdefault(check_count("scan: length", length), "length")
    if not found:
        raise ArgumentError("scan: without xs the number of steps is not known", hint="pass length=...")
    if len(found) > 1:
        raise ShapeError(
            "scan: the numbers of steps differ, " + ", ".join(f"{n} by {name}" for n, name in found.items())
        )
    return next(iter(found))


def _pair(result: Any, tree: TreeDef) -> tuple[list[Any], Any]:
    """The leaves of the carry, and y, that a step gave."""
    if not isinstance(result, tuple) or len(result) != 2:
        what = "one array" if isinstance(result, (Tracer, np.ndarray)) else f"a {type(result).__name__}"
        raise ArgumentError(
            f"scan: f must return a pair (carry, y), not {what}",
            hint="return carry, None where there is no y",
        )
    leaves, after = flatten(result[0])
    check_nesting("scan: the carry", tree, after)
    return leaves, result[1]


class _Ys:
    """What the first step gives beside the carry, which all others are stacked upon."""

    def __init__(self, leaves: Sequence[Any], tree: TreeDef) -> None:
        self.tree = tree
        self.types = list(map(type_of_leaf, leaves))

    def check(self, leaves: Sequence[Any], tree: TreeDef) -> None:
        check_nesting("scan: y", self.tree, tree)
        for type_, leaf, path in zip(self.types, leaves, tree.leaf_paths(), strict=True):
            if type_of_leaf(leaf) != type_:
                kind = ShapeError if type_of_leaf(leaf).shape != type_.shape else DTypeError
                raise kind(f"scan: y{path} is {type_} after the first step and {type_of_leaf(leaf)} later")


@dataclass(frozen=True)
class _Scan:
    """A call of `scan`: leaves and nestings of what is carried and of `xs`, and the number of steps."""

    f: Callable[..., Any]
    carries: Sequence[Any]
    tree: TreeDef
    rows: Sequence[Any]
    rows_tree: TreeDef
    steps: int

    def run(self) -> tuple[Any, Any]:
        """The loop on arrays, as Python runs it."""
        if not self.steps:  # what a step would give is known from a trace alone
            made = self.traced()
            outputs = made.graph.outputs[len(self.carries) :]
            ys = [np.zeros((0, *a.type.shape), a.type.dtype) for a in outputs]
            return self.tree.unflatten(list(self.carries)), made.result.children[1].unflatten(ys)
        state, kept = list(map(as_numpy, self.carries)), []
        first: _Ys | None = None
        for t in range(self.steps):
            after, y = self.step(*state, *(x[t] for x in self.rows))
            for a, b, path in zip(state, after, self.tree.leaf_paths(), strict=True):
                check_kept(f"scan: the carry{path}", type_of_leaf(a), type_of_leaf(b))
            state = list(map(as_numpy, after))
            found, ys_tree = flatten(y)
            first = first or _Ys(found, ys_tree)
            first.check(found, ys_tree)
            kept.append(found)
        assert first is not None
        ys = [np.stack(column) for column in zip(*kept, strict=True)]
        return self.tree.unflatten(state), first.tree.unflatten(ys)

    def step(self, *leaves: Any) -> Any:
        n = len(self.carries)
        result = self.f(self.tree.unflatten(list(leaves[:n])), self.rows_tree.unflatten(list(leaves[n:])))
        after, y = _pair(result, self.tree)
        return tuple(after), y

    def traced(self) -> Any:
        """One step as a graph of the carries, the rows and what it captured."""
        types = [type_of_leaf(x) for x in self.carries]
        types += [ArrayType(type_of_leaf(x).shape[1:], type_of_leaf(x).dtype) for x in self.rows]
        made = trace(self.step, [Argument(t, None, not t.shape) for t in types], "step")
        for before, after, path in zip(types, made.graph.outputs, self.tree.leaf_paths(), strict=False):
            check_kept(f"scan: the carry{path}", before, after.type)
        return made

    def emit(self) -> tuple[Any, Any]:
        made = self.traced()
        carries = [_strong(x) for x in self.carries]
        rows = [_strong(x) for x in self.rows]
        captured = [_strong(x) for x in made.captures]
        n = len(carries)
        if not self.steps:
            ys = [zeros_of(ArrayType((0, *a.type.shape), a.type.dtype)) for a in made.graph.outputs[n:]]
            results = [*carries, *ys]
        else:
            graph, others = _without_invariants(made.graph, n + len(rows), captured)
            found = per_element(graph, n)
            if isinstance(found, Elements):
                results = _one_loop(graph, found, self.steps, carries, rows, others)
            else:
                results = _written_out(graph, found, self.steps, carries, rows, others)
        tracers = [Tracer(v, True) for v in results]
        return self.tree.unflatten(tracers[:n]), made.result.children[1].unflatten(tracers[n:])


def _strong(x: Any) -> Value:
    value = as_value(unwrap(x, Tracer))
    return Value(value.builder, value.atom)


def _without_invariants(graph: Graph, own: int, captured: Sequence[Value]) -> tuple[Graph, list[Value]]:
    """What all steps compute alike is emitted here, once; the rest of a step, and what it reads of that.

    Constants stay where they are.
    """
    inputs = (*graph.inputs[own:], *graph.inputs[:own])
    first, rest = partition_graph(Graph(inputs, graph.eqns, graph.outputs, graph.name), len(captured), 0)
    repeated = {e.out: e for e in first.eqns if e.inputs and all(isinstance(a, Const) for a in e.inputs)}
    count = len(first.outputs)
    others = [(v, x) for v, x in zip(rest.inputs[:count], embed(first, captured, ())) if v not in repeated]
    constants = [repeated[v] for v in rest.inputs[:count] if v in repeated]
    inputs = (*rest.inputs[count:], *(v for v, _ in others))
    return Graph(inputs, (*constants, *rest.eqns), graph.outputs, graph.name), [x for _, x in others]


# --- one kernel ---------------------------------------------------------------------------------------------


def _one_loop(
    graph: Graph,
    elements: Elements,
    steps: int,
    carries: Sequence[Value],
    rows: Sequence[Value],
    others: Sequence[Value],
) -> list[Value]:
    """Operands are spread over the shape of the loop, and results brought back to the shapes of theirs."""
    shape = elements.shape
    n, last = len(carries), len(carries) + len(rows)
    spread = [
        _spread(x, dims, shape, (steps,) if n <= k < last else ())
        for k, (x, dims) in enumerate(zip((*carries, *rows, *others), elements.inputs, strict=True))
    ]
    loop = Loop.split(spread, n, len(rows))
    results = loop.run(elements.body, steps, shape, False, range(len(graph.outputs)))
    return [
        _gathered(x, dims, a.type.shape, () if k < n else (steps,))
        for k, (x, dims, a) in enumerate(zip(results, elements.outputs, graph.outputs, strict=True))
    ]


def _spread(x: Value, dims: Dims, shape: tuple[int, ...], lead: tuple[int, ...]) -> Value:
    kept = [(n, d) for n, d in zip(x.shape[len(lead) :], dims, strict=True) if d is not None]
    squeezed = reshape(x, (*lead, *(n for n, _ in kept)))
    return broadcast(squeezed, (*lead, *shape), (*range(len(lead)), *(d + len(lead) for _, d in kept)))


def _gathered(x: Value, dims: Dims, shape: tuple[int, ...], lead: tuple[int, ...]) -> Value:
    """One element along the axes of the loop that the result does not have, on which all are equal."""
    own = [d for d in dims if d is not None]
    pieces = [(0, n if k < len(lead) or k - len(lead) in own else 1, 1) for k, n in enumerate(x.shape)]
    there = sorted(own)
    x = reshape(take_slices(x, pieces), (*lead, *(x.shape[len(lead) + d] for d in there)))
    order = (*range(len(lead)), *(len(lead) + there.index(d) for d in own))
    return reshape(permute(x, order), (*lead, *shape))


# --- written out --------------------------------------------------------------------------------------------


def _written_out(
    graph: Graph,
    obstacle: Eqn | None,
    steps: int,
    carries: Sequence[Value],
    rows: Sequence[Value],
    others: Sequence[Value],
) -> list[Value]:
    """The equations of all steps, one after the other."""
    if steps * len(graph.eqns) > MOST_UNROLLED:
        what = "its arrays share no shape" if obstacle is None else f"{obstacle.primitive.name} is in it"
        source = obstacle.source if obstacle is not None else None
        raise UnsupportedError(
            f"scan: a step does not compute each element by itself ({what}), and {steps} steps of "
            f"{len(graph.eqns)} equations are too many to be written out, {MOST_UNROLLED} at most",
            where=source.describe() if source is not None else None,
            hint="let the state be one element's own, or scan over fewer steps",
        )
    n = len(carries)
    state, kept = list(carries), []
    for t in range(steps):
        now = [reshape(slice_axis(x, 0, t, 1), x.shape[1:]) for x in rows]
        found = embed(graph, [*state, *now], others)
        state = found[:n]
        kept.append([reshape(y, (1, *y.shape)) for y in found[n:]])
    return [*state, *(join(column, 0) for column in zip(*kept, strict=True))]
