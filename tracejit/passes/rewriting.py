"""What local passes are made of: a graph is emitted again, equation by equation, under a table of rules.

A rule `(rewriter, primitive, inputs, params) -> Atom | None` returns an atom that stands for the equation, or
None where it does not apply. It sees operands already rewritten, and what it emits is rewritten in turn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.ir import (
    ArrayType,
    Atom,
    Builder,
    Const,
    Eqn,
    Graph,
    Kind,
    Primitive,
    Var,
    constant,
    eqn_key,
    substitute,
    uses,
)
from tracejit.ops import core

Axes = tuple[int, ...]
# Rules that emit what rules apply to: a view on its way up a chain stops here, and goes on in the next walk.
MAX_DEPTH = 48

Inputs = Sequence[Atom]
Params = Mapping[str, Any]
Rule = Callable[["Rewriter", Primitive, Inputs, Params], "Atom | None"]


class Rules:
    """Rules by primitive and by kind of primitive; those of the primitive itself are tried first."""

    def __init__(
        self,
        by_primitive: Mapping[Primitive, Sequence[Rule]],
        by_kind: Mapping[Kind, Sequence[Rule]] | None = None,
    ) -> None:
        self._by_primitive = {p: tuple(rules) for p, rules in by_primitive.items()}
        self._by_kind = {k: tuple(rules) for k, rules in (by_kind or {}).items()}
        self._found: dict[Primitive, tuple[Rule, ...]] = {}

    def of(self, primitive: Primitive) -> tuple[Rule, ...]:
        found = self._found.get(primitive)
        if found is None:
            found = self._by_primitive.get(primitive, ()) + self._by_kind.get(primitive.kind, ())
            self._found[primitive] = found
        return found

    def __or__(self, other: Rules) -> Rules:
        """Both tables; the rules of `self` are tried first."""
        return Rules(_merge(self._by_primitive, other._by_primitive), _merge(self._by_kind, other._by_kind))


def _merge(first: Mapping[Any, tuple[Rule, ...]], second: Mapping[Any, tuple[Rule, ...]]) -> dict[Any, Any]:
    return {key: first.get(key, ()) + second.get(key, ()) for key in (*first, *second)}


class Rewriter(Builder):
    """A builder that emits a known graph again; equations that no rule touches keep their variable.

    `uses(atom)` counts the readers that an atom has in the graph; 1 for what a rule has just emitted.
    """

    def __init__(self, graph: Graph, rules: Rules) -> None:
        super().__init__(graph.name, rewrite=self._apply)
        self.inputs = list(graph.inputs)
        self.changes = 0
        self._graph = graph
        self._rules = rules
        self._is_quiet = False
        self.depth = 0  # of rules at work inside of each other

    @functools.cached_property
    def _counts(self) -> dict[Var, int]:
        return uses(self._graph)

    def _apply(self, builder: Builder, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        if self.depth == MAX_DEPTH:
            return None
        self.depth += 1
        for rule in self._rules.of(primitive):
            atom = rule(self, primitive, inputs, params)
            if atom is not None:
                self.changes += 1
                break
        else:
            atom = None
        self.depth -= 1
        return atom

    def uses(self, atom: Atom) -> int:
        return self._counts.get(atom, 1) if isinstance(atom, Var) else 1

    def emit(self, primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any]) -> Atom:
        self._end_quiet()
        return super().emit(primitive, inputs, params)

    def _replace(self, old: Var, new: Atom) -> None:
        self._end_quiet()
        self.changes += 1
        super()._replace(old, new)
        if isinstance(new, Var):
            self._counts[new] = self._counts.get(new, 0) + self._counts.get(old, 0)

    def rewrite(self) -> Graph:
        """The graph under the rules, without equations that nothing reads; itself if none applies."""
        graph = self._graph
        quiet = self._replay_quietly() if graph.is_tidy else 0
        if self._is_quiet:
            return graph
        for eqn in graph.eqns[quiet:]:
            self.replay(eqn)
        outputs = [substitute(self.replaced, a) for a in graph.outputs]
        result = drop_dead(self.finish(outputs))
        is_new = self.changes or len(result.eqns) != len(graph.eqns)
        return (result if is_new else graph).marked_tidy()

    def _replay_quietly(self) -> int:
        """Replay equations of a tidy graph up to the first change; returns how many they are.

        So far no equation can be found to be known, and nothing is noted to find it by.
        """
        self._is_quiet = True
        for number, eqn in enumerate(self._graph.eqns):
            if self._rules.of(eqn.primitive):
                self.source = eqn.source
                simpler = self._apply(self, eqn.primitive, eqn.inputs, eqn.params)
                if simpler is not None:
                    self._replace(eqn.outputs[0], simpler)
                    return number + 1
                if not self._is_quiet:  # a rule emitted something before it gave up
                    self._enter(eqn)
                    return number + 1
            self._append(eqn)
        return len(self._graph.eqns)

    def _end_quiet(self) -> None:
        """From here on an equation may repeat one that was replayed: note them."""
        if self._is_quiet:
            self._is_quiet = False
            for eqn in self.eqns:
                if eqn.primitive.pure:
                    self._known[eqn_key(eqn.primitive, eqn.inputs, eqn.params)] = eqn

    # --- what rules look at and emit ---------------------------------------------------------------------

    def defined_by(self, atom: Atom, primitive: Primitive) -> Eqn | None:
        """The equation that assigns `atom`, if it is one of `primitive`."""
        eqn = self.definitions.get(atom) if isinstance(atom, Var) else None
        return eqn if eqn is not None and eqn.primitive is primitive else None

    def literal(self, atom: Atom) -> Const | None:
        """The constant that every element of `atom` is, if that is how it is defined."""
        if isinstance(atom, Const):
            return atom
        eqn = self.definitions.get(atom)
        if eqn is not None and eqn.primitive is core.broadcast_p and isinstance(eqn.inputs[0], Const):
            return eqn.inputs[0]
        return None

    def splat(self, value: Any, type: ArrayType) -> Atom:
        """`value` repeated over an array type."""
        return self.broadcast(constant(value, type.dtype), type.shape, ())

    def apply(self, operation: Any, *inputs: Atom, **params: Any) -> Atom:
        """Emit an equation of a declared operation (or of a primitive)."""
        return self.emit(getattr(operation, "primitive", operation), inputs, params)

    def broadcast(self, atom: Atom, shape: Axes, dims: Axes) -> Atom:
        if atom.type.shape == shape and dims == tuple(range(len(shape))):
            return atom
        return self.emit(core.broadcast_p, (atom,), {"shape": shape, "dims": dims})

    def reshape(self, atom: Atom, shape: Axes) -> Atom:
        return atom if atom.type.shape == shape else self.emit(core.reshape_p, (atom,), {"shape": shape})

    def permute(self, atom: Atom, axes: Axes) -> Atom:
        return atom if axes == tuple(range(len(axes))) else self.emit(core.permute_p, (atom,), {"axes": axes})


def rewrite_graph(graph: Graph, rules: Rules) -> Graph:
    """One emission of `graph` under `rules`."""
    return Rewriter(graph, rules).rewrite()


def rewrite_to_end(graph: Graph, rules: Rules, rounds: int = 4) -> Graph:
    """Emissions of `graph` under `rules` until nothing changes (nearly always one), at most `rounds`."""
    for _ in range(rounds):
        result = rewrite_graph(graph, rules)
        if result is graph:
            break
        graph = result
    return graph


def drop_dead(graph: Graph) -> Graph:
    """The graph without equations whose results nothing reads; those with an effect stay."""
    if graph.is_tidy:
        return graph
    live: set[Atom] = set(graph.outputs)
    kept: list[Eqn] = []
    for eqn in reversed(graph.eqns):
        if not eqn.primitive.pure or not live.isdisjoint(eqn.outputs):
            kept.append(eqn)
            live.update(eqn.inputs)
    if len(kept) == len(graph.eqns):
        return graph
    return Graph(graph.inputs, tuple(reversed(kept)), graph.outputs, graph.name)


def inverse(axes: Axes) -> Axes:
    """The permutation that undoes `axes`."""
    places = [0] * len(axes)
    for place, axis in enumerate(axes):
        places[axis] = place
    return tuple(places)


def is_zero(value: np.generic) -> bool:
    """Zero without a sign: false for -0.0."""
    return bool(value == 0) and not (value.dtype.kind == "f" and bool(np.signbit(value)))
