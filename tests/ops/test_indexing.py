"""What keys become: slices where regular, selections where each row gives one element, gathers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit.frontend.trace import Trace, argument_of, trace
from tracejit.ir import Graph, evaluate
from tracejit.transforms.vjp import vjp_graph

X, LABELS = np.arange(20.0).reshape(4, 5), np.array([1, 0, 4, 2])


def traced(call: Callable[..., Any], *args: Any) -> Trace:
    return trace(call, [argument_of(a) for a in args], "f")


def primitives(graph: Graph) -> set[str]:
    return {eqn.primitive.name for eqn in graph.eqns}


REGULAR: dict[str, Callable[[Any], Any]] = {
    "a whole axis": lambda x: x[np.arange(4)],
    "a part": lambda x: x[np.arange(1, 4)],
    "backwards": lambda x: x[np.arange(4)[::-1]],
    "every other": lambda x: x[[0, 2]],
    "an open mesh": lambda x: x[np.arange(4)[:, None], np.arange(1, 5)],
    "a diagonal": lambda x: x[np.arange(4), np.arange(4)],
    "a mask of one run": lambda x: x[np.array([False, True, True, False])],
    "one element of each": lambda x: x[[2], [3]],
}


@pytest.mark.parametrize("call", REGULAR.values(), ids=REGULAR)
def test_an_index_array_that_is_a_progression_is_a_view_and_captures_nothing(
    call: Callable[[Any], Any],
) -> None:
    result = traced(call, X)
    assert primitives(result.graph) <= {"slice", "reshape", "permute", "diagonal"}
    assert result.captures == ()
    assert primitives(vjp_graph(result.graph, [0])) <= {
        "slice", "reshape", "permute", "diagonal", "unslice", "undiagonal"
    }  # fmt: skip


def test_an_irregular_index_array_is_captured_by_reference() -> None:
    places = np.array([0, 3, 1])
    result = traced(lambda x: x[places], X)
    assert result.captures[0] is places
    assert not result.frozen


def test_arrays_whose_content_shapes_the_graph_are_reported() -> None:
    places, mask = np.array([1, 2, 3]), np.array([True, False, True, False, True])
    result = traced(lambda x: x[places][:, mask], X)
    assert [any(array is known for known in result.frozen) for array in (places, mask)] == [True, True]


ONE_A_ROW: dict[str, Callable[..., Any]] = {
    "labels": lambda x, i: x[np.arange(4), i],
    "labels of some rows": lambda x, i: x[np.arange(1, 4), i[1:]],
    "labels of reversed rows": lambda x, i: x[np.arange(4)[::-1], i],
    "one a column": lambda x, i: x.T[i, np.arange(4)],
    "take_along_axis": lambda x, i: np.take_along_axis(x, i[:, None], axis=1),
    "one row": lambda x, i: x[i[0]],
    "one element": lambda x, i: x[i[0], i[1]],
}


@pytest.mark.parametrize("call", ONE_A_ROW.values(), ids=ONE_A_ROW)
def test_the_gradient_of_one_element_a_row_selects_and_does_not_scatter(call: Callable[..., Any]) -> None:
    assert "scatter_add" not in primitives(vjp_graph(traced(call, X, LABELS).graph, [0]))


def test_the_gradient_of_rows_that_may_repeat_adds_them_up() -> None:
    graph = traced(lambda x, i: x[i], X, np.array([1, 1, -1])).graph
    adjoint = vjp_graph(graph, [0])
    assert "scatter_add" in primitives(adjoint)
    rows = np.array([1, 1, -1])
    _, ct = evaluate(adjoint, [X, rows, np.ones((3, 5))])
    assert ct[:, 0].tolist() == [0, 2, 0, 1]


def test_slices_have_padded_cotangents_and_no_scatter() -> None:
    graph = traced(lambda x: x[1:, ::-2] * x[:-1, ::2], X).graph
    assert primitives(vjp_graph(graph, [0])) == {"slice", "multiply", "unslice", "add"}


def test_an_index_beyond_the_axis_raises_when_the_graph_is_evaluated() -> None:
    graph = traced(lambda x, i: x[i], X, LABELS).graph
    with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 4"):
        evaluate(graph, [X, np.array([0, 7, 1, 1])])
