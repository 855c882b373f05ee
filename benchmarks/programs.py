"""The programs that are measured: plain NumPy code, value and gradient by hand, inputs of given sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Program:
    """A loss and how to feed it.

    loss(*args): differentiated for the arguments in `argnums`
    by_hand(*args): `(value, gradients)`, as one would write it in NumPy with care for time
    inputs(*sizes): the arguments
    """

    name: str
    loss: Callable[..., Any]
    by_hand: Callable[..., tuple[Any, tuple[Any, ...]]]
    inputs: Callable[..., tuple[Any, ...]]
    argnums: tuple[int, ...] = (0,)


def with_numpy(function: Callable[..., Any], module: Any) -> Callable[..., Any]:
    """The same code with another module under the name `np`, which is how HIPS autograd is used."""
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, "np": module}
    for name, value in list(names.items()):
        if isinstance(value, FunctionType) and value.__module__ == __name__:
            names[name] = FunctionType(value.__code__, names, name, value.__defaults__, value.__closure__)
    return FunctionType(function.__code__, names, function.__name__)


def _normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


# --- a chain of elementwise work ---------------------------------------------------------------------------


def chain(x: Array) -> Array:
    return np.sum(np.tanh(0.7 * x + 0.2) * np.exp(-x * x) + np.log1p(x * x))


def chain_by_hand(x: Array) -> tuple[Array, tuple[Array, ...]]:
    square = x * x
    t, e = np.tanh(0.7 * x + 0.2), np.exp(-square)
    value = np.sum(t * e + np.log1p(square))
    return value, ((0.7 * (1 - t * t) - 2 * x * t) * e + 2 * x / (1 + square),)


# --- Rosenbrock's function ---------------------------------------------------------------------------------


def rosenbrock(x: Array) -> Array:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_by_hand(x: Array) -> tuple[Array, tuple[Array, ...]]:
    left = x[:-1]
    d, e = x[1:] - left * left, 1 - left
    value = 100 * (d @ d) + e @ e
    gradient = np.empty_like(x)
    np.multiply(left, d, out=gradient[:-1])
    gradient[:-1] *= -400
    gradient[-1] = 0
    e *= 2
    gradient[:-1] -= e
    d *= 200
    gradient[1:] += d
    return value, (gradient,)


# --- logistic regression -----------------------------------------------------------------------------------


def logistic(w: Array, b: Array, x: Array, y: Array) -> Array:
    z = x @ w + b
    return np.mean(np.logaddexp(0, z) - y * z)


def logistic_by_hand(w: Array, b: Array, x: Array, y: Array) -> tuple[Array, tuple[Array, ...]]:
    z = x @ w
    z += b
    e = np.exp(-np.abs(z))
    value = np.mean(np.maximum(z, 0) + np.log1p(e) - y * z)
    r = np.where(z >= 0, 1, e)
    r /= 1 + e
    r -= y
    r /= z.size
    return value, (x.T @ r, np.sum(r))


def logistic_inputs(rows: int, features: int) -> tuple[Array, ...]:
    x = _normal(rows, features)
    y = (_normal(rows, seed=1) > 0).astype(float)
    return _normal(features, seed=2) / features, np.float64(0.1), x, y


# --- softmax cross-entropy ---------------------------------------------------------------------------------


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=1))
    return np.mean(log_total - shifted[np.arange(len(labels)), labels])


def softmax_cross_entropy_by_hand(logits: Array, labels: Array) -> tuple[Array, tuple[Array, ...]]:
    rows = np.arange(len(labels))
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    picked = shifted[rows, labels]
    np.exp(shifted, out=shifted)
    total = np.sum(shifted, axis=1)
    value = np.mean(np.log(total) - picked)
    shifted /= (total * len(rows))[:, None]
    shifted[rows, labels] -= 1 / len(rows)
    return value, (shifted,)


def softmax_inputs(rows: int, classes: int) -> tuple[Array, ...]:
    return _normal(rows, classes), np.random.default_rng(1).integers(0, classes, rows)


# --- the energy of a five-point stencil --------------------------------------------------------------------


def stencil(u: Array) -> Array:
    inner = u[1:-1, 1:-1]
    residual = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * inner
    return 0.5 * np.sum(residual**2)


def stencil_by_hand(u: Array) -> tuple[Array, tuple[Array, ...]]:
    residual = u[:-2, 1:-1] + u[2:, 1:-1]
    residual += u[1:-1, :-2]
    residual += u[1:-1, 2:]
    residual -= 4 * u[1:-1, 1:-1]
    value = 0.5 * np.vdot(residual, residual)
    gradient = np.zeros_like(u)
    gradient[:-2, 1:-1] += residual
    gradient[2:, 1:-1] += residual
    gradient[1:-1, :-2] += residual
    gradient[1:-1, 2:] += residual
    residual *= 4
    gradient[1:-1, 1:-1] -= residual
    return value, (gradient,)


# --- the PyTorch tutorial ----------------------------------------------------------------------------------


def tutorial(w: Array, b: Array, x: Array, y: Array) -> Array:
    z = np.dot(x, w) + b
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def tutorial_by_hand(w: Array, b: Array, x: Array, y: Array) -> tuple[Array, tuple[Array, ...]]:
    z = x @ w + b
    e = np.exp(-np.abs(z))
    value = np.mean(np.maximum(z, 0) - z * y + np.log1p(e))
    dz = (np.where(z >= 0, 1, e) / (1 + e) - y) / z.size
    return value, (np.outer(x, dz), dz)


def tutorial_inputs(features: int, outputs: int) -> tuple[Array, ...]:
    return _normal(features, outputs), _normal(outputs, seed=1), np.ones(features), np.zeros(outputs)


# --- a two-layer network -----------------------------------------------------------------------------------


def network(w1: Array, b1: Array, w2: Array, b2: Array, x: Array, labels: Array) -> Array:
    hidden = np.tanh(np.dot(x, w1) + b1)
    return softmax_cross_entropy(np.dot(hidden, w2) + b2, labels)


def network_by_hand(
    w1: Array, b1: Array, w2: Array, b2: Array, x: Array, labels: Array
) -> tuple[Array, tuple[Array, ...]]:
    hidden = x @ w1
    hidden += b1
    np.tanh(hidden, out=hidden)
    value, (d,) = softmax_cross_entropy_by_hand(hidden @ w2 + b2, labels)
    back = d @ w2.T
    back *= 1 - hidden * hidden
    return value, (x.T @ back, back.sum(axis=0), hidden.T @ d, d.sum(axis=0))


def network_inputs(rows: int, features: int, hidden: int, classes: int) -> tuple[Array, ...]:
    return (
        _normal(features, hidden, seed=1) / np.sqrt(features),
        np.zeros(hidden),
        _normal(hidden, classes, seed=2) / np.sqrt(hidden),
        np.zeros(classes),
        _normal(rows, features),
        np.random.default_rng(3).integers(0, classes, rows),
    )


CHAIN = Program("chain", chain, chain_by_hand, lambda n: (_normal(n),))
ROSENBROCK = Program("Rosenbrock", rosenbrock, rosenbrock_by_hand, lambda n: (_normal(n),))
LOGISTIC = Program("logistic regression", logistic, logistic_by_hand, logistic_inputs, (0, 1))
SOFTMAX = Program(
    "softmax cross-entropy", softmax_cross_entropy, softmax_cross_entropy_by_hand, softmax_inputs
)
STENCIL = Program("five-point stencil", stencil, stencil_by_hand, lambda n, m: (_normal(n, m),))
TUTORIAL = Program("tutorial", tutorial, tutorial_by_hand, tutorial_inputs, (0, 1))
NETWORK = Program("two-layer network", network, network_by_hand, network_inputs, (0, 1, 2, 3))
