"""Forward and reverse mode as transforms of graphs, alone, nested, and cut in two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.building import build
from tests.passes.random_graphs import graphs
from tests.transforms.checks import (
    assert_adjoint,
    assert_close,
    difference,
    float_inputs,
    float_outputs,
    pull,
    push,
    random_like,
)
from tests.transforms.functions import FUNCTIONS, graph_of
from tracejit.errors import UnsupportedError
from tracejit.ir import (
    ArrayType,
    Builder,
    Eqn,
    Graph,
    Kind,
    Primitive,
    Source,
    Var,
    constant,
    evaluate,
    verify,
)
from tracejit.ops.arithmetic import add, multiply
from tracejit.ops.comparison import greater
from tracejit.ops.core import convert, reduce_sum, reduce_sum_p
from tracejit.ops.transcendental import exp, sin
from tracejit.passes import optimize, simplify_graph
from tracejit.transforms import jvp_graph, partition_graph, vjp_graph

V = "f64[3]"
X, Y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 3.0, -2.0])

each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def gradient(graph: Graph) -> Graph:
    """The gradient of a scalar function of its first input, the seed a constant 1."""
    derived = vjp_graph(graph, (0,))
    builder = Builder(f"grad_{graph.name}")
    inputs = [builder.add_input(v.type) for v in graph.inputs]
    one = constant(1, graph.outputs[0].type.dtype)
    return builder.finish(builder.inline(derived, [*inputs, one])[1:])


# --- laws on random graphs -------------------------------------------------------------------------------


@settings(max_examples=150)
@given(case=graphs(special_values=False, most=12), rng=seeds)
def test_reverse_is_adjoint_to_forward(case: tuple[Graph, list[Any]], rng: np.random.Generator) -> None:
    graph, arrays = case
    assert_adjoint(graph, arrays, float_inputs(graph), rng)


@settings(max_examples=60)
@given(case=graphs(special_values=False, most=8), rng=seeds)
def test_reverse_is_adjoint_to_forward_on_gradients(
    case: tuple[Graph, list[Any]], rng: np.random.Generator
) -> None:
    graph, arrays = case
    cts = [random_like(rng, a) for a in float_outputs(graph)]
    assert_adjoint(
        simplify_graph(vjp_graph(graph, float_inputs(graph))), [*arrays, *cts], float_inputs(graph), rng
    )


@settings(max_examples=100)
@given(case=graphs(special_values=False, most=12))
def test_both_modes_keep_the_value(case: tuple[Graph, list[Any]]) -> None:
    graph, arrays = case
    moving = float_inputs(graph)
    forward = jvp_graph(graph, [k in moving for k in range(len(graph.inputs))])
    reverse = vjp_graph(graph, moving)
    tangents = [np.zeros_like(arrays[k]) for k in moving]
    cts = [np.zeros(a.type.shape, a.type.dtype) for a in float_outputs(graph)]
    expected = evaluate(graph, arrays)
    for derived, extra in ((forward, tangents), (reverse, cts)):
        for got, want in zip(evaluate(derived, [*arrays, *extra]), expected, strict=False):
            np.testing.assert_array_equal(got, want)


@settings(max_examples=100)
@given(case=graphs(special_values=False, most=12), rng=seeds)
def test_the_halves_of_a_gradient_make_the_whole(
    case: tuple[Graph, list[Any]], rng: np.random.Generator
) -> None:
    graph, arrays = case
    whole = vjp_graph(graph, float_inputs(graph))
    cts = [random_like(rng, a) for a in float_outputs(graph)]
    forward, backward = partition_graph(whole, len(graph.inputs), len(graph.outputs))
    early = evaluate(verify(forward), arrays)
    values, residuals = early[: len(graph.outputs)], early[len(graph.outputs) :]
    late = evaluate(verify(backward), [*residuals, *cts])
    for got, want in zip([*values, *late], evaluate(whole, [*arrays, *cts]), strict=True):
        np.testing.assert_array_equal(got, want)


# --- named functions, three times ------------------------------------------------------------------------


def test_a_constant_cotangent_needs_no_input_and_gives_the_same() -> None:
    graph = build(lambda x: reduce_sum(multiply(sin(x), exp(x)), (0,)), V)
    (total,) = graph.outputs
    seeded = vjp_graph(graph, (0,), [constant(1, total.type.dtype)])
    asked = vjp_graph(graph, (0,), [True])
    assert (len(seeded.inputs), len(asked.inputs)) == (1, 2)
    for got, wanted in zip(evaluate(verify(seeded), [X]), evaluate(asked, [X, np.array(1.0)]), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_derivatives_take_equations_over_as_they_are() -> None:
    graph = build(lambda x: multiply(sin(x), exp(x)), V)
    for derived in (vjp_graph(graph, (0,)), jvp_graph(graph, (True,))):
        verify(derived)
        assert derived.inputs[0] is graph.inputs[0]
        assert set(graph.eqns) <= set(derived.eqns)


@each_function
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    "between", [simplify_graph, optimize, lambda g: g], ids=["simplified", "optimized", "raw"]
)
def test_nested_gradients_are_the_differences_of_the_last(
    function: Callable[[Any], Any], order: int, between: Callable[[Graph], Graph], rng: np.random.Generator
) -> None:
    graph, arrays = graph_of(function)
    for _ in range(order - 1):  # each further one of the derivative along a fixed direction
        graph = between(_along_ones(gradient(graph)))
    step = rng.standard_normal(4)
    expected = difference(graph, arrays, (0,), [step])
    (pulled,) = evaluate(between(gradient(graph)), arrays)
    assert_close([np.sum(pulled * step)], expected)
    assert_close(push(graph, arrays, (0,), [step]), expected)


def _along_ones(graph: Graph) -> Graph:
    """The sum of the components of a gradient: a scalar function again."""
    builder = Builder(graph.name)
    inputs = [builder.add_input(v.type) for v in graph.inputs]
    (out,) = builder.inline(graph, inputs)
    return builder.finish([builder.emit(reduce_sum_p, (out,), {"axes": (0,)})])


@each_function
def test_forward_over_reverse_is_reverse_over_forward(
    function: Callable[[Any], Any], rng: np.random.Generator
) -> None:
    graph, arrays = graph_of(function)
    u, v = rng.standard_normal(4), rng.standard_normal(4)
    (first,) = push(gradient(graph), arrays, (0,), [u])
    (second,) = push(gradient(graph), arrays, (0,), [v])
    np.testing.assert_allclose(v @ first, u @ second, rtol=1e-9)
    (pulled,) = pull(gradient(graph), arrays, (0,), [u])
    np.testing.assert_allclose(pulled, first, rtol=1e-9, atol=1e-9)


# --- edges -----------------------------------------------------------------------------------------------


def test_an_unused_input_gets_zeros_in_reverse() -> None:
    graph = build(lambda x, y: sin(x), V, "f32[2,2]")
    pulled = pull(graph, [X, np.ones((2, 2), "f4")], (0, 1), [Y])
    np.testing.assert_allclose(pulled[0], np.cos(X) * Y)
    assert pulled[1].dtype == np.float32
    np.testing.assert_array_equal(pulled[1], np.zeros((2, 2)))


def test_an_output_that_does_not_move_gets_a_zero_tangent() -> None:
    graph = build(lambda x, y: (sin(x), exp(y), greater(x, y)), V, V)
    pushed = push(graph, [X, Y], (0,), [Y])
    np.testing.assert_allclose(pushed[0], np.cos(X) * Y)
    np.testing.assert_array_equal(pushed[1], np.zeros(3))
    assert len(pushed) == 2  # a bool has no tangent


def test_an_output_that_is_an_input_passes_its_cotangent_on() -> None:
    graph = build(lambda x, y: (x, add(x, y)), V, V)
    pulled = pull(graph, [X, Y], (0, 1), [X, Y])
    np.testing.assert_array_equal(pulled[0], X + Y)
    np.testing.assert_array_equal(pulled[1], Y)


def test_an_output_returned_twice_adds_its_cotangents() -> None:
    def twice(x: Any) -> Any:
        y = multiply(x, x)
        return y, y

    pulled = pull(build(twice, V), [X], (0,), [X, Y])
    np.testing.assert_allclose(pulled[0], 2 * X * (X + Y))


def test_a_constant_output_has_derivative_zero() -> None:
    graph = build(lambda x: (reduce_sum(x, (0,)), convert(greater(x, x), "f8")), V)
    np.testing.assert_array_equal(push(graph, [X], (0,), [Y])[1], np.zeros(3))
    np.testing.assert_array_equal(pull(graph, [X], (0,), [np.float64(2), Y])[0], np.full(3, 2.0))


def test_nothing_flows_through_integers() -> None:
    graph = build(lambda x: multiply(convert(convert(x, "i8"), "f8"), x), V)
    np.testing.assert_array_equal(pull(graph, [X], (0,), [np.ones(3)])[0], np.trunc(X))


def test_only_seeded_outputs_get_a_cotangent_input() -> None:
    graph = build(lambda x: (sin(x), exp(x)), V)
    derived = vjp_graph(graph, (0,), seeds=(False, True))
    assert len(derived.inputs) == 2
    np.testing.assert_allclose(evaluate(derived, [X, Y])[2], np.exp(X) * Y)


def test_a_primitive_without_a_rule_is_refused_with_the_users_line() -> None:
    opaque = Primitive("opaque", Kind.LIBRARY, infer=lambda t: t, evaluate=lambda x: x)
    x, y = Var(ArrayType((3,), np.dtype("f8"))), Var(ArrayType((3,), np.dtype("f8")))
    graph = Graph((x,), (Eqn(opaque, (x,), {}, (y,), Source("loss", "missing.py", 7)),), (y,))
    for mode, derive in (
        ("forward", lambda: jvp_graph(graph, [True])),
        ("reverse", lambda: vjp_graph(graph, (0,))),
    ):
        with pytest.raises(UnsupportedError) as caught:
            derive()
        assert str(caught.value) == (
            f"opaque: has no {mode} derivative\n"
            "  in loss, missing.py:7\n"
            "  hint: use tj.stop_gradient on its operand if no derivative is wanted"
        )


def test_a_partition_at_an_output_that_waits_is_a_bug() -> None:
    whole = vjp_graph(build(sin, V), (0,))
    with pytest.raises(AssertionError, match="an early output waits for the rest"):
        partition_graph(whole, 1, 2)
