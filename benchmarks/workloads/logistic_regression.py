"""Logistic regression of 20 features: the mean log loss, differentiated for weights and bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal


def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = np.dot(x, w) + b
    return np.mean(np.logaddexp(0, z) - y * z)


def by_hand(w: Any, b: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    z = x @ w
    z += b
    e = np.exp(-np.abs(z))
    value = np.mean(np.maximum(z, 0) + np.log1p(e) - y * z)
    r = np.where(z >= 0, 1, e)
    r /= 1 + e
    r -= y
    r /= z.size
    return value, (x.T @ r, np.sum(r))


def inputs(rows: int, features: int) -> tuple[Any, ...]:
    x = normal(rows, features)
    y = (normal(rows, seed=1) > 0).astype(float)
    return normal(features, seed=2) / features, np.float64(0.1), x, y


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def products(z: Any, x: Any, w: Any) -> None:
        for i in range(z.size):
            z[i] = 0.0
            for k in range(w.size):
                z[i] += x[i, k] * w[k]

    @m.kernel
    def residuals(z: Any, y: Any, b: float) -> float:
        """Overwrites the products with sigmoid(z) - y."""
        value = 0.0
        for i in range(z.size):
            s = z[i] + b
            e = m.exp(-abs(s))
            value += max(s, 0.0) + m.log(1.0 + e) - y[i] * s
            z[i] = (1.0 if s >= 0.0 else e) / (1.0 + e) - y[i]
        return value

    @m.kernel
    def regression(w: Any, b: float, x: Any, y: Any) -> Any:
        rows, features = x.shape
        gradient, z = np.zeros(features), np.empty(min(rows, 256))
        value, db, scale = 0.0, 0.0, 1.0 / rows
        # Blocks of rows stay in the first cache between the two products, and their middle part is a vector.
        for start in range(0, rows, 256):
            stop = min(start + 256, rows)
            r = z[: stop - start]
            products(r, x[start:stop], w)
            value += residuals(r, y[start:stop], b)
            for i in range(stop - start):
                db += r[i]
                for k in range(features):
                    gradient[k] += r[i] * x[start + i, k]
        return value * scale, gradient * scale, db * scale

    return regression


def jax_idiomatic() -> Any:
    import jax
    import jax.numpy as jnp

    def idiomatic(w: Any, b: Any, x: Any, y: Any) -> Any:
        z = x @ w + b
        return jnp.mean(jax.nn.softplus(z) - y * z)

    return idiomatic


def torch_eager() -> Any:
    from torch.nn.functional import binary_cross_entropy_with_logits

    return lambda w, b, x, y: binary_cross_entropy_with_logits(x @ w + b, y)


def pytensor_cost() -> Any:
    import pytensor.tensor as pt

    def cost(w: Any, b: Any, x: Any, y: Any) -> Any:
        z = pt.dot(x, w) + b
        return pt.mean(pt.softplus(z) - y * z)

    return cost


WORKLOAD = Workload(
    title="logistic regression",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 1),
    sizes=(
        Size("1e3", (1_000, 20), goal=18e-6, limit=15e-6),
        Size("1e6", (1_000_000, 20), goal=30e-3, limit=27e-3),
    ),
    implementations={
        "numba": numba_limit,
        "jax": jax_idiomatic,
        "torch": torch_eager,
        "pytensor": pytensor_cost,
    },
    missing={"casadi": NOT_FOR_CASADI},
)
