"""Plans: how compiled code serves calls of one program with arguments of one kind, as tables of numbers.

Enter an executable, the nesting and leaves of the arguments, the guards and the nesting of the result; leaves
a `Plan`, or None where something needs Python at each call.
"""

from __future__ import annotations

import ctypes
import math
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CellType
from typing import Any

import numpy as np

from tracejit.codegen.loops import CONTIGUOUS
from tracejit.costs import RELEASE_WORK
from tracejit.frontend import Guards
from tracejit.ir import Graph
from tracejit.ir.primitive import Kind as PrimitiveKind
from tracejit.pytree import TreeDef, flatten
from tracejit.runtime.calls import layout
from tracejit.runtime.calls.layout import (
    BUILD,
    GUARD,
    KEY,
    NODE,
    OUTPUT,
    OVERLAP,
    PLAN,
    STRIDE,
    Kind,
    Reach,
    Step,
    Watch,
)
from tracejit.runtime.executable import Bound, Executable, is_usable, layout_of

MAX_FRAME_BYTES = 64 * 1024  # of the stack that a call may take

_KEY_TYPES = (str, int)  # their comparison runs no code of the user's
_REACHES = {"tuple": Reach.TUPLE_ITEM, "namedtuple": Reach.TUPLE_ITEM, "list": Reach.LIST_ITEM}
_WATCHED: dict[Watch, tuple[type, ...]] = {
    Watch.DICT_VALUE: (dict,),
    Watch.LIST_ITEM: (list,),
    Watch.SIZE: (dict, list),
    Watch.CELL: (CellType,),
}
_STEPS = {"tuple": Step.TUPLE, "list": Step.LIST, "dict": Step.DICT}


@dataclass(frozen=True)
class Facts:
    """What a plan is made of, besides the arguments.

    captures: the arrays behind the arguments, in a list that may be updated
    is_valid: compares the guards in Python
    scalars: outputs that leave as NumPy scalars
    finish: puts the outputs together
    donated: pairs of an input and an output that may take its memory
    """

    executable: Executable
    captures: list[Any]
    guards: Guards
    is_valid: Callable[[], bool]
    scalars: tuple[int, ...]
    finish: Callable[[Sequence[Any]], Any]
    donated: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Given:
    """A call as compiled code sees it: values by place, positional ones first, then those with `names`.

    trees: (place, nesting) of what the program takes, and `leaves` of these nestings, in order
    statics: (place, value) of what selects the program
    out: (place, nesting) of the arrays that results are written to
    into: these arrays, by the number of the output
    """

    count: int
    names: tuple[str, ...]
    trees: tuple[tuple[int, TreeDef], ...]
    leaves: Sequence[Any]
    statics: tuple[tuple[int, Any], ...] = ()
    out: tuple[int, TreeDef] | None = None
    into: Mapping[int, Any] = field(default_factory=dict[int, Any])

    @property
    def is_complete(self) -> bool:
        """Is something known of the value at every place?"""
        places = [place for place, _ in (*self.trees, *self.statics, *([self.out] if self.out else []))]
        return sorted(places) == list(range(self.count + len(self.names)))


class Plan:
    """Memory that compiled code reads; `next` is tried when the arguments are others."""

    def __init__(self, header: dict[str, int], keep: Any, next: Plan | None = None) -> None:
        self.header = header
        self.next = next
        self._keep = keep
        words = PLAN.pack(**{**header, "owner": id(self), "next": next.address if next is not None else 0})
        self._words = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self._words)

    def before(self, next: Plan | None) -> Plan:
        """The same plan in front of another one."""
        return Plan(self.header, self._keep, next)


class UnplannedError(Exception):
    """Something that compiled code cannot do."""


def make_plan(facts: Facts, given: Given) -> Plan | None:
    """The plan for calls like this one, None where Python must serve them."""
    try:
        return _Planner(facts).plan(given)
    except UnplannedError:
        return None


class _Planner:
    """Lays out the frame of a call and the tables; keeps alive what these point to."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.executable = facts.executable
        self.keep: list[Any] = [facts]
        self.frame = 0
        self.handles = [self.reserve() for _ in range(self._handle_count())]

    def _handle_count(self) -> int:
        program = self.executable.program
        return len(program.inputs) + len(program.outputs) + 2

    def reserve(self, words: int = 1) -> int:
        """The offset of new words in the frame."""
        self.frame += 8 * words
        return self.frame - 8 * words

    def table(self, rows: Sequence[Sequence[int]]) -> tuple[int, int]:
        """The addresses of the first and behind the last word of rows."""
        words = [word for row in rows for word in row]
        memory = (ctypes.c_int64 * max(len(words), 1))(*words)
        self.keep.append(memory)
        begin = ctypes.addressof(memory)
        return begin, begin + 8 * len(words)

    def address(self, thing: Any) -> int:
        self.keep.append(thing)
        return id(thing)

    def plan(self, given: Given) -> Plan:
        layouts = [_layout_of(x) for x in (*given.leaves, *self.facts.captures)]
        executable = self.executable.for_layout(layouts)
        if not given.is_complete or executable is None:
            raise UnplannedError
        self.executable = executable
        bound = executable.bound_for(tuple(layouts))
        if bound.whole is None:
            raise UnplannedError
        header: dict[str, int] = {"nargs": given.count}
        names = [[self.address(sys.intern(name))] for name in given.names]
        header["names"], header["names_end"] = self.table(names)
        nodes = _Nodes(self, given)
        header["nodes"], header["nodes_end"] = self.table(nodes.of_call())
        header["captures"], header["captures_end"] = self.table(nodes.of_captures())
        header["overlaps"], header["overlaps_end"] = self.table(nodes.of_overlaps())
        self._add_guards(header)
        self._add_outputs(header, nodes.given_slots)
        self._add_code(header, bound, nodes.leaf_slots)
        header["frame_bytes"] = self.frame
        if self.frame > MAX_FRAME_BYTES:
            raise UnplannedError
        return Plan(header, self.keep)

    # --- guards ---------------------------------------------------------------------------------------------

    def _add_guards(self, header: dict[str, int]) -> None:
        try:
            rows = _GuardRows(self.facts.guards, id(self.facts.captures)).rows
        except UnplannedError:
            header["judge"] = self.address(self.facts.is_valid)
            rows = []
        header["guards"], header["guards_end"] = self.table(rows)

    # --- results --------------------------------------------------------------------------------------------

    def _add_outputs(self, header: dict[str, int], given_slots: Mapping[int, int]) -> None:
        executable = self.executable
        first = len(executable.program.inputs)
        count = len(executable.program.outputs)
        results = [self.reserve() for _ in range(count)]
        header["results_at"] = results[0] if results else self.frame
        header["results_end"] = header["results_at"] + 8 * count
        rows: list[list[int]] = []
        for k, (shape, (_, dtype)) in enumerate(zip(executable.shapes, executable.outputs, strict=True)):
            is_scalar = k in self.facts.scalars and k not in given_slots
            row = OUTPUT.pack(
                given=given_slots.get(k, 0),
                is_scalar=is_scalar,
                result=results[k],
                handle=self.handles[first + k],
                cell=self.reserve(2) if is_scalar else 0,
                descr=self.address(dtype),
                ndim=len(shape),
                dims=self.table([shape])[0],
            )
            rows.append(row)
        header["outputs"], header["outputs_end"] = self.table(rows)
        steps = self._build_steps(results)
        if steps is None:
            header["finish"] = self.address(self.facts.finish)
        else:
            header["build"], header["build_end"] = self.table(steps)
            header["stack_at"] = self.reserve(len(steps) + 1)

    def _build_steps(self, results: list[int]) -> list[list[int]] | None:
        """The steps by which compiled code puts the outputs together; None where it cannot."""
        marks = [_Mark(k) for k in range(len(results))]
        leaves, treedef = flatten(self.facts.finish(marks))
        if not all(isinstance(leaf, _Mark) for leaf in leaves) or len(set(leaves)) != len(leaves):
            return None
        steps: list[list[int]] = []
        order = iter(leaves)

        def add(tree: TreeDef) -> bool:
            if tree.kind == "leaf":
                steps.append(BUILD.pack(kind=Step.OUTPUT, slot=results[next(order).number]))
                return True
            if tree.kind == "none":
                steps.append(BUILD.pack(kind=Step.NONE))
                return True
            if tree.cls not in (tuple, list, dict) or not all(map(add, tree.children)):
                return False
            row = {"kind": _STEPS[tree.kind], "count": len(tree.children)}
            if tree.kind == "dict":
                keys = [KEY.pack(key=self.address(tree.labels[i]), offset=8 * i) for i in tree.order]
                row["keys"], row["keys_end"] = self.table(keys)
            steps.append(BUILD.pack(**row))
            return True

        return steps if add(treedef) else None

    # --- code -----------------------------------------------------------------------------------------------

    def _add_code(self, header: dict[str, int], bound: Bound, leaf_slots: list[int]) -> None:
        assert bound.native is not None
        assert bound.whole is not None
        header["segment"] = bound.whole
        program = self.executable.program
        fixed = struct.unpack(f"{len(bound.fixed) // 8}q", bound.fixed)
        header["picks"], header["picks_end"] = self.table([[self.handles[k]] for k in bound.picks])
        strides = [
            STRIDE.pack(slot=leaf_slots[k], offset=8 * d, itemsize=program.inputs[k].type.dtype.itemsize)
            for k, d in bound.strides
        ]
        header["strides"], header["strides_end"] = self.table(strides)
        header["fixed"], header["fixed_end"] = self.table([fixed])
        header["table_at"] = self.reserve(1 + len(bound.picks) + len(strides) + len(fixed))
        header["constants"], header["code"] = bound.constants, bound.native.address
        header["releases"] = work_of(program.schedule.graph) > RELEASE_WORK
        header["workspace_bytes"] = program.workspace
        header["workspace_at"] = self.handles[-2]
        if bound.has_status:
            header["status_at"], header["status_handle"] = self.reserve(2), self.handles[-1]
            header["on_status"] = self.address(self.executable.raiser(bound))
        self.keep.append(bound)


class _Nodes:
    """The rows of the nodes of a call, and where the leaves are put."""

    def __init__(self, planner: _Planner, given: Given) -> None:
        self.planner = planner
        self.given = given
        self.leaf_slots: list[int] = []
        self.given_slots: dict[int, int] = {}
        self.rows: list[list[int]] = []

    def of_call(self) -> list[list[int]]:
        given = self.given
        for place, tree in given.trees:
            self._add(tree, self._add_leaf, reach=Reach.ARGUMENT, key=8 * place)
        for place, value in given.statics:
            self._add_identical(value, reach=Reach.ARGUMENT, key=8 * place)
        if given.out is not None:
            place, tree = given.out
            self._add(tree, self._add_out, reach=Reach.ARGUMENT, key=8 * place)
        return self.rows

    def of_captures(self) -> list[list[int]]:
        captures = self.planner.facts.captures
        self.rows = []
        for k, _ in enumerate(captures):
            self._add_leaf(reach=Reach.CAPTURE, parent=id(captures), key=k, held=1)
        return self.rows

    def of_overlaps(self) -> list[list[int]]:
        """Each array that is written to against all others."""
        leaves = (*self.given.leaves, *self.planner.facts.captures)
        arrays = {s: x for s, x in zip(self.leaf_slots, leaves, strict=True) if isinstance(x, np.ndarray)}
        arrays |= {self.given_slots[k]: array for k, array in self.given.into.items()}
        written = list(self.given_slots.values())
        if written and not all(array.flags.c_contiguous for array in arrays.values()):
            raise UnplannedError
        return [
            OVERLAP.pack(slot=a, bytes=arrays[a].nbytes, other_slot=b, other_bytes=arrays[b].nbytes)
            for n, a in enumerate(written)
            for b in arrays
            if a != b and b not in written[:n]
        ]

    def _add_identical(self, value: Any, **place: int) -> None:
        row = {"slot": self.planner.reserve(), "kind": Kind.IDENTICAL, "type": self.planner.address(value)}
        self.rows.append(NODE.pack(**row, **place))

    def _add(self, tree: TreeDef, add_leaf: Callable[..., None], **place: int) -> None:
        if tree.kind == "leaf":
            add_leaf(held=place["reach"] != Reach.ARGUMENT, **place)
            return
        if tree.kind == "none":
            self._add_identical(None, **place)
            return
        is_known = tree.cls in (dict, list, tuple) or tree.kind == "namedtuple"
        if not is_known or not all(type(label) in _KEY_TYPES for label in tree.labels):
            raise UnplannedError
        slot = self.planner.reserve()
        row = {"slot": slot, "kind": Kind.CONTAINER, "type": self.planner.address(tree.cls)}
        self.rows.append(NODE.pack(size=len(tree.children), **row, **place))
        for k, child in enumerate(tree.children):
            if tree.kind == "dict":
                reach, key = Reach.DICT_VALUE, self.planner.address(tree.labels[k])
            else:
                reach, key = _REACHES[tree.kind], k
            self._add(child, add_leaf, reach=reach, key=key, parent=slot)

    def _add_leaf(self, **place: int) -> None:
        number = len(self.leaf_slots)
        leaf = (*self.given.leaves, *self.planner.facts.captures)[number]
        dtype = self.planner.executable.dtypes[number]
        slot, handle = self.planner.reserve(), self.planner.handles[number]
        self.leaf_slots.append(slot)
        if type(leaf) is np.ndarray and leaf.dtype == dtype:
            target = dict(self.planner.facts.donated).get(number)
            mask = layout.LAYOUT_FLAGS
            if target is not None and target not in self.given.into:
                mask |= layout.WRITEABLE
                if leaf.flags.carray:
                    self.given_slots[target] = slot
            self._add_array(leaf, leaf.flags.num & mask, mask, slot=slot, handle=handle, **place)
            return
        cls = type(leaf)
        is_number = isinstance(leaf, np.generic) or cls in (int, bool, float)
        if not is_number or np.asarray(leaf).dtype != dtype:
            raise UnplannedError
        kind = Kind.INT if cls is int else Kind.BOOL if cls is bool else Kind.NUMBER
        row = {"kind": kind, "type": self.planner.address(cls), "cell": self.planner.reserve(2)}
        self.rows.append(NODE.pack(slot=slot, handle=handle, **row, **place))

    def _add_out(self, **place: int) -> None:
        """The next array that a result is written to."""
        number, array = next(item for item in self.given.into.items() if item[0] not in self.given_slots)
        flags = layout.LAYOUT_FLAGS | layout.WRITEABLE
        if array.flags.num & flags != flags:
            raise UnplannedError
        slot = self.given_slots[number] = self.planner.reserve()
        handle = self.planner.handles[len(self.planner.executable.program.inputs) + number]
        self._add_array(array, flags, flags, slot=slot, handle=handle, **place)

    def _add_array(self, array: Any, flags: int, mask: int, **place: int) -> None:
        dims, dims_end = self.planner.table([array.shape])
        row = {"dims": dims, "dims_end": dims_end, "flags": flags, "flag_mask": mask}
        row["layout"] = layout_of(array)
        row |= {"descr": self.planner.address(array.dtype), "type": id(np.ndarray), "kind": Kind.ARRAY}
        self.rows.append(NODE.pack(ndim=array.ndim, itemsize=array.itemsize, **row, **place))


class _Mark:
    """Stands for output `number` while the nesting of a result is found out."""

    def __init__(self, number: int) -> None:
        self.number = number


def _layout_of(leaf: Any) -> int:
    """Numbers are contiguous; arrays that would be copied are not planned."""
    if not isinstance(leaf, np.ndarray):
        return CONTIGUOUS
    if not is_usable(leaf):
        raise UnplannedError
    return layout_of(leaf)


class _GuardRows:
    """The rows of guards that are comparisons of identities and sizes; others raise UnplannedError."""

    def __init__(self, guards: Guards, captures: int) -> None:
        if guards.sets or guards.attributes or guards.contents:
            raise UnplannedError
        self.captures = captures
        self.rows: list[list[int]] = []
        for container, size in guards.sizes:
            self.add(Watch.SIZE, container, None, size)
        for items, was in guards.lists:
            self.add(Watch.SIZE, items, None, len(was))
            for position, value in enumerate(was):
                if not guards.is_followed(value):
                    self.add(Watch.LIST_ITEM, items, position, id(value))
        for mapping, key, value in guards.mappings:
            self.add(Watch.DICT_VALUE, mapping, key, 0 if guards.is_missing(value) else id(value))
        for cell, value in guards.cells:
            self.add(Watch.CELL, cell, None, 0 if guards.is_missing(value) else id(value))
        self._add_followed(guards, captures)

    def _add_followed(self, guards: Guards, captures: int) -> None:
        for mapping, key, k in guards.followed:
            self.add(Watch.DICT_VALUE, mapping, key, k, captures)
        for cell, k in guards.followed_cells:
            self.add(Watch.CELL, cell, None, k, captures)
        for items, position, k in guards.followed_items:
            self.add(Watch.LIST_ITEM, items, position, k, captures)

    def add(self, kind: Watch, container: Any, key: Any, expected: int, captures: int = 0) -> None:
        if type(container) not in _WATCHED[kind] or (
            kind == Watch.DICT_VALUE and type(key) not in _KEY_TYPES
        ):
            raise UnplannedError
        place = key if kind == Watch.LIST_ITEM else id(key)
        row = GUARD.pack(kind=kind, container=id(container), key=place, captures=captures, expected=expected)
        self.rows.append(row)


def work_of(graph: Graph) -> int:
    """Scalar operations of one run, roughly: the elements that its equations read or make, or multiply."""
    total = 0
    for eqn in graph.eqns:
        sizes = [a.type.size for a in (*eqn.inputs, eqn.out)]
        is_product = eqn.primitive.kind is PrimitiveKind.CONTRACTION
        total += max(1, math.isqrt(math.prod(sizes))) if is_product else max(sizes)
    return total


def link(plans: Sequence[Plan]) -> Plan | None:
    """The first of a chain in which each plan leads to the next."""
    first: Plan | None = None
    for plan in reversed(plans):
        first = plan if plan.next is first else plan.before(first)
    return first
