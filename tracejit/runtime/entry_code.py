"""The code behind every fast call, as LLVM text: one for all programs, led by the plans of `plan_layout.py`.

Enters nothing; leaves the module of `program(callable, arguments, nargs, names)`, a vectorcall function.
"""

from __future__ import annotations

from collections.abc import Callable

from tracejit.runtime.assembler import Flag, Function, Row, Word
from tracejit.runtime.plan_layout import (
    ALIGNED,
    API,
    ARGUMENTS_OFFSET,
    BUILD,
    CONTENT,
    DESCR,
    DIMS,
    FLAGS,
    GENERAL,
    GUARD,
    KEY,
    LAYOUT_FLAGS,
    MISS,
    NDIM,
    NODE,
    OUTPUT,
    PLAN,
    SIGNATURES,
    STATE,
    STATE_WORDS,
    STRIDE,
    STRIDES,
    TYPE,
    WORD,
    Kind,
    Reach,
    Step,
    Watch,
)


class Code(Function):
    """A function that knows the process's table, which is its first parameter."""

    api = "%api"

    def c(self, name: str, *arguments: Word | int) -> Word:
        """Call a function of Python or NumPy."""
        return self.call_address(self.thing(name), SIGNATURES[name], *arguments)

    def thing(self, name: str) -> Word:
        return self.load(self.api, API.offset(name))

    def row(self, address: Word) -> Row:
        return Row(self, PLAN, address)

    def drop(self, address: Word) -> None:
        self.c("Py_DecRef", address)


def module_text() -> str:
    """The module; its text is the key under which the machine code is kept."""
    makers: tuple[Callable[[], Function], ...] = (
        _reach,
        _whole_strides,
        _fits_array,
        _fits,
        _match,
        _watch,
        _is_guarded,
        _hold,
        _make_outputs,
        _drop_outputs,
        _take_workspace,
        _give_workspace,
        _run,
        _join_dict,
        _join,
        _build,
        _finish,
        _serve,
        _attempt,
        _call_general,
        _program,
    )
    return "\n\n".join(make().text() for make in makers) + "\n"


# --- arguments ----------------------------------------------------------------------------------------------


def _reach() -> Function:
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


def _whole_strides() -> Function:
    """Are all strides whole elements?"""
    f = Code("whole_strides", "object", "ndim", "itemsize")
    begin = f.load("%object", STRIDES)
    with f.rows(begin, f.add(begin, f.shift("%ndim", 3)), WORD) as stride:
        rest = f.remainder(stride("value"), "%itemsize")
        with f.when(f.differ(rest, 0)):
            f.exit(0)
    f.exit(1)
    return f


def _fits_array() -> Function:
    """Has an array the dtype, shape and layout of its node?"""
    f = Code("fits_array", "node", "object")
    node = Row(f, NODE, "%node")
    with f.when(f.differ(f.load("%object", DESCR), node("descr"))):
        f.exit(0)
    ndim = node("ndim")
    with f.when(f.differ(f.load("%object", NDIM, "i32"), ndim)):
        f.exit(0)
    flags = f.mask(f.load("%object", FLAGS, "i32"), LAYOUT_FLAGS)
    with f.when(f.differ(flags, node("flags"))):
        f.exit(0)
    size = f.variable(f.load("%object", DIMS))
    with f.rows(node("dims"), node("dims_end"), WORD) as expected:
        with f.when(f.differ(f.load(size.get()), expected("value"))):
            f.exit(0)
        size.set(f.add(size.get(), 8))
    with f.when(f.equal(flags, ALIGNED)):
        f.exit(f.call("whole_strides", "%object", ndim, node("itemsize")))
    f.exit(1)
    return f


def _fits() -> Function:
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


def _match() -> Function:
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


def _hold() -> Function:
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


def _watch() -> Function:
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


def _is_guarded() -> Function:
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


# --- results ------------------------------------------------------------------------------------------------


def _make_outputs() -> Function:
    """Allocate the arrays of all outputs; 0 where memory is short."""
    f = Code("make_outputs", "api", "plan", "frame")
    plan = f.row("%plan")
    begin, end = f.add("%frame", plan("results_at")), f.add("%frame", plan("results_end"))
    with f.rows(begin, end, WORD) as result:
        f.store(result.address, 0)
    with f.rows(plan("outputs"), plan("outputs_end"), OUTPUT) as out:
        handle = f.add("%frame", out("handle"))
        is_scalar = f.differ(out("is_scalar"), 0)
        with f.when(is_scalar):
            cell = f.add("%frame", out("cell"))
            f.store(cell, f.add(cell, 8))
            f.store(handle, f.sub(cell, CONTENT))
        with f.when(f.equal(out("is_scalar"), 0)):
            descr = out("descr")
            f.c("Py_IncRef", descr)
            array = f.c(
                "PyArray_NewFromDescr", f.thing("ndarray"), descr, out("ndim"), out("dims"), 0, 0, 0, 0
            )
            with f.when(f.equal(array, 0)):
                f.exit(0)
            f.store(f.add("%frame", out("result")), array)
            f.store(handle, array)
    f.exit(1)
    return f


def _drop_outputs() -> Function:
    f = Code("drop_outputs", "api", "plan", "frame")
    plan = f.row("%plan")
    begin, end = f.add("%frame", plan("results_at")), f.add("%frame", plan("results_end"))
    with f.rows(begin, end, WORD) as result, f.when(f.differ(result("value"), 0)):
        f.drop(result("value"))
    f.exit(0)
    return f


def _take_workspace() -> Function:
    """An array that no other call uses, new or from the list; 1 where the plan needs none."""
    f = Code("take_workspace", "api", "plan", "frame")
    plan = f.row("%plan")
    with f.when(f.equal(plan("workspace_bytes"), 0)):
        f.exit(1)
    found, free = f.variable(), plan("workspaces")
    count = f.load(free, CONTENT)
    with f.when(f.differ(count, 0)):
        last = f.sub(count, 1)
        found.set(f.c("PyList_GetItem", free, last))
        f.c("Py_IncRef", found.get())
        f.c("PyList_SetSlice", free, last, count, 0)
    with f.when(f.equal(count, 0)):
        descr = f.thing("uint8")
        f.c("Py_IncRef", descr)
        size = plan.at("workspace_bytes")
        found.set(f.c("PyArray_NewFromDescr", f.thing("ndarray"), descr, 1, size, 0, 0, 0, 0))
    f.store(f.add("%frame", plan("workspace_at")), found.get())
    f.exit(found.get())
    return f


def _give_workspace() -> Function:
    """Back to the list; dropped where it is too large to be kept."""
    f = Code("give_workspace", "api", "plan", "frame")
    plan = f.row("%plan")
    with f.when(f.differ(plan("workspace_bytes"), 0)):
        array = f.load(f.add("%frame", plan("workspace_at")))
        with f.when(f.differ(plan("workspaces_keep"), 0)):
            failed = f.c("PyList_Append", plan("workspaces"), array)
            with f.when(f.differ(failed, 0)):
                f.c("PyErr_Clear")
        f.drop(array)
    f.exit(0)
    return f


def _run() -> Function:
    """Fill the table of integers and run the program; gives the word that an index check may leave."""
    f = Code("run", "api", "plan", "frame")
    plan = f.row("%plan")
    table = f.add("%frame", plan("table_at"))
    place = f.variable(f.add(table, 8))
    f.store(table, 0)

    def put(value: Word) -> None:
        f.store(place.get(), value)
        place.set(f.add(place.get(), 8))

    status_at = plan("status_at")
    status = f.add("%frame", status_at)
    with f.when(f.differ(status_at, 0)):
        value = f.add(status, 16)
        f.store(value, 0)
        f.store(f.add(status, 8), value)
        f.store(status, f.sub(status, CONTENT - 8))
    with f.rows(plan("picks"), plan("picks_end"), WORD) as pick:
        put(f.load(f.add("%frame", pick("value"))))
    with f.rows(plan("strides"), plan("strides_end"), STRIDE) as stride:
        array = f.load(f.add("%frame", stride("slot")))
        found = f.load(f.add(f.load(array, STRIDES), stride("offset")))
        put(f.divide(found, stride("itemsize")))
    with f.rows(plan("fixed"), plan("fixed_end"), WORD) as fixed:
        put(fixed("value"))
    code, constants = plan("code"), plan("constants")
    releases = plan("releases")
    thread = f.variable()
    with f.when(f.differ(releases, 0)):
        thread.set(f.c("PyEval_SaveThread"))
    f.call_address(code, "vll", table, constants)
    with f.when(f.differ(releases, 0)):
        f.c("PyEval_RestoreThread", thread.get())
    with f.when(f.equal(status_at, 0)):
        f.exit(0)
    f.exit(f.load(status, 16))
    return f


def _join_dict() -> Function:
    """A dict of the values from `base` on; references to them stay with the caller."""
    f = Code("join_dict", "api", "step", "base")
    step = Row(f, BUILD, "%step")
    made = f.c("PyDict_New")
    with f.when(f.differ(made, 0)), f.rows(step("keys"), step("keys_end"), KEY) as item:
        value = f.load(f.add("%base", item("offset")))
        with f.when(f.differ(f.c("PyDict_SetItem", made, item("key"), value), 0)):
            f.drop(made)
            f.exit(0)
    f.exit(made)
    return f


def _join() -> Function:
    """One container of the values from `base` to `top`, whose references go into it; 0 on failure."""
    f = Code("join", "api", "step", "base", "top")
    step = Row(f, BUILD, "%step")
    kind, count = step("kind"), step("count")
    made, index = f.variable(), f.variable()
    with f.when(f.equal(kind, Step.DICT)):
        made.set(f.call("join_dict", "%api", "%step", "%base"))
        with f.rows("%base", "%top", WORD) as value:
            f.drop(value("value"))
        f.exit(made.get())
    for chosen, new, put in (
        (Step.TUPLE, "PyTuple_New", "PyTuple_SetItem"),
        (Step.LIST, "PyList_New", "PyList_SetItem"),
    ):
        with f.when(f.equal(kind, chosen)):
            made.set(f.c(new, count))
            with f.rows("%base", "%top", WORD) as value:
                with f.when(f.equal(made.get(), 0)):
                    f.drop(value("value"))
                with f.when(f.differ(made.get(), 0)):
                    f.c(put, made.get(), index.get(), value("value"))
                    index.set(f.add(index.get(), 1))
            f.exit(made.get())
    f.exit(0)
    return f


def _build() -> Function:
    """The result from the outputs: values are stacked and joined; outputs that were used are set to 0."""
    f = Code("build", "api", "plan", "frame")
    plan = f.row("%plan")
    bottom = f.add("%frame", plan("stack_at"))
    top = f.variable(bottom)

    def push(value: Word) -> None:
        f.store(top.get(), value)
        top.set(f.add(top.get(), 8))

    with f.rows(plan("build"), plan("build_end"), BUILD) as step:
        kind = step("kind")
        with f.when(f.equal(kind, Step.OUTPUT)):
            place = f.add("%frame", step("slot"))
            push(f.load(place))
            f.store(place, 0)
        with f.when(f.equal(kind, Step.NONE)):
            f.c("Py_IncRef", f.thing("none"))
            push(f.thing("none"))
        with f.when(f.put(f"icmp sge i64 {kind}, {int(Step.TUPLE)}")):
            end = top.get()
            base = f.sub(end, f.shift(step("count"), 3))
            made = f.call("join", "%api", step.address, base, end)
            top.set(base)
            with f.when(f.equal(made, 0)):
                with f.rows(bottom, base, WORD) as value:
                    f.drop(value("value"))
                f.call("drop_outputs", "%api", "%plan", "%frame")
                f.exit(0)
            push(made)
    f.exit(f.load(bottom))
    return f


def _finish() -> Function:
    """The result by the plan's Python function, which is given the list of outputs."""
    f = Code("finish", "api", "plan", "frame", "finish")
    plan = f.row("%plan")
    begin, end = f.add("%frame", plan("results_at")), f.add("%frame", plan("results_end"))
    outputs = f.c("PyList_New", 0)
    argument = f.room("8")
    f.store(argument, outputs)
    with f.when(f.differ(outputs, 0)), f.rows(begin, end, WORD) as result:
        failed = f.c("PyList_Append", outputs, result("value"))
        with f.when(f.differ(failed, 0)):
            f.drop(outputs)
            f.call("drop_outputs", "%api", "%plan", "%frame")
            f.exit(0)
    f.call("drop_outputs", "%api", "%plan", "%frame")
    with f.when(f.equal(outputs, 0)):
        f.exit(0)
    made = f.c("PyObject_VectorcallDict", "%finish", argument, 1, 0)
    f.drop(outputs)
    f.exit(made)
    return f


# --- the call -----------------------------------------------------------------------------------------------


def _serve() -> Function:
    """Run a program whose arguments fit and are held: the result, or 0 with an exception."""
    f = Code("serve", "api", "plan", "frame")
    plan = f.row("%plan")
    context = ("%api", "%plan", "%frame")

    def give_up_unless(flag: Flag) -> None:
        with f.when(f.put(f"xor i1 {flag}, true")):
            f.call("drop_outputs", *context)
            f.exit(0)

    give_up_unless(f.differ(f.call("make_outputs", *context), 0))
    give_up_unless(f.differ(f.call("take_workspace", *context), 0))
    status = f.call("run", *context)
    f.call("give_workspace", *context)
    with f.when(f.differ(status, 0)):
        f.call("drop_outputs", *context)
        argument = f.add("%frame", plan("table_at"))
        number = f.c("PyLong_FromLongLong", status)
        with f.when(f.differ(number, 0)):
            f.store(argument, number)
            made = f.c("PyObject_VectorcallDict", plan("on_status"), argument, 1, 0)
            f.drop(number)
            with f.when(f.differ(made, 0)):
                f.drop(made)
        f.exit(0)
    with f.rows(plan("outputs"), plan("outputs_end"), OUTPUT) as out, f.when(f.differ(out("is_scalar"), 0)):
        data = f.add(f.add("%frame", out("cell")), 8)
        scalar = f.c("PyArray_Scalar", data, out("descr"), 0)
        f.store(f.add("%frame", out("result")), scalar)
        give_up_unless(f.differ(scalar, 0))
    hits = f.thing("hits")
    f.store(hits, f.add(f.load(hits), 1))
    finish = plan("finish")
    with f.when(f.differ(finish, 0)):
        f.exit(f.call("finish", *context, finish))
    f.exit(f.call("build", *context))
    return f


def _attempt() -> Function:
    """Serve a call by one plan: the result, MISS, GENERAL, or 0 with an exception."""
    f = Code("attempt", "api", "plan", "arguments")
    plan = f.row("%plan")
    frame = f.room(plan("frame_bytes"))
    nodes, nodes_end = plan("nodes"), plan("nodes_end")
    captures, captures_end = plan("captures"), plan("captures_end")

    def match(begin: Word, end: Word) -> Flag:
        return f.equal(f.call("match", "%api", "%arguments", frame, begin, end), 0)

    with f.when(match(nodes, nodes_end)):
        f.exit(MISS)
    with f.when(f.equal(f.call("is_guarded", "%api", plan("guards"), plan("guards_end")), 0)):
        f.exit(GENERAL)
    f.call("hold", "%api", frame, nodes, nodes_end, 1)
    result = f.variable(GENERAL)
    is_valid = f.variable(1)
    judge = plan("judge")
    with f.when(f.differ(judge, 0)):
        verdict = f.c("PyObject_VectorcallDict", judge, frame, 0, 0)
        is_valid.set(f.as_word(f.equal(verdict, f.thing("true"))))
        with f.when(f.equal(verdict, 0)):
            result.set(0)
        with f.when(f.differ(verdict, 0)):
            f.drop(verdict)
    with f.when(f.differ(is_valid.get(), 0)), f.when(match(captures, captures_end)):
        is_valid.set(0)
    with f.when(f.differ(is_valid.get(), 0)):
        f.call("hold", "%api", frame, captures, captures_end, 1)
        result.set(f.call("serve", "%api", "%plan", frame))
        f.call("hold", "%api", frame, captures, captures_end, 0)
    f.call("hold", "%api", frame, nodes, nodes_end, 0)
    f.exit(result.get())
    return f


def _call_general() -> Function:
    """The general path: `callable.__call__(*arguments)`, in Python."""
    f = Code("call_general", "api", "self", "arguments", "nargsf", "names")
    count = f.variable(f.put(f"and i64 %nargsf, {~ARGUMENTS_OFFSET}"))
    given = f.add(count.get(), 1)
    with f.when(f.differ("%names", 0)):
        count.set(f.add(count.get(), f.load("%names", CONTENT)))
    room = f.room(f.shift(f.add(count.get(), 1), 3))
    f.store(room, "%self")
    place = f.variable(f.add(room, 8))
    with f.rows("%arguments", f.add("%arguments", f.shift(count.get(), 3)), WORD) as argument:
        f.store(place.get(), argument("value"))
        place.set(f.add(place.get(), 8))
    f.exit(f.c("PyObject_VectorcallMethod", f.thing("general_name"), room, given, "%names"))
    return f


def _program() -> Function:
    """`vectorcall(callable, arguments, nargs, names)`: the plans in turn, else the general path.

    A plan keeps the next one alive, and its owner is held while it is tried: the list may change meanwhile.
    """
    f = Code("program", "self", "arguments", "nargsf", "names", linkage="")
    state = f.load("%self", STATE)
    f.api = api = f.load(state, STATE_WORDS.offset("api"))
    nargs = f.put(f"and i64 %nargsf, {~ARGUMENTS_OFFSET}")
    address = f.variable(f.load(state, STATE_WORDS.offset("first")))
    is_traced = f.differ(f.load(f.thing("traces")), 0)
    with f.when(f.put(f"or i1 {is_traced}, {f.differ('%names', 0)}")):
        address.set(0)
    held = f.variable()
    with f.when(f.differ(address.get(), 0)):
        held.set(f.row(address.get())("owner"))
        f.c("Py_IncRef", held.get())
    result = f.variable(GENERAL)
    head, body, after = (f.label(w) for w in ("head", "body", "after"))
    f.begin(head)
    f.end(f"br i1 {f.differ(address.get(), 0)}, label %{body}, label %{after}")
    f.begin(body)
    plan = f.row(address.get())
    result.set(MISS)
    with f.when(f.equal(plan("nargs"), nargs)):
        result.set(f.call("attempt", api, plan.address, "%arguments"))
    address.set(0)
    with f.when(f.equal(result.get(), MISS)):
        address.set(plan("next"))
        with f.when(f.differ(address.get(), 0)):
            f.c("Py_IncRef", f.row(address.get())("owner"))
    f.drop(held.get())
    with f.when(f.differ(address.get(), 0)):
        held.set(f.row(address.get())("owner"))
    f.end(f"br label %{head}")
    f.begin(after)
    is_object = f.put(f"icmp ugt i64 {result.get()}, {GENERAL}")
    with f.when(f.put(f"or i1 {is_object}, {f.equal(result.get(), 0)}")):
        f.exit(result.get())
    f.exit(f.call("call_general", api, "%self", "%arguments", "%nargsf", "%names"))
    return f
