"""From a user's function and one call of it to a graph: the function itself, or its value and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tracejit.api.signature import Call
from tracejit.errors import ArgumentError, DTypeError, ShapeError
from tracejit.frontend import Trace, argument_of, trace
from tracejit.ir import Atom, Graph, Var, constant, is_floating
from tracejit.pytree import TreeDef
from tracejit.transforms import vjp_graph


@dataclass(eq=False)
class Lowered:
    """A graph derived from a traced function, before it is compiled or made part of another trace.

    graph: takes leaves of the call (or what stands for them), then the captures
    traced: what the trace found besides the graph: captured arrays, those it relied on
    finish: the user's result from the graph's outputs
    stages: graphs on the way here, by name, to be inspected
    zero_dims: outputs that leave as 0-d arrays, for the argument that they belong to is one
    out: the nesting of what a caller may give arrays for, the number of its first output, what it is called
    """

    graph: Graph
    traced: Trace
    finish: Callable[[Sequence[Any]], Any]
    stages: dict[str, Graph] = field(default_factory=dict[str, Graph])
    zero_dims: tuple[int, ...] = ()
    out: tuple[TreeDef, int, str] | None = None

    @property
    def captures(self) -> tuple[Any, ...]:
        return self.traced.captures


def trace_call(function: Callable[..., Any], call: Call, declared: Sequence[int], name: str) -> Trace:
    """Trace `function` with the leaves at the positions `declared` as inputs and the others as they are."""

    def on_tracers(*tracers: Any) -> Any:
        leaves = list(call.leaves)
        for k, tracer in zip(declared, tracers):
            leaves[k] = tracer
        return call.invoke(function, leaves)

    return trace(on_tracers, [argument_of(call.leaves[k]) for k in declared], name, call.elsewhere)


def lower_value(function: Callable[..., Any], call: Call, declared: Sequence[int], name: str) -> Lowered:
    """The function itself."""
    traced = trace_call(function, call, declared, name)
    out = (traced.result, 0, "results")
    return Lowered(traced.graph, traced, traced.result.unflatten, {"trace": traced.graph}, out=out)


@dataclass(frozen=True)
class GradOptions:
    """What to differentiate by, and what to give back; `argnums` as the user wrote it."""

    api: str
    argnums: int | tuple[int, ...]
    has_aux: bool = False
    with_value: bool = True

    @property
    def positions(self) -> tuple[int, ...]:
        return self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)

    def selected(self, call: Call) -> tuple[int, ...]:
        """The positional arguments selected in a call, negative numbers counted from the last one."""
        count = len(call.positional())
        chosen = tuple(p + count if p < 0 else p for p in self.positions)
        for p in chosen:
            if not 0 <= p < count:
                raise ArgumentError(f"{self.api}: argnums selects argument {p}, but there are only {count}")
            if call.parameters.name_of(p) in [name for name, _ in call.statics]:
                raise ArgumentError(
                    f"{self.api}: argnums selects {call.parameters.name_of(p)}, which is a static argument"
                )
        return chosen

    def leaves(self, call: Call) -> list[int]:
        """The leaves of the selected arguments, in order of `argnums`."""
        return [k for p in self.selected(call) for k in call.range_of(p)]


def lower_grad(
    function: Callable[..., Any], call: Call, declared: Sequence[int], name: str, options: GradOptions
) -> Lowered:
    """The value (if wanted), the auxiliary results and the gradients, forward and adjoint in one graph."""
    wrt = options.leaves(call)
    check_differentiable(call, wrt, f"{options.api} of {name}")
    traced = trace_call(function, call, declared, name)
    aux = check_loss(traced, name, options)
    place = {k: position for position, k in enumerate(declared)}
    seeds = [constant(1, traced.graph.outputs[0].type.dtype)] + [False] * aux.num_leaves
    graph = vjp_graph(traced.graph, [place[k] for k in wrt], seeds)
    if not options.with_value:
        graph = replace(graph, outputs=graph.outputs[1:])
    first_grad = len(graph.outputs) - len(wrt)
    zero_dims = [
        first_grad + n
        for n, k in enumerate(wrt)
        if not traced.graph.inputs[place[k]].type.rank and not argument_of(call.leaves[k]).is_scalar
    ]
    stages = {"trace": traced.graph, "adjoint": graph}
    out = (_grad_tree(call, options), first_grad, "gradients")
    return Lowered(graph, traced, _grad_result(call, options, aux), stages, tuple(zero_dims), out)


def _grad_tree(call: Call, options: GradOptions) -> TreeDef:
    """The nesting of the gradients."""
    children = call.positional()
    trees = tuple(children[p] for p in options.selected(call))
    return trees[0] if isinstance(options.argnums, int) else TreeDef("tuple", tuple, (), trees)


def _grad_result(call: Call, options: GradOptions, aux: TreeDef) -> Callable[[Sequence[Any]], Any]:
    """The function that puts `(value, aux leaves, gradient leaves)` together as the user wants them."""
    tree = _grad_tree(call, options)
    first_aux = 1 if options.with_value else 0
    first_grad = first_aux + aux.num_leaves

    def gradients(outputs: Sequence[Any]) -> Any:
        return outputs[first_grad] if tree.kind == "leaf" else tree.unflatten(outputs[first_grad:])

    if not options.has_aux:
        if options.with_value:
            return lambda outputs: (outputs[0], gradients(outputs))
        return gradients
    if options.with_value:
        return lambda outputs: ((outputs[0], aux.unflatten(outputs[1:first_grad])), gradients(outputs))
    return lambda outputs: (gradients(outputs), aux.unflatten(outputs[:first_grad]))


# --- checks -------------------------------------------------------------------------------------------------


def check_differentiable(call: Call, wrt: Sequence[int], what: str) -> None:
    """Raise for the first of the leaves `wrt` that is not a float."""
    for k in wrt:
        dtype = argument_of(call.leaves[k]).type.dtype
        if not is_floating(dtype):
            raise DTypeError(
                f"{what}: argument {call.leaf_names()[k]} has dtype {dtype}, and only float arguments have "
                "gradients",
                hint="pass floats (x.astype(float), 1.0 in place of 1), or select other "
                "arguments with argnums",
            )


def split_aux(traced: Trace, api: str, name: str) -> tuple[TreeDef, TreeDef]:
    """The nestings of the result and of the auxiliary data of a function that returns `(result, aux)`."""
    result = traced.result
    if result.cls is not tuple or len(result.children) != 2:
        raise ArgumentError(
            f"{api}: with has_aux=True {name} must return a pair (result, aux), got {result}",
            hint="return (value, aux), or leave has_aux out",
        )
    return result.children[0], result.children[1]


def check_loss(traced: Trace, name: str, options: GradOptions) -> TreeDef:
    """Check that the first result is a float scalar; returns the nesting of the auxiliary results."""
    loss, aux = traced.result, TreeDef("tuple", tuple)
    if options.has_aux:
        loss, aux = split_aux(traced, options.api, name)
    if loss.kind != "leaf":
        hint = "return one number; give other results with has_aux=True: return (value, others)"
        raise ShapeError(f"{options.api}: {name} must return one scalar, got {loss}", hint=hint)
    atom = traced.graph.outputs[0]
    where = source_of(traced.graph, atom)
    if atom.type.rank:
        raise ShapeError(
            f"{options.api}: {name} must return a scalar, got {atom.type}",
            where=where,
            hint="reduce it, for instance with .sum() or .mean(); for other products with the Jacobian use "
            "tj.vjp or tj.jvp",
        )
    if not atom.type.is_float:
        raise DTypeError(
            f"{options.api}: {name} must return a float, got {atom.type}",
            where=where,
            hint="integers and bools have no derivative: compute the value with floats",
        )
    return aux


def source_of(graph: Graph, atom: Atom) -> str | None:
    """Where in the user's code an output was made."""
    for eqn in graph.eqns:
        if eqn.outputs[0] is atom and eqn.source is not None:
            return eqn.source.describe()
    return None


# --- graphs -------------------------------------------------------------------------------------------------


def move_last_inputs(graph: Graph, count: int, position: int) -> Graph:
    """`graph` with its last `count` inputs moved to `position`."""
    inputs: tuple[Var, ...] = graph.inputs
    rest = len(inputs) - count
    return replace(graph, inputs=(*inputs[:position], *inputs[rest:], *inputs[position:rest]))
