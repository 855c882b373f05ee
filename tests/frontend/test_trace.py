"""What a trace records: the graph, captured arrays, source lines, and a state that errors leave unharmed."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.frontend import Trace, argument_of, trace
from tracejit.frontend.trace import MAX_DEPTH, entering
from tracejit.ir import current_builder, format_graph, verify


def traced(function: Any, *args: Any) -> Trace:
    return trace(function, [argument_of(a) for a in args], getattr(function, "__name__", "f"))


def test_the_graph_takes_the_arguments_and_then_what_was_captured() -> None:
    data = np.arange(3.0)

    def f(x: Any, y: Any) -> Any:
        return {"sum": (x * data).sum() + y, "none": None}

    found = traced(f, np.ones(3), 2.0)
    verify(found.graph)
    assert [str(v.type) for v in found.graph.inputs] == ["f64[3]", "f64", "f64[3]"]
    assert found.captures[0] is data
    assert str(found.result) == "{'sum': *, 'none': None}"


def test_an_array_that_is_used_twice_is_captured_once() -> None:
    data = np.arange(3.0)
    assert len(traced(lambda x: x * data + data, np.ones(3)).captures) == 1


def test_equations_carry_the_line_of_the_user() -> None:
    def f(x: Any) -> Any:
        return np.tanh(x)

    (eqn,) = traced(f, np.ones(3)).graph.eqns
    assert eqn.source is not None
    assert (eqn.source.function, eqn.source.text) == ("f", "return np.tanh(x)")


def test_common_subexpressions_are_recorded_once() -> None:
    graph = traced(lambda x: np.sin(x) + np.sin(x), np.ones(3)).graph
    assert [e.primitive.name for e in graph.eqns] == ["sin", "add"]


def test_results_may_be_numbers_arrays_and_none() -> None:
    data = np.ones(2)
    found = traced(lambda x: (1, 2.5, True, data, x, None), 1.0)
    assert [str(a.type) for a in found.graph.outputs] == ["i64", "f64", "bool", "f64[2]", "f64"]


def test_an_error_comes_out_as_it_is_and_leaves_no_trace_under_way() -> None:
    def f(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        traced(f, 1.0)
    assert caught.traceback[-1].name == "f"
    assert current_builder() is None


def test_inner_traces_see_values_of_outer_ones() -> None:
    def outer(x: Any) -> Any:
        inner = traced(lambda y: y * x, 1.0)
        assert len(inner.captures) == 1
        return x

    traced(outer, 2.0)


def test_frozen_arrays_and_scalars_are_reported() -> None:
    mask = np.array([True, False, True])
    data = np.arange(3.0)
    found = traced(lambda x: x[mask] * data[1], np.ones(3))
    assert any(a is mask for a in found.frozen)
    assert [float(s) for s in found.scalars] == [1.0]


def test_a_trace_of_another_thread_is_not_seen() -> None:
    inside = threading.Event()
    done = threading.Event()
    seen: list[Any] = []

    def f(x: Any) -> Any:
        inside.set()
        done.wait(10)
        return x

    worker = threading.Thread(target=lambda: traced(f, 1.0))
    worker.start()
    inside.wait(10)
    seen.append(current_builder())
    done.set()
    worker.join()
    assert seen == [None]


def test_a_tracer_used_in_another_thread_is_a_leak() -> None:
    errors: list[Exception] = []

    def f(x: Any) -> Any:
        def use() -> None:
            try:
                x + 1
            except Exception as error:
                errors.append(error)

        worker = threading.Thread(target=use)
        worker.start()
        worker.join()
        return x

    traced(f, 1.0)
    assert [type(e) for e in errors] == [tj.TracerError]


def test_calls_under_way_are_counted_and_given_back() -> None:
    for _ in range(3):
        with pytest.raises(tj.TracerError, match="without an end"):
            recurse(0)


def recurse(depth: int) -> None:
    assert depth <= MAX_DEPTH
    with entering("key", "f"):
        recurse(depth + 1)


def test_the_graph_prints_as_python() -> None:
    def f(x: Any) -> Any:
        return x * 2

    assert "def f(v0: 'f64'):" in format_graph(traced(f, 1.0).graph)
