"""The step of the PyTorch tutorial: a layer of 5 inputs and 3 outputs, binary cross-entropy with logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal
from benchmarks.workloads import logistic_regression


def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = np.dot(x, w) + b
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def by_hand(w: Any, b: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    z = x @ w + b
    e = np.exp(-np.abs(z))
    value = np.mean(np.maximum(z, 0) - z * y + np.log1p(e))
    dz = (np.where(z >= 0, 1, e) / (1 + e) - y) / z.size
    return value, (np.outer(x, dz), dz)


def inputs(features: int, outputs: int) -> tuple[Any, ...]:
    return normal(features, outputs), normal(outputs, seed=1), np.ones(features), np.zeros(outputs)


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def step(w: Any, b: Any, x: Any, y: Any) -> Any:
        features, outputs = w.shape
        dw, db = np.empty_like(w), np.empty_like(b)
        value, scale = 0.0, 1.0 / outputs
        for j in range(outputs):
            z = b[j]
            for i in range(features):
                z += x[i] * w[i, j]
            e = m.exp(-abs(z))
            value += max(z, 0.0) - z * y[j] + m.log(1.0 + e)
            db[j] = ((1.0 if z >= 0.0 else e) / (1.0 + e) - y[j]) * scale
        for i in range(features):
            for j in range(outputs):
                dw[i, j] = x[i] * db[j]
        return value * scale, dw, db

    return step


WORKLOAD = Workload(
    title="tutorial",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 1),
    sizes=(Size("5x3", (5, 3), goal=2.0e-6, limit=1.8e-6),),
    implementations={
        "numba": numba_limit,
        "jax": logistic_regression.jax_idiomatic,
        "torch": logistic_regression.torch_eager,
        "pytensor": logistic_regression.pytensor_cost,
    },
    missing={"casadi": NOT_FOR_CASADI},
)
