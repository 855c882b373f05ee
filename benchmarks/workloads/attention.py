"""One head of attention, 512 positions of 64 numbers, and the squared distance from a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal


def loss(q: Any, k: Any, v: Any, target: Any) -> Any:
    scores = np.dot(q, k.T) / q.shape[1] ** 0.5
    weights = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    weights = weights / np.sum(weights, axis=1, keepdims=True)
    return np.mean((np.dot(weights, v) - target) ** 2)


def by_hand(q: Any, k: Any, v: Any, target: Any) -> tuple[Any, tuple[Any, ...]]:
    scale = 1 / q.shape[1] ** 0.5
    weights = q @ k.T
    weights *= scale
    weights -= np.max(weights, axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.sum(weights, axis=1, keepdims=True)
    error = weights @ v
    error -= target
    value = np.vdot(error, error) / error.size
    error *= 2 / error.size
    d = error @ v.T
    d -= np.einsum("ij,ij->i", d, weights)[:, None]
    dv = weights.T @ error
    d *= weights
    d *= scale
    return value, (d @ k, d.T @ q, dv)


def inputs(positions: int, width: int) -> tuple[Any, ...]:
    q, k, v, target = (normal(positions, width, seed=seed) for seed in range(4))
    return q, k, v, target


def numba_softmax() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def softmax(weights: Any, scale: float) -> None:
        for i in range(weights.shape[0]):
            row, total, largest = weights[i], 0.0, m.row_max(weights[i])
            for j in range(row.size):
                row[j] = m.exp((row[j] - largest) * scale)
                total += row[j]
            total = 1.0 / total
            for j in range(row.size):
                row[j] *= total

    return softmax


def numba_backward_rows() -> tuple[Any, Any]:
    """The distance from the target with its cotangent, and the way back through the softmax."""
    from benchmarks import hand_math as m

    @m.kernel
    def distance(error: Any, target: Any, factor: float) -> float:
        value = 0.0
        for i in range(error.shape[0]):
            row, wanted = error[i], target[i]
            for j in range(row.size):
                d = row[j] - wanted[j]
                value += d * d
                row[j] = d * factor
        return value

    @m.kernel
    def through_softmax(d: Any, weights: Any, scale: float) -> None:
        for i in range(d.shape[0]):
            row, p, along = d[i], weights[i], 0.0
            for j in range(row.size):
                along += row[j] * p[j]
            for j in range(row.size):
                row[j] = (row[j] - along) * p[j] * scale

    return distance, through_softmax


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    softmax = numba_softmax()
    distance, through_softmax = numba_backward_rows()
    tile = 64

    @m.kernel
    def attention(q: Any, k: Any, v: Any, target: Any) -> Any:
        positions, width = q.shape
        dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
        k_turned, v_turned, part = k.T.copy(), v.T.copy(), np.empty_like(k)
        weights_tile, d_tile = np.empty((tile, positions)), np.empty((tile, positions))
        error_tile, value = np.empty((tile, width)), 0.0
        scale, factor = 1.0 / np.sqrt(width), 2.0 / q.size
        # Tiles of queries: their rows of the weights stay in the second cache, forward and backward.
        for start in range(0, positions, tile):
            n = min(tile, positions - start)
            qs, ts = q[start : start + n], target[start : start + n]
            weights, d, error = weights_tile[:n], d_tile[:n], error_tile[:n]
            np.dot(qs, k_turned, weights)
            softmax(weights, scale)
            np.dot(weights, v, error)
            value += distance(error, ts, factor)
            np.dot(error, v_turned, d)
            through_softmax(d, weights, scale)
            np.dot(weights.T, error, part)
            dv += part
            np.dot(d.T, qs, part)
            dk += part
            np.dot(d, k, dq[start : start + n])
        return value / q.size, dq, dk, dv

    return attention


def jax_idiomatic() -> Any:
    import jax
    import jax.numpy as jnp

    def idiomatic(q: Any, k: Any, v: Any, target: Any) -> Any:
        weights = jax.nn.softmax(q @ k.T / jnp.sqrt(q.shape[1]), axis=1)
        return jnp.mean((weights @ v - target) ** 2)

    return idiomatic


def torch_eager() -> Any:
    from torch.nn.functional import mse_loss, scaled_dot_product_attention

    return lambda q, k, v, target: mse_loss(
        scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0], target
    )


def pytensor_cost() -> Any:
    import pytensor.tensor as pt
    from pytensor.tensor.special import softmax

    def cost(q: Any, k: Any, v: Any, target: Any) -> Any:
        weights = softmax(pt.dot(q, k.T) / pt.sqrt(q.shape[1].astype("float64")), axis=1)
        return pt.mean((pt.dot(weights, v) - target) ** 2)

    return cost


WORKLOAD = Workload(
    title="attention",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 1, 2),
    sizes=(Size("512x64", (512, 64), goal=6.8e-3, limit=6.2e-3),),
    implementations={
        "numba": numba_limit,
        "jax": jax_idiomatic,
        "torch": torch_eager,
        "pytensor": pytensor_cost,
    },
    missing={"casadi": NOT_FOR_CASADI},
)
