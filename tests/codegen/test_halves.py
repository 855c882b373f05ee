"""float16 and bfloat16 in kernels: every bit pattern in, every rounding out, by all printers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.halves import each_half, every_value, half, near_ties, same_bits
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS
from tracejit.compile import compile_graph
from tracejit.config import Config
from tracejit.ir import Graph
from tracejit.ops.reading import read_graph

PRINTERS = ["llvm", "numba", "cuda-emu"]
each_printer = pytest.mark.parametrize("printer", PRINTERS)


def some(x: Any, printer: str) -> Any:
    """Of the emulator, which takes its time, a part is asked: it is NumPy that rounds there."""
    return x if printer != "cuda-emu" else x[:: 1 + x.size // 3000]


def run(graph: Graph, printer: Any, x: Any) -> Any:
    if printer == "cuda-emu":
        config = Config(cache_dir=None, target="cuda-emu")
    else:
        config = Config(cache_dir=None, printer=printer)
    (result,) = compile_graph(graph, config=config)([x])
    return result


def converting(source: str, target: str, n: int) -> Graph:
    return read_graph(
        f"def f(v0: '{source}[{n}]'):\n"
        f"    v1: '{target}[{n}]' = convert(v0, dtype='{target}')\n"
        "    return (v1,)"
    )


@each_printer
@each_half
def test_every_value_is_read_exactly(short: str, printer: str) -> None:
    x = some(every_value(short), printer)
    assert same_bits(run(converting(short, "f32", x.size), printer, x), x.astype(np.float32))


@each_printer
@each_half
def test_every_value_comes_back_with_its_bits(short: str, printer: str) -> None:
    x = some(every_value(short), printer)
    graph = read_graph(
        f"def f(v0: '{short}[{x.size}]'):\n    v1: '{short}[{x.size}]' = copy(v0)\n    return (v1,)"
    )
    assert same_bits(run(graph, printer, x), x)


@each_printer
@each_half
def test_float32_is_rounded_half_to_even(short: str, printer: str) -> None:
    x = some(near_ties(short), printer)
    with np.errstate(all="ignore"):
        assert same_bits(run(converting("f32", short, x.size), printer, x), x.astype(half(short)))


@each_printer
@each_half
def test_float64_is_rounded_once(short: str, printer: str) -> None:
    ties = some(near_ties(short)[:-1].astype(float), printer)
    moved = np.concatenate([ties, ties * (1 + 2.0**-50), ties * (1 - 2.0**-50), [1e300, -1e300, 1e-300]])
    with np.errstate(all="ignore"):
        found = run(converting("f64", short, moved.size), printer, moved)
    assert same_bits(found, exactly_rounded(moved, short))


def exactly_rounded(x: Any, short: str) -> Any:
    """float64 numbers rounded half to even: the nearer of two neighbours, else the even one."""
    dtype = half(short)
    size = np.abs(x)
    values = every_value(short)[: 0x7F80 if short == "bf16" else 0x7C00].astype(float)
    above = np.clip(np.searchsorted(values, size, side="left"), 1, values.size)
    # Beyond the largest number the next one would lie where infinity is.
    values = np.append(values, 2 * values[-1] - values[-2])
    low, high = size - values[above - 1], values[above] - size
    is_lower = (low < high) | ((low == high) & ((above - 1) % 2 == 0))
    bits = np.where(size > values[-1], values.size - 1, np.where(is_lower, above - 1, above))
    return (bits | np.where(np.signbit(x), 0x8000, 0)).astype(np.uint16).view(dtype)


@each_printer
@pytest.mark.parametrize("source", ["i64", "i32", "u16", "i8", "bool"])
def test_integers_become_the_nearest_float16(source: str, printer: str) -> None:
    dtypes = {"i64": "i8", "i32": "i4", "u16": "u2", "i8": "i1", "bool": "?"}
    x = np.array([0, 1, 2047, 2049, 2051, -2049, 65519, 65520, 10**6, 2**40 + 1]).astype(dtypes[source])
    with np.errstate(all="ignore"):
        assert same_bits(run(converting(source, "f16", x.size), printer, x), x.astype(np.float16))


def test_a_float64_cut_to_float32_is_odd_where_it_is_not_exact() -> None:
    odd = SCALAR_FUNCTIONS["odd_f32"].evaluate
    assert odd(np.float64(1.5)) == np.float32(1.5)
    assert odd(1 + 2.0**-30) == np.nextafter(np.float32(1), np.float32(2))
    assert odd(-1 - 2.0**-24 - 2.0**-40) == np.nextafter(np.float32(-1), np.float32(-2))  # below the middle
    assert odd(np.float64(1e300)) == np.finfo(np.float32).max  # and so infinite, rounded
    assert np.isnan(odd(np.float64("nan")))
