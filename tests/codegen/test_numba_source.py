"""Printed kernels: readable, of one meaning in plain Python and as machine code, free of sizes."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.golden_programs import PROGRAMS
from tests.plain_programs import Readable
from tracejit.api.record import record_call
from tracejit.codegen.loops import SCATTERED
from tracejit.codegen.program import build_program
from tracejit.codegen.scalar_library import plain_program
from tracejit.codegen.table import ProgramText
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import Graph, evaluate
from tracejit.ops.reading import read_graph
from tracejit.runtime import executable as runtime
from tracejit.runtime.executable import Executable
from tracejit.schedule.fusion import schedule_graph

MEMORY = Config(cache_dir=None)


class Plain:
    """Stands in for machine code: the same source in plain Python."""

    def __init__(self, source: str) -> None:
        self.run = plain_program(source)

    def entry(self, table: bytes, constants: int) -> None:
        numbers = ctypes.create_string_buffer(table)
        self.run(ctypes.addressof(numbers), constants)


def executable_of(text: str, fuse: bool = True) -> Executable:
    return Executable(build_program(schedule_graph(read_graph(text), fuse=fuse)), MEMORY)


def print_kernels(text: str, layout: tuple[int, ...] | None = None) -> ProgramText:
    executable = executable_of(text)
    return executable.print(layout)


def in_plain_python(executable: Executable, arrays: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "llvm", Readable)
        patch.setattr(runtime, "get_program", lambda source, config, language: (Plain(source), "memory"))
        executable.bound.clear()
        return executable(arrays)


# --- one meaning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tutorial", "softmax_cross_entropy", "joined", "positions", "mixed"])
def test_kernels_mean_the_same_in_plain_python_and_as_machine_code(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, arguments = PROGRAMS[name]
    record = record_call(function, arguments, {})
    arrays = [np.asarray(a) for a in record.arrays]
    executable = run_stages(record.graph, record.fuse, MEMORY).executable
    native = executable(arrays)
    plain = in_plain_python(executable, arrays, monkeypatch)
    for a, b in zip(native, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


NARROW = """
def f(v0: '{t}[6]', v1: '{t}[6]'):
    v2: '{t}[6]' = add(v0, v1)
    v3: '{t}[6]' = multiply(v2, v0)
    v4: '{t}[6]' = negative(v3)
    v5: '{t}[6]' = subtract(v4, v1)
    v6: 'bool[6]' = less(v5, v3)
    v7: '{t}' = reduce_sum(v5, axes=(0,))
    return (v2, v3, v4, v5, v6, v7)
"""


@pytest.mark.parametrize("name", ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"])
def test_integers_wrap_at_their_own_width(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = NARROW.format(t=name)
    graph = read_graph(text)
    info = np.iinfo(graph.inputs[0].type.dtype)
    first = np.array([info.min, info.max, 1, 0, info.max // 3, 7], info.dtype)
    second = np.array([1, info.max, info.max, 2, 200 % info.max, info.min], info.dtype)
    with np.errstate(over="ignore"):
        expected = evaluate(graph, [first, second])
    executable = executable_of(text)
    plain = in_plain_python(executable_of(text), [first, second], monkeypatch)
    for got, also, want in zip(executable([first, second]), plain, expected, strict=True):
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(also, want)


SPECIAL = """
def f(v0: 'f64[5,7]'):
    v1: 'f64[5]' = reduce_max(v0, axes=(1,))
    v2: 'f64[7]' = reduce_min(v0, axes=(0,))
    v3: 'i64[5]' = argmax(v0, axes=(1,))
    v4: 'i64[7]' = argmin(v0, axes=(0,))
    v5: 'f64' = reduce_sum(v0, axes=(0, 1))
    v6: 'f64[7]' = reduce_prod(v0, axes=(0,))
    v7: 'bool[5,7]' = convert(v0, dtype='bool')
    v8: 'bool[5]' = reduce_all(v7, axes=(1,))
    v9: 'bool[7]' = reduce_any(v7, axes=(0,))
    return (v1, v2, v3, v4, v5, v6, v7, v8, v9)
"""


def test_reductions_treat_nan_infinity_and_ties_as_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([[0.0, -0.0, 1.0, 1.0, -1.0, np.inf, 0.5]] * 5)
    x[1, 2] = x[1, 5] = np.nan
    x[2] = -np.inf
    x[3] = 0.0
    graph = read_graph(SPECIAL)
    for got in (executable_of(SPECIAL)([x]), in_plain_python(executable_of(SPECIAL), [x], monkeypatch)):
        for result, expected in zip(got, evaluate(graph, [x]), strict=True):
            np.testing.assert_array_equal(result, expected)


# --- text ---------------------------------------------------------------------------------------------

CHAIN = """
def f(v0: 'f64[{n}]'):
    v1: 'f64[{n}]' = broadcast(const({c}, 'f64'), dims=(), shape=({n},))
    v2: 'f64[{n}]' = multiply(v0, v1)
    v3: 'f64[{n}]' = tanh(v2)
    v4: 'f64' = reduce_sum(v3, axes=(0,))
    return (v3, v4)
"""


def test_a_kernel_reads_like_a_loop_by_hand() -> None:
    text = print_kernels(CHAIN.format(n=1000, c=0.3)).text
    assert text.split("\n\n\n")[1] == (
        "def kernel_0(x0, out0, out1, s0, c0):\n"
        "    # reads x0: f64[:]\n"
        "    # writes out0: f64[:]\n"
        "    # writes out1: f64\n"
        "    acc0 = 0.0\n"
        "    for i in range(s0):\n"
        "        t0 = x0[i]\n"
        "        t1 = t0 * c0\n"
        "        t2 = math.tanh(t1)\n"
        "        out0[i] = t2\n"
        "        acc0 = sum_step(acc0, t2)\n"
        "    out1[0] = acc0"
    )


def test_sizes_and_constants_are_arguments() -> None:
    one, other = (print_kernels(CHAIN.format(n=n, c=c)) for n, c in ((1000, 0.3), (77, 2.5)))
    assert one.text == other.text
    assert [s for s in other.slots if s[0] == "size"] == [("size", 77)]
    assert (one.constants, other.constants) == ((0.3,), (2.5,))


def test_small_sizes_and_constants_that_mean_something_stay_in_the_text() -> None:
    text = print_kernels(CHAIN.format(n=3, c=1.0)).text
    assert "range(3)" in text and "* 1.0" in text


def test_what_changes_from_call_to_call_stands_first_in_the_table() -> None:
    printed = print_kernels(CHAIN.format(n=1000, c=0.3), (SCATTERED,))
    kinds = [slot[0] for slot in printed.slots]
    assert kinds == ["array", "array", "array", "stride", "size"]
    assert printed.dynamic == 4


def test_strided_arrays_have_their_strides_as_arguments() -> None:
    text = print_kernels(CHAIN.format(n=1000, c=0.3), (SCATTERED,)).text
    assert "t0 = x0[(i) * x0_s0]" in text
    assert "out0[i] = t2" in text


def test_every_kernel_says_that_its_arrays_do_not_overlap() -> None:
    assert print_kernels(CHAIN.format(n=9, c=0.3)).text.startswith("NOALIAS = ('kernel_0',)\n")


def test_the_users_line_stands_beside_the_statement_once() -> None:
    function, arguments = PROGRAMS["chain"]
    record = record_call(function, arguments, {})
    executable = run_stages(record.graph, True, MEMORY).executable
    text = executable.print().text
    lines = [line for line in text.splitlines() if "golden_programs.py" in line]
    assert lines
    assert all("return np.sum(np.tanh(a * x + b)" in line for line in lines)


# --- guards -------------------------------------------------------------------------------------------


def loops_of(text: str) -> list[str]:
    return re.findall(r"for \w+ in range\(([^)]*)\):", text.split("def program")[0])


def test_the_long_part_of_a_loop_asks_no_guards() -> None:
    text = print_kernels("""
def f(v0: 'f64[100]'):
    v1: 'f64[110]' = unslice(v0, shape=(110,), starts=(3,), steps=(1,))
    v2: 'f64[110]' = exp(v1)
    return (v2,)
""").text
    assert loops_of(text) == ["3", "3, s0", "s0, s1"]
    middle = text.split("for i in range(3, s0):\n")[1].split("for")[0]
    assert "if" not in middle


def test_joined_arrays_are_a_loop_each() -> None:
    text = print_kernels("""
def f(v0: 'f64[100]', v1: 'f64[50]'):
    v2: 'f64[150]' = concatenate(v0, v1, axis=0)
    v3: 'f64[150]' = tanh(v2)
    return (v3,)
""").text
    assert loops_of(text) == ["s0", "s0, s1"]
    assert not re.search(r" if |select", text.split("def program")[0])


def test_rows_of_joined_arrays_are_loops_without_conditions() -> None:
    text = print_kernels("""
def f(v0: 'f64[100,30]', v1: 'f64[50,30]'):
    v2: 'f64[150,30]' = concatenate(v0, v1, axis=0)
    v3: 'f64[150,30]' = tanh(v2)
    return (v3,)
""").text
    assert loops_of(text) == ["s0", "s2", "s0, s1", "s2"]
    assert " if " not in text.split("def program")[0]


def test_guards_on_outer_loops_are_asked_once_a_row() -> None:
    text = print_kernels("""
def f(v0: 'f64[100,30]'):
    v1: 'f64[104,36]' = unslice(v0, shape=(104, 36), starts=(2, 3), steps=(1, 1))
    v2: 'f64[104,36]' = tanh(v1)
    return (v2,)
""").text
    assert "        if i >= 2 and i <= s2:\n            low0, high0 = 3, s3\n" in text
    assert loops_of(text) == ["s0", "low0", "low0, high0", "high0, s1"]


# --- all of it ----------------------------------------------------------------------------------------

DTYPED: dict[str, Callable[[Any], Any]] = {"f8": float, "f4": np.float32, "i8": int, "?": bool}


@pytest.mark.parametrize("dtype", DTYPED)
def test_views_of_views_of_every_dtype_are_read_through(dtype: str, rng: np.random.Generator) -> None:
    name = {"f8": "f64", "f4": "f32", "i8": "i64", "?": "bool"}[dtype]
    text = f"""
def f(v0: '{name}[6,7]'):
    v1: '{name}[7,6]' = permute(v0, axes=(1, 0))
    v2: '{name}[4,3]' = slice(v1, sizes=(4, 3), starts=(6, 5), steps=(-2, -1))
    v3: '{name}[12]' = reshape(v2, shape=(12,))
    v4: '{name}[24]' = concatenate(v3, v3, axis=0)
    v5: '{name}[30]' = unslice(v4, shape=(30,), starts=(29,), steps=(-1,))
    v6: '{name}[5,6]' = reshape(v5, shape=(5, 6))
    v7: '{name}[5]' = diagonal(v6, col=1, row=0, size=5)
    v8: '{name}[5,6]' = copy(v6)
    v9: '{name}[5]' = copy(v7)
    return (v8, v9)
"""
    graph: Graph = read_graph(text)
    x = (rng.standard_normal((6, 7)) * 3).astype(dtype)
    for result, expected in zip(executable_of(text)([x]), evaluate(graph, [x]), strict=True):
        np.testing.assert_array_equal(result, expected)
