"""Compiling kernel source to object code and loading it: results, vector instructions, errors, forks."""

from __future__ import annotations

import math
import os
import platform
import threading

import numpy as np
import pytest

from tracejit.codegen.scalar_library import plain_program
from tracejit.errors import InternalError
from tracejit.runtime import native

SUM = """
def kernel_0(x, g, value, s0, c0):
    acc = 0.0
    for i in range(s0):
        t0 = x[i] * c0
        acc = sum_step(acc, t0)
        g[i] = 1.0 - t0 * t0
    value[0] = acc

def program(ip, fp):
    kernel_0(ptr_f64(ip[0]), ptr_f64(ip[1]), ptr_f64(ip[2]), ip[3], fp[0])
"""

COPY = "def program(ip, fp):\n    ptr_f64(ip[0])[0] = fp[0]"

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for x86 registers")


def loop(body: str, start: str = "0.0") -> str:
    """A kernel that reduces two arrays `x` and `y` into `acc`."""
    return f"""
def kernel_0(x, y, value, s0, s1):
    acc = {start}
    for i in range(s0):
        for j in range(s1):
            t0 = x[i * s1 + j]
            t1 = y[j]
            {body}
    value[0] = acc

def program(ip, fp):
    kernel_0(ptr_f64(ip[0]), ptr_f64(ip[1]), ptr_f64(ip[2]), ip[3], ip[4])
"""


def run(
    program: object, *arrays: np.ndarray, sizes: tuple[int, ...] = (), constants: tuple[float, ...] = ()
) -> None:
    ip = np.array([x.ctypes.data for x in arrays] + list(sizes), np.int64)
    fp = np.array([*constants, 0.0])
    program(ip.ctypes.data, fp.ctypes.data)  # type: ignore[operator]


def has_vectors(assembly: str, instruction: str) -> bool:
    """Whether `instruction`, packed, works on registers of at least 256 bits."""
    return any(instruction in line and ("ymm" in line or "zmm" in line) for line in assembly.splitlines())


def test_a_program_computes_what_its_source_says(rng: np.random.Generator) -> None:
    x = rng.normal(size=1001)
    results = []
    for program in (native.load(native.compile_source(SUM)), plain_program(SUM)):
        g, value = np.zeros_like(x), np.zeros(1)
        run(program, x, g, value, sizes=(x.size,), constants=(0.5,))
        results.append((g, value[0]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-14)


@x86
@pytest.mark.parametrize(
    ("body", "start", "instruction"),
    [
        ("acc = sum_step(acc, t0 * t1)", "0.0", "mulpd"),
        ("acc = prod_step(acc, t0 + t1)", "1.0", "addpd"),
        ("acc = maximum(acc, t0 - t1)", "0.0", "maxpd"),
        ("acc = minimum(acc, t0 - t1)", "0.0", "minpd"),
        ("acc = sum_step(acc, floor(t0) / t1)", "0.0", "divpd"),
        ("acc = sum_step(acc, select(t0 > t1, sqrt(t0), absolute(t1)))", "0.0", "sqrtpd"),
        ("acc = sum_step(acc, fma(t0, t1, 1.0))", "0.0", "fmadd"),
        ("acc = sum_step(acc, to_f64(to_i32(t0)))", "0.0", "cvttpd2dq"),
    ],
)
def test_reductions_over_rows_use_vector_registers(body: str, start: str, instruction: str) -> None:
    assembly = native.load(native.compile_source(loop(body, start))).assembly()
    assert has_vectors(assembly, instruction)


@x86
def test_elementwise_loops_over_many_disjoint_arrays_use_vector_registers() -> None:
    names = [f"x{k}" for k in range(24)]
    terms = " + ".join(f"{name}[i]" for name in names[:-6])
    stores = "\n".join(f"        {name}[i] = t0 * {k}.5" for k, name in enumerate(names[-6:]))
    pointers = ", ".join(f"ptr_f64(ip[{k}])" for k in range(24))
    source = f"""
NOALIAS = ("kernel_0",)

def kernel_0({", ".join(names)}, s0):
    for i in range(s0):
        t0 = {terms}
{stores}

def program(ip, fp):
    kernel_0({pointers}, ip[24])
"""
    assembly = native.load(native.compile_source(source)).assembly()
    assert has_vectors(assembly, "mulpd")


def test_sums_in_plain_operators_keep_their_order() -> None:
    source = loop("acc = acc + t0 * t1")
    x = np.array([1e16, 1.0, -1e16, 1.0] * 8)
    value = np.zeros(1)
    run(native.load(native.compile_source(source)), x, np.ones(32), value, sizes=(1, 32))
    expected = 0.0
    for number in x:
        expected += number
    assert value[0] == expected


def test_integer_loops_of_a_helper_function_compile_into_the_program() -> None:
    source = """
def twice(a):
    return a + a

def program(ip, fp):
    ptr_i64(ip[0])[0] = gcd(twice(ip[1]), ip[2])
"""
    out = np.zeros(1, np.int64)
    run(native.load(native.compile_source(source)), out, sizes=(21, 28))
    assert out[0] == math.gcd(42, 28)


def test_narrow_integers_wrap_once_cast_back() -> None:
    source = """
def program(ip, fp):
    x = ptr_i8(ip[0])
    x[0] = to_i8(x[0] + x[1])
    b = ptr_bool(ip[1])
    b[0] = to_u8(x[0] < 0)
    b[1] = to_u8(b[0] != 0)
"""
    x, flags = np.array([100, 100], np.int8), np.zeros(2, np.bool_)
    for program in (native.load(native.compile_source(source)), plain_program(source)):
        x[0] = 100
        run(program, x, flags)
        assert x[0] == -56
        assert flags.tolist() == [True, True]


def test_the_statements_of_kernel_source_mean_the_same_compiled_and_plain() -> None:
    source = """
def kernel_0(x, out, flags, s0):
    for i in range(max(0, 1 - s0), min(s0, 100)):
        t0 = x[i]
        if t0 > 0.0 and not (t0 > 2.0 or i == 3):
            t1 = -t0
        else:
            t1 = abs(t0) + float(int(t0))
        t2 = 1 if t1 < 0.0 else 0
        j = s0 - 1
        while j > i:
            t1 += x[j] * 2.0 ** t2
            j -= 2
            if j == 5:
                break
        out[i] = t1 + (i % 3) + (i // 2) + (i << 1) + (~i)
        flags[i] = to_u8((t0 > 0.0) & (t1 != 3.0) | (t0 <= -1.0) ^ (t1 == t1))
    for i in range(s0 - 1, s0 // 2, -1):
        acc = to_f32(0.0)
        for j in range(i):
            acc = sum_step(acc, to_f32(x[j]))
        out[i] += acc

def program(ip, fp):
    kernel_0(ptr_f64(ip[0]), ptr_f64(ptr_i64(ip[1] + 8)[0] + 8 * ip[3]), ptr_bool(ip[2]), ip[4])
"""
    x = np.array([0.5, -1.25, 3.0, 1.0, 1.5, -0.0, 2.0, -4.0])
    results = []
    for program in (native.load(native.compile_source(source)), plain_program(source)):
        out, flags = np.zeros(10), np.zeros(8, np.bool_)
        table = np.array([0, out.ctypes.data], np.int64)
        run(program, x, table, flags, sizes=(2, 8))
        results.append((out.tolist(), flags.tolist()))
    assert results[0] == results[1]
    assert results[0][0][:2] == [0.0, 0.0]


def test_division_by_zero_gives_numpys_values_and_no_exception() -> None:
    source = (
        "def program(ip, fp):\n    ptr_f64(ip[0])[0] = fp[0] / fp[1]\n    ptr_f64(ip[0])[1] = math.log(fp[1])"
    )
    out = np.zeros(2)
    run(native.load(native.compile_source(source)), out, constants=(1.0, 0.0))
    assert out.tolist() == [math.inf, -math.inf]


def test_a_record_loads_again_from_its_bytes_alone() -> None:
    record = native.compile_source(COPY)
    assert record.compile_seconds > 0
    copy = native.Record(record.object_code, record.bitcode, record.symbols)
    program, out = native.load(copy), np.zeros(1)
    run(program, out, constants=(7.0,))
    assert out[0] == 7.0
    assert program.compile_seconds == 0.0
    assert "ret" in program.assembly()


def test_a_record_that_calls_an_unknown_function_is_refused_before_linking() -> None:
    record = native.compile_source(COPY)
    wrong = native.Record(record.object_code, record.bitcode, ("tracejit_no_such_function",))
    with pytest.raises(native.MissingSymbolError, match="tracejit_no_such_function"):
        native.load(wrong)


def test_bytes_that_are_not_object_code_are_an_internal_error() -> None:
    with pytest.raises(InternalError, match="cannot link"):
        native.load(native.Record(b"not object code", b"", ()))


def test_llvm_text_compiles_without_numba() -> None:
    text = """
define void @program(ptr %ip, ptr %fp) {
  %x = load double, ptr %fp
  %address = load i64, ptr %ip
  %out = inttoptr i64 %address to ptr
  store double %x, ptr %out
  ret void
}
"""
    out = np.zeros(1)
    run(native.load(native.compile_llvm(text)), out, constants=(3.0,))
    assert out[0] == 3.0
    with pytest.raises(InternalError, match="LLVM refused a generated module"):
        native.compile_llvm("nonsense")


def test_a_type_error_names_the_line_and_shows_no_numba_traceback() -> None:
    source = "def program(ip, fp):\n    t0 = fp[0]\n    t1 = t0 @ t0\n    ptr_f64(ip[0])[0] = t1"
    with pytest.raises(InternalError) as caught:
        native.compile_source(source)
    assert "> " in str(caught.value) and "t1 = t0 @ t0" in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def program(ip, fp)\n    pass", "SyntaxError"),
        ("def program(ip, fp):\n    ptr_f64(ip[0])[0] = unknown(fp[0])", "unknown"),
        ("def kernel_0(x):\n    x[0] = 1.0\n", "program"),
    ],
)
def test_bad_source_is_an_internal_error_with_an_excerpt(source: str, words: str) -> None:
    with pytest.raises(InternalError, match=words) as caught:
        native.compile_source(source)
    assert source.splitlines()[0] in str(caught.value)


def test_programs_run_in_threads_at_once() -> None:
    program = native.load(native.compile_source(SUM))
    x = np.arange(100_000.0)
    values = np.zeros((4, 1))

    def work(k: int) -> None:
        for _ in range(20):
            run(program, x, np.empty_like(x), values[k], sizes=(x.size,), constants=(1.0,))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values.ravel().tolist() == [x.sum()] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_old_programs_and_compiles_new_ones() -> None:
    program = native.load(native.compile_source(COPY))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            out = np.zeros(2)
            run(program, out[:1], constants=(4.0,))
            run(
                native.load(native.compile_source(COPY.replace("fp[0]", "fp[0] + 1.0"))),
                out[1:],
                constants=(4.0,),
            )
            status = 0 if out.tolist() == [4.0, 5.0] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
