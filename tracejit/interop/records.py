"""A program for the sizes of one call becomes a record: words that compiled callers read without Python.

Every place in a user's compiled code that calls a function with arguments of the same types shares a `Site`:
a chain of records, newest first, that is searched by sizes. Records are never freed while their site lives,
for other threads may be reading them.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.interop.signature import Position
from tracejit.runtime.blocks import WORDS
from tracejit.runtime.executable import Bound, Executable, is_usable, layout_of
from tracejit.runtime.workspace import KEPT_BYTES as KEPT_BYTES

# Positions of a record's words.
NEXT = 0  # the next record of the chain
ENTRY = 1  # where the program's code starts; 0 where Python has to run it
CONSTANTS = 2  # its float64 table
WORKSPACE_BYTES = 3
SITE = 4  # the words of the site
TABLE_WORDS = 5  # length of its int64 table
TEMPLATE = 6  # the table, but for what changes from call to call
PICK_COUNT, PICKS = 7, 8  # pairs: position in the table, position in the call's data
STRIDE_COUNT, STRIDES = 9, 10  # pairs: position in the table, position among the strides of all inputs
DATA_COUNT = 11  # inputs and outputs of a call; behind them come the status word and the workspace
SHAPES = 12  # sizes of all axes of all outputs
CAPTURE_COUNT, CAPTURES = (
    13,
    14,
)  # triples: a captured array object, where its elements start and end from there
KEY = 15  # and on: sizes, what the compiler does not know of layouts, and whether something is misaligned

# Positions of a site's words.
HEAD = 0  # the first record of the chain
BLOCK = 1  # memory for a workspace that no call uses, its size in front; or 0

CHAIN_LENGTH = 32  # records that a call searches before it asks Python

_free = ctypes.pythonapi.PyMem_RawFree
_free.argtypes = [ctypes.c_void_p]
_free.restype = None


class Record:
    """One program for one set of sizes, at `address`.

    inputs: of the program, in order: the position of a leaf of the call, or an array
    program: what Python runs where the code cannot run alone
    keep: whatever the words point to
    checks: the index checks of the program, by number
    """

    def __init__(
        self, key: Sequence[int], shapes: Sequence[int], inputs: Sequence[Any], program: Any
    ) -> None:
        self.inputs = inputs
        self.program = program
        self.keep: list[Any] = []
        self.checks: tuple[Any, ...] = ()
        self.words = (ctypes.c_int64 * (KEY + len(key)))()
        self.words[KEY:] = key
        self.address = ctypes.addressof(self.words)
        self.point(SHAPES, shapes)

    def point(self, position: int, numbers: Sequence[int]) -> None:
        """Let a word point to these numbers."""
        table = (ctypes.c_int64 * max(len(numbers), 1))(*numbers)
        self.keep.append(table)
        self.words[position] = ctypes.addressof(table)

    def arrays(self, leaves: Sequence[Any]) -> list[Any]:
        """What the program is run on in a call with these leaves."""
        return [leaves[x.number] if isinstance(x, Position) else x for x in self.inputs]


def fill_native(
    record: Record, executable: Executable, bound: Bound, segment: int, leaves: Sequence[Any]
) -> None:
    """Fill in what a program needs that is one native call, of the segment with this number."""
    assert bound.native is not None
    text, words = bound.text, record.words
    fixed = [x for x in record.inputs if not isinstance(x, Position)]
    first_axis = [sum(np.ndim(x) for x in leaves[:k]) for k in range(len(leaves))]
    # Where each array of the program is: the number of its address in a call's data, or the array itself.
    outputs = range(len(leaves), len(leaves) + len(executable.program.outputs))
    variables = (*executable.program.inputs, *executable.program.outputs)
    places = [x.number if isinstance(x, Position) else x for x in record.inputs]
    place_of = dict(zip(variables, (*places, *outputs), strict=True))
    status, workspace = outputs.stop, outputs.stop + 1
    template = [segment] + [0] * text.dynamic
    picks: list[int] = []
    strides: list[int] = []
    for place, slot in enumerate(text.slots[: text.dynamic], start=1):
        if slot[0] == "status":
            picks += (place, status)
            continue
        if slot[0] == "workspace":
            picks += (place, workspace)
            continue
        where = place_of[slot[1].var]
        if slot[0] == "array" and isinstance(where, int):
            picks += (place, where)
        elif slot[0] == "array":
            template[place] = id(where)
        elif isinstance(where, int):
            strides += (place, first_axis[where] + slot[2])
        else:
            template[place] = where.strides[slot[2]] // where.itemsize
    table = [*template, *np.frombuffer(bound.fixed, np.int64).tolist()]
    words[ENTRY] = bound.native.address
    words[CONSTANTS] = bound.constants
    words[WORKSPACE_BYTES] = executable.program.workspace
    words[TABLE_WORDS] = len(table)
    words[PICK_COUNT], words[STRIDE_COUNT] = len(picks) // 2, len(strides) // 2
    words[DATA_COUNT] = outputs.stop
    words[CAPTURE_COUNT] = len(fixed)
    record.point(TEMPLATE, table)
    record.point(PICKS, picks)
    record.point(STRIDES, strides)
    record.point(CAPTURES, [n for array in fixed for n in (id(array), *extent_of(array))])
    record.keep += [bound.native, bound.constant_table]
    record.checks = text.checks
    record.program = None


def make_record(program: Any, leaves: Sequence[Any], order: Sequence[Any], key: Sequence[int]) -> Record:
    """The record of a program, for leaves like these.

    order: inputs of the program before the captured arrays: the position of a leaf, or a default value
    """
    executable = program.run
    shapes = [n for shape in executable.shapes for n in shape]
    inputs = [
        x if isinstance(x, Position) else np.asarray(x, dtype) for x, dtype in zip(order, executable.dtypes)
    ]
    record = Record(key, shapes, [*inputs, *program.captures], program)
    arrays = [np.asarray(x) for x in record.arrays(leaves)]
    if isinstance(executable, Executable) and all(map(_is_taken, arrays, executable.dtypes)):
        layout = tuple(map(layout_of, arrays))
        packing = executable.for_layout(layout)
        bound = packing.bound_for(layout) if packing is not None else None
        if packing is not None and bound is not None and bound.whole is not None:
            fill_native(record, packing, bound, bound.whole, leaves)
    return record


def extent_of(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Where the elements of an array start and end, in bytes from the address of its first one.

    >>> extent_of(np.zeros((2, 3))[::-1])
    (-24, 24)
    """
    low, high = np.lib.array_utils.byte_bounds(array)
    start = array.__array_interface__["data"][0]
    return low - start, high - start


def _is_taken(array: Any, dtype: Any) -> bool:
    """Does the program read this array itself, not a copy?"""
    return type(array) is np.ndarray and array.dtype is dtype and is_usable(array)


class Site:
    """The records of one function for arguments of one set of types; `address` is where the chain starts."""

    def __init__(self) -> None:
        self.words = (ctypes.c_int64 * 2)()
        self.address = ctypes.addressof(self.words)
        WORDS[self.address + 8 * BLOCK] = self.words
        self.records: dict[int, Record] = {}  # by address; all that were ever in the chain
        self.known: dict[tuple[int, ...], Record] = {}

    def add(self, key: tuple[int, ...], record: Record) -> None:
        """Put a record at the head of the chain, and cut the chain where it is too long."""
        with _lock:
            chain = self.chain()
            if record in chain:
                return
            self.records[record.address] = record
            self.known[key] = record
            record.words[SITE] = self.address
            record.words[NEXT] = self.words[HEAD]
            self.words[HEAD] = record.address
            if len(chain) >= CHAIN_LENGTH:
                chain[CHAIN_LENGTH - 2].words[NEXT] = 0

    def chain(self) -> list[Record]:
        """The records that a call searches."""
        found: list[Record] = []
        address = self.words[HEAD]
        while address:
            found.append(self.records[address])
            address = found[-1].words[NEXT]
        return found

    def clear(self) -> None:
        """Let the next call ask Python again, whatever its sizes."""
        with _lock:
            self.known.clear()
            self.words[HEAD] = 0

    def __del__(self, free: Any = _free, words: Any = WORDS) -> None:
        words.pop(self.address + 8 * BLOCK, None)
        block, self.words[BLOCK] = self.words[BLOCK], 0
        if block:
            free(block)


_lock = threading.Lock()  # of all chains: they change rarely


def _renew_lock() -> None:
    """Another thread of the parent may have held it; it does not exist in the child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
