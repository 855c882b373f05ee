"""What holds of every pass on every graph: the result stays, and a second time changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.passes.random_graphs import graphs
from tests.transforms.checks import float_inputs, float_outputs, is_single
from tracejit.ir import Graph, evaluate, format_graph, verify
from tracejit.ops.reading import read_graph
from tracejit.passes import PIPELINE, optimize, simplify_graph
from tracejit.passes.cse import eliminate_common
from tracejit.transforms import vjp_graph

PASSES: tuple[Callable[[Graph], Graph], ...] = (*dict.fromkeys(PIPELINE), simplify_graph)
each_pass = pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)


def assert_equal(graph: Graph, got: Sequence[Any], expected: Sequence[Any]) -> None:
    """Equal up to the rounding of sums in another order, in the lowest precision of `graph`."""
    tolerance = 1e-4 if is_single(graph) else 1e-10
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape and g.dtype == e.dtype
        if e.dtype.kind != "f":
            np.testing.assert_array_equal(g, e)
            continue
        scale = max(1.0, float(np.max(np.abs(e), initial=0.0, where=np.isfinite(e))))
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * scale)


@each_pass
@settings(max_examples=60)
@given(case=graphs())
def test_a_pass_preserves_the_result(step: Callable[[Graph], Graph], case: tuple[Graph, list[Any]]) -> None:
    graph, arrays = case
    assert_equal(graph, evaluate(verify(step(graph)), arrays), evaluate(graph, arrays))


@each_pass
@settings(max_examples=40)
@given(case=graphs())
def test_a_pass_applied_twice_is_the_pass(
    step: Callable[[Graph], Graph], case: tuple[Graph, list[Any]]
) -> None:
    once = step(case[0])
    assert format_graph(step(once)) == format_graph(once)


@each_pass
@settings(max_examples=60)
@given(case=graphs(most=24))
def test_what_is_known_of_a_tidy_graph_saves_work_and_changes_nothing(
    step: Callable[[Graph], Graph], case: tuple[Graph, list[Any]]
) -> None:
    tidy = eliminate_common(case[0])
    assert tidy.is_tidy
    unknown = dataclasses.replace(tidy)
    assert not unknown.is_tidy
    assert format_graph(step(tidy)) == format_graph(step(unknown))


@settings(max_examples=300)
@given(case=graphs(most=24))
def test_the_pipeline_preserves_the_result(case: tuple[Graph, list[Any]]) -> None:
    graph, arrays = case
    assert_equal(graph, evaluate(optimize(graph, verify_each=True), arrays), evaluate(graph, arrays))


@settings(max_examples=150)
@given(case=graphs(special_values=False, most=12))
def test_the_pipeline_preserves_gradients(case: tuple[Graph, list[Any]]) -> None:
    graph, arrays = case
    gradient = vjp_graph(graph, float_inputs(graph))
    cts = [np.ones(a.type.shape, a.type.dtype) for a in float_outputs(graph)]
    expected = evaluate(gradient, [*arrays, *cts])
    assert_equal(graph, evaluate(optimize(gradient, verify_each=True), [*arrays, *cts]), expected)


@settings(max_examples=60)
@given(case=graphs())
def test_a_pass_leaves_no_dead_equations(case: tuple[Graph, list[Any]]) -> None:
    graph = optimize(case[0])
    read = {a for e in graph.eqns for a in e.inputs} | set(graph.outputs)
    assert all(e.out in read for e in graph.eqns)


def test_a_graph_that_no_rule_touches_is_returned_as_it_is() -> None:
    graph = read_graph("def f(v0: 'f64[3]'):\n    v1: 'f64[3]' = sin(v0)\n    return (v1,)")
    assert all(step(graph) is graph for step in PASSES)
