"""Every check that follows from a row of the case table: shapes, values, derivatives, passes, kernels."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest

import tests.ops.cases
from tests.ops.cases.case import Case
from tests.ops.test_conformance import assert_same
from tests.ops.tracing import Traced, leaves_of, modules_of, trace_call
from tests.transforms.checks import (
    assert_adjoint,
    assert_close,
    difference,
    float_outputs,
    is_single,
    pull,
    push,
    random_like,
)
from tracejit.compile import compile_graph
from tracejit.ir import Const, Graph, evaluate, verify
from tracejit.ops import PRIMITIVES
from tracejit.passes import optimize, simplify_graph
from tracejit.passes.rewriting import drop_dead
from tracejit.transforms import vjp_graph

ROWS: list[tuple[str, Case]] = [
    (f"{module.__name__.rpartition('.')[2]}-{case.id}", case)
    for module in modules_of(tests.ops.cases)
    if not module.__name__.endswith(".case")
    for case in module.CASES
]
CASES = [case for _, case in ROWS]
_NUMBERS = {id(case): number for number, case in enumerate(CASES)}


def _params(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=ROWS[_NUMBERS[id(case)]][0]) for case in cases]


each_case = pytest.mark.parametrize("case", _params(CASES))
each_smooth_case = pytest.mark.parametrize(
    "case", _params([c for c in CASES if c.order >= 1 and c.gradients is None])
)
each_differentiable_case = pytest.mark.parametrize("case", _params([c for c in CASES if c.order >= 1]))
each_twice_smooth_case = pytest.mark.parametrize(
    "case", _params([c for c in CASES if c.order >= 2 and c.gradients is None])
)
each_kink = pytest.mark.parametrize("case", _params([c for c in CASES if c.gradients is not None]))


def traced(case: Case) -> Traced:
    """The case as a graph without dead equations; arrays do not hash, so rows are known by identity."""
    return _traced(_NUMBERS[id(case)], False)


def in_double(case: Case) -> Traced:
    """The same on float64 arguments, for differences that float32 would drown in rounding."""
    return _traced(_NUMBERS[id(case)], True)


@functools.cache
def _traced(number: int, double: bool) -> Traced:
    case = CASES[number]
    args = tuple(doubled(a) for a in case.args) if double else case.args
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = trace_call(case.call, args, case.op)
    return Traced(drop_dead(done.graph), done.arrays)


def moving(case: Case) -> tuple[int, ...]:
    """Positions of the arguments that are differentiated."""
    if case.differentiable is not None:
        return case.differentiable
    return tuple(k for k, a in enumerate(case.args) if np.asarray(a).dtype.kind == "f")


def doubled(x: Any) -> Any:
    return x.astype("f8") if isinstance(x, (np.ndarray, np.generic)) and x.dtype == np.float32 else x


# --- values ----------------------------------------------------------------------------------------------


@each_case
def test_a_row_gives_what_numpy_gives(case: Case) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = leaves_of((case.expected or case.call)(*case.args))
    results = evaluate(traced(case).graph, traced(case).arrays)
    assert len(results) == len(expected)
    for result, want in zip(results, expected, strict=True):
        assert_same(result, want)


@each_case
def test_the_shape_rule_says_what_the_evaluation_gives(case: Case) -> None:
    graph = verify(traced(case).graph)
    env = dict(zip(graph.inputs, traced(case).arrays, strict=True))
    with np.errstate(all="ignore"):
        for eqn in graph.eqns:
            operands = [a.value if isinstance(a, Const) else env[a] for a in eqn.inputs]
            result = np.asarray(eqn.primitive.evaluate(*operands, **eqn.params))
            assert result.shape == eqn.out.type.shape, eqn.primitive.name
            assert result.dtype == eqn.out.type.dtype, eqn.primitive.name
            env[eqn.out] = result


@each_case
def test_a_row_uses_the_op_it_is_for(case: Case) -> None:
    used = {e.primitive.name for e in traced(case).graph.eqns}
    for derived in _derivatives(case):
        used |= {e.primitive.name for e in derived.eqns}
    assert case.op in used


def _derivatives(case: Case) -> list[Graph]:
    """Some primitives are only ever emitted by the rules of others."""
    return [vjp_graph(traced(case).graph, moving(case))] if case.order >= 1 and moving(case) else []


def test_every_primitive_has_a_row() -> None:
    missing = sorted(set(PRIMITIVES) - {case.op for case in CASES})
    assert not missing, f"add rows to tests/ops/cases for {missing}"


def test_every_row_is_for_a_primitive_and_named_once() -> None:
    unknown = sorted({case.op for case in CASES} - set(PRIMITIVES))
    assert not unknown
    names = [name for name, _ in ROWS]
    assert not sorted({name for name in names if names.count(name) > 1})


# --- derivatives -----------------------------------------------------------------------------------------


@each_smooth_case
def test_the_forward_derivative_is_the_central_difference(case: Case, rng: np.random.Generator) -> None:
    graph, arrays, positions = traced(case).graph, traced(case).arrays, moving(case)
    tangents = [random_like(rng, graph.inputs[k]) for k in positions]
    expected = difference(in_double(case).graph, in_double(case).arrays, positions, tangents)
    assert_close(push(graph, arrays, positions, tangents), expected, is_single(graph))


@each_differentiable_case
def test_the_reverse_derivative_is_adjoint_to_the_forward_one(case: Case, rng: np.random.Generator) -> None:
    assert_adjoint(traced(case).graph, traced(case).arrays, moving(case), rng)


@each_kink
def test_the_gradient_at_a_kink_is_the_stated_one(case: Case) -> None:
    graph, arrays = traced(case).graph, traced(case).arrays
    ones = [np.ones(a.type.shape, a.type.dtype) for a in float_outputs(graph)]
    assert case.gradients is not None
    assert_close(pull(graph, arrays, moving(case), ones), list(case.gradients), is_single(graph))


@each_twice_smooth_case
def test_the_second_derivative_is_the_difference_of_the_first(case: Case, rng: np.random.Generator) -> None:
    graph, positions = traced(case).graph, moving(case)
    cts = [random_like(rng, a) for a in float_outputs(graph)]
    tangents = [random_like(rng, graph.inputs[k]) for k in positions]
    pushed = push(vjp_graph(graph, positions), (*traced(case).arrays, *cts), positions, tangents)
    reference, arrays = in_double(case).graph, in_double(case).arrays
    wide = [ct.astype(a.type.dtype) for ct, a in zip(cts, float_outputs(reference), strict=True)]
    expected = difference(vjp_graph(reference, positions), (*arrays, *wide), positions, tangents)
    assert_close(pushed, expected, is_single(graph))


@each_twice_smooth_case
def test_the_gradient_can_be_pulled_back_too(case: Case, rng: np.random.Generator) -> None:
    graph, positions = traced(case).graph, moving(case)
    cts = [random_like(rng, a) for a in float_outputs(graph)]
    assert_adjoint(vjp_graph(graph, positions), (*traced(case).arrays, *cts), positions, rng)


# --- what becomes of the graphs --------------------------------------------------------------------------


def graphs_of(case: Case, rng: np.random.Generator) -> list[tuple[Graph, tuple[Any, ...]]]:
    """The row and its gradient, each with arrays to run it on."""
    graph, arrays = traced(case).graph, traced(case).arrays
    found = [(graph, arrays)]
    if case.order >= 1 and moving(case):
        cts = [random_like(rng, a) for a in float_outputs(graph)]
        found.append((vjp_graph(graph, moving(case)), (*arrays, *cts)))
    return found


def assert_equal_results(got: list[Any], expected: list[Any]) -> None:
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape and g.dtype == e.dtype
        tolerance = (1e-5 if e.dtype.itemsize == 4 else 1e-12) if e.dtype.kind == "f" else 0
        scale = max(1.0, float(np.max(np.abs(e), initial=0.0, where=np.isfinite(e)))) if tolerance else 1.0
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * scale)


@each_case
def test_the_passes_leave_the_result_as_it_is(case: Case, rng: np.random.Generator) -> None:
    for graph, arrays in graphs_of(case, rng):
        expected = evaluate(graph, arrays)
        assert_equal_results(evaluate(verify(simplify_graph(graph)), arrays), expected)
        assert_equal_results(evaluate(optimize(graph, verify_each=True), arrays), expected)


@each_case
def test_the_compiled_kernel_gives_what_the_evaluator_gives(case: Case, rng: np.random.Generator) -> None:
    graph, arrays = graphs_of(case, rng)[-1]  # the gradient where there is one: it returns the value too
    results = compile_graph(graph)(arrays)
    assert_equal_results([np.asarray(r) for r in results], evaluate(graph, arrays))
