"""Small smooth functions of one vector, written as a user would, with a point to differentiate them at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.frontend import argument_of, trace
from tracejit.ir import Graph

MATRIX = np.random.default_rng(0).standard_normal((4, 4))
ROWS = np.array([2, 0, 2])
POINT = np.array([0.3, -0.7, 1.1, 0.4])


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def log_sum_exp(x: Any) -> Any:
    m = np.max(x)
    return m + np.log(np.sum(np.exp(x - m)))


def cross_entropy(x: Any) -> Any:
    z = np.tanh(MATRIX @ x)
    shifted = z[ROWS] - np.max(z)
    return np.sum(np.log(np.sum(np.exp(z - np.max(z)))) - shifted)


def quadratic(x: Any) -> Any:
    return x @ MATRIX @ x / 2 + np.sum(x)


def product(x: Any) -> Any:
    return np.prod(x) * np.mean(np.sin(x))


def padded(x: Any) -> Any:
    wide = np.concatenate([np.zeros(1), x, x[::-1]])
    return np.sum(wide[:-1] * np.exp(wide[1:]) / 3)


def branches(x: Any) -> Any:
    return np.sum(np.where(x > 0, np.sin(x), x**3) * np.cumsum(x))


def outer(x: Any) -> Any:
    grid = x[:, None] * np.cos(x)[None, :]
    return np.sum(np.sqrt(1 + grid.T**2)) + np.trace(np.reshape(grid, (2, 8))[:, :2])


FUNCTIONS: tuple[Callable[[Any], Any], ...] = (
    rosenbrock,
    log_sum_exp,
    cross_entropy,
    quadratic,
    product,
    padded,
    branches,
    outer,
)


def graph_of(function: Callable[[Any], Any]) -> tuple[Graph, list[Any]]:
    """The function as a graph, and the arrays to run it on (the point, then what it captures)."""
    done = trace(function, [argument_of(POINT)], function.__name__)
    return done.graph, [POINT, *(np.asarray(a) for a in done.captures)]
