"""What fusion promises: how many kernels a program is and how many bytes these move, as `inspect` sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.golden_programs import chain, five_points, layer_norm, logistic_regression, rosenbrock, tutorial
from tests.golden_programs import softmax_cross_entropy as cross_entropy
from tracejit.inspection import Inspection

PARTIALS = 64 * 64  # bytes: a line of partial sums for each strand
F64 = 8  # bytes


def softmax_of_layers(params: Any, x: Any, labels: Any) -> Any:
    """A network of two layers with softmax cross-entropy."""
    (w1, b1), (w2, b2) = params
    return cross_entropy(np.tanh(x @ w1 + b1) @ w2 + b2, labels)


def network(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    normal = rng.standard_normal
    params = [(normal((64, 32)), normal(32)), (normal((32, 10)), normal(10))]
    return params, normal((n, 64)), rng.integers(0, 10, n)


def passes_over_rows(found: Inspection) -> int:
    """How many loops over rows there are, at the top of the kernels."""
    kernels = found.source.split("def program")[0]
    return sum(line.startswith("    for ") for line in kernels.splitlines())


def test_the_tutorial_is_one_kernel_forward_and_backward(rng: np.random.Generator) -> None:
    params = {"w": rng.standard_normal((5, 3)), "b": rng.standard_normal(3)}
    found = tj.inspect(tj.grad_jit(tutorial))(params, np.ones(5), np.zeros(3))
    assert (found.kernels, found.library_calls) == (1, 0)
    read, written = 15 + 3 + 5 + 3, 1 + 15 + 3
    assert found.bytes_moved == (read + written) * F64
    assert found.workspace <= PARTIALS


def test_a_larger_tutorial_is_still_one_kernel(rng: np.random.Generator) -> None:
    params = {"w": rng.standard_normal((50, 30)), "b": rng.standard_normal(30)}
    found = tj.inspect(tj.grad_jit(tutorial))(params, np.ones(50), np.zeros(30))
    assert found.kernels + found.library_calls <= 3


@pytest.mark.parametrize("n", [1000, 12345])
def test_the_chain_reads_x_once_and_writes_its_gradient_once(n: int) -> None:
    found = tj.inspect(tj.grad_jit(chain))(np.ones(n), 0.7, 0.1)
    assert (found.kernels, found.library_calls) == (1, 0) and found.workspace <= PARTIALS
    numbers = 3  # a, b and the value
    assert found.bytes_moved == (2 * n + numbers) * F64
    assert passes_over_rows(found) == 1


def test_softmax_cross_entropy_is_one_pass_over_the_rows(rng: np.random.Generator) -> None:
    n, k = 100, 13
    found = tj.inspect(tj.grad_jit(cross_entropy))(rng.standard_normal((n, k)), rng.integers(0, k, n))
    assert (found.kernels, found.library_calls) == (1, 0)
    assert found.bytes_moved == (2 * n * k + n + 1) * F64
    assert passes_over_rows(found) == 1
    assert found.workspace <= 8 * 64 + 8 * k * F64  # a few rows of scratch, nothing of size n


def test_a_network_is_its_products_and_few_kernels(rng: np.random.Generator) -> None:
    found = tj.inspect(tj.grad_jit(softmax_of_layers))(*network(rng, 100))
    assert found.library_calls == 5
    assert found.kernels <= 4


def test_a_network_is_right_and_its_products_take_no_copies(rng: np.random.Generator) -> None:
    arguments = network(rng, 40)
    value, grads = tj.grad_jit(softmax_of_layers)(*arguments)
    expected, unfused = tj.grad_jit(fuse=False)(softmax_of_layers)(*arguments)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for layer, other in zip(grads, unfused, strict=True):
        for a, b in zip(layer, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_logistic_regression_is_one_kernel(rng: np.random.Generator) -> None:
    def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
        z = x @ w + b
        return np.mean(np.logaddexp(0.0, z) - y * z)

    n, k = 500, 30
    arguments = rng.standard_normal(k), 0.3, rng.standard_normal((n, k)), np.ones(n)
    found = tj.inspect(tj.grad_jit(argnums=(0, 1))(loss))(*arguments)
    assert (found.kernels, found.library_calls) == (1, 0) and found.workspace <= PARTIALS
    assert found.bytes_moved == (n * k + n + 2 * (k + 1) + 1) * F64


def test_a_penalty_on_the_weights_adds_one_kernel_over_the_weights(rng: np.random.Generator) -> None:
    n, k = 500, 30
    arguments = rng.standard_normal(k), rng.standard_normal((n, k)), np.ones(n)
    found = tj.inspect(tj.grad_jit(logistic_regression))(*arguments)
    assert (found.kernels, found.library_calls) == (2, 0)
    assert found.bytes_moved <= (n * k + n + 8 * k) * F64


def test_layer_norm_with_its_gradients_is_one_kernel(rng: np.random.Generator) -> None:
    def loss(x: Any, scale: Any, shift: Any) -> Any:
        return np.sum(np.tanh(layer_norm(x, scale, shift)))

    n, k = 100, 16
    arguments = rng.standard_normal((n, k)), np.ones(k), np.zeros(k)
    found = tj.inspect(tj.grad_jit(argnums=(0, 1, 2))(loss))(*arguments)
    assert (found.kernels, found.library_calls) == (1, 0)
    assert found.bytes_moved == (2 * n * k + 4 * k + 1) * F64


def test_rosenbrock_is_one_kernel() -> None:
    found = tj.inspect(tj.grad_jit(rosenbrock))(np.ones(1000))
    assert (found.kernels, found.library_calls) == (1, 0) and found.workspace <= PARTIALS
    assert found.bytes_moved == (2 * 1000 + 1) * F64


def test_a_stencil_is_one_kernel() -> None:
    found = tj.inspect(tj.grad_jit(five_points))(np.ones((40, 60)))
    # A ring of 4 rows of the residual: 58 elements each, two zeros before and behind.
    assert (found.kernels, found.library_calls) == (1, 0)
    assert found.workspace <= 4 * 62 * F64 + PARTIALS
    assert found.bytes_moved == (2 * 40 * 60 + 1) * F64


def test_softmax_of_columns_is_one_kernel_that_walks_rows() -> None:
    def softmax(x: Any) -> Any:
        e = np.exp(x - x.max(axis=0))
        return e / e.sum(axis=0)

    found = tj.inspect(tj.jit(softmax))(np.ones((100, 20)))
    assert found.kernels <= 3


def test_double_softmax_of_rows_is_one_kernel() -> None:
    def softmax(x: Any) -> Any:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    found = tj.inspect(tj.jit(lambda x: softmax(softmax(x))))(np.ones((100, 20)))
    assert found.kernels == 1
    assert found.bytes_moved == 2 * 100 * 20 * F64


def test_statistics_of_one_array_are_one_pass() -> None:
    def statistics(x: Any) -> Any:
        return x.sum(), (x * x).sum(), x.max(), x.min(), np.tanh(x)

    found = tj.inspect(tj.jit(statistics))(np.ones(1000))
    assert found.kernels == 1
    assert found.bytes_moved == (2 * 1000 + 4) * F64


def test_arrays_that_share_nothing_are_kernels_of_their_own() -> None:
    found = tj.inspect(tj.jit(lambda x, y: (np.tanh(x), np.exp(y))))(np.ones(100), np.ones(77))
    assert found.kernels == 2


def test_a_cheap_value_is_computed_twice_rather_than_stored() -> None:
    def f(x: Any) -> Any:
        y = x + 1.0
        return (y * y.sum()).sum()

    found = tj.inspect(tj.jit(f))(np.ones(1000))
    assert found.workspace <= 2 * 64
    assert found.bytes_moved <= (2 * 1000 + 8) * F64


def test_unfused_is_one_kernel_an_equation() -> None:
    found = tj.inspect(tj.jit(fuse=False)(lambda x: np.tanh(np.exp(np.sin(x))).sum()))(np.ones(100))
    assert found.kernels == 4
    assert found.equation_counts["optimized"] == 4
    assert found.bytes_moved == (7 * 100 + 1) * F64


@pytest.mark.parametrize("function", [tutorial, cross_entropy, rosenbrock])
def test_fusion_moves_fewer_bytes_and_runs_fewer_kernels(function: Any, rng: np.random.Generator) -> None:
    arguments: dict[Any, Any] = {
        tutorial: ({"w": rng.standard_normal((5, 3)), "b": np.zeros(3)}, np.ones(5), np.zeros(3)),
        cross_entropy: (rng.standard_normal((100, 10)), rng.integers(0, 10, 100)),
        rosenbrock: (np.ones(1000),),
    }
    fused = tj.inspect(tj.grad_jit(function))(*arguments[function])
    unfused = tj.inspect(tj.grad_jit(fuse=False)(function))(*arguments[function])
    assert fused.kernels * 5 < unfused.kernels
    assert fused.bytes_moved * 2 < unfused.bytes_moved
