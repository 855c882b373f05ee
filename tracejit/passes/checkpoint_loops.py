"""Loops over time that keep the states of some steps, from which their adjoints run the others again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from tracejit.costs import COSTS, MOST_STEPS_AGAIN, PROGRAM_COST, STEPS_AGAIN_WORK
from tracejit.ir import Atom, Builder, Eqn, Graph, Kind, Var, building, computation_key, constant, substitute
from tracejit.ops.loop import Loop, NewLoop, needed_parts, scan
from tracejit.ops.slicing import slice_axis
from tracejit.ops.value import Value
from tracejit.passes.rewriting import drop_dead


def checkpoint_loops(graph: Graph, states: str = "auto") -> Graph:
    """Join some steps of a loop, and of its adjoint, to one: it has fewer of them, and leaves fewer rows.

    That is for rows in memory that is far: all of a device's ("recompute"); by itself ("auto") those of large
    loops between which a number of all elements stands, as the others are tiles in the caches. All steps
    compute what they did, bit for bit. With two steps of `body` in `body2`:

        v2 = scan(v0, body=body, result=1, steps=100)        v2 = scan(v0, body=body2, result=1, steps=50)
        v3 = scan(v9, v2, body=back, reverse=True)           v3 = scan(v9, v2, body=back2, reverse=True)

    Left alone are loops of whose rows others read some, adjoints that give rows of their own (a gradient for
    what is scanned), numbers of steps that neither 4, 3 nor 2 divides, and adjoints that need so few of the
    states that these are as few as what a step needs to run again.
    """
    if states == "store" or not any(e.primitive is scan for e in graph.eqns):
        return graph
    pairs = _pairs(graph, is_forced=states == "recompute")
    if not pairs:
        return graph
    builder = Builder(graph.name)
    builder.inputs = list(graph.inputs)
    for eqn in graph.eqns:
        if eqn.out in pairs:
            builder.replaced[eqn.out] = pairs[eqn.out].emit(builder, eqn)
        else:
            builder.replay(eqn)
    outputs = tuple(substitute(builder.replaced, a) for a in graph.outputs)
    return drop_dead(Graph(graph.inputs, tuple(builder.eqns), outputs, graph.name))


# --- which loops --------------------------------------------------------------------------------------------


def _pairs(graph: Graph, is_forced: bool) -> dict[Var, _Pair]:
    """The results of loops and adjoints that become loops of fewer steps."""
    loops: dict[object, list[Eqn]] = {}
    readers: dict[Atom, set[object]] = {a: {None} for a in graph.outputs}
    for eqn in graph.eqns:
        key = computation_key(eqn) if eqn.primitive is scan else eqn
        if eqn.primitive is scan:
            loops.setdefault(key, []).append(eqn)
        for operand in eqn.inputs:
            readers.setdefault(operand, set()).add(key)
    made: dict[Atom, Eqn] = {e.out: e for results in loops.values() for e in results}
    found: dict[Var, _Pair] = {}
    for key, results in loops.items():
        rows = _states_read(results[0], made)
        if not rows or any(readers[e.out] != {key} for e in rows.values()):
            continue
        forward = next(iter(rows.values()))
        both = [*loops[computation_key(forward)], *results]
        length = _length(forward, both)
        if not _saves(forward, rows.values(), length):
            continue
        if is_forced or _are_far(graph, forward, rows.values(), results[0]):
            numbers = {k: _number(e) for k, e in rows.items()}
            pair = _Pair(forward, results[0], numbers, length)
            found |= {e.out: pair for e in both if _number(e) < 0}
    return found


def _number(eqn: Eqn) -> int:
    """Of which carry the rows of an equation are, less than 0 where they are none."""
    return eqn.params["result"] - len(eqn.params["body"].outputs)


def _states_read(back: Eqn, made: Mapping[Atom, Eqn]) -> dict[int, Eqn]:
    """The operands of an adjoint that are rows of states of one loop the other way, by their numbers."""
    first = back.params["carries"]
    scanned = range(first, first + back.params["scanned"])
    found = {k: made[back.inputs[k]] for k in scanned if back.inputs[k] in made}
    found = {k: e for k, e in found.items() if _number(e) >= 0}
    ways = {(computation_key(e), e.params["reverse"] != back.params["reverse"]) for e in found.values()}
    return found if len(ways) == 1 and all(is_turned for _, is_turned in ways) else {}


def _length(forward: Eqn, both: Sequence[Eqn]) -> int:
    """Steps that become one; 1 where that cannot be. `both`: what is used of the loop and of its adjoint."""
    if any(e.params["result"] >= e.params["carries"] and _number(e) < 0 for e in both):
        return 1
    eqns = (*forward.params["body"].eqns, *both[-1].params["body"].eqns)
    work = sum(min(max(e.primitive.cost, 1), PROGRAM_COST) for e in eqns)
    most = min(MOST_STEPS_AGAIN, int(STEPS_AGAIN_WORK / max(work, 1)))
    return next((n for n in range(most, 1, -1) if forward.params["steps"] % n == 0), 1)


def _saves(forward: Eqn, rows: Iterable[Eqn], length: int) -> bool:
    """Are the states that a step needs to run again, of one step of so many, half of these rows at most?"""
    body, carries = forward.params["body"], forward.params["carries"]
    kept, _ = needed_parts(body, carries, [e.params["result"] for e in rows])
    size = sum(body.inputs[k].type.nbytes for k in kept)
    return 2 * size <= length * sum(e.out.type.dtype.itemsize for e in rows)


def _are_far(graph: Graph, forward: Eqn, rows: Iterable[Eqn], back: Eqn) -> bool:
    """Does a number of all elements stand between the loops, and do the rows leave the near caches?"""
    if sum(e.out.type.nbytes for e in rows) <= COSTS.near:
        return False
    key, elements = computation_key(forward), prod(forward.params["shape"])
    after, joined = set[Atom](), set[Atom]()
    for eqn in graph.eqns:
        is_loop = eqn.primitive is scan
        if (is_loop and computation_key(eqn) == key) or not after.isdisjoint(eqn.inputs):
            after.add(eqn.out)
            is_own = is_loop or eqn.primitive.kind in (Kind.ELEMENTWISE, Kind.VIEW)
            is_own = is_own or (eqn.primitive.kind is Kind.REDUCTION and eqn.out.type.size >= elements)
            if not is_own or not joined.isdisjoint(eqn.inputs):
                joined.add(eqn.out)
    return not joined.isdisjoint(back.inputs)


# --- the loops of fewer steps -------------------------------------------------------------------------------


class _Pair:
    """A loop and its adjoint, by one result of each.

    states: of which carry the operands of the adjoint are rows; length: how many steps become one
    """

    def __init__(self, forward: Eqn, back: Eqn, states: Mapping[int, int], length: int) -> None:
        self.forward = forward
        self.back = back
        self.states = states
        self.length = length
        self.bodies: dict[Eqn, tuple[Loop, Graph]] = {}
        order = range(length)
        self.order = order[::-1] if forward.params["reverse"] else order  # of rows, as the loop takes them

    def emit(self, builder: Builder, eqn: Eqn) -> Atom:
        """The result of `eqn`, by the loop of fewer steps."""
        with building(builder), builder.at(eqn.source):
            is_back = computation_key(eqn) == computation_key(self.back)
            return self.run(builder, self.back if is_back else self.forward, eqn.params["result"]).atom

    def run(self, builder: Builder, eqn: Eqn, result: int) -> Value:
        if eqn not in self.bodies:
            make = self.make_forward if eqn is self.forward else self.make_back
            self.bodies[eqn] = make(builder)
        loop, body = self.bodies[eqn]
        steps = eqn.params["steps"] // self.length
        return loop.run(body, steps, eqn.params["shape"], eqn.params["reverse"], [result])[0]

    def make_forward(self, builder: Builder) -> tuple[Loop, Graph]:
        """Its body several times."""
        operands, body = _operands(builder, self.forward), self.forward.params["body"]
        new = _Joined(body.name, self.length)
        state = [new.enter("carries", x).atom for x in operands.carries]
        for k in self.order:
            state = new.step(body, state, [new.row(x, k) for x in operands.scanned], operands.others)
        return new.finish(state)

    def make_back(self, builder: Builder) -> tuple[Loop, Graph]:
        """The states of all steps but the first from that one's, then the adjoint's body several times."""
        loop, adjoint = _operands(builder, self.forward), _operands(builder, self.back)
        body, back = self.forward.params["body"], self.back.params["body"]
        made = len(body.outputs)
        carries, first = len(loop.carries), len(adjoint.carries)
        kept, _ = needed_parts(body, carries, [made + k for k in self.states.values()])
        new = _Joined(back.name, self.length)
        cts = [new.enter("carries", x).atom for x in adjoint.carries]
        state: list[Atom] = [constant(0, x.dtype) for x in loop.carries]
        for k in kept:
            state[k] = new.enter("scanned", self.run(builder, self.forward, carries + k)).atom
        states = [state]
        for k in self.order[:-1]:
            states.append(new.step(body, states[-1], [new.row(x, k) for x in loop.scanned], loop.others))
        for k, state in zip(self.order[::-1], states[::-1], strict=True):
            rows = [
                state[self.states[first + j]] if first + j in self.states else new.row(x, k)
                for j, x in enumerate(adjoint.scanned)
            ]
            cts = new.step(back, cts, rows, adjoint.others)
        return new.finish(cts)


def _operands(builder: Builder, eqn: Eqn) -> Loop:
    inputs = [Value(builder, substitute(builder.replaced, a)) for a in eqn.inputs]
    return Loop.split(inputs, eqn.params["carries"], eqn.params["scanned"])


class _Joined(NewLoop):
    """A loop each of whose steps is `length` of another one."""

    def __init__(self, name: str, length: int) -> None:
        super().__init__(name)
        self.length = length
        self.known: dict[tuple[Atom, int], Atom] = {}

    def row(self, rows: Value, k: int) -> Atom:
        """The row of the `k`-th of the steps that are one."""
        key = (rows.atom, k)
        if key not in self.known:
            piece = slice_axis(rows, 0, k, rows.shape[0] // self.length, self.length)
            self.known[key] = self.enter("scanned", piece).atom
        return self.known[key]

    def other(self, x: Value) -> Atom:
        key = (x.atom, -1)
        if key not in self.known:
            self.known[key] = self.enter("others", x).atom
        return self.known[key]

    def step(
        self, body: Graph, carries: Sequence[Atom], rows: Sequence[Atom], others: Sequence[Value]
    ) -> list[Atom]:
        """What is carried after one step of `body`."""
        found = self.builder.inline(body, [*carries, *rows, *map(self.other, others)])
        return found[: len(carries)]

    def finish(self, outputs: Sequence[Atom]) -> tuple[Loop, Graph]:
        body = self.body([Value(self.builder, a) for a in outputs])
        return self.loop, drop_dead(body)
