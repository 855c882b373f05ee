"""Results made before a program runs, and put together after it. As LLVM functions."""

from __future__ import annotations

from tracejit.runtime.abi import CONTENT
from tracejit.runtime.calls.assembler import Function, Row, Word
from tracejit.runtime.calls.code import Code
from tracejit.runtime.calls.layout import BUILD, DIMS, KEY, OUTPUT, WORD, Step


def make_outputs() -> Function:
    """Allocate the arrays of all outputs; 0 where memory is short."""
    f = Code("make_outputs", "api", "plan", "frame")
    plan = f.row("%plan")
    begin, end = f.add("%frame", plan("results_at")), f.add("%frame", plan("results_end"))
    with f.rows(begin, end, WORD) as result:
        f.store(result.address, 0)
    with f.rows(plan("outputs"), plan("outputs_end"), OUTPUT) as out:
        handle = f.add("%frame", out("handle"))
        is_scalar, given = out("is_scalar"), out("given")
        with f.when(f.differ(is_scalar, 0)):
            cell = f.add("%frame", out("cell"))
            f.store(cell, f.add(cell, 8))
            f.store(handle, f.sub(cell, CONTENT))
        with f.when(f.differ(given, 0)):
            array = f.load(f.add("%frame", given))
            f.c("Py_IncRef", array)
            f.store(f.add("%frame", out("result")), array)
            f.store(handle, array)
        with f.when(f.equal(f.either(is_scalar, given), 0)):
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


def drop_outputs() -> Function:
    f = Code("drop_outputs", "api", "plan", "frame")
    plan = f.row("%plan")
    begin, end = f.add("%frame", plan("results_at")), f.add("%frame", plan("results_end"))
    with f.rows(begin, end, WORD) as result, f.when(f.differ(result("value"), 0)):
        f.drop(result("value"))
    f.exit(0)
    return f


def take_workspace() -> Function:
    """An array that no other call uses, the last of the list if it will do; 1 where the plan needs none."""
    f = Code("take_workspace", "api", "plan", "frame")
    plan = f.row("%plan")
    size = plan("workspace_bytes")
    with f.when(f.equal(size, 0)):
        f.exit(1)
    found, free = f.variable(), f.thing("workspaces")
    count = f.load(free, CONTENT)
    with f.when(f.differ(count, 0)):
        last = f.sub(count, 1)
        array = f.c("PyList_GetItem", free, last)
        too_small = f.less(f.load(f.load(array, DIMS)), size)
        with f.when(f.put(f"xor i1 {too_small}, true")):
            f.c("Py_IncRef", array)
            f.c("PyList_SetSlice", free, last, count, 0)
            found.set(array)
    with f.when(f.equal(found.get(), 0)):
        number = f.c("PyLong_FromLongLong", size)
        with f.when(f.differ(number, 0)):
            argument = f.add("%frame", plan("workspace_at"))
            f.store(argument, number)
            found.set(f.c("PyObject_VectorcallDict", f.thing("new_workspace"), argument, 1, 0))
            f.drop(number)
    f.store(f.add("%frame", plan("workspace_at")), found.get())
    f.exit(found.get())
    return f


def give_workspace() -> Function:
    """Back to the list, as `workspace.give` does it."""
    f = Code("give_workspace", "api", "plan", "frame")
    plan = f.row("%plan")
    with f.when(f.equal(plan("workspace_bytes"), 0)):
        f.exit(0)
    array, free = f.load(f.add("%frame", plan("workspace_at"))), f.thing("workspaces")
    limit = f.load(f.thing("workspace_limit"))
    with f.when(f.less(limit, f.load(f.load(array, DIMS)))):
        f.drop(array)
        f.exit(0)
    with f.when(f.differ(f.c("PyList_Append", free, array), 0)):
        f.c("PyErr_Clear")
    f.drop(array)
    kept, count = f.variable(), f.load(free, CONTENT)
    with f.repeat(f.word(0), "ult", count, 1) as place:
        item = f.c("PyList_GetItem", free, place)
        kept.set(f.add(kept.get(), f.load(f.load(item, DIMS))))
    with f.repeat(f.word(0), "ult", count, 1), f.when(f.less(limit, kept.get())):
        first = f.c("PyList_GetItem", free, 0)
        kept.set(f.sub(kept.get(), f.load(f.load(first, DIMS))))
        f.c("PyList_SetSlice", free, 0, 1, 0)
    f.exit(0)
    return f


def join_dict() -> Function:
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


def join() -> Function:
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


def build() -> Function:
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


def finish() -> Function:
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


FUNCTIONS = (make_outputs, drop_outputs, take_workspace, give_workspace, join_dict, join, build, finish)
