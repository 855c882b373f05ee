"""`vjp` and `jvp`: products with the Jacobian, from the left and from the right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tracejit.api.functions import (
    Options,
    abstract_key,
    base_of,
    function_name,
    make_program,
)
from tracejit.api.lowering import Lowered, move_last_inputs, split_aux, trace_call
from tracejit.api.programs import Program, shared_programs
from tracejit.api.signature import Call, Parameters, call_key
from tracejit.errors import ArgumentError, DTypeError, ShapeError
from tracejit.frontend import Tracer, argument_of, embed, entering, take_in
from tracejit.ir import Graph, current_builder, is_floating
from tracejit.ops.value import class_name, is_foreign, is_on_device, refused_operand
from tracejit.passes import simplify_graph
from tracejit.pytree import TreeDef, first_difference, flatten
from tracejit.transforms import jvp_graph, partition_graph, vjp_graph


def jvp(
    f: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> Any:
    """The value of `f(*primals)` and its derivative in the direction `tangents`: `(value, tangent)`.

    primals, tangents: tuples or lists of the same structure and shapes; an integer or bool among the primals
        cannot move: its tangent is None (or zero), and so is the tangent of an integer or bool result
    has_aux: `f` returns `(result, aux)`; the result is then `(value, tangent, aux)`
    Raises ArgumentError where the structures differ and ShapeError where shapes do.

    >>> tj.jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))

    A Hessian times a vector is the jvp of a gradient:

    >>> f = lambda x: (x**3).sum()
    >>> tj.jvp(tj.grad(f), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))[1]
    array([6., 0.])
    """
    name = function_name(f)
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise ArgumentError(
                f"jvp: {what} must be a tuple or a list of arguments, got {type(given).__name__}",
                hint="write jvp(f, (x,), (v,)) for a function of one argument",
            )
    options = Options("jvp", None)
    call = _read(f, tuple(primals), name, "jvp")
    moved = _matching_leaves(
        tuple(tangents), call.treedef, _arguments(call.leaves), "jvp: tangents", "primals"
    )
    pushed = Call([*call.leaves, *moved], call.treedef, False, (), call.parameters)

    def lower() -> Lowered:
        return _lower_jvp(f, call, name, len(moved), has_aux)

    return _run(f, pushed, lower, (options, has_aux))


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `f(*primals)` and its pullback: `(value, pullback)`.

    `pullback(ct)` gives, for a cotangent nested and shaped like the value, a tuple with the cotangent of each
    primal. It can be called many times; the forward part is not run again. Integer and bool leaves have the
    cotangent None.
    has_aux: `f` returns `(result, aux)`; the result is then `(value, pullback, aux)`.

    >>> value, pullback = tj.vjp(lambda x, y: x * y, 2.0, 5.0)
    >>> value, pullback(1.0)
    (np.float64(10.0), (np.float64(5.0), np.float64(2.0)))
    """
    name = function_name(f)
    call = _read(f, primals, name, "vjp")
    return _run(f, call, lambda: _lower_vjp(f, call, name, has_aux), (Options("vjp", None), has_aux))


_ON_DEVICE = {
    "jvp": 'tj.jit(lambda x, v: tj.jvp(f, (x,), (v,)), target="cuda")',
    "vjp": 'tj.jit(lambda x, ct: tj.vjp(f, x)[1](ct), target="cuda")',
}


def _read(f: Any, primals: tuple[Any, ...], name: str, api: str) -> Call:
    leaves, treedef = flatten(primals)
    call = Call(list(map(take_in, leaves)), treedef, False, (), Parameters(f, (), name))
    for leaf, path in zip(call.leaves, call.leaf_names(), strict=True):
        if current_builder() is None and is_on_device(leaf):
            raise ArgumentError(
                f"{api} of {name}: argument {path} is a {class_name(leaf)}, and {api} runs on this processor",
                hint=f"on a device, write {_ON_DEVICE[api]}",
            )
    call.check_leaves(f"{api} of {name}")
    return call


def _run(f: Any, call: Call, lower: Callable[[], Lowered], options: tuple[Any, ...]) -> Any:
    """Make what `lower` gives part of the trace under way, or compile it, find it again, and call it."""
    if current_builder() is not None:
        with entering((id(base_of(f)[0]), options, abstract_key(call)), function_name(f)):
            lowered = lower()
            outputs = embed(simplify_graph(lowered.graph), call.leaves, lowered.captures)
            return lowered.finish([Tracer(v, True) for v in outputs])
    base, chain = base_of(f)
    programs = shared_programs(base, (*chain, *options))
    key: Hashable = call_key(call)
    program = programs.find(key)
    if program is None:
        with programs.lock:
            program = programs.find(key)
            if program is None:
                program = _make(f, lower)
                if program.is_reusable:
                    programs.add(key, program)
    return program(call.leaves)


def _make(f: Any, lower: Callable[[], Lowered]) -> Program:
    return make_program(f, lower, Options("vjp"))


def _arguments(leaves: Sequence[Any]) -> list[Any]:
    return [argument_of(leaf).type for leaf in leaves]


# --- jvp ----------------------------------------------------------------------------------------------------


def _lower_jvp(f: Any, call: Call, name: str, moved: int, has_aux: bool) -> Lowered:
    count = len(call.leaves)
    traced = trace_call(f, call, range(count), name)
    result, aux = split_aux(traced, "jvp", name) if has_aux else (traced.result, TreeDef("tuple", tuple))
    moves = [k < count and v.type.is_float for k, v in enumerate(traced.graph.inputs)]
    graph = jvp_graph(traced.graph, moves)
    outputs = len(traced.graph.outputs)
    is_float = [atom.type.is_float for atom in traced.graph.outputs[: result.num_leaves]]
    # Float auxiliary results have tangents too, which nobody asked for; they come last.
    graph = replace(graph, outputs=graph.outputs[: outputs + sum(is_float)])
    graph = move_last_inputs(graph, moved, count)

    def finish(values: Sequence[Any]) -> Any:
        tangents = iter(values[outputs:])
        value = result.unflatten(values[: result.num_leaves])
        tangent = result.unflatten([next(tangents) if f else None for f in is_float])
        if not has_aux:
            return value, tangent
        return value, tangent, aux.unflatten(values[result.num_leaves : outputs])

    return Lowered(graph, traced, finish, {"trace": traced.graph, "tangent": graph})


# --- vjp ----------------------------------------------------------------------------------------------------


def _lower_vjp(f: Any, call: Call, name: str, has_aux: bool) -> Lowered:
    count = len(call.leaves)
    traced = trace_call(f, call, range(count), name)
    result, aux = split_aux(traced, "vjp", name) if has_aux else (traced.result, TreeDef("tuple", tuple))
    outputs = traced.graph.outputs
    arguments = [argument_of(leaf) for leaf in call.leaves]
    wrt = [k for k, a in enumerate(arguments) if a.type.is_float]
    seeds = [k < result.num_leaves and a.type.is_float for k, a in enumerate(outputs)]
    joint = simplify_graph(vjp_graph(traced.graph, wrt, seeds))
    forward, backward = partition_graph(joint, len(traced.graph.inputs), len(outputs))
    template = _Pullback(
        backward,
        result,
        [atom.type for atom in outputs[: result.num_leaves]],
        call.treedef,
        wrt,
        [n for n, k in enumerate(wrt) if not arguments[k].type.rank and not arguments[k].is_scalar],
        name,
    )

    def finish(values: Sequence[Any]) -> Any:
        value = result.unflatten(values[: result.num_leaves])
        pullback = replace(template, residuals=list(values[len(outputs) :]))
        if not has_aux:
            return value, pullback
        return value, pullback, aux.unflatten(values[result.num_leaves : len(outputs)])

    return Lowered(forward, traced, finish, {"trace": traced.graph, "forward": forward, "pullback": backward})


class _Compiled:
    """The compiled pullback of a program: made at the first call of any pullback that it gave."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.run: Callable[[Sequence[Any]], Sequence[Any]] | None = None

    def get(self, graph: Graph) -> Callable[[Sequence[Any]], Sequence[Any]]:
        if self.run is None:
            from tracejit.compile import compile_graph

            with self.lock:
                if self.run is None:
                    self.run = compile_graph(graph)
        return self.run


@dataclass(frozen=True, eq=False)
class _Pullback:
    """`pullback(ct)`: the cotangents of the primals, from what the forward half left in `residuals`."""

    graph: Graph
    result: TreeDef
    result_types: list[Any]
    primals: TreeDef
    wrt: list[int]
    zero_dims: list[int]
    name: str
    residuals: list[Any] = field(default_factory=list[Any])
    compiled: _Compiled = field(default_factory=_Compiled)

    def __call__(self, ct: Any) -> Any:
        cts = _matching_leaves(ct, self.result, self.result_types, f"pullback of {self.name}: ct", "value")
        operands = [*self.residuals, *cts]
        if current_builder() is not None or any(isinstance(x, Tracer) for x in operands):
            found: list[Any] = [Tracer(v, True) for v in embed(self.graph, operands, ())]
        else:
            outputs = self.compiled.get(self.graph)(operands)
            found = [x if x.ndim else x[()] for x in outputs]
            for n in self.zero_dims:
                found[n] = np.asarray(found[n])
        leaves: list[Any] = [None] * self.primals.num_leaves
        for k, x in zip(self.wrt, found):
            leaves[k] = x
        return self.primals.unflatten(leaves)

    def __repr__(self) -> str:
        return f"<pullback of {self.name}>"


# --- directions ---------------------------------------------------------------------------------------------


def _matching_leaves(tree: Any, treedef: TreeDef, types: Sequence[Any], what: str, whose: str) -> list[Any]:
    """The leaves of a direction (tangents, a cotangent) that belong to float leaves, in their dtypes.

    `treedef` and `types` are of what it must match, which is called `whose`. Leaves of other dtypes are None
    or zero.
    """
    leaves, given = flatten(tree)
    leaves = list(map(take_in, leaves))
    is_float = [t.is_float for t in types]
    if given != treedef:
        bare = flatten(treedef.unflatten([0.0 if f else None for f in is_float]))[1]
        if given != bare:
            raise ArgumentError(
                f"{what} must be nested like the {whose}, they differ {first_difference(treedef, given)}",
                hint=f"expected {treedef}",
            )
        rest = iter(leaves)
        leaves = [next(rest) if f else None for f in is_float]
    paths = treedef.leaf_paths()
    return [
        _direction(leaf, type, f"{what}{path}", whose)
        for leaf, type, path in zip(leaves, types, paths)
        if _moves(leaf, type, f"{what}{path}")
    ]


def _moves(leaf: Any, type: Any, what: str) -> bool:
    if not type.is_float and leaf is not None and not isinstance(leaf, Tracer) and np.any(leaf):
        raise ArgumentError(f"{what} must be None or zero, for {type} cannot move")
    return bool(type.is_float)


def _direction(leaf: Any, type: Any, what: str, whose: str) -> Any:
    """One leaf of a direction, converted to the dtype of `type`, whose shape it must have."""
    if not isinstance(leaf, (Tracer, np.ndarray, np.generic, bool, int, float)):
        if is_foreign(leaf):
            raise refused_operand(leaf, what)
        raise ArgumentError(f"{what} is a {leaf.__class__.__name__}, which is not an array or a number")
    array = leaf if isinstance(leaf, Tracer) else np.asarray(leaf)
    if array.shape != type.shape:
        raise ShapeError(f"{what} has shape {array.shape}, but the {whose} there is {type}")
    if array.dtype == type.dtype:
        return leaf if isinstance(leaf, Tracer) else array
    if array.dtype.kind not in "iub" and not is_floating(array.dtype):
        raise DTypeError(f"{what} has dtype {array.dtype}, but the {whose} there is {type}")
    return array.astype(type.dtype)
