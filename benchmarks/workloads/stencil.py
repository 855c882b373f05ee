"""The energy of the residual of a five-point stencil, written with slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal


def loss(u: Any) -> Any:
    inner = u[1:-1, 1:-1]
    residual = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * inner
    return 0.5 * np.sum(residual**2)


def by_hand(u: Any) -> tuple[Any, tuple[Any, ...]]:
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


def inputs(n: int) -> tuple[Any, ...]:
    return (normal(n, n),)


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def residual_row(u: Any, i: int, row: Any) -> float:
        """The residual of row i between its two ends, which stay zero; returns its sum of squares."""
        total, last = 0.0, u.shape[1] - 1
        north, here, south = u[i - 1], u[i], u[i + 1]
        for j in range(1, last):
            r = north[j] + south[j] + here[j - 1] + here[j + 1] - 4.0 * here[j]
            row[j] = r
            total += r * r
        return total

    @m.kernel
    def gather_row(gradient: Any, north: Any, here: Any, south: Any) -> None:
        last = here.size - 1
        gradient[0], gradient[last] = here[1], here[last - 1]
        for j in range(1, last):
            gradient[j] = north[j] + south[j] + here[j - 1] + here[j + 1] - 4.0 * here[j]

    @m.kernel
    def energy(u: Any, gradient: Any) -> float:
        (rows, columns), value = u.shape, 0.0
        # The residuals of three rows are all that the gradient of the middle one needs.
        north, here, south = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        for i in range(rows):
            if i + 1 < rows - 1:
                value += residual_row(u, i + 1, south)
            else:
                south[:] = 0.0
            gather_row(gradient[i], north, here, south)
            north, here, south = here, south, north
        return 0.5 * value

    return m.allocate(energy, 0)


def torch_eager() -> Any:
    def eager(u: Any) -> Any:
        inner = u[1:-1, 1:-1]
        residual = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * inner
        return 0.5 * (residual**2).sum()

    return eager


WORKLOAD = Workload(
    title="stencil",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("64^2", (64,), goal=8e-6, limit=5.9e-6),
        Size("2000^2", (2000,), goal=6e-3, limit=5.1e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager},
    missing={"casadi": NOT_FOR_CASADI},
)
