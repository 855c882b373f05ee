"""Functions of words: what is written runs as it says."""

from __future__ import annotations

import ctypes

from tracejit.config import Config
from tracejit.runtime.cache import get_program
from tracejit.runtime.calls.assembler import Function, Struct

POINT = Struct("x", "y")


def test_a_struct_has_offsets_and_zeros_where_nothing_is_given() -> None:
    assert (POINT.offset("x"), POINT.offset("y"), POINT.size) == (0, 8, 16)
    assert POINT.pack(y=3) == [0, 3]


def test_loops_branches_and_calls_run() -> None:
    # The sum of x where y is not 7, and the square of it at the second word.
    total = Function("total", "begin", "end")
    found = total.variable()
    with total.rows("%begin", "%end", POINT) as point, total.when(total.differ(point("y"), 7)):
        found.set(total.add(found.get(), point("x")))
    total.exit(found.get())
    main = Function("program", "table", "result", linkage="")
    end = main.add("%table", 4 * POINT.size)
    main.store("%result", main.call("total", "%table", end))
    main.exit(0)
    text = total.text() + "\n" + main.text()
    program, _ = get_program(text, Config(), "llvm")
    table = (ctypes.c_int64 * 8)(1, 0, 2, 7, 3, 0, -10, 1)
    result = (ctypes.c_int64 * 1)()
    program(ctypes.addressof(table), ctypes.addressof(result))
    assert result[0] == -6


def test_narrow_numbers_keep_their_sign() -> None:
    main = Function("program", "table", "result", linkage="")
    main.store("%result", main.load("%table", 4, "i32"))
    main.exit(0)
    program, _ = get_program(main.text(), Config(), "llvm")
    table, result = (ctypes.c_int32 * 2)(1, -5), (ctypes.c_int64 * 1)()
    program(ctypes.addressof(table), ctypes.addressof(result))
    assert result[0] == -5
