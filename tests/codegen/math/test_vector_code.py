"""Loops over elementary functions are vector instructions, and call nothing but for rare arguments."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.codegen.math.programs import ALL, DTYPES, IS_X86, Programs
from tracejit.runtime import native

# The C functions that stand in for arguments outside of a program's range.
RESCUED = {"sin": ("sin",), "cos": ("cos",), "tan": ("tan",), "lgamma": ("lgamma",)}


def has_feature(name: str) -> bool:
    return f"+{name}," in native.host_description() + ","


needs_vectors = pytest.mark.skipif(
    not (IS_X86 and has_feature("avx2") and has_feature("fma")), reason="looks for AVX2 and FMA"
)


def packed(short: str) -> re.Pattern[str]:
    letter = "d" if short == "f64" else "[sd]"  # some functions of float32 compute in float64
    return re.compile(rf"vfn?m(add|sub)\d+p{letter}\s.*%[yz]mm")


@needs_vectors
@pytest.mark.parametrize(("name", "short"), ALL)
def test_a_function_of_vectors_is_vector_code(name: str, short: str) -> None:
    program = Programs([(name, short)])
    called = {s for s in program.native.record.symbols if not s.startswith("mem")}
    expected = {symbol if short == "f64" else f"{symbol}f" for symbol in RESCUED.get(name, ())}
    assert called == expected
    assert packed(short).search(program.native.assembly())


def loop_source(expression: str, short: str) -> str:
    return f"""NOALIAS = ("kernel",)
def kernel(x, y, s0):
    for i in range(s0):
        y[i] = {expression}

def program(ip, fp):
    kernel(ptr_{short}(ip[0]), ptr_{short}(ip[1]), ip[2])
"""


@needs_vectors
@pytest.mark.parametrize("short", DTYPES)
@pytest.mark.parametrize("expression", ["exp(x[i])", "math.exp(x[i])", "log1p(x[i])", "math.tanh(x[i])"])
def test_llvm_makes_vectors_of_the_printed_source_too(expression: str, short: str) -> None:
    record = native.compile_source(loop_source(expression, short))
    assert record.symbols == ()
    assert packed(short).search(native.load(record).assembly())


@needs_vectors
def test_a_reduction_of_a_chain_of_functions_is_vector_code_without_calls() -> None:
    source = """NOALIAS = ("kernel",)
def kernel(x, y, s0):
    total = 0.0
    for i in range(s0):
        total = sum_step(total, math.tanh(x[i]) * math.exp(x[i]) + math.log1p(x[i]))
    y[0] = total

def program(ip, fp):
    kernel(ptr_f64(ip[0]), ptr_f64(ip[1]), ip[2])
"""
    program = native.load(native.compile_source(source))
    assert program.record.symbols == ()
    assert packed("f64").search(program.assembly())
    x, y = np.linspace(0, 1, 1003), np.zeros(1)
    ip = np.array([x.ctypes.data, y.ctypes.data, len(x)])
    program(ip.ctypes.data, ip.ctypes.data)
    assert y[0] == pytest.approx(float(np.sum(np.tanh(x) * np.exp(x) + np.log1p(x))), rel=1e-13)
