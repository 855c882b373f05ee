"""What the widening of float16 and bfloat16 leaves: float32 inside, and roundings where they are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.halves import each_half, half
from tests.ops.tracing import trace_call
from tests.passes.building import read_type
from tracejit.errors import DTypeError
from tracejit.ir import Graph, Kind, evaluate, is_half, verify
from tracejit.passes import optimize, widen_halves


def build(function: Callable[..., Any], *types: str) -> Graph:
    """The graph of a function of NumPy on arrays of the given types."""
    found = [read_type(t) for t in types]
    return trace_call(function, [np.ones(t.shape, t.dtype) for t in found], "f").graph


def widened(function: Callable[..., Any], *types: str) -> Graph:
    return verify(widen_halves(build(function, *types)), "widen_halves")


def names(graph: Graph) -> list[str]:
    return [e.primitive.name for e in graph.eqns]


def test_a_graph_without_them_is_itself() -> None:
    graph = build(lambda x: x * 2, "f32[3]")
    assert widen_halves(graph) is graph


@each_half
def test_only_reads_and_results_have_two_bytes(short: str) -> None:
    graph = widened(lambda x, y: (np.exp(x) * y).sum(), f"{short}[5]", f"{short}[5]")
    inside = [e for e in graph.eqns if e.primitive.name not in ("widen", "narrow")]
    assert not any(is_half(a.type.dtype) for e in inside for a in (*e.inputs, *e.outputs))
    assert names(graph)[-1] == "narrow"
    assert graph.outputs[0].type == build(lambda x: x.sum(), f"{short}[5]").outputs[0].type


def test_a_widened_graph_stays() -> None:
    graph = widened(lambda x: x.astype("f4").astype("f2") * x, "f16[4]")
    again = widen_halves(graph)
    x = np.array([0.1, 1e-5, 300, -2], "f2")
    np.testing.assert_array_equal(evaluate(again, [x])[0], evaluate(graph, [x])[0])
    assert names(again) == names(graph)


def test_a_cast_that_the_user_wrote_rounds() -> None:
    graph = widened(lambda x: x.astype("f2").astype("f4"), "f32[3]")
    assert names(graph) == ["narrow", "widen"]
    assert names(optimize(graph)) == ["narrow", "widen"]


def test_a_cast_between_them_rounds_to_the_new_one() -> None:
    assert names(widened(lambda x: (x * x).astype("f4").astype("f2"), "f16[3]")) == [
        "widen",
        "multiply",
        "narrow",
    ]


def test_a_cast_that_loses_nothing_does_not() -> None:
    assert names(widened(lambda n, x: n * x, "i8[3]", "f16[3]")) == ["convert", "widen", "multiply", "narrow"]
    assert names(widened(lambda b: b.astype("f2") + b.astype("f2"), "bool[3]"))[-2:] == ["add", "narrow"]


def test_casts_of_a_derivative_do_not_round() -> None:
    def loss(x: Any, y: Any) -> Any:
        return np.sum(x * y)  # float32: the cotangent of x comes down to float16

    arguments = np.ones(3, "f2"), np.ones(3, "f4")
    lowered, _ = tj.grad_jit(loss).lower(*arguments)
    assert "narrow" not in names(widen_halves(lowered.graph))[:-1]


def test_an_argument_that_is_returned_keeps_its_bits() -> None:
    graph = widened(lambda x: (x, x * 1), "f16[3]")
    assert graph.outputs[0] is graph.inputs[0]


def test_a_gather_moves_two_bytes() -> None:
    graph = widened(lambda x, i: np.take(x, i, axis=0) * 2, "f16[50,4]", "i64[6]")
    (gather,) = [e for e in graph.eqns if e.primitive.kind is Kind.INDEX]
    assert str(gather.outputs[0].type) == "f16[6,4]"


def test_constants_are_those_of_float32() -> None:
    x = np.array([1000.0, 2000.0], "f2")
    graph = widened(lambda x: x * 1e-8 * 1e8, "f16[2]")
    np.testing.assert_allclose(evaluate(graph, [x])[0], x)


def test_numbers_of_numpy_are_as_the_user_rounded_them() -> None:
    graph = widened(lambda x: x * np.float16(0.1), "f32[1]")
    assert evaluate(graph, [np.ones(1, "f4")])[0] == np.float32(np.float16(0.1))


@pytest.mark.parametrize("function", [lambda x: np.nextafter(x, x), np.spacing])
def test_what_depends_on_the_neighbours_of_a_number_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(DTypeError) as caught:
        widened(function, "f16[3]")
    name = "spacing" if function is np.spacing else "nextafter"
    assert str(caught.value).splitlines()[0] == (
        f"np.{name}: not defined for float16, which is computed in float32"
    )
    assert str(caught.value).splitlines()[-1] == "  hint: convert the operands first: x.astype(np.float32)"


@each_half
def test_the_evaluator_computes_in_float32_before_and_after(short: str, rng: np.random.Generator) -> None:
    def f(x: Any, y: Any) -> Any:
        return np.tanh(x * y) + x.sum() * 0.001, (x * y).mean(axis=0)

    graph = build(f, f"{short}[7,3]", f"{short}[7,3]")
    arrays = [rng.normal(size=(7, 3)).astype(half(short)) for _ in range(2)]
    before, after = evaluate(graph, arrays), evaluate(widen_halves(graph), arrays)
    for a, b in zip(before, after, strict=True):
        assert a.dtype == half(short)
        np.testing.assert_array_equal(a.view(np.uint16), b.view(np.uint16))
