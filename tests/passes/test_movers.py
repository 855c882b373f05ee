"""Folding, sinking broadcasts, pushing views, lowering contractions, and the pipeline around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.building import assert_becomes, assert_stays, build, read_type
from tracejit.errors import InternalError
from tracejit.ir import Eqn, Graph, Kind, Primitive, Source, Var, format_graph
from tracejit.ops.arithmetic import add, full, multiply, negative, select, subtract
from tracejit.ops.contraction import dot_general
from tracejit.ops.core import broadcast, convert, permute, reduce_sum, reshape
from tracejit.ops.diagonal import diagonal_op, undiagonal
from tracejit.ops.gather import gather, scatter_add
from tracejit.ops.joining import concatenate_op
from tracejit.ops.reduction import reduce_max
from tracejit.ops.slicing import slice_axis, unslice
from tracejit.ops.special import stop_gradient
from tracejit.ops.transcendental import cos, exp, sin, sqrt
from tracejit.passes import is_small_contraction, optimize, pipeline, simplify_graph
from tracejit.passes.erase_markers import erase_markers
from tracejit.passes.fold_constants import fold_constants
from tracejit.passes.lower_contractions import lower_contractions
from tracejit.passes.push_views import push_views
from tracejit.passes.sink_broadcasts import sink_broadcasts

Function = Callable[..., Any]
V, M = "f64[6]", "f64[3,4]"


def twos(*shape: int) -> Any:
    return full(shape, 2.0, "f8")


FOLDED: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "elementwise": (lambda x: x * sqrt(twos(6) + twos(6)), lambda x: x * full((6,), 2.0, "f8"), (V,)),
    "convert": (lambda x: x * convert(full((6,), 2, "i8"), "f8"), lambda x: x * twos(6), (V,)),
    "select": (lambda x, y: exp(select(full((6,), False, "?"), x, y)), lambda x, y: exp(y), (V, V)),
    "reshape": (lambda x: x * reshape(twos(2, 3), (6,)), lambda x: x * twos(6), (V,)),
    "slice": (lambda x: x * slice_axis(twos(9), 0, 1, 6), lambda x: x * twos(6), (V,)),
    "diagonal": (lambda x: x * diagonal_op(twos(6, 6), row=0, col=0, size=6), lambda x: x * twos(6), (V,)),
    "gather": (lambda x, i: x * gather(twos(9), i), lambda x, i: x * twos(6), (V, "i64[6]")),
    "unslice-of-zeros": (
        lambda x: x * unslice(full((2,), 0.0, "f8"), shape=(6,), starts=(1,), steps=(1,)),
        lambda x: x * full((6,), 0.0, "f8"),
        (V,),
    ),
    "scatter-of-zeros": (
        lambda x, i: x * scatter_add(full((2,), 0.0, "f8"), i, shape=(6,)),
        lambda x, i: x * full((6,), 0.0, "f8"),
        (V, "i64[2]"),
    ),
    "concatenate": (lambda x: x * concatenate_op(twos(2), twos(4), axis=0), lambda x: x * twos(6), (V,)),
    "sum": (lambda x: x * reduce_sum(twos(6, 3), (1,)), lambda x: x * full((6,), 6.0, "f8"), (V,)),
    "sum-of-none": (lambda x: x * reduce_sum(twos(6, 0), (1,)), lambda x: x * full((6,), 0.0, "f8"), (V,)),
    "max": (lambda x: x * reduce_max(twos(6, 3), axes=(1,)), lambda x: x * twos(6), (V,)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_constants_fold(name: str) -> None:
    before, after, types = FOLDED[name]
    assert_becomes(fold_constants, before, after, *types)


def test_padding_of_ones_and_of_negative_zeros_does_not_fold() -> None:
    for fill in (1.0, -0.0):
        assert_stays(
            fold_constants,
            lambda x, f=fill: x * unslice(full((2,), f, "f8"), shape=(6,), starts=(1,), steps=(1,)),
            V,
        )


def test_an_infinite_constant_summed_over_nothing_is_zero() -> None:
    before = build(lambda x: x * reduce_sum(full((6, 0), np.inf, "f8"), (1,)), V)
    assert "inf" not in format_graph(fold_constants(before))


# --- broadcasts ------------------------------------------------------------------------------------------


def test_work_on_broadcasts_of_the_same_dimensions_is_done_before_them() -> None:
    assert_becomes(
        sink_broadcasts,
        lambda x, y: exp(add(broadcast(x, (6, 5), (0,)), broadcast(y, (6, 5), (0,)))),
        lambda x, y: broadcast(exp(add(x, y)), (6, 5), (0,)),
        V,
        V,
    )


def test_operands_may_repeat_along_different_dimensions() -> None:
    assert_becomes(
        sink_broadcasts,
        lambda x, y: multiply(broadcast(x, (6, 4, 5), (0,)), broadcast(y, (6, 4, 5), (1,))),
        lambda x, y: broadcast(
            multiply(broadcast(x, (6, 4), (0,)), broadcast(y, (6, 4), (1,))), (6, 4, 5), (0, 1)
        ),
        V,
        "f64[4]",
    )


def test_a_full_operand_keeps_the_work_where_it_is() -> None:
    assert_stays(sink_broadcasts, lambda x, y: multiply(broadcast(x, (6, 5), (0,)), y), V, "f64[6,5]")


def test_an_outer_product_is_not_taken_apart() -> None:
    assert_stays(
        sink_broadcasts,
        lambda x, y: multiply(broadcast(x, (6, 4), (0,)), broadcast(y, (6, 4), (1,))),
        V,
        "f64[4]",
    )


# --- views -----------------------------------------------------------------------------------------------

PUSHED: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "slice": (
        lambda x, y: slice_axis(multiply(exp(x), y), 0, 1, 3),
        lambda x, y: multiply(exp(slice_axis(x, 0, 1, 3)), slice_axis(y, 0, 1, 3)),
        (V, V),
    ),
    "permute": (lambda x: permute(exp(x), (1, 0)), lambda x: exp(permute(x, (1, 0))), (M,)),
    "reshape": (lambda x: reshape(exp(x), (12,)), lambda x: exp(reshape(x, (12,))), (M,)),
    "diagonal": (
        lambda x: diagonal_op(exp(x), row=0, col=0, size=3),
        lambda x: exp(diagonal_op(x, row=0, col=0, size=3)),
        (M,),
    ),
    "slice-past-broadcast": (
        lambda x, s: slice_axis(multiply(x, broadcast(s, (6,), ())), 0, 1, 3),
        lambda x, s: multiply(slice_axis(x, 0, 1, 3), broadcast(s, (3,), ())),
        (V, "f64"),
    ),
    "up-to-a-reduction": (
        lambda x: slice_axis(exp(reduce_sum(x, (1,))), 0, 1, 2),
        lambda x: exp(slice_axis(reduce_sum(x, (1,)), 0, 1, 2)),
        (M,),
    ),
    "cheap-and-read-twice": (
        lambda x: multiply(slice_axis(x + 1.0, 0, 1, 5), slice_axis(x + 1.0, 0, 0, 5)),
        lambda x: multiply(add(slice_axis(x, 0, 1, 5), 1.0), add(slice_axis(x, 0, 0, 5), 1.0)),
        (V,),
    ),
    "gather": (
        lambda x, i: gather(exp(x), i),
        lambda x, i: exp(gather(x, i)),
        (V, "i64[3]"),
    ),
    "padding-of-product": (
        lambda x, y: unslice(multiply(x, y), shape=(8,), starts=(1,), steps=(1,)),
        lambda x, y: multiply(
            unslice(x, shape=(8,), starts=(1,), steps=(1,)), unslice(y, shape=(8,), starts=(1,), steps=(1,))
        ),
        (V, V),
    ),
    "padding-of-sine": (
        lambda x: unslice(sin(x), shape=(8,), starts=(1,), steps=(1,)),
        lambda x: sin(unslice(x, shape=(8,), starts=(1,), steps=(1,))),
        (V,),
    ),
    "padding-of-cheap-work-on-a-diagonal": (
        lambda x: undiagonal(negative(x), rows=6, cols=6, row=0, col=0),
        lambda x: negative(undiagonal(x, rows=6, cols=6, row=0, col=0)),
        (V,),
    ),
}

NOT_PUSHED: dict[str, tuple[Function, tuple[str, ...]]] = {
    "costly-and-read-twice": (
        lambda x: multiply(slice_axis(exp(x), 0, 1, 5), slice_axis(exp(x), 0, 0, 5)),
        (V,),
    ),
    "regrouping-of-a-broadcast": (
        lambda x, y: reshape(multiply(exp(x), broadcast(y, (3, 4), (0,))), (12,)),
        (M, "f64[3]"),
    ),
    "gather-of-more": (lambda x, i: gather(exp(x), i), (V, "i64[9]")),
    "costly-padding-on-a-diagonal": (
        lambda x: undiagonal(sin(x), rows=6, cols=6, row=0, col=0),
        (V,),
    ),
    "views-of-inputs": (lambda x: slice_axis(permute(x, (1, 0)), 0, 1, 2), (M,)),
}


@pytest.mark.parametrize("name", PUSHED)
def test_views_move_to_the_inputs(name: str) -> None:
    before, after, types = PUSHED[name]
    assert_becomes(push_views, before, after, *types)


@pytest.mark.parametrize("name", NOT_PUSHED)
def test_views_stay_where_moving_them_costs_work(name: str) -> None:
    function, types = NOT_PUSHED[name]
    result = push_views(build(function, *types))
    kinds = [e.primitive.kind for e in result.eqns]
    assert kinds == [e.primitive.kind for e in push_views(result).eqns]
    assert sum(k is Kind.ELEMENTWISE for k in kinds) == sum(
        e.primitive.kind is Kind.ELEMENTWISE for e in build(function, *types).eqns
    )


def test_padding_of_what_is_not_zero_at_zero_is_masked_once() -> None:
    def after(x: Any) -> Any:
        padded = unslice(x, shape=(8,), starts=(1,), steps=(1,))
        inside = unslice(full((6,), True, "?"), shape=(8,), starts=(1,), steps=(1,))
        return select(inside, exp(cos(padded)), full((8,), 0, "f8"))

    pushed = push_views(build(lambda x: unslice(exp(cos(x)), shape=(8,), starts=(1,), steps=(1,)), V))
    assert [e.primitive.name for e in pushed.eqns].count("select") == 1
    assert sorted(e.primitive.name for e in pushed.eqns) == sorted(
        e.primitive.name for e in build(after, V).eqns
    )


# --- contractions ----------------------------------------------------------------------------------------


def dot(contract: Any, batch: Any = ((), ())) -> Function:
    return lambda x, y: dot_general(x, y, contract, batch)


SMALL: dict[str, tuple[str, str, Any, Any, bool]] = {
    "matrix-vector": ("f64[900,30]", "f64[30]", ((1,), (0,)), ((), ()), True),
    "transposed-matrix-vector": ("f64[900,30]", "f64[900]", ((0,), (0,)), ((), ()), True),
    "vectors": ("f64[900]", "f64[900]", ((0,), (0,)), ((), ()), True),
    "tall-times-small": ("f64[9000,8]", "f64[8,8]", ((1,), (0,)), ((), ()), True),
    "tall-times-larger": ("f64[9000,64]", "f64[64,64]", ((1,), (0,)), ((), ()), False),
    "columns-that-fill-no-vector": ("f64[9000,8]", "f64[8,9]", ((1,), (0,)), ((), ()), False),
    "float32-that-fills-no-vector": ("f32[9000,8]", "f32[8,8]", ((1,), (0,)), ((), ()), False),
    "covariance-of-few": ("f64[9000,4]", "f64[9000,4]", ((0,), (0,)), ((), ()), True),
    "covariance-of-more": ("f64[9000,8]", "f64[9000,8]", ((0,), (0,)), ((), ()), False),
    "small-batched": ("f64[900,4,4]", "f64[900,4,4]", ((2,), (1,)), ((0,), (0,)), True),
    "large-batched": ("f64[9,64,64]", "f64[9,64,64]", ((2,), (1,)), ((0,), (0,)), False),
    "square": ("f64[64,64]", "f64[64,64]", ((1,), (0,)), ((), ()), False),
    "integers": ("i64[64,64]", "i64[64,64]", ((1,), (0,)), ((), ()), True),
}


@pytest.mark.parametrize("name", SMALL)
def test_contractions_are_loops_where_they_are_small_or_bound_by_memory(name: str) -> None:
    left, right, contract, batch, small = SMALL[name]
    types = read_type(left), read_type(right)
    assert is_small_contraction(*types, contract, batch) is small
    lowered = lower_contractions(build(dot(contract, batch), left, right))
    assert any(e.primitive.name == "dot_general" for e in lowered.eqns) is not small


def test_permuted_operands_are_read_where_they_lie() -> None:
    assert_becomes(
        lower_contractions,
        lambda x, y: dot_general(permute(x, (1, 0)), y, ((1,), (0,))),
        lambda x, y: dot_general(x, y, ((0,), (0,))),
        "f64[50,40]",
        "f64[50,20]",
    )


def test_free_axes_in_another_order_keep_their_permute() -> None:
    assert_stays(
        lower_contractions,
        lambda x, y: dot_general(permute(x, (1, 0, 2)), y, ((2,), (0,))),
        "f64[30,40,50]",
        "f64[50,20]",
    )


def test_a_permuted_result_exchanges_the_operands() -> None:
    assert_becomes(
        lower_contractions,
        lambda x, y: permute(dot_general(x, y, ((1,), (0,))), (1, 0)),
        lambda x, y: dot_general(y, x, ((0,), (1,))),
        "f64[50,40]",
        "f64[40,20]",
    )


# --- the pipeline ----------------------------------------------------------------------------------------


def test_stop_gradient_is_gone_after_the_pipeline_and_kept_between_transforms() -> None:
    graph = build(lambda x: stop_gradient(x) * x, V)
    assert_becomes(erase_markers, lambda x: stop_gradient(x) * x, lambda x: x * x, V)
    assert [e.primitive.name for e in optimize(graph).eqns] == ["multiply"]
    assert "stop_gradient" in [e.primitive.name for e in simplify_graph(graph).eqns]


def _wrapper() -> Primitive:
    """A primitive that carries a graph, as loops and branches do."""
    return Primitive(
        "wrapper",
        Kind.CONTROL,
        infer=lambda t, body, others: body.outputs[0].type,
        evaluate=lambda x, body, others: x,
    )


@pytest.mark.parametrize("step", [optimize, simplify_graph])
def test_subgraphs_go_through_the_passes_too(step: Callable[[Graph], Graph]) -> None:
    x, y = Var(read_type(V)), Var(read_type(V))
    inner = build(lambda x: exp(x * 1.0), V)
    eqn = Eqn(_wrapper(), (x,), {"body": inner, "others": (inner, 3)}, (y,))
    (result,) = step(Graph((x,), (eqn,), (y,))).eqns
    assert len(result.params["body"].eqns) == 1
    assert len(result.params["others"][0].eqns) == 1
    assert result.params["others"][1] == 3


def test_a_pass_that_breaks_a_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(graph: Graph) -> Graph:
        return Graph(graph.inputs, (), graph.outputs, graph.name)

    monkeypatch.setattr(pipeline, "PIPELINE", (breaks,))
    with pytest.raises(InternalError, match="breaks: an output is never assigned"):
        optimize(build(exp, V), verify_each=True)


def test_the_equations_keep_the_lines_they_stem_from() -> None:
    graph = build(lambda x: subtract(x, -exp(x)), V)
    source = Source("loss", "model.py", 3)
    marked = tuple(Eqn(e.primitive, e.inputs, e.params, e.outputs, source) for e in graph.eqns)
    result = optimize(Graph(graph.inputs, marked, graph.outputs))
    assert [e.primitive.name for e in result.eqns] == ["exp", "add"]
    assert all(e.source is source for e in result.eqns)
