"""The tables by which compiled code serves a call: what `plan.py` fills in and `module.py` reads."""

from __future__ import annotations

from enum import IntEnum

from tracejit.runtime.calls.assembler import Struct

# Offsets in objects of 64-bit CPython and NumPy; `entry._is_known_layout` checks them on real objects.
TYPE = 8
NDIM, DIMS, STRIDES, DESCR, FLAGS = 24, 32, 40, 56, 64
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400

# Fields of a callable object, after the object's head.
VECTORCALL, STATE = 16, 24

# What an attempt to serve a call by a plan gives besides an object or 0 (an exception is set).
MISS = 1  # the arguments are others: try the next plan
GENERAL = 2  # the general path must look at this call

ARGUMENTS_OFFSET = -(2**63)  # PY_VECTORCALL_ARGUMENTS_OFFSET, as a signed word

# C functions by name, with result and arguments: l words (pointers), i ints, v nothing.
C_FUNCTIONS = {
    "Py_IncRef": "vl",
    "Py_DecRef": "vl",
    "PyDict_GetItemWithError": "lll",
    "PyDict_New": "l",
    "PyDict_SetItem": "illl",
    "PyErr_Clear": "v",
    "PyErr_Occurred": "l",
    "PyEval_RestoreThread": "vl",
    "PyEval_SaveThread": "l",
    "PyList_Append": "ill",
    "PyList_GetItem": "lll",
    "PyList_New": "ll",
    "PyList_SetItem": "illl",
    "PyList_SetSlice": "illll",
    "PyLong_AsLongLong": "ll",
    "PyLong_FromLongLong": "ll",
    "PyObject_VectorcallDict": "lllll",
    "PyObject_VectorcallMethod": "lllll",
    "PyTuple_GetItem": "lll",
    "PyTuple_New": "ll",
    "PyTuple_SetItem": "illl",
}
# Functions of NumPy, with their places in the table that its C interface promises.
NUMPY_FUNCTIONS = {"PyArray_NewFromDescr": ("lllillill", 94), "PyArray_Scalar": ("llll", 60)}
SIGNATURES = {**C_FUNCTIONS, **{name: signature for name, (signature, _) in NUMPY_FUNCTIONS.items()}}

# The process's table: functions, objects, and the cells that it shares with Python.
API = Struct(
    *SIGNATURES,
    "ndarray",
    "none",
    "true",
    "general_name",
    "traces",
    "hits",
    "workspaces",  # the list of those that no call uses
    "workspace_limit",  # of the bytes in it
    "new_workspace",  # called where the list has none that is large enough
)

STATE_WORDS = Struct("api", "first")  # one for each cache of programs

PLAN = Struct(
    "next",  # the plan to try when this one misses
    "owner",  # the Python object that holds this memory
    "nargs",  # positional arguments
    "names",  # of the keyword arguments, in the order in which they are given
    "names_end",
    "overlaps",  # pairs of arrays that must lie apart
    "overlaps_end",
    "frame_bytes",  # of memory a call needs; all other places named `*_at`, and slots, are offsets in it
    "nodes",  # arguments and their items, parents first
    "nodes_end",
    "guards",
    "guards_end",
    "judge",  # called where the guards cannot be compared here: may the program be used?
    "captures",  # nodes of the arrays that the function captured
    "captures_end",
    "outputs",
    "outputs_end",
    "picks",  # of the table of integers: which handles stand where
    "picks_end",
    "strides",
    "strides_end",
    "fixed",
    "fixed_end",
    "table_at",
    "segment",
    "constants",
    "code",
    "releases",  # is the interpreter's lock given up while the code runs?
    "workspace_bytes",
    "workspace_at",
    "status_at",  # a cell of two words; 0 where no index is checked
    "status_handle",
    "on_status",
    "build",
    "build_end",
    "stack_at",
    "finish",  # builds the result where `build` is empty
    "results_at",
    "results_end",
)

NODE = Struct(
    "reach",  # how it is found: a Reach
    "parent",  # the slot of the node that it is an item of; the address of the list of captures
    "key",  # offset of an argument, index of an item, address of a key
    "slot",  # where the object is put
    "kind",  # a Kind
    "type",  # the address of its type, or of the object itself
    "size",  # of a container
    "descr",
    "ndim",
    "dims",
    "dims_end",
    "flags",  # of an array, as far as `flag_mask` goes
    "flag_mask",
    "layout",  # of an array that is not contiguous, in the terms of `executable.layout_of`
    "itemsize",
    "handle",  # where the address goes that code reads the data by
    "cell",  # of a number: two words
    "held",  # 1 where the call itself does not keep the object alive
)
UNPLANNED = -3  # a layout that only a copy makes usable
LAYOUT_FLAGS = C_CONTIGUOUS | ALIGNED

# With `captures`, the address of the list of captured arrays, `expected` is a place in it.
GUARD = Struct("kind", "container", "key", "captures", "expected")
# `given` is the slot of the array that the caller gave for this output.
OUTPUT = Struct("given", "is_scalar", "result", "handle", "cell", "descr", "ndim", "dims")
OVERLAP = Struct("slot", "bytes", "other_slot", "other_bytes")
STRIDE = Struct("slot", "offset", "itemsize")
BUILD = Struct("kind", "count", "slot", "keys", "keys_end")
KEY = Struct("key", "offset")
WORD = Struct("value")


class Reach(IntEnum):
    ARGUMENT, TUPLE_ITEM, LIST_ITEM, DICT_VALUE, CAPTURE = range(5)


class Kind(IntEnum):
    ARRAY, CONTAINER, IDENTICAL, NUMBER, INT, BOOL = range(6)


class Watch(IntEnum):
    """What a guard compares with what it expects."""

    DICT_VALUE, CELL, SIZE, LIST_ITEM = range(4)


class Step(IntEnum):
    """Of building a result: take an output or None, or join the last few values."""

    OUTPUT, NONE, TUPLE, LIST, DICT = range(5)
