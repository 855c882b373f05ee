"""Groups: equations that share one loop nest, the axes of that nest, and the test that it can be ordered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tracejit.ir import Atom, Const, Eqn, Kind, Var
from tracejit.schedule.access import Dims, reaches

_axis_numbers = itertools.count()


@dataclass
class Group:
    """Equations (by number) with the loop axes of every array they touch.

    extents: size of each axis
    computed: the axes of each result, dimension by dimension (None: size 1); None for a scatter's result,
        which is complete only when the whole nest has run
    domains: for each result the axes that its equation runs over (a reduction's include the reduced ones)
    domain_dims: the same, in the order of the dimensions of the shape that the equation runs over
    reads: arrays and results read, with the axes of their dimensions; None where elements are picked
    operands: for each result the arrays and results that its equation reads, through views as well
    reduced: the results of reductions
    """

    eqns: dict[int, Eqn] = field(default_factory=dict)
    extents: dict[int, int] = field(default_factory=dict)
    computed: dict[Var, Dims | None] = field(default_factory=dict)
    domains: dict[Var, frozenset[int]] = field(default_factory=dict)
    domain_dims: dict[Var, Dims] = field(default_factory=dict)
    reads: dict[tuple[Var, Dims | None], None] = field(default_factory=dict)
    operands: dict[Var, frozenset[Var]] = field(default_factory=dict)
    reduced: set[Var] = field(default_factory=set)

    def operands_of(self, eqn: Eqn) -> list[Var]:
        """Results of this group that the equation reads, through views as well."""
        return [v for v in self.operands[eqn.out] if v in self.computed]

    def external_reads(self) -> Iterator[tuple[Var, Dims | None]]:
        return ((v, dims) for v, dims in self.reads if v not in self.computed)


def single(number: int, eqn: Eqn, definitions: Mapping[Var, Eqn]) -> Group:
    """The group of one equation, on axes of its own."""
    group = Group({number: eqn})
    shape = domain_shape(eqn)
    axes = tuple(next(_axis_numbers) if n != 1 else None for n in shape)
    group.extents = {a: n for a, n in zip(axes, shape, strict=True) if a is not None}
    group.domains[eqn.out] = frozenset(group.extents)
    group.domain_dims[eqn.out] = axes
    group.computed[eqn.out] = _result_axes(eqn, axes)
    for operand, dims in operand_axes(eqn, axes):
        for reach in reaches(operand, definitions):
            if isinstance(reach.base, Const):
                continue
            moved = None
            if dims is not None and reach.dims is not None:
                moved = tuple(None if d is None else dims[d] for d in reach.dims)
            group.reads[(reach.base, moved)] = None
    group.operands[eqn.out] = frozenset(v for v, _ in group.reads)
    if eqn.primitive.kind is Kind.REDUCTION:
        group.reduced.add(eqn.out)
    return group


def domain_shape(eqn: Eqn) -> tuple[int, ...]:
    """The shape that the equation's loop runs over."""
    if eqn.primitive.kind is Kind.REDUCTION or is_scatter(eqn):
        return eqn.inputs[0].type.shape
    return eqn.out.type.shape


def is_scatter(eqn: Eqn) -> bool:
    """INDEX equations whose result is indexed by data (the other ones read at such places)."""
    return eqn.primitive.kind is Kind.INDEX and eqn.primitive.reducer == "sum"


def operand_axes(eqn: Eqn, axes: Dims) -> Iterator[tuple[Atom, Dims | None]]:
    """The operands with the axes of their dimensions, None for the array that a gather picks from."""
    if eqn.primitive.kind is Kind.INDEX:
        first, *indices = eqn.inputs
        yield first, (axes if is_scatter(eqn) else None)
        for index in indices:
            yield index, axes[: index.type.rank]
    else:
        for operand in eqn.inputs:
            yield operand, axes


def _result_axes(eqn: Eqn, axes: Dims) -> Dims | None:
    if is_scatter(eqn):
        return None
    if eqn.primitive.kind is Kind.REDUCTION:
        return tuple(a for k, a in enumerate(axes) if k not in eqn.params["axes"])
    return axes


def merge(a: Group, b: Group) -> Group | None:
    """The group of both on unified axes, or None when their axes do not fit one another."""
    pairs = _constraints(a, b)
    leader = None if pairs is None else _unify(pairs, {**a.extents, **b.extents})
    if leader is None:
        return None

    def find(axis: int) -> int:
        return _find(leader, axis)

    def rename(dims: Dims | None) -> Dims | None:
        return None if dims is None else tuple(None if d is None else find(d) for d in dims)

    merged = Group(dict(sorted({**a.eqns, **b.eqns}.items())), reduced=a.reduced | b.reduced)
    merged.extents = {find(axis): n for axis, n in {**a.extents, **b.extents}.items()}
    for part in (a, b):
        for var, axes in part.domains.items():
            merged.domains[var] = frozenset(find(axis) for axis in axes)
            if len(merged.domains[var]) != len(axes):
                return None
            merged.computed[var] = rename(part.computed[var])
            merged.operands[var] = part.operands[var]
            merged.domain_dims[var] = tuple(None if d is None else find(d) for d in part.domain_dims[var])
        for var, dims in part.reads:
            merged.reads[(var, rename(dims))] = None
    consistent = all(
        dims is not None and dims == merged.computed[v] for v, dims in merged.reads if v in merged.computed
    )
    return merged if consistent else None


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


def extend(group: Group, new: Group) -> bool:
    """Put one elementwise equation into a group in place, when it runs along one of the group's own results.

    The common case of `merge`, without its cost, which grows with the group: no axis is new and no order is
    newly constrained. The equation comes after those of the group.
    """
    ((number, eqn),) = new.eqns.items()
    if eqn.primitive.kind is not Kind.ELEMENTWISE:
        return False
    loops = bool(new.domains[eqn.out])
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
        return tuple(None if d is None else places[d] for d in dims)

    group.eqns[number] = eqn
    group.computed[eqn.out] = group.domain_dims[eqn.out] = rename(new.domain_dims[eqn.out])
    group.domains[eqn.out] = frozenset(places.values())
    group.operands[eqn.out] = new.operands[eqn.out]
    for var, dims in new.reads:
        group.reads[(var, None if dims is None else rename(dims))] = None
    return True


def consumed_reductions(group: Group) -> list[Eqn]:
    """Reductions whose result a loop of the same group needs (an epilogue's scalars do not count)."""
    epilogue = epilogue_results(group)
    needed = {v for e in group.eqns.values() if e.out not in epilogue for v in group.operands_of(e)}
    return [e for e in group.eqns.values() if e.primitive.kind is Kind.REDUCTION and e.out in needed]


def _register_reductions(group: Group) -> list[Eqn]:
    """Reductions that need two registers and cannot run in memory: argmax and argmin."""
    return [e for e in group.eqns.values() if (e.primitive.reducer or "").startswith("arg")]


def epilogue_results(group: Group) -> set[Var]:
    """Scalars computed after the nest: they depend on a reduction to a scalar."""
    late: set[Var] = set()
    reduced = group.reduced
    for eqn in group.eqns.values():
        if not group.domains[eqn.out] and any(v in late or v in reduced for v in group.operands_of(eqn)):
            late.add(eqn.out)
    return late


def loop_order(group: Group, rank: bool = True) -> list[int] | None:
    """An order of the axes, outermost first, in which the group is one nest; None when there is none.

    Every loop must hold all equations that have axes (one outermost axis in all domains), and a reduction
    whose result is needed inside must have its kept axes outside of its reduced ones. `rank=False` only asks
    whether there is one.
    """
    domains = [d for d in group.domains.values() if d]
    if not domains:
        return []
    late = epilogue_results(group)
    if any(group.domains[e.out] and late.intersection(group.operands_of(e)) for e in group.eqns.values()):
        return None  # a loop would wait for a scalar that is known only when all loops have run
    before: dict[int, set[int]] = {axis: set() for axis in group.extents}
    inner: set[int] = set()
    consumed = consumed_reductions(group)
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
    score = _inner_scores(group) if rank else dict.fromkeys(group.extents, 0)
    order = [min(outer, key=lambda a: (score[a], a))]
    while len(order) < len(before):
        ready = [a for a in before if a not in order and before[a] <= set(order)]
        if not ready:
            return None
        order.append(min(ready, key=lambda a: (score[a], a)))
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
