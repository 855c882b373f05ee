"""Printed graphs are text that can be read back: the same graph, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.passes.random_graphs import graphs
from tracejit.errors import InternalError
from tracejit.ir import Graph, evaluate, format_graph
from tracejit.ops.reading import read_graph


@settings(max_examples=100)
@given(case=graphs())
def test_printed_text_read_back_prints_and_runs_the_same(case: tuple[Graph, list[Any]]) -> None:
    graph, arrays = case
    again = read_graph(format_graph(graph))
    assert format_graph(again) == format_graph(graph)
    for got, want in zip(evaluate(again, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("value", ["float('nan')", "float('-inf')", "-0.0", "1e-320"])
def test_unusual_constants_survive(value: str) -> None:
    text = f"def f(v0: 'f64'):\n    v1: 'f64' = add(v0, const({value}, 'f64'))\n    return (v1,)"
    assert format_graph(read_graph(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "def f(v0: 'f64'):\n    print(v0)\n    return (v0,)",
        "def f(v0: 'f64'):\n    v1: 'f64' = v0\n    return (v1,)",
        "def f(v0: 'f64'):\n    v1: 'f64' = sin(v0 + 1)\n    return (v1,)",
        "def f(v0: 'f65'):\n    return (v0,)",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InternalError, match="read_graph"):
        read_graph(text)
