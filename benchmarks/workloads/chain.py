"""A chain of elementwise work summed up: sum(tanh(a x + b) exp(-x^2) + log1p(x^2))."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal


def loss(x: Any) -> Any:
    return np.sum(np.tanh(0.7 * x + 0.2) * np.exp(-x * x) + np.log1p(x * x))


def by_hand(x: Any) -> tuple[Any, tuple[Any, ...]]:
    square = x * x
    t, e = np.tanh(0.7 * x + 0.2), np.exp(-square)
    value = np.sum(t * e + np.log1p(square))
    return value, ((0.7 * (1 - t * t) - 2 * x * t) * e + 2 * x / (1 + square),)


def inputs(n: int) -> tuple[Any, ...]:
    return (normal(n),)


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def chain(x: Any, gradient: Any) -> float:
        value = 0.0
        for i in range(x.size):
            square = x[i] * x[i]
            t, e = m.tanh(0.7 * x[i] + 0.2), m.exp(-square)
            value += t * e + m.log(1.0 + square)
            gradient[i] = (0.7 * (1.0 - t * t) - 2.0 * x[i] * t) * e + 2.0 * x[i] / (1.0 + square)
        return value

    return m.allocate(chain, 0)


def torch_eager() -> Any:
    import torch

    return lambda x: (torch.tanh(0.7 * x + 0.2) * torch.exp(-x * x) + torch.log1p(x * x)).sum()


WORKLOAD = Workload(
    title="chain",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("1e3", (1_000,), goal=9e-6, limit=7.8e-6),
        Size("1e5", (100_000,), goal=0.6e-3, limit=0.57e-3),
        Size("1e7", (10_000_000,), goal=120e-3, limit=104e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager},
    missing={
        "casadi": NOT_FOR_CASADI,
    },
)
