"""Grouping: which equations share a kernel, which results are stored, and in what order the steps run."""

from __future__ import annotations

import functools
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracejit.config import AUTO, Choices
from tracejit.errors import InternalError
from tracejit.ir import Eqn, Graph, Kind, Var, computation_key
from tracejit.passes.rewriting import drop_dead
from tracejit.schedule import cost
from tracejit.schedule.access import is_virtual, reaches
from tracejit.schedule.group import Group, add_result, extend, loop_order, merge, single
from tracejit.schedule.normalize import give_outputs_arrays, give_products_matrices, give_routines_rows
from tracejit.schedule.steps import KernelStep, LibraryStep, Schedule, Step
from tracejit.schedule.streams import join_streams

MAX_EQUATIONS = 250  # a longer body spills registers and compiles slower than linearly
LONGEST_CONE = 30  # equations that are looked at to compute one result again


def schedule_graph(graph: Graph, fuse: bool = True, choices: Choices = AUTO) -> Schedule:
    """Group the equations of `graph` into kernels and library calls; `fuse=False` gives each one its own."""
    graph = give_outputs_arrays(give_products_matrices(graph) if fuse else graph)
    graph = drop_dead(give_routines_rows(graph))
    definitions = {e.out: e for e in graph.eqns}
    grouping = _Grouping(definitions, choices.merge == "always")
    for number, eqn in enumerate(graph.eqns):
        if not is_virtual(eqn):
            grouping.add(number, eqn, fuse)
    if fuse:
        grouping.merge_siblings()
    needed = _stored_by_others(graph, grouping)
    if fuse and choices.recompute != "store":
        needed = _recompute(graph, grouping, needed, is_forced=choices.recompute == "recompute")
    steps = list(_steps(grouping, needed))
    if fuse and choices.shifted in ("auto", "ring"):
        steps = join_streams(steps, graph, definitions, is_forced=choices.shifted == "ring")
    return Schedule(graph, definitions, tuple(steps), choices)


def is_library(eqn: Eqn) -> bool:
    return eqn.primitive.kind in (Kind.CONTRACTION, Kind.LIBRARY)


@dataclass
class _Node:
    """A group of fused equations, or one library equation; `last` is the number of its last equation."""

    group: Group
    library: Eqn | None = None
    needs: set[Var] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.last = max(self.group.eqns)

    @functools.cached_property
    def footprint(self) -> int:
        """Bytes that the group touches, once it is complete."""
        return cost.footprint(self.group)

    @functools.cached_property
    def walking(self) -> float:
        """What its order of loops costs, asked before it is merged; forgotten when it is extended."""
        return cost.walking(self.group)


class _Grouping:
    """The groups under construction and their dependencies."""

    def __init__(self, definitions: Mapping[Var, Eqn], merges_always: bool = False) -> None:
        self.definitions = definitions
        self.merges_always = merges_always
        self.nodes: dict[int, _Node] = {}
        self.owner: dict[Var, int] = {}
        self.readers: dict[Var, set[int]] = {}
        self.computations: dict[Any, Eqn] = {}  # the first result of each
        # For each group the set of groups below it, as the bits of one integer: merging thousands of groups
        # asks again and again whether a path joins two of them.
        self.below: dict[int, int] = {}

    def add(self, number: int, eqn: Eqn, fuse: bool) -> None:
        if is_library(eqn):
            needs = {
                r.base for a in eqn.inputs for r in reaches(a, self.definitions) if isinstance(r.base, Var)
            }
            self._enter_new(number, _Node(Group({number: eqn}), eqn, needs))
            return
        if fuse and self._join_result(number, eqn):
            return
        group = single(number, eqn, self.definitions)
        if fuse and self._extend_producer(number, eqn, group):
            return
        self._enter_new(number, _Node(group, None, {v for v, _ in group.reads}))
        if fuse:
            self._grow(number)

    def _join_result(self, number: int, eqn: Eqn) -> bool:
        """Put another result of one computation into the group that has the first; it needs nothing more."""
        if eqn.primitive.results is None:
            return False
        known = self.computations.setdefault(computation_key(eqn), eqn)
        if known is eqn:
            return False
        key = self.owner[known.out]
        add_result(self.nodes[key].group, number, eqn, known)
        self.owner[eqn.out] = key
        self.nodes[key].last = number
        return True

    def _enter_new(self, key: int, node: _Node) -> None:
        self.nodes[key] = node
        for eqn in node.group.eqns.values():
            self.owner[eqn.out] = key
        for var in node.needs:
            self.readers.setdefault(var, set()).add(key)
        self.below[key] = 0
        for dependency in self.dependencies(key):
            self.below[key] |= self.below[dependency] | 1 << dependency

    def _extend_producer(self, number: int, eqn: Eqn, group: Group) -> bool:
        """Put the equation into the one group that makes its operands, if it fits there as it is."""
        makers = {self.owner[v] for v, _ in group.reads if v in self.owner}
        if len(makers) != 1:
            return False
        (key,) = makers
        node = self.nodes[key]
        if node.library is not None or len(node.group.eqns) >= MAX_EQUATIONS or not extend(node.group, group):
            return False
        self._enter_one(key, number, eqn, group)
        return True

    def _enter_one(self, key: int, number: int, eqn: Eqn, group: Group) -> None:
        self.owner[eqn.out] = key
        self.nodes[key].last = number
        self.nodes[key].__dict__.pop("walking", None)
        for var, _ in group.reads:
            if var not in self.nodes[key].group.computed:
                self.nodes[key].needs.add(var)
                self.readers.setdefault(var, set()).add(key)

    def _grow(self, key: int) -> None:
        """Merge a new group with its producers, the latest first."""
        tried: set[int] = set()
        while True:
            candidates = [
                k for k in self.dependencies(key) if k not in tried and self.nodes[k].library is None
            ]
            if not candidates:
                return
            other = max(candidates, key=lambda k: self.nodes[k].last)
            tried.add(other)
            if self._try_merge(other, key):
                key = other

    def merge_siblings(self) -> None:
        """Merge groups that read the same arrays, and groups that became mergeable meanwhile."""
        for key in list(self.nodes):
            if key not in self.nodes or self.nodes[key].library is not None:
                continue
            near = {k for v in self.nodes[key].needs for k in self.readers.get(v, ())}
            near |= self.dependencies(key)
            for other in sorted(near):
                alive = other != key and other in self.nodes and self.nodes[other].library is None
                if alive and key in self.nodes and self._try_merge(min(other, key), max(other, key)):
                    key = min(other, key)

    def _try_merge(self, a: int, b: int) -> bool:
        left, right = self.nodes[a], self.nodes[b]
        if len(left.group.eqns) + len(right.group.eqns) > MAX_EQUATIONS or self._separated(a, b):
            return False
        if self._is_next(left, right) and extend(left.group, right.group):
            self._absorb(a, b)
            return True
        merged = merge(left.group, right.group)
        if merged is None or loop_order(merged, rank=False) is None or not self._pays(left, right, merged):
            return False
        self._leave(b)
        self.replace(a, merged)
        self.owner.update(dict.fromkeys(right.group.computed, a))
        self._join_below(a, b)
        return True

    def _pays(self, left: _Node, right: _Node, merged: Group) -> bool:
        """Does one kernel save more than its order of loops costs, where that suits one of the two less?"""
        if self.merges_always:
            return True
        worse = cost.walking(merged) - left.walking - right.walking
        return worse <= 0 or worse < cost.joining(left.group, right.group)

    def replace(self, key: int, group: Group) -> None:
        """Put another group in the place of one that computed less."""
        before = self.nodes[key].needs
        needs = {v for v, _ in group.reads if v not in group.computed}
        self.nodes[key] = _Node(group, None, needs)
        for var in before - needs:
            self.readers[var].discard(key)
        for var in needs - before:
            self.readers.setdefault(var, set()).add(key)

    def _leave(self, key: int) -> _Node:
        """Take a group out, to be entered as part of another one."""
        node = self.nodes.pop(key)
        for var in node.needs:
            self.readers[var].discard(key)
        return node

    def _is_next(self, left: _Node, right: _Node) -> bool:
        """Is `right` one equation that reads a result of `left` and comes after all of it?"""
        if len(right.group.eqns) > 1 or right.last < left.last:
            return False
        return any(v in left.group.computed for v in right.needs)

    def _absorb(self, a: int, b: int) -> None:
        """Group `a` was extended by the only equation of `b`."""
        right = self._leave(b)
        self._enter_one(a, right.last, right.group.eqns[right.last], right.group)
        self._join_below(a, b)

    def _join_below(self, a: int, b: int) -> None:
        """Group `b` became part of `a`: whatever stands above one of them stands above what is below both."""
        both = 1 << a | 1 << b
        joined = (self.below[a] | self.below.pop(b)) & ~both
        self.below[a] = joined
        for key, bits in self.below.items():
            if bits & both:
                self.below[key] = (bits | joined | 1 << a) & ~(1 << b)

    def dependencies(self, key: int) -> set[int]:
        return {self.owner[v] for v in self.nodes[key].needs if v in self.owner} - {key}

    def _separated(self, a: int, b: int) -> bool:
        """Does a path from one to the other run through a third group?"""
        return self._reaches_indirectly(a, b) or self._reaches_indirectly(b, a)

    def _reaches_indirectly(self, start: int, goal: int) -> bool:
        return any(self.below[k] >> goal & 1 for k in self.dependencies(start) if k != goal)


def _stored_by_others(graph: Graph, grouping: _Grouping) -> set[Var]:
    """Results that outputs or other groups need."""
    needed = {
        r.base for a in graph.outputs for r in reaches(a, grouping.definitions) if isinstance(r.base, Var)
    }
    for node in grouping.nodes.values():
        needed |= node.needs
    return needed


def _recompute(graph: Graph, grouping: _Grouping, needed: set[Var], is_forced: bool) -> set[Var]:
    """Compute again, in each reader, results that cost less than their way through memory."""
    outputs = {r.base for a in graph.outputs for r in reaches(a, grouping.definitions)}
    stored = Counter(grouping.owner[v] for v in needed if v in grouping.owner)
    for var in sorted(needed - outputs, key=lambda v: -v.serial):
        key = grouping.owner.get(var)
        if key is None or grouping.nodes[key].library is not None:
            continue
        readers = sorted(grouping.readers.get(var, ()))
        spare = math.inf
        if not is_forced:
            spare = sum(cost.moving(var, grouping.nodes[k].footprint) for k in (key, *readers))
            if stored[key] == 1:  # no other result needs the kernel
                spare += cost.alone(grouping.nodes[key].group)
        replaced: dict[int, Group] = {}
        for k in readers:
            found = _with_cone(grouping, k, var, needed, spare)
            if found is None:
                break
            replaced[k], price = found
            spare -= price
        if readers and len(replaced) == len(readers):
            for k, group in replaced.items():
                grouping.replace(k, group)
    return _stored_by_others(graph, grouping)


def _with_cone(
    grouping: _Grouping, reader: int, var: Var, needed: set[Var], spare: float
) -> tuple[Group, float] | None:
    """The reader's group with `var` computed inside it, and what that costs; None if more than `spare`."""
    node = grouping.nodes[reader]
    if node.library is not None or len(node.group.eqns) > MAX_EQUATIONS // 2:
        return None
    cone = _cone(grouping, node.group, var, needed, spare)
    if cone is None or len(node.group.eqns) + len(cone) > MAX_EQUATIONS:
        return None
    group = node.group
    for eqn in cone:
        merged = merge(single(_number(grouping, eqn), eqn, grouping.definitions), group)
        if merged is None or loop_order(merged, rank=False) is None:
            return None
        group = merged
    known = {v for v, _ in node.group.external_reads()}
    added = {v for v, _ in group.external_reads()} - known
    price = sum(cost.computing(e, group) for e in cone)
    price += sum(cost.moving(v, node.footprint) for v in added)
    if spare < math.inf:
        price += max(cost.walking(group) - node.walking, 0.0)
    return (group, price) if price <= spare else None


def _cone(grouping: _Grouping, group: Group, var: Var, needed: set[Var], spare: float) -> list[Eqn] | None:
    """The equations that make `var` from stored arrays and what `group` has, readers first; None if dear."""
    cone: list[Eqn] = []
    seen, waiting = set[Var](), [var]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        eqn = grouping.definitions[current]
        if eqn.primitive.kind is not Kind.ELEMENTWISE or grouping.nodes[grouping.owner[current]].library:
            return None
        spare -= cost.arithmetic(eqn) * eqn.out.type.size
        if spare < 0 or len(cone) == LONGEST_CONE:
            return None
        cone.append(eqn)
        below = {r.base for a in eqn.inputs for r in reaches(a, grouping.definitions)}
        waiting += [
            v
            for v in below
            if isinstance(v, Var) and v in grouping.owner and v not in needed and v not in group.computed
        ]
    return cone


def _number(grouping: _Grouping, eqn: Eqn) -> int:
    return next(n for n, e in grouping.nodes[grouping.owner[eqn.out]].group.eqns.items() if e is eqn)


def _steps(grouping: _Grouping, needed: set[Var]) -> Iterable[Step]:
    """Steps in an order that respects the dependencies, earlier equations first."""
    live = _live_nodes(grouping, needed)
    waiting = {key: grouping.dependencies(key) for key in grouping.nodes}
    readers: dict[int, list[int]] = {key: [] for key in grouping.nodes}
    for key, below in waiting.items():
        for other in below:
            readers[other].append(key)
    ready = [(grouping.nodes[key].last, key) for key, below in waiting.items() if not below]
    heapq.heapify(ready)
    while ready:
        _, key = heapq.heappop(ready)
        node = grouping.nodes[key]
        for reader in readers[key]:
            waiting[reader].discard(key)
            if not waiting[reader]:
                heapq.heappush(ready, (grouping.nodes[reader].last, reader))
        if key not in live:
            continue
        if node.library is not None:
            yield LibraryStep(node.library)
        else:
            owned = {v for v in node.group.computed if grouping.owner[v] == key}
            order = loop_order(node.group)
            assert order is not None
            yield KernelStep(node.group, tuple(order), frozenset(owned & needed))
    if any(waiting.values()):
        raise InternalError("schedule: kernels wait for one another")


def _live_nodes(grouping: _Grouping, needed: set[Var]) -> set[int]:
    """Groups that still store something after recomputation."""
    return {key for key, node in grouping.nodes.items() if any(v in needed for v in _results(node))}


def _results(node: _Node) -> Iterable[Var]:
    return [e.out for e in node.group.eqns.values()]
