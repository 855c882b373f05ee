"""Nests that read what another one makes a few rows away run beside it: each row is made just in time.

A stencil's gradient reads the residual at several offsets. Its nest cannot be that of the residual, but can
run a row or two behind it: a ring of a few rows in cache then takes the place of an array in memory.

Enters: steps in order. Leaves: steps in order, some of them joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tracejit.ir import Atom, Eqn, Graph, Kind, Var
from tracejit.passes.rings import are_worth_it
from tracejit.schedule.access import full_index, is_virtual, reaches
from tracejit.schedule.group import Group, is_scatter, operand_axes
from tracejit.schedule.index import Index
from tracejit.schedule.steps import KernelStep, LibraryStep, Step, StreamStep

Definitions = Mapping[Var, Eqn]


@dataclass(frozen=True)
class Link:
    """Rows of `var`, made by part `maker`, are read by part `reader` from `low` to `high` rows away."""

    var: Var
    maker: int
    reader: int
    low: int
    high: int


def join_streams(
    steps: Sequence[Step], graph: Graph, definitions: Definitions, is_forced: bool = False
) -> list[Step]:
    """Join each nest with those that make what it reads, where rows allow; `is_forced` asks no price."""
    joined = _Joined(list(steps), definitions)
    place = 0
    while place < len(joined.steps):
        for other in joined.makers(place):
            stream = joined.stream(other, place, is_forced)
            if stream is not None:
                place = joined.replace(other, place, stream)
                break
        else:
            place += 1
    outside = {r.base for a in graph.outputs for r in reaches(a, definitions)}
    result: list[Step] = []
    for step in joined.steps:
        result += _with_rings(step, joined, outside) if isinstance(step, StreamStep) else [step]
    return result


# --- which steps ----------------------------------------------------------------------------------------


class _Joined:
    """Steps in order, with the places where each array is made and read."""

    def __init__(self, steps: list[Step], definitions: Definitions) -> None:
        self.steps = steps
        self.definitions = definitions
        self.made: dict[Var, int] = {}
        self.read: dict[Var, list[int]] = {}
        self.reads = [_read_by(step, definitions) for step in steps]
        self._index()

    def _index(self) -> None:
        self.made = {v: k for k, step in enumerate(self.steps) for v in _made_by(step)}
        self.read = {}
        for place, read in enumerate(self.reads):
            for var in read:
                self.read.setdefault(var, []).append(place)

    def makers(self, place: int) -> list[int]:
        """The places of the nests whose results a nest reads, the latest first."""
        if isinstance(self.steps[place], LibraryStep):
            return []
        found = {self.made[v] for v in self.reads[place] if v in self.made}
        return sorted((k for k in found if not isinstance(self.steps[k], LibraryStep)), reverse=True)

    def stream(self, first: int, second: int, is_forced: bool) -> StreamStep | None:
        """Two steps as one; None where a third must run between them, or rows forbid it."""
        if not (self._moves_up(first, second) or self._moves_down(first, second)):
            return None
        a, b = self.steps[first], self.steps[second]
        assert not isinstance(a, LibraryStep) and not isinstance(b, LibraryStep)
        return _stream((*a.parts, *b.parts), self.definitions, is_forced)

    def _moves_up(self, first: int, second: int) -> bool:
        """Is all that the second step reads there when the first one runs?"""
        return all(self.made.get(v, -1) <= first for v in self.reads[second])

    def _moves_down(self, first: int, second: int) -> bool:
        """Does nobody need the first step's results before the second one runs?"""
        return all(k >= second for v in _made_by(self.steps[first]) for k in self.read.get(v, ()))

    def replace(self, first: int, second: int, stream: StreamStep) -> int:
        """Put one step in the place of two; gives the place where the search goes on."""
        place = first if self._moves_up(first, second) else second - 1
        for k in (second, first):
            del self.steps[k], self.reads[k]
        self.steps.insert(place, stream)
        self.reads.insert(place, _read_by(stream, self.definitions))
        self._index()
        return place


def _read_by(step: Step, definitions: Definitions) -> set[Var]:
    """The arrays that a step needs from others."""
    if isinstance(step, LibraryStep):
        below = [r.base for a in step.eqn.inputs for r in reaches(a, definitions)]
        return {v for v in below if isinstance(v, Var)}
    read = {v for part in step.parts for v, _ in part.group.external_reads()}
    return read - {v for part in step.parts for v in part.stored}


def _made_by(step: Step) -> frozenset[Var]:
    return frozenset({step.eqn.out}) if isinstance(step, LibraryStep) else step.stored


# --- whether and how ------------------------------------------------------------------------------------


def _stream(parts: tuple[KernelStep, ...], definitions: Definitions, is_forced: bool) -> StreamStep | None:
    """The parts side by side, all results in memory; None where that is impossible or does not pay."""
    if not all(_has_rows(part, is_forced) for part in parts):
        return None
    links = _links(parts, definitions)
    if links is None:
        return None
    lags: list[int] = []
    for number in range(len(parts)):
        lags.append(max([lags[k.maker] + k.high for k in links if k.reader == number], default=0))
    lags = [lag - min(lags) for lag in lags]
    rows = {v: _rows(v, links, lags) for v in {k.var for k in links}}
    if not is_forced and not are_worth_it((v.type, n) for v, n in rows.items()):
        return None
    return StreamStep(parts, tuple(lags), {})


def _has_rows(part: KernelStep, is_forced: bool) -> bool:
    """Is the nest a loop over rows, of which none has reductions of its own?"""
    group = part.group
    if len(part.order) < (1 if is_forced else 2) or 0 in group.extents.values():
        return False
    if any(e.primitive.kind is Kind.CONTROL for e in group.eqns.values()):
        return False  # its rows are steps of time
    row = part.order[0]
    return not any(row in (group.computed[v] or ()) for v in group.reduced)


def _links(parts: Sequence[KernelStep], definitions: Definitions) -> list[Link] | None:
    """What parts read of one another; None where something is read that is not there row by row."""
    makers = {v: k for k, part in enumerate(parts) for v in part.stored}
    links: list[Link] = []
    for reader, part in enumerate(parts):
        offsets: dict[Var, set[int]] = {}
        late = _late(part.group)
        for result, var, index in reads_of(part, definitions):
            if var not in makers or var in part.group.computed:
                continue
            maker = parts[makers[var]]
            if result in late and _is_number(maker, var):
                continue  # a number that is known when all rows have run, and not needed before
            offset = _offset(index, part.order[0])
            if offset is None or not _is_made_in_rows(maker, var):
                return None
            offsets.setdefault(var, set()).add(offset)
        links += [Link(v, makers[v], reader, min(c), max(c)) for v, c in offsets.items()]
    return links


def _late(group: Group) -> set[Var]:
    """Numbers that no loop of the group needs."""
    late = {v for v, domain in group.domains.items() if not domain}
    for var in reversed([e.out for e in group.eqns.values()]):
        if var not in late:
            late -= group.operands[var]
    return late


def _is_number(part: KernelStep, var: Var) -> bool:
    axes = part.group.computed[var]
    return axes is not None and not any(a is not None for a in axes)


def _is_made_in_rows(part: KernelStep, var: Var) -> bool:
    axes = part.group.computed[var]
    return bool(axes) and axes[0] == part.order[0]


def _offset(index: tuple[Index, ...] | None, row: int) -> int | None:
    """How many rows from the reader's own row an element lies; None where that is not one number."""
    affine = index[0].single_axis() if index else None
    if affine is None or affine[:2] != (row, 1):
        return None
    return affine[2]


def _rows(var: Var, links: Sequence[Link], lags: Sequence[int]) -> int:
    """How many rows must be kept, rounded up to a power of two: from the newest to the oldest still read."""
    rows = max(lags[k.reader] - lags[k.maker] - k.low + 1 for k in links if k.var is var)
    return 1 << (rows - 1).bit_length()


def reads_of(
    part: KernelStep, definitions: Definitions
) -> Iterator[tuple[Var, Var, tuple[Index, ...] | None]]:
    """For each result of a nest the arrays that it reads, through views, and where; None: places are data."""
    group = part.group
    for var, eqn in ((e.out, e) for e in group.eqns.values()):
        for operand, dims in operand_axes(eqn, group.domain_dims[var]):
            if dims is None or (eqn.primitive.kind is Kind.INDEX and is_scatter(eqn)):
                below = [r.base for r in reaches(operand, definitions)]
                yield from ((var, v, None) for v in below if isinstance(v, Var))
            else:
                yield from ((var, *found) for found in _places(operand, full_index(dims), definitions))


def _places(
    atom: Atom, index: tuple[Index, ...], definitions: Definitions
) -> Iterator[tuple[Var, tuple[Index, ...]]]:
    eqn = definitions.get(atom) if isinstance(atom, Var) else None
    if eqn is None or not is_virtual(eqn):
        if isinstance(atom, Var):
            yield atom, index
        return
    if eqn.primitive.index is None:  # a counter
        return
    for operand, inner, _ in eqn.primitive.index(
        index, [a.type for a in eqn.inputs], eqn.out.type, **eqn.params
    ):
        yield from _places(eqn.inputs[operand], tuple(Index.of(k) for k in inner), definitions)


def _with_rings(stream: StreamStep, joined: _Joined, outside: Set[Atom]) -> Sequence[Step]:
    """The stream, results that nothing outside of it reads in rings; its parts, where there are none."""
    links = _links(stream.parts, joined.definitions)
    assert links is not None
    kept = {k.var for k in links if k.var not in outside and k.var not in joined.read}
    if not kept:  # one nest after the other can be cut into strands
        return stream.parts
    return [StreamStep(stream.parts, stream.lags, {v: _rows(v, links, stream.lags) for v in kept})]
