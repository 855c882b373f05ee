"""The code behind every fast call, as LLVM text: one for all programs, led by the plans of `layout.py`.

Enters nothing; leaves the module of `program(callable, arguments, nargs, names)`, a vectorcall function.
"""

from __future__ import annotations

from collections.abc import Callable

from tracejit.runtime.abi import CONTENT
from tracejit.runtime.calls import matching, results
from tracejit.runtime.calls.assembler import Flag, Function, Word
from tracejit.runtime.calls.code import Code
from tracejit.runtime.calls.layout import (
    ARGUMENTS_OFFSET,
    GENERAL,
    MISS,
    OUTPUT,
    STATE,
    STATE_WORDS,
    STRIDE,
    STRIDES,
    WORD,
)


def module_text() -> str:
    """The module; its text is the key under which the machine code is kept."""
    own = (_run, _serve, _attempt, _call_general, _program)
    makers: tuple[Callable[[], Function], ...] = (*matching.FUNCTIONS, *results.FUNCTIONS, *own)
    return "\n\n".join(make().text() for make in makers) + "\n"


# --- the call -----------------------------------------------------------------------------------------------


def _run() -> Function:
    """Fill the table of integers and run the program; gives the word that an index check may leave."""
    f = Code("run", "api", "plan", "frame")
    plan = f.row("%plan")
    table = f.add("%frame", plan("table_at"))
    place = f.variable(f.add(table, 8))
    f.store(table, plan("segment"))

    def put(value: Word) -> None:
        f.store(place.get(), value)
        place.set(f.add(place.get(), 8))

    status_at = plan("status_at")
    status = f.add("%frame", status_at)
    with f.when(f.differ(status_at, 0)):
        value = f.add(status, 8)
        f.store(value, 0)
        f.store(status, value)
        f.store(f.add("%frame", plan("status_handle")), f.sub(status, CONTENT))
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
    f.exit(f.load(status, 8))
    return f


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
        is_valid.set(f.call("lie_apart", frame, plan("overlaps"), plan("overlaps_end")))
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
    with f.when(f.differ(f.load(f.thing("traces")), 0)):
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
        named = f.call("are_named", api, "%names", plan("names"), plan("names_end"))
        with f.when(f.differ(named, 0)):
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
