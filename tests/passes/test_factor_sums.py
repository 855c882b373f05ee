"""Sums of derivatives that the function's own sums give: no loop is left for them, and the values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.errors import TracejitError
from tracejit.ir import Graph
from tracejit.passes import optimize

X = np.random.default_rng(0).normal(size=(6, 9))
LABELS = np.array([0, 8, -1, -9, 3, 4])


def cross_entropy(x: Any, labels: Any) -> Any:
    shifted = x - np.max(x, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - shifted[np.arange(len(labels)), labels])


def scaled(x: Any) -> Any:
    """The derivative for the maximum sums exp(x - max) once more, times a row's own number."""
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return np.sum(np.sqrt(np.sum(e, axis=1)))


def row_sums(graph: Graph) -> int:
    return sum(e.primitive.name == "reduce_sum" and e.inputs[0].type.shape == X.shape for e in graph.eqns)


def optimized(f: Any, *args: Any) -> Graph:
    return optimize(record_call(tj.grad_jit(f), args, {}).graph, verify_each=True)


def test_the_maximum_of_a_softmax_takes_no_sum_over_rows_but_the_count_of_its_places() -> None:
    assert row_sums(optimized(cross_entropy, X, LABELS)) == 2
    assert row_sums(optimized(scaled, X)) == 2


def test_the_softmax_has_the_gradient_written_by_hand() -> None:
    gradient = tj.grad_jit(cross_entropy)(X, LABELS)[1]
    e = np.exp(X - X.max(axis=1, keepdims=True))
    expected = e / e.sum(axis=1, keepdims=True)
    expected[np.arange(6), LABELS] -= 1
    np.testing.assert_allclose(gradient, expected / 6, rtol=0, atol=1e-16)


def test_a_label_outside_is_an_error_still() -> None:
    with pytest.raises((IndexError, TracejitError)):
        tj.grad_jit(cross_entropy)(X, np.array([0, 9, 0, 0, 0, 0]))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_factored_and_unfused_gradients_agree(dtype: str) -> None:
    x = X.astype(dtype)
    factored, plain = (tj.grad_jit(scaled, fuse=fuse)(x)[1] for fuse in (True, False))
    np.testing.assert_allclose(factored, plain, rtol=1e-5 if dtype == "f4" else 1e-13, atol=2e-7)


def test_the_users_own_sum_of_products_stays_a_sum() -> None:
    def twice(x: Any, s: Any) -> Any:
        return np.sum(x, axis=1) + np.sum(x * s[:, None], axis=1)

    assert row_sums(optimize(record_call(tj.jit(twice), (X, X[:, 0].copy()), {}).graph)) == 2


def test_one_place_among_small_unsigned_positions_is_summed_as_it_is() -> None:
    labels = np.array([0, 255, 7], dtype=np.uint8)
    places = np.arange(256, dtype=np.uint8)

    def picked(x: Any) -> Any:
        shifted = x - np.max(x, axis=1, keepdims=True)
        hot = np.where(labels[:, None] == places, shifted, 0.0)
        return np.sum(np.log(np.sum(np.exp(shifted), axis=1))) - np.sum(hot)

    x = np.random.default_rng(1).normal(size=(3, 256))
    e = np.exp(x)
    expected = e / e.sum(axis=1, keepdims=True)
    expected[np.arange(3), labels] -= 1
    np.testing.assert_allclose(tj.grad_jit(picked)(x)[1], expected, rtol=0, atol=1e-15)
