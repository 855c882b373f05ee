"""Schedules as text: steps in order, axes with sizes, equations with what is stored."""

from __future__ import annotations

from tracejit.ops.reading import read_graph
from tracejit.schedule.describe import format_schedule
from tracejit.schedule.fusion import schedule_graph

MATMUL = """
def f(v0: 'f64[40,50]', v1: 'f64[50,60]'):
    v2: 'f64[40,60]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))
    v3: 'f64[60,40]' = permute(v2, axes=(1, 0))
    v4: 'f64[60,40]' = tanh(v3)
    return (v4,)
"""


def test_library_calls_and_kernels_are_listed_in_order() -> None:
    assert format_schedule(schedule_graph(read_graph(MATMUL))).splitlines() == [
        "library call: dot_general",
        "    v2: 'f64[40,60]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))",
        "kernel_0 over i[60], j[40]",
        "    v3: 'f64[60,40]' = permute(v2, axes=(1, 0))",
        "    v4: 'f64[60,40]' = tanh(v3)  # stored",
    ]


def test_scalars_have_no_axes() -> None:
    graph = read_graph("def f(v0: 'f64'):\n    v1: 'f64' = exp(v0)\n    return (v1,)")
    assert format_schedule(schedule_graph(graph)).splitlines()[0] == "kernel_0 over nothing: scalars"


def test_unfused_schedules_have_a_kernel_an_equation() -> None:
    graph = read_graph(
        "def f(v0: 'f64[3]'):\n    v1: 'f64[3]' = exp(v0)\n    v2: 'f64[3]' = sin(v1)\n    return (v2,)"
    )
    text = format_schedule(schedule_graph(graph, fuse=False))
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "kernel_0 over i[3]",
        "kernel_1 over i[3]",
    ]
    assert text.count("# stored") == 2


def test_a_graph_without_results_runs_nothing() -> None:
    graph = read_graph("def f(v0: 'f64[3]'):\n    return ()")
    assert format_schedule(schedule_graph(graph)) == "nothing to run"
