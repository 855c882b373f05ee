"""Sums in derivatives: shorter, fused, exactly 0 where they were, and the user's own arithmetic untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.ir import Builder, Call, Eqn, Graph, Source, Var
from tracejit.ir.types import type_of
from tracejit.ops import arithmetic
from tracejit.passes import optimize
from tracejit.passes.contract import contract_derivatives

X = np.linspace(-2.0, 2.0, 41)
USER = Source("f", "model.py", 1, Call("multiply"))


def optimized(f: Callable[..., Any], *args: Any) -> Graph:
    return optimize(record_call(tj.grad_jit(f), args, {}).graph, verify_each=True)


def names(graph: Graph) -> list[str]:
    return [e.primitive.name for e in graph.eqns if e.primitive.name != "broadcast"]


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_the_gradient_of_rosenbrock_takes_two_products_and_two_fused_additions_of_its_own() -> None:
    eqns = [e for e in optimized(rosenbrock, X).eqns if e.source is not None and e.source.is_derivative]
    found = [e.primitive.name for e in eqns if e.primitive.name in ("add", "subtract", "multiply", "fma")]
    assert found == ["multiply", "fma", "multiply", "fma"]


def test_what_the_user_wrote_is_never_contracted() -> None:
    assert "fma" not in names(optimize(record_call(tj.jit(rosenbrock), (X,), {}).graph))


def test_user_arithmetic_that_a_gradient_computes_again_keeps_its_rounding() -> None:
    x = np.empty(40)
    x[0] = 0.999
    for i in range(39):
        x[i + 1] = x[i] ** 2  # each difference is 0, rounded as NumPy does
    gradient = tj.grad_jit(rosenbrock)(x)[1]
    assert np.array_equal(gradient, np.append(-2 * (1 - x[:-1]), 0.0))


def test_products_that_are_equal_cancel_to_zero() -> None:
    x = np.random.default_rng(0).normal(size=1000)
    p = np.random.default_rng(1).normal(size=1000)

    def difference(x: Any, p: Any, q: Any) -> Any:
        return np.sum(np.exp(x * p) - np.exp(x * q))

    assert np.array_equal(tj.grad_jit(difference)(x, p, p.copy())[1], np.zeros(1000))


def test_products_by_powers_of_two_are_fused_whatever_they_are_added_to() -> None:
    def loss(x: Any, y: Any) -> Any:
        return np.sum(x * x * y + np.sin(x) * y)

    assert names(optimized(loss, X, X + 3)).count("fma") == 1


def test_contracting_twice_changes_nothing_more() -> None:
    graph = optimized(rosenbrock, X)
    assert names(contract_derivatives(graph)) == names(graph)


def test_float32_gradients_are_contracted_in_float32() -> None:
    def loss(x: Any) -> Any:
        return np.sum(np.tanh(x))

    x = X.astype(np.float32)
    graph = optimized(loss, x)
    assert "fma" in names(graph)
    np.testing.assert_allclose(tj.grad_jit(loss)(x)[1], 1 - np.tanh(X) ** 2, rtol=0, atol=2e-7)


def test_what_a_derivative_computed_first_becomes_the_users_when_they_compute_it_too() -> None:
    builder = Builder()
    x = builder.add_input(type_of(X))
    multiply = arithmetic.multiply.primitive
    builder.source = USER.derivative()
    first = builder.emit(multiply, (x, x), {})
    again = Eqn(multiply, (x, x), {}, (Var(x.type),), replace(USER, line=2))
    builder.replay(again)
    (only,) = builder.eqns
    assert builder.replaced[again.out] is first
    assert only.source is not None and not only.source.is_derivative
