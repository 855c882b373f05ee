"""A network of two layers, 64-128-10, tanh and softmax cross-entropy; its four parameters vary."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, integers, normal
from benchmarks.workloads import softmax_cross_entropy
from benchmarks.workloads.softmax_cross_entropy import loss as cross_entropy

FEATURES, HIDDEN, CLASSES = 64, 128, 10


def loss(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> Any:
    hidden = np.tanh(np.dot(x, w1) + b1)
    return cross_entropy(np.dot(hidden, w2) + b2, labels)


def by_hand(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> tuple[Any, tuple[Any, ...]]:
    hidden = x @ w1
    hidden += b1
    np.tanh(hidden, out=hidden)
    value, (d,) = softmax_cross_entropy.by_hand(hidden @ w2 + b2, labels)
    back = d @ w2.T
    back *= 1 - hidden * hidden
    return value, (x.T @ back, back.sum(axis=0), hidden.T @ d, d.sum(axis=0))


def inputs(rows: int) -> tuple[Any, ...]:
    return (
        normal(FEATURES, HIDDEN, seed=1) / np.sqrt(FEATURES),
        np.zeros(HIDDEN),
        normal(HIDDEN, CLASSES, seed=2) / np.sqrt(HIDDEN),
        np.zeros(CLASSES),
        normal(rows, FEATURES),
        integers(CLASSES, rows, seed=3),
    )


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    softmax_gradient = softmax_cross_entropy.numba_kernel()
    tile = 128

    @m.kernel
    def activate(hidden: Any, b: Any) -> None:
        for i in range(hidden.shape[0]):
            row = hidden[i]
            for j in range(b.size):
                row[j] = m.tanh(row[j] + b[j])

    @m.kernel
    def backward(back: Any, hidden: Any, total: Any) -> None:
        for i in range(back.shape[0]):
            row, h = back[i], hidden[i]
            for j in range(total.size):
                row[j] *= 1.0 - h[j] * h[j]
                total[j] += row[j]

    @m.kernel
    def step(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> Any:
        rows, most = x.shape[0], min(x.shape[0], tile)
        dw1, dw2 = np.zeros_like(w1), np.zeros_like(w2)
        db1, db2 = np.zeros_like(b1), np.zeros_like(b2)
        part1, part2, turned = np.empty_like(w1), np.empty_like(w2), w2.T.copy()
        hidden_tile, back_tile = np.empty((most, b1.size)), np.empty((most, b1.size))
        logits_tile, d_tile, value = np.empty((most, b2.size)), np.empty((most, b2.size)), 0.0
        # Tiles of rows, whose activations stay in the second cache.
        for start in range(0, rows, tile):
            n = min(tile, rows - start)
            xs, hidden, back, logits = x[start : start + n], hidden_tile[:n], back_tile[:n], logits_tile[:n]
            np.dot(xs, w1, hidden)
            activate(hidden, b1)
            np.dot(hidden, w2, logits)
            logits += b2
            d, share = d_tile[:n], n / rows
            value += softmax_gradient(logits, labels[start : start + n], d) * share
            d *= share
            for i in range(n):
                db2 += d[i]
            np.dot(d, turned, back)
            backward(back, hidden, db1)
            np.dot(hidden.T, d, part2)
            np.dot(xs.T, back, part1)
            dw2 += part2
            dw1 += part1
        return value, dw1, db1, dw2, db2

    return step


def jax_idiomatic() -> Any:
    import jax.numpy as jnp

    cross_entropy = softmax_cross_entropy.jax_idiomatic()
    return lambda w1, b1, w2, b2, x, labels: cross_entropy(jnp.tanh(x @ w1 + b1) @ w2 + b2, labels)


def torch_eager() -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    def eager(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> Any:
        hidden = torch.tanh(torch.addmm(b1, x, w1))
        return cross_entropy(torch.addmm(b2, hidden, w2), labels)

    return eager


def pytensor_cost() -> Any:
    import pytensor.tensor as pt

    cross_entropy = softmax_cross_entropy.pytensor_cost()
    return lambda w1, b1, w2, b2, x, labels: cross_entropy(
        pt.dot(pt.tanh(pt.dot(x, w1) + b1), w2) + b2, labels
    )


WORKLOAD = Workload(
    title="MLP, batch",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 1, 2, 3),
    sizes=(
        Size("64", (64,), goal=0.1e-3, limit=0.08e-3),
        Size("1024", (1024,), goal=1.35e-3, limit=1.25e-3),
        Size("65536", (65536,), goal=90e-3, limit=80e-3),
    ),
    implementations={
        "numba": numba_limit,
        "jax": jax_idiomatic,
        "torch": torch_eager,
        "pytensor": pytensor_cost,
    },
    missing={"casadi": NOT_FOR_CASADI},
)
