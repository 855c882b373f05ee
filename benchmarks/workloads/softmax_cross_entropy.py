"""Softmax cross-entropy of logits and integer labels, in the plain source with NumPy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, integers, normal


def loss(logits: Any, labels: Any) -> Any:
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=1))
    return np.mean(log_total - shifted[np.arange(labels.shape[0]), labels])


def by_hand(logits: Any, labels: Any) -> tuple[Any, tuple[Any, ...]]:
    rows = np.arange(len(labels))
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    picked = shifted[rows, labels]
    np.exp(shifted, out=shifted)
    total = np.sum(shifted, axis=1)
    value = np.mean(np.log(total) - picked)
    shifted /= (total * len(rows))[:, None]
    shifted[rows, labels] -= 1 / len(rows)
    return value, (shifted,)


def inputs(rows: int, classes: int) -> tuple[Any, ...]:
    return normal(rows, classes), integers(classes, rows, seed=1)


def numba_kernel() -> Any:
    """`fill(logits, labels, gradient)`, which returns the value."""
    from benchmarks import hand_math as m

    @m.kernel
    def cross_entropy(logits: Any, labels: Any, gradient: Any) -> float:
        rows, classes = logits.shape
        value, scale = 0.0, 1.0 / rows
        for i in range(rows):
            row, out = logits[i], gradient[i]
            largest = m.row_max(row)
            total = 0.0
            for j in range(classes):
                out[j] = m.exp(row[j] - largest)
                total += out[j]
            value += m.log(total) + largest - row[labels[i]]
            factor = scale / total
            for j in range(classes):
                out[j] *= factor
            out[labels[i]] -= scale
        return value * scale

    return cross_entropy


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    return m.allocate(numba_kernel(), 0)


def jax_idiomatic() -> Any:
    import jax
    import jax.numpy as jnp

    def idiomatic(logits: Any, labels: Any) -> Any:
        picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)

    return idiomatic


def torch_eager() -> Any:
    from torch.nn.functional import cross_entropy

    return cross_entropy


def pytensor_cost() -> Any:
    import pytensor.tensor as pt

    def cost(logits: Any, labels: Any) -> Any:
        picked = logits[pt.arange(labels.shape[0]), labels]
        return pt.mean(pt.logsumexp(logits, axis=1) - picked)

    return cost


WORKLOAD = Workload(
    title="softmax cross-entropy",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("64x10", (64, 10), goal=5e-6, limit=4.2e-6),
        Size("4096x1000", (4096, 1000), goal=9e-3, limit=8.2e-3),
    ),
    implementations={
        "numba": numba_limit,
        "jax": jax_idiomatic,
        "torch": torch_eager,
        "pytensor": pytensor_cost,
    },
    missing={"casadi": NOT_FOR_CASADI},
)
