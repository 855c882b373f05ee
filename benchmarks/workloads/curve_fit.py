"""Least squares of three Gaussian peaks on a floor, 10 parameters and 50 points, as an optimiser calls it."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import Size, Workload, normal


def loss(p: Any, x: Any, y: Any) -> Any:
    """Heights, centres and widths of the peaks are p[:3], p[3:6], p[6:9], the floor is p[9]."""
    u = (x[:, None] - p[3:6]) / p[6:9]
    model = np.sum(p[:3] * np.exp(-0.5 * u * u), axis=1) + p[9]
    return np.mean((model - y) ** 2)


def by_hand(p: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    heights, centres, widths = p[:3], p[3:6], p[6:9]
    u = (x[:, None] - centres) / widths
    e = np.exp(-0.5 * u * u)
    error = e @ heights + (p[9] - y)
    value = error @ error / x.size
    error *= 2 / x.size
    gradient = np.empty(10)
    gradient[:3] = error @ e
    e *= u
    gradient[3:6] = error @ e * heights / widths
    e *= u
    gradient[6:9] = error @ e * heights / widths
    gradient[9] = error.sum()
    return value, (gradient,)


def inputs(points: int) -> tuple[Any, ...]:
    x = np.linspace(0.0, 1.0, points)
    p = np.array([1.0, 0.6, 0.8, 0.2, 0.5, 0.8, 0.07, 0.1, 0.06, 0.1])
    peaks = p[:3] * np.exp(-0.5 * ((x[:, None] - p[3:6]) / p[6:9]) ** 2)
    y = peaks.sum(axis=1) + p[9] + 0.02 * normal(points)
    return p * (1.0 + 0.1 * normal(10, seed=1)), x, y


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def fit(p: Any, x: Any, y: Any) -> Any:
        points, gradient, scale = x.size, np.empty(10), 1.0 / x.size
        error, e = np.empty(points), np.empty((3, points))
        for i in range(points):
            error[i] = p[9] - y[i]
        for k in range(3):
            inverse = 1.0 / p[6 + k]
            for i in range(points):
                u = (x[i] - p[3 + k]) * inverse
                e[k, i] = m.exp(-0.5 * u * u)
                error[i] += p[k] * e[k, i]
        value, floor = 0.0, 0.0
        for i in range(points):
            value += error[i] * error[i]
            floor += error[i]
        gradient[9] = 2.0 * scale * floor
        for k in range(3):
            height, centre, width, inverse = 0.0, 0.0, 0.0, 1.0 / p[6 + k]
            for i in range(points):
                u = (x[i] - p[3 + k]) * inverse
                d = error[i] * e[k, i]
                height += d
                centre += d * u
                width += d * u * u
            gradient[k] = 2.0 * scale * height
            gradient[3 + k] = 2.0 * scale * centre * p[k] * inverse
            gradient[6 + k] = 2.0 * scale * width * p[k] * inverse
        return value * scale, gradient

    return fit


def torch_eager() -> Any:
    import torch

    def eager(p: Any, x: Any, y: Any) -> Any:
        u = (x[:, None] - p[3:6]) / p[6:9]
        return ((torch.exp(-0.5 * u * u) @ p[:3] + p[9] - y) ** 2).mean()

    return eager


def casadi_loss() -> Any:
    import casadi

    def peaks(p: Any, x: Any, y: Any) -> Any:
        error = p[9] - y
        for k in range(3):
            u = (x - p[3 + k]) / p[6 + k]
            error += p[k] * casadi.exp(-0.5 * u * u)
        return casadi.sumsqr(error) / y.numel()

    return peaks


WORKLOAD = Workload(
    title="curve fit",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(Size("50x10", (50,), goal=3e-6, limit=2.8e-6),),
    implementations={"numba": numba_limit, "torch": torch_eager, "casadi": casadi_loss},
    takes_numpy=True,
)
