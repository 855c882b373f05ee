"""A graph as a function of one element, where it computes each element of one shape by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracejit.ir import Atom, Builder, Const, Eqn, Graph, Kind, Var, substitute
from tracejit.ir.types import ArrayType

Dims = tuple[int | None, ...]
_Dim = tuple[Var, int]


@dataclass(frozen=True)
class Elements:
    """What a graph computes for each element of `shape`.

    body: over scalars
    inputs, outputs: of the graph, for each dimension the axis of `shape` along which it runs (None: size 1)
    """

    body: Graph
    shape: tuple[int, ...]
    inputs: tuple[Dims, ...]
    outputs: tuple[Dims, ...]


def per_element(graph: Graph, tied: int) -> Elements | Eqn | None:
    """`graph` element by element; else the equation that stands in the way, None where shapes do.

    The first `tied` inputs run along the same axes as the outputs of their number.

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[2,3]', v1: 'f64[2]'):
    ...     v2: 'f64[2,3]' = broadcast(v1, dims=(0,), shape=(2, 3))
    ...     v3: 'f64[2,3]' = multiply(v0, v2)
    ...     return (v3,)
    ... ''')
    >>> found = per_element(graph, tied=1)
    >>> print(format_graph(found.body))
    def f(v0: 'f64', v1: 'f64'):
        v2: 'f64' = multiply(v0, v1)
        return (v2,)
    >>> found.shape, found.inputs
    ((2, 3), ((0, 1), (0,)))
    """
    axes = _Axes()
    for eqn in graph.eqns:
        if not axes.link(eqn):
            return eqn
    for before, after in zip(graph.inputs[:tied], graph.outputs[:tied], strict=True):
        axes.tie(before, after)
    found = axes.settle([*graph.inputs, *graph.outputs, *(e.out for e in graph.eqns)])
    if found is None:
        return None
    shape, dims = found
    inputs, outputs = tuple(map(dims, graph.inputs)), tuple(map(dims, graph.outputs))
    if 0 in shape and any(len([d for d in at if d is not None]) < len(shape) for at in (*inputs, *outputs)):
        return None  # what is one number for all elements would be none at all
    return Elements(_scalar_graph(graph), shape, inputs, outputs)


class _Axes:
    """Which dimensions of which variables are one loop's: sets of dimensions, each with a leader."""

    def __init__(self) -> None:
        self.leader: dict[_Dim, _Dim] = {}

    def find(self, dim: _Dim) -> _Dim:
        while dim in self.leader:
            dim = self.leader[dim]
        return dim

    def join(self, a: _Dim, b: _Dim) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.leader[b] = a

    def tie(self, a: Atom, b: Atom) -> None:
        """Two variables of one shape run along the same axes."""
        if isinstance(a, Var) and isinstance(b, Var):
            for k, n in enumerate(a.type.shape):
                if n != 1:
                    self.join((a, k), (b, k))

    def link(self, eqn: Eqn) -> bool:
        """Note what an equation says of axes; False where it does more than work element by element."""
        if eqn.primitive.kind is Kind.ELEMENTWISE:
            for operand in eqn.inputs:
                self.tie(operand, eqn.out)
            return True
        if eqn.primitive.kind is not Kind.VIEW or len(eqn.inputs) != 1 or eqn.primitive.identity_axes is None:
            return False
        (operand,) = eqn.inputs
        moved = eqn.primitive.identity_axes([operand.type], eqn.out.type, **eqn.params)
        if moved is None:
            return False
        for k, place in enumerate(moved):
            if place is not None and operand.type.shape[k] != 1 and isinstance(operand, Var):
                self.join((operand, k), (eqn.out, place))
        return True

    def settle(self, atoms: Sequence[Atom]) -> tuple[tuple[int, ...], _Numbering] | None:
        """The shape that all run over, and the axes of each variable; None where there is no such shape.

        Dimensions that nothing links run along those of the largest variable, counted from the last.
        """
        variables = [a for a in atoms if isinstance(a, Var)]
        main = max(variables, key=lambda v: sum(n != 1 for n in v.type.shape), default=None)
        if main is None:
            return (), _Numbering(self, {})
        wide = [k for k, n in enumerate(main.type.shape) if n != 1]
        for var in variables:
            known = {self.find((main, k)) for k in wide}
            for dim in _wide(var):
                aligned = main.type.rank - var.type.rank + dim[1]
                if self.find(dim) not in known and aligned in wide:
                    if main.type.shape[aligned] != var.type.shape[dim[1]]:
                        return None
                    self.join((main, aligned), dim)
        numbers = {self.find((main, k)): j for j, k in enumerate(wide)}
        for var in variables:
            own = [self.find(d) for d in _wide(var)]
            if len(set(own)) != len(own) or not numbers.keys() >= set(own):
                return None
        return tuple(main.type.shape[k] for k in wide), _Numbering(self, numbers)


def _wide(var: Var) -> Iterator[_Dim]:
    return ((var, k) for k, n in enumerate(var.type.shape) if n != 1)


@dataclass(frozen=True)
class _Numbering:
    axes: _Axes
    numbers: dict[_Dim, int]

    def __call__(self, atom: Atom) -> Dims:
        if isinstance(atom, Const):
            return ()
        shape = atom.type.shape
        return tuple(None if n == 1 else self.numbers[self.axes.find((atom, k))] for k, n in enumerate(shape))


def _scalar_graph(graph: Graph) -> Graph:
    builder = Builder(graph.name)
    env: dict[Var, Atom] = {v: builder.add_input(ArrayType((), v.type.dtype)) for v in graph.inputs}
    for eqn in graph.eqns:
        inputs = [substitute(env, a) for a in eqn.inputs]
        if eqn.primitive.kind is Kind.VIEW:
            env[eqn.out] = inputs[0]
        else:
            with builder.at(eqn.source):
                env[eqn.out] = builder.emit(eqn.primitive, inputs, dict(eqn.params))
    return builder.finish([substitute(env, a) for a in graph.outputs])
