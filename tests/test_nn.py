"""`tj.nn`: the same values for arrays and traced values, right derivatives, no overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated
from tracejit import nn

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.random.default_rng(0).standard_normal((4, 5))
LABELS = np.array([0, 3, 1, 4])
P = np.full((4, 5), 0.2)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": nn.sigmoid,
    "log_sigmoid": nn.log_sigmoid,
    "softplus": nn.softplus,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.1),
    "elu": nn.elu,
    "gelu": nn.gelu,
    "gelu tanh": lambda x: nn.gelu(x, approximate=True),
    "silu": nn.silu,
    "softmax": nn.softmax,
    "softmax columns": lambda x: nn.softmax(x, axis=0),
    "log_softmax": nn.log_softmax,
    "logsumexp": nn.logsumexp,
    "logsumexp rows": lambda x: nn.logsumexp(x, axis=1),
    "logsumexp keepdims": lambda x: nn.logsumexp(x, axis=(0, 1), keepdims=True),
    "layer_norm": nn.layer_norm,
    "layer_norm scaled": lambda x: nn.layer_norm(x, X[0], X[1]),
    "binary_cross_entropy": lambda x: nn.binary_cross_entropy_with_logits(x, P),
    "cross_entropy labels": lambda x: nn.cross_entropy(x, LABELS),
    "cross_entropy columns": lambda x: nn.cross_entropy(x, LABELS[:3].repeat(2)[:5] % 4, axis=0),
    "cross_entropy probabilities": lambda x: nn.cross_entropy(x, P, reduction="sum"),
    "mse": lambda x: nn.mse(x, P),
    "huber": lambda x: nn.huber(x, P, delta=0.5, reduction="none"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_traced_and_plain_values_agree_and_derivatives_are_right(name: str) -> None:
    function = FUNCTIONS[name]
    expected = function(X)
    found = tj.jit(function)(X)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    tj.check_grads(function, (X,))


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n.split()[0] not in ("layer_norm", "mse", "huber")])
def test_single_precision_stays_single(name: str) -> None:
    if "entropy" in name or "scaled" in name:
        return
    x = X.astype("f4")
    assert FUNCTIONS[name](x).dtype == "f4"
    assert tj.jit(FUNCTIONS[name])(x).dtype == "f4"


def test_against_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    np.testing.assert_allclose(nn.sigmoid(X), special.expit(X), rtol=1e-14)
    np.testing.assert_allclose(nn.softmax(X, axis=0), special.softmax(X, axis=0), rtol=1e-14)
    np.testing.assert_allclose(nn.logsumexp(X, axis=1), special.logsumexp(X, axis=1), rtol=1e-14)
    np.testing.assert_allclose(nn.gelu(X), X * special.ndtr(X), rtol=1e-12)


def test_the_binary_cross_entropy_has_its_closed_form() -> None:
    z, y = np.array([-1.0, 0.0, 2.0]), np.array([0.0, 1.0, 0.25])
    p = 1 / (1 + np.exp(-z))
    value, grad = tj.grad_jit(lambda z: nn.binary_cross_entropy_with_logits(z, y))(z)
    assert value == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    np.testing.assert_allclose(grad, (p - y) / 3)


@pytest.mark.filterwarnings("error")
def test_large_arguments_give_finite_values_and_derivatives() -> None:
    x = np.array([-1e3, 0.0, 1e3])
    for name in (
        "sigmoid",
        "log_sigmoid",
        "softplus",
        "elu",
        "gelu",
        "silu",
        "softmax",
        "log_softmax",
        "logsumexp",
    ):
        value, grad = tj.grad_jit(lambda x, f=FUNCTIONS[name]: np.sum(f(x)), argnums=0, static_argnames="f")(
            x
        )
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
    for reduction in ("mean", "sum", "none"):
        assert np.isfinite(nn.binary_cross_entropy_with_logits(x, x * 0, reduction)).all()


def test_logsumexp_of_nothing_but_minus_infinity() -> None:
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    np.testing.assert_array_equal(nn.logsumexp(x, axis=1), [-np.inf, 0])
    np.testing.assert_array_equal(tj.jit(lambda x: nn.logsumexp(x, axis=1))(x), [-np.inf, 0])


def test_subgradients_at_the_kinks() -> None:
    assert tj.grad(nn.relu)(0.0) == 0
    assert tj.grad(nn.leaky_relu)(0.0) == 0.01
    assert tj.grad(nn.elu)(0.0) == 1
    assert tj.grad(nn.sigmoid)(0.0) == 0.25
    assert tj.grad(nn.softplus)(0.0) == 0.5
    assert tj.grad(lambda z: nn.binary_cross_entropy_with_logits(z, 1.0))(0.0) == -0.5


def test_one_hot_marks_labels() -> None:
    expected = np.eye(5)[LABELS]
    np.testing.assert_array_equal(nn.one_hot(LABELS, 5), expected)
    traced = tj.jit(lambda labels: nn.one_hot(labels, 5, dtype=np.float32))(LABELS)
    assert traced.dtype == "f4"
    np.testing.assert_array_equal(traced, expected)
    np.testing.assert_array_equal(nn.one_hot(2, 3), [0, 0, 1])


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(tj.ShapeError, match=r"labels of shape \[3\] do not fit logits of shape \[4, 5\]"):
        nn.cross_entropy(X, LABELS[:3])
    with pytest.raises(tj.ArgumentError, match="dtype bool"):
        nn.cross_entropy(X, LABELS > 0)
    with pytest.raises(tj.ArgumentError, match="'average' is not known"):
        nn.mse(X, X, reduction="average")
