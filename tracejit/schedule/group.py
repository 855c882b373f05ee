"""Groups: equations that share one loop nest, the axes of that nest, and the test that it can be ordered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from tracejit.ir import Atom, Const, Eqn, Kind, Var
from tracejit.schedule.access import Dims, is_virtual, reaches

_axis_numbers = itertools.count()


def new_axis() -> int:
    """The number of an axis that nothing else has."""
    return next(_axis_numbers)


@dataclass
class Group:
    """Equations (by number) with the loop axes of every array they touch.

    extents: size of each axis
    ages: for each axis the number that it was first known by; among equals the older one goes outside
    computed: the axes of each result, dimension by dimension (None: size 1); None for a scatter's result,
        which is complete only when the whole nest has run, and for the rows that a loop over time leaves
    domains: for each result the axes that its equation runs over (a reduction's include the reduced ones)
    domain_dims: the same, in the order of the dimensions of the shape that the equation runs over
    reads: arrays and results read, with the axes of their dimensions; None where elements are picked
    operands: for each result the arrays and results that its equation reads, through views as well
    reduced: the reductions, by their results
    """

    eqns: dict[int, Eqn] = field(default_factory=dict)
    extents: dict[int, int] = field(default_factory=dict)
    ages: dict[int, int] = field(default_factory=dict)
    computed: dict[Var, Dims | None] = field(default_factory=dict)
    domains: dict[Var, frozenset[int]] = field(default_factory=dict)
    domain_dims: dict[Var, Dims] = field(default_factory=dict)
    reads: dict[tuple[Var, Dims | None], None] = field(default_factory=dict)
    operands: dict[Var, frozenset[Var]] = field(default_factory=dict)
    reduced: dict[Var, Eqn] = field(default_factory=dict)

    def operands_of(self, eqn: Eqn) -> list[Var]:
        """Results of this group that the equation reads, through views as well."""
        return [v for v in self.operands[eqn.out] if v in self.computed]

    def external_reads(self) -> Iterator[tuple[Var, Dims | None]]:
        return ((v, dims) for v, dims in self.reads if v not in self.computed)


def single(number: int, eqn: Eqn, definitions: Mapping[Var, Eqn]) -> Group:
    """The group of one equation, on axes of its own."""
    var, shape = eqn.outputs[0], domain_shape(eqn)
    axes: Dims = tuple([new_axis() if n != 1 else None for n in shape])
    extents = {a: n for a, n in zip(axes, shape, strict=True) if a is not None}
    reads: dict[tuple[Var, Dims | None], None] = {}
    for operand, dims in operand_axes(eqn, axes):
        if isinstance(operand, Var) and not is_virtual(definitions.get(operand)):
            reads[(operand, dims)] = None
            continue
        for reach in reaches(operand, definitions):
            if isinstance(reach.base, Const):
                continue
            moved = None
            if dims is not None and reach.dims is not None:
                moved = tuple(None if d is None else dims[d] for d in reach.dims)
            reads[(reach.base, moved)] = None
    return Group(
        {number: eqn},
        extents,
        dict(zip(extents, extents, strict=True)),
        {var: _result_axes(eqn, axes)},
        {var: frozenset(extents)},
        {var: axes},
        reads,
        {var: frozenset([v for v, _ in reads])},
        {var: eqn} if eqn.primitive.kind is Kind.REDUCTION else {},
    )


def domain_shape(eqn: Eqn) -> tuple[int, ...]:
    """The shape that the equation's loop runs over."""
    if eqn.primitive.kind is Kind.REDUCTION or is_scatter(eqn):
        return eqn.inputs[0].type.shape
    if eqn.primitive.kind is Kind.CONTROL:
        return eqn.params["shape"]
    return eqn.out.type.shape


def is_scatter(eqn: Eqn) -> bool:
    """INDEX equations whose result is indexed by data (the other ones read at such places)."""
    return eqn.primitive.kind is Kind.INDEX and eqn.primitive.reducer == "sum"


def operand_axes(eqn: Eqn, axes: Dims) -> Iterator[tuple[Atom, Dims | None]]:
    """The operands with the axes of their dimensions, None for the array that a gather picks from.

    And for those whose rows a loop over time reads: its axis is no axis of the group.
    """
    if eqn.primitive.kind is Kind.INDEX:
        first, *indices = eqn.inputs
        yield first, (axes if is_scatter(eqn) else None)
        for index in indices:
            yield index, axes[: index.type.rank]
    elif eqn.primitive.kind is Kind.CONTROL:
        first = eqn.params["carries"]
        for k, operand in enumerate(eqn.inputs):
            yield operand, None if first <= k < first + eqn.params["scanned"] else axes
    else:
        for operand in eqn.inputs:
            yield operand, axes


def _result_axes(eqn: Eqn, axes: Dims) -> Dims | None:
    if is_scatter(eqn) or (
        eqn.primitive.kind is Kind.CONTROL and eqn.params["result"] >= eqn.params["carries"]
    ):
        return None
    if eqn.primitive.kind is Kind.REDUCTION:
        return tuple(a for k, a in enumerate(axes) if k not in eqn.params["axes"])
    return axes


def merge(a: Group, b: Group) -> Group | None:
    """The group of both on unified axes, or None when their axes do not fit one another.

    The larger group's axes keep their names, so that only the smaller one is rewritten.
    """
    pairs = _constraints(a, b)
    leader = None if pairs is None else _unify(pairs, a.extents | b.extents)
    if leader is None:
        return None
    names = _names(a, b, leader)
    first, second = _renamed(a, names), _renamed(b, names)
    if first is None or second is None or not (_agree(first, second) and _agree(second, first)):
        return None
    ages = a.ages | b.ages
    return Group(
        dict(sorted((a.eqns | b.eqns).items())),
        first.extents | second.extents,
        {name: ages[_find(leader, axis)] for axis, name in names.items()},
        first.computed | second.computed,
        first.domains | second.domains,
        first.domain_dims | second.domain_dims,
        first.reads | second.reads,
        a.operands | b.operands,
        a.reduced | b.reduced,
    )


def _names(a: Group, b: Group, leader: Mapping[int, int]) -> dict[int, int]:
    """What every axis of two groups is called when they are one."""
    names = {axis: _find(leader, axis) for axis in (*a.extents, *b.extents)}
    if len(b.eqns) <= len(a.eqns):
        return names
    kept: dict[int, int] = {}
    for axis in b.extents:
        kept.setdefault(names[axis], axis)
    return {axis: kept.get(name, name) for axis, name in names.items()}


def _renamed(group: Group, names: Mapping[int, int]) -> Group | None:
    """The group with its axes renamed; None where two axes of one equation would become one."""
    if all(names[axis] == axis for axis in group.extents):
        return group

    # Thousands of arrays run along the same few axes.
    renamed: dict[Dims | None, Dims | None] = {None: None}

    def rename(dims: Dims | None) -> Any:
        if dims not in renamed:
            assert dims is not None
            renamed[dims] = tuple(None if d is None else names[d] for d in dims)
        return renamed[dims]

    domains = {domain: frozenset(names[d] for d in domain) for domain in set(group.domains.values())}
    if any(len(before) != len(after) for before, after in domains.items()):
        return None
    return replace(
        group,
        extents={names[axis]: n for axis, n in group.extents.items()},
        computed={v: rename(dims) for v, dims in group.computed.items()},
        domains={v: domains[domain] for v, domain in group.domains.items()},
        domain_dims={v: rename(dims) for v, dims in group.domain_dims.items()},
        reads={(v, rename(dims)): None for v, dims in group.reads},
    )


def _agree(maker: Group, reader: Group) -> bool:
    """Does `reader` read the results of `maker` only at the place where they are computed?"""
    made = maker.computed
    return all(dims is not None and dims == made[v] for v, dims in reader.reads if v in made)


def _find(leader: Mapping[int, int], axis: int) -> int:
    while axis in leader:
        axis = leader[axis]
    return axis


def _unify(pairs: list[tuple[int | None, int | None]], extents: Mapping[int, int]) -> dict[int, int] | None:
    """Axes that become one, each pointing towards the one that stands for them; None when sizes differ."""
    leader: dict[int, int] = {}
    for left, right in pairs:
        if left is None or right is None:
            if left is not right:
                return None
            continue
        first, second = _find(leader, left), _find(leader, right)
        if extents[first] != extents[second]:
            return None
        if first != second:
            leader[second] = first
    return leader


def _constraints(a: Group, b: Group) -> list[tuple[int | None, int | None]] | None:
    """Pairs of axes that must be one; None when the groups cannot share a nest."""
    pairs: list[tuple[int | None, int | None]] = []
    linked = False
    for maker, reader, swap in ((a, b, False), (b, a, True)):
        for var, dims in reader.reads:
            if var not in maker.computed:
                continue
            made = maker.computed[var]
            if made is None or dims is None:
                return None
            linked = True
            pairs += [(d, m) if swap else (m, d) for m, d in zip(made, dims, strict=True)]
    return pairs if linked else _sibling_constraints(a, b)


def _sibling_constraints(a: Group, b: Group) -> list[tuple[int | None, int | None]] | None:
    """Groups that read the same array, the largest one telling which axes are the same."""
    best: tuple[int, list[tuple[int | None, int | None]]] | None = None
    for var, dims in a.external_reads():
        if dims is None:
            continue
        for other, other_dims in b.external_reads():
            if other is var and other_dims is not None and (best is None or var.type.size > best[0]):
                best = (var.type.size, list(zip(dims, other_dims, strict=True)))
    if best is None or not any(p[0] is not None for p in best[1]):
        return None
    return best[1]


def add_result(group: Group, number: int, eqn: Eqn, known: Eqn) -> None:
    """Put another result of a computation with several into the group that has one, `known`."""
    dims = group.domain_dims[known.out]
    group.eqns[number] = eqn
    group.computed[eqn.out] = _result_axes(eqn, dims)
    group.domains[eqn.out], group.domain_dims[eqn.out] = group.domains[known.out], dims
    group.operands[eqn.out] = group.operands[known.out]


def extend(group: Group, new: Group) -> bool:
    """Put one elementwise equation into a group in place, when it runs along one of the group's own results.

    The common case of `merge`, without its cost, which grows with the group: no axis is new and no order is
    newly constrained. The equation comes after those of the group.
    """
    ((number, eqn),) = new.eqns.items()
    if eqn.primitive.kind is not Kind.ELEMENTWISE:
        return False
    out = eqn.outputs[0]
    loops = bool(new.domains[out])
    places: dict[int, int] = {}
    for var, dims in new.reads:
        if var not in group.computed:
            continue
        made = group.computed[var]
        # A loop must not wait for a reduction or a scalar of its own group without a look at the order.
        if made is None or dims is None or (loops and (var in group.reduced or not group.domains[var])):
            return False
        for here, there in zip(dims, made, strict=True):
            if here is not None and (there is None or places.setdefault(here, there) != there):
                return False
    if len(places) != len(new.extents) or len(set(places.values())) != len(places):
        return False

    def rename(dims: Dims) -> Dims:
        return tuple([None if d is None else places[d] for d in dims])

    group.eqns[number] = eqn
    group.computed[out] = group.domain_dims[out] = rename(new.domain_dims[out])
    group.domains[out] = frozenset(places.values())
    group.operands[out] = new.operands[out]
    for var, dims in new.reads:
        group.reads[(var, None if dims is None else rename(dims))] = None
    return True


def consumed_reductions(group: Group, epilogue: Set[Var]) -> list[Eqn]:
    """Reductions whose result a loop of the same group needs (the scalars of its `epilogue` do not count)."""
    if not group.reduced:
        return []
    needed = set[Var]().union(*[read for v, read in group.operands.items() if v not in epilogue])
    return [e for v, e in group.reduced.items() if v in needed]


def _register_reductions(group: Group) -> list[Eqn]:
    """Reductions that need two registers and cannot run in memory: argmax and argmin."""
    return [e for e in group.reduced.values() if (e.primitive.reducer or "").startswith("arg")]


def epilogue_results(group: Group) -> set[Var]:
    """Scalars computed after the nest: they depend on a reduction to a scalar."""
    late: set[Var] = set()
    if not group.reduced or all(group.domains.values()):
        return late
    for eqn in group.eqns.values():
        var = eqn.outputs[0]
        if not group.domains[var]:
            read = group.operands[var]
            if not (late.isdisjoint(read) and group.reduced.keys().isdisjoint(read)):
                late.add(var)
    return late


def loop_order(group: Group, rank: bool = True) -> list[int] | None:
    """An order of the axes, outermost first, in which the group is one nest; None when there is none.

    Every loop must hold all equations that have axes (one outermost axis in all domains), and a reduction
    whose result is needed inside must have its kept axes outside of its reduced ones. `rank=False` only asks
    whether there is one.
    """
    domains = {d for d in group.domains.values() if d}
    if not domains:
        return []
    late = epilogue_results(group)
    if late and any(d and not late.isdisjoint(group.operands[v]) for v, d in group.domains.items()):
        return None  # a loop would wait for a scalar that is known only when all loops have run
    before: dict[int, set[int]] = {axis: set() for axis in group.extents}
    inner: set[int] = set()
    consumed = consumed_reductions(group, late)
    for eqn in {*consumed, *_register_reductions(group)}:
        kept = {a for a in group.computed[eqn.out] or () if a is not None}
        reduced = group.domains[eqn.out] - kept
        for axis in reduced:
            before[axis] |= kept
        if eqn in consumed:
            inner |= reduced
    outer = frozenset.intersection(*domains) - inner
    outer = {a for a in outer if not before[a]}
    if not outer:
        return None
    return _ranked(group, outer, before) if rank else _reachable(outer, before)


def _ranked(group: Group, outer: Set[int], before: Mapping[int, Set[int]]) -> list[int] | None:
    """All axes, one of `outer` first, each after those in `before`; contiguous ones as far in as can be."""
    score = _inner_scores(group)
    order = [min(outer, key=lambda a: (score[a], group.ages[a]))]
    while len(order) < len(before):
        ready = [a for a in before if a not in order and before[a] <= set(order)]
        if not ready:
            return None
        order.append(min(ready, key=lambda a: (score[a], group.ages[a])))
    return order


def _reachable(outer: Set[int], before: Mapping[int, Set[int]]) -> list[int] | None:
    """As `_ranked`, in any order that there is."""
    order = [next(iter(outer))]
    while len(order) < len(before):
        known = set(order)
        ready = [a for a, needed in before.items() if a not in known and needed <= known]
        if not ready:
            return None
        order += ready
    return order


def _inner_scores(group: Group) -> dict[int, int]:
    """How much an axis wants to be the innermost: bytes of the arrays that it walks contiguously."""
    score = dict.fromkeys(group.extents, 0)
    accesses = list(group.reads) + list(group.computed.items())
    for var, dims in accesses:
        axes = [d for d in dims or () if d is not None]
        for place, axis in enumerate(axes):
            score[axis] += (
                var.type.nbytes * (place + 1 - len(axes)) if place + 1 < len(axes) else var.type.nbytes
            )
    return score
