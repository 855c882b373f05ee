"""Rosenbrock's function of n variables, by slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import Size, Workload, normal


def loss(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def by_hand(x: Any) -> tuple[Any, tuple[Any, ...]]:
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


def inputs(n: int) -> tuple[Any, ...]:
    return (normal(n),)


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def rosenbrock(x: Any, gradient: Any) -> float:
        n, value = x.size, 0.0
        # Gathered: each element of the gradient reads its neighbours, the left difference is computed again.
        for i in range(1, n - 1):
            d = x[i + 1] - x[i] * x[i]
            e = 1.0 - x[i]
            value += 100.0 * d * d + e * e
            gradient[i] = 200.0 * (x[i] - x[i - 1] * x[i - 1]) - 400.0 * x[i] * d - 2.0 * e
        d, e = x[1] - x[0] * x[0], 1.0 - x[0]
        gradient[0] = -400.0 * x[0] * d - 2.0 * e
        gradient[n - 1] = 200.0 * (x[n - 1] - x[n - 2] * x[n - 2])
        return value + 100.0 * d * d + e * e

    return m.allocate(rosenbrock, 0)


def torch_eager() -> Any:
    return lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def casadi_loss() -> Any:
    import casadi

    return lambda x: casadi.sumsqr(10 * (x[1:] - x[:-1] ** 2)) + casadi.sumsqr(1 - x[:-1])


WORKLOAD = Workload(
    title="Rosenbrock",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("1e2", (100,), goal=1.5e-6, limit=1.05e-6),
        Size("1e6", (1_000_000,), goal=0.5e-3, limit=0.42e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager, "casadi": casadi_loss},
)
