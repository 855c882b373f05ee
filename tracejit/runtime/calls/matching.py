"""Do the arguments of a call, and what was guarded, fit a plan? As LLVM functions."""

from __future__ import annotations

from tracejit.codegen.loops import SCATTERED
from tracejit.runtime.abi import CONTENT
from tracejit.runtime.calls.assembler import Function, Row
from tracejit.runtime.calls.code import Code
from tracejit.runtime.calls.layout import (
    ALIGNED,
    DESCR,
    DIMS,
    FLAGS,
    GUARD,
    LAYOUT_FLAGS,
    NDIM,
    NODE,
    OVERLAP,
    STRIDES,
    TYPE,
    UNPLANNED,
    WORD,
    Kind,
    Reach,
    Watch,
)


def reach() -> Function:
    """The object that a node stands for, borrowed; 0 where it is not there."""
    f = Code("reach", "api", "arguments", "frame", "node")
    node = Row(f, NODE, "%node")
    kind = node("reach")
    with f.when(f.equal(kind, Reach.ARGUMENT)):
        f.exit(f.load(f.add("%arguments", node("key"))))
    with f.when(f.equal(kind, Reach.CAPTURE)):
        f.exit(f.c("PyList_GetItem", node("parent"), node("key")))
    parent = f.load(f.add("%frame", node("parent")))
    with f.when(f.equal(kind, Reach.TUPLE_ITEM)):
        f.exit(f.c("PyTuple_GetItem", parent, node("key")))
    with f.when(f.equal(kind, Reach.LIST_ITEM)):
        f.exit(f.c("PyList_GetItem", parent, node("key")))
    f.exit(f.c("PyDict_GetItemWithError", parent, node("key")))
    return f


def strided_layout() -> Function:
    """What `executable.layout_of` says of a strided array; UNPLANNED where strides are no whole elements."""
    f = Code("strided_layout", "object", "ndim", "itemsize")
    begin = f.load("%object", STRIDES)
    found, axis = f.variable(SCATTERED), f.variable()
    size = f.variable(f.load("%object", DIMS))
    with f.rows(begin, f.add(begin, f.shift("%ndim", 3)), WORD) as row:
        stride = row("value")
        rest = f.remainder(stride, "%itemsize")
        with f.when(f.differ(rest, 0)):
            f.exit(UNPLANNED)
        with f.when(f.equal(stride, "%itemsize")), f.when(f.less("1", f.load(size.get()))):
            found.set(axis.get())
        size.set(f.add(size.get(), 8))
        axis.set(f.add(axis.get(), 1))
    f.exit(found.get())
    return f


def fits_array() -> Function:
    """Has an array the dtype, shape and layout of its node?"""
    f = Code("fits_array", "node", "object")
    node = Row(f, NODE, "%node")
    with f.when(f.differ(f.load("%object", DESCR), node("descr"))):
        f.exit(0)
    ndim = node("ndim")
    with f.when(f.differ(f.load("%object", NDIM, "i32"), ndim)):
        f.exit(0)
    flags = f.mask(f.load("%object", FLAGS, "i32"), node("flag_mask"))
    with f.when(f.differ(flags, node("flags"))):
        f.exit(0)
    size = f.variable(f.load("%object", DIMS))
    with f.rows(node("dims"), node("dims_end"), WORD) as expected:
        with f.when(f.differ(f.load(size.get()), expected("value"))):
            f.exit(0)
        size.set(f.add(size.get(), 8))
    with f.when(f.equal(f.mask(flags, LAYOUT_FLAGS), ALIGNED)):
        found = f.call("strided_layout", "%object", ndim, node("itemsize"))
        f.exit(f.as_word(f.equal(found, node("layout"))))
    f.exit(1)
    return f


def fits() -> Function:
    """Is an object what its node expects? If so it is noted where the code finds its data."""
    f = Code("fits", "api", "node", "object", "frame")
    node = Row(f, NODE, "%node")
    kind, handle = node("kind"), f.add("%frame", node("handle"))
    with f.when(f.equal(kind, Kind.IDENTICAL)):
        f.exit(f.as_word(f.equal("%object", node("type"))))
    with f.when(f.differ(f.load("%object", TYPE), node("type"))):
        f.exit(0)
    with f.when(f.equal(kind, Kind.ARRAY)):
        f.store(handle, "%object")
        f.exit(f.call("fits_array", "%node", "%object"))
    with f.when(f.equal(kind, Kind.CONTAINER)):
        f.exit(f.as_word(f.equal(f.load("%object", CONTENT), node("size"))))
    # A cell that looks like an array object to the code: the word at CONTENT points to the data.
    cell = f.add("%frame", node("cell"))
    f.store(handle, f.sub(cell, CONTENT))
    with f.when(f.equal(kind, Kind.NUMBER)):
        f.store(cell, f.add("%object", CONTENT))
        f.exit(1)
    value = f.add(cell, 8)
    f.store(cell, value)
    with f.when(f.equal(kind, Kind.BOOL)):
        f.store(value, f.as_word(f.equal("%object", f.thing("true"))))
        f.exit(1)
    number = f.c("PyLong_AsLongLong", "%object")
    f.store(value, number)
    with f.when(f.equal(number, -1)), f.when(f.differ(f.c("PyErr_Occurred"), 0)):
        f.c("PyErr_Clear")
        f.exit(0)
    f.exit(1)
    return f


def match() -> Function:
    """Do all nodes between two addresses fit?"""
    f = Code("match", "api", "arguments", "frame", "begin", "end")
    with f.rows("%begin", "%end", NODE) as node:
        found = f.call("reach", "%api", "%arguments", "%frame", node.address)
        with f.when(f.equal(found, 0)):
            f.c("PyErr_Clear")
            f.exit(0)
        f.store(f.add("%frame", node("slot")), found)
        with f.when(f.equal(f.call("fits", "%api", node.address, found, "%frame"), 0)):
            f.exit(0)
    f.exit(1)
    return f


def lie_apart() -> Function:
    """Have the arrays of each pair no bytes in common?"""
    f = Code("lie_apart", "frame", "begin", "end")
    with f.rows("%begin", "%end", OVERLAP) as pair:
        first = f.load(f.load(f.add("%frame", pair("slot"))), CONTENT)
        other = f.load(f.load(f.add("%frame", pair("other_slot"))), CONTENT)
        starts_before = f.put(f"icmp ult i64 {first}, {f.add(other, pair('other_bytes'))}")
        other_before = f.put(f"icmp ult i64 {other}, {f.add(first, pair('bytes'))}")
        with f.when(f.put(f"and i1 {starts_before}, {other_before}")):
            f.exit(0)
    f.exit(1)
    return f


def are_named() -> Function:
    """Are the names of the keyword arguments, a tuple or 0, those that the plan expects?"""
    f = Code("are_named", "api", "names", "begin", "end")
    with f.when(f.equal("%names", 0)):
        f.exit(f.as_word(f.equal("%begin", "%end")))
    count = f.sub("%end", "%begin")
    with f.when(f.differ(f.shift(f.load("%names", CONTENT), 3), count)):
        f.exit(0)
    index = f.variable()
    with f.rows("%begin", "%end", WORD) as expected:
        name = f.c("PyTuple_GetItem", "%names", index.get())
        with f.when(f.differ(name, expected("value"))):
            f.exit(0)
        index.set(f.add(index.get(), 1))
    f.exit(1)
    return f


def hold() -> Function:
    """Take references, or give them back, to what the call itself does not keep alive."""
    f = Code("hold", "api", "frame", "begin", "end", "take")
    with f.rows("%begin", "%end", NODE) as node, f.when(f.differ(node("held"), 0)):
        found = f.load(f.add("%frame", node("slot")))
        with f.when(f.differ("%take", 0)):
            f.c("Py_IncRef", found)
        with f.when(f.equal("%take", 0)):
            f.drop(found)
    f.exit(0)
    return f


# --- guards -------------------------------------------------------------------------------------------------


def watch() -> Function:
    """What a guard finds now; 0 where there is nothing."""
    f = Code("watch", "api", "guard")
    guard = Row(f, GUARD, "%guard")
    kind, container = guard("kind"), guard("container")
    with f.when(f.equal(kind, Watch.DICT_VALUE)):
        f.exit(f.c("PyDict_GetItemWithError", container, guard("key")))
    with f.when(f.equal(kind, Watch.LIST_ITEM)):
        f.exit(f.c("PyList_GetItem", container, guard("key")))
    # A cell and a container keep the word in question at the same place.
    f.exit(f.load(container, CONTENT))
    return f


def is_guarded() -> Function:
    """Do all guards between two addresses hold?"""
    f = Code("is_guarded", "api", "begin", "end")
    with f.rows("%begin", "%end", GUARD) as guard:
        found = f.call("watch", "%api", guard.address)
        with f.when(f.equal(found, 0)):
            f.c("PyErr_Clear")
        expected = f.variable(guard("expected"))
        captures = guard("captures")
        with f.when(f.differ(captures, 0)):
            expected.set(f.c("PyList_GetItem", captures, expected.get()))
        with f.when(f.differ(found, expected.get())):
            f.exit(0)
    f.exit(1)
    return f


FUNCTIONS = (reach, strided_layout, fits_array, fits, match, lie_apart, are_named, hold, watch, is_guarded)
