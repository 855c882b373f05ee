"""Denoising by total variation: the smoothed length of an image's gradient, and the distance from data."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal

EPSILON = 1e-3
WEIGHT = 0.1


def loss(u: Any, data: Any) -> Any:
    here = u[:-1, :-1]
    down, right = u[1:, :-1] - here, u[:-1, 1:] - here
    length = np.sqrt(down * down + right * right + EPSILON)
    return WEIGHT * np.sum(length) + 0.5 * np.sum((u - data) ** 2)


def by_hand(u: Any, data: Any) -> tuple[Any, tuple[Any, ...]]:
    here = u[:-1, :-1]
    down, right = u[1:, :-1] - here, u[:-1, 1:] - here
    length = down * down
    length += right * right
    length += EPSILON
    np.sqrt(length, out=length)
    gradient = u - data
    value = WEIGHT * length.sum() + 0.5 * np.vdot(gradient, gradient)
    np.divide(WEIGHT, length, out=length)
    down *= length
    right *= length
    gradient[1:, :-1] += down
    gradient[:-1, 1:] += right
    down += right
    gradient[:-1, :-1] -= down
    return value, (gradient,)


def inputs(n: int) -> tuple[Any, ...]:
    return normal(n, n), normal(n, n, seed=1)


def numba_limit() -> Any:
    from math import sqrt

    from benchmarks import hand_math as m

    @m.kernel
    def length_row(u: Any, i: int, down: Any, right: Any) -> float:
        """Cotangents of both differences of row i, `right` one place behind; returns its lengths."""
        total, last = 0.0, u.shape[1] - 1
        here, south = u[i], u[i + 1]
        for j in range(last):
            d, r = south[j] - here[j], here[j + 1] - here[j]
            length = sqrt(d * d + r * r + EPSILON)
            total += length
            factor = WEIGHT / length
            down[j] = d * factor
            right[j + 1] = r * factor
        return total

    @m.kernel
    def gather_row(u: Any, data: Any, above: Any, down: Any, right: Any, gradient: Any) -> float:
        total, last = 0.0, u.size - 1
        for j in range(last):
            error = u[j] - data[j]
            total += error * error
            gradient[j] = error + above[j] + right[j] - down[j] - right[j + 1]
        error = u[last] - data[last]
        gradient[last] = error + right[last]
        return total + error * error

    @m.kernel
    def energy(u: Any, data: Any, gradient: Any) -> float:
        (rows, columns), lengths, errors = u.shape, 0.0, 0.0
        # `right` is zero in front of a row, `down` at its end, where no difference is.
        above, down, right = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        for i in range(rows):
            if i < rows - 1:
                lengths += length_row(u, i, down, right)
            else:
                down[:] = 0.0
                right[:] = 0.0
            errors += gather_row(u[i], data[i], above, down, right, gradient[i])
            above, down = down, above
        return WEIGHT * lengths + 0.5 * errors

    return m.allocate(energy, 0)


def torch_eager() -> Any:
    import torch

    def eager(u: Any, data: Any) -> Any:
        here = u[:-1, :-1]
        down, right = u[1:, :-1] - here, u[:-1, 1:] - here
        length = torch.sqrt(down * down + right * right + EPSILON)
        return WEIGHT * length.sum() + 0.5 * ((u - data) ** 2).sum()

    return eager


WORKLOAD = Workload(
    title="total variation",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("64^2", (64,), goal=24e-6, limit=19.2e-6),
        Size("2000^2", (2000,), goal=20e-3, limit=16e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager},
    missing={"casadi": NOT_FOR_CASADI},
)
