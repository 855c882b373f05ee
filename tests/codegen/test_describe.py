"""Programs as text: the bytes of each array, its use, and what the user calls it."""

from __future__ import annotations

from tracejit.codegen.describe import count_kernels, format_program
from tracejit.codegen.program import Program, build_program
from tracejit.ops.reading import read_graph
from tracejit.schedule.fusion import schedule_graph

GRAPH = """
def f(v0: 'f64[40,50]', v1: 'f32[50,60]'):
    v2: 'f64[50,60]' = convert(v1, dtype='f64')
    v3: 'f64[40,60]' = dot_general(v0, v2, batch=((), ()), contract=((1,), (0,)))
    v4: 'f64[40,60]' = tanh(v3)
    return (v4,)
"""


def program(text: str = GRAPH) -> Program:
    return build_program(schedule_graph(read_graph(text)))


def test_every_array_has_its_type_its_bytes_and_its_use() -> None:
    assert format_program(program(), ("a", "b"), ("result",)).splitlines() == [
        "kernel_0: reads 12,000 bytes, writes 24,000 bytes",
        "    x1    f32[50,60]  12,000 bytes  read     b",
        "    tmp0  f64[50,60]  24,000 bytes  written",
        "dot_general: a library call, reads 40,000 bytes, writes 19,200 bytes",
        "    x0    f64[40,50]  16,000 bytes  read     a",
        "    tmp0  f64[50,60]  24,000 bytes  read",
        "    tmp1  f64[40,60]  19,200 bytes  written",
        "kernel_1: reads 19,200 bytes, writes 19,200 bytes",
        "    tmp1  f64[40,60]  19,200 bytes  read",
        "    out0  f64[40,60]  19,200 bytes  written  result",
        "in all 133,600 bytes moved; workspace of 43,200 bytes",
    ]


def test_without_names_arguments_and_results_are_numbered() -> None:
    text = format_program(program())
    assert "read     argument 1" in text
    assert "written  result 0" in text


def test_kernels_and_library_calls_are_counted() -> None:
    assert count_kernels(program()) == (2, 1)
    assert count_kernels(program("def f(v0: 'f64[3]'):\n    return ()")) == (0, 0)
