"""The negative log likelihood of a Gaussian process by Cholesky; log length, amplitude and noise vary."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal

LOG_TWO_PI = float(np.log(2 * np.pi))


def loss(p: Any, x: Any, y: Any) -> Any:
    n = y.shape[0]
    squares = np.sum(x * x, axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * np.dot(x, x.T)
    covariance = np.exp(2 * p[1] - 0.5 * distances * np.exp(-2 * p[0])) + np.exp(2 * p[2]) * np.eye(n)
    factor = np.linalg.cholesky(covariance)
    z = linalg.solve_triangular(factor, y, lower=True)
    return 0.5 * np.sum(z * z) + np.sum(np.log(np.diag(factor))) + 0.5 * n * LOG_TWO_PI


def by_hand(p: Any, x: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    n, noise = y.size, np.exp(2 * p[2])
    squares = np.sum(x * x, axis=1)
    scaled = squares[:, None] + squares - 2 * (x @ x.T)
    scaled *= np.exp(-2 * p[0])
    smooth = np.exp(2 * p[1] - 0.5 * scaled)
    covariance = smooth.copy()
    covariance.flat[:: n + 1] += noise
    factor = linalg.lapack.dpotrf(covariance, lower=1)[0]
    alpha = linalg.lapack.dpotrs(factor, y, lower=1)[0]
    value = 0.5 * (y @ alpha) + np.sum(np.log(np.diag(factor))) + 0.5 * n * LOG_TWO_PI
    inverse = linalg.lapack.dpotri(factor, lower=1)[0]
    # Only the lower triangle is there: what lies below the diagonal counts twice.
    weights = np.tril(inverse, -1)
    weights *= 2
    weights.flat[:: n + 1] = np.diag(inverse)
    trace = np.trace(inverse) - alpha @ alpha
    smooth_alpha, scaled_smooth = smooth @ alpha, smooth * scaled
    amplitude = np.vdot(weights, smooth) - alpha @ smooth_alpha
    length = 0.5 * (np.vdot(weights, scaled_smooth) - alpha @ (scaled_smooth @ alpha))
    return value, (np.array([length, amplitude, noise * trace]),)


def inputs(n: int) -> tuple[Any, ...]:
    x = normal(n, 3)
    y = np.sin(x.sum(axis=1)) + 0.1 * normal(n, seed=1)
    return np.log(np.array([1.5, 1.0, 0.2])), x, y


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    @m.kernel
    def covariance(p: Any, x: Any, noise: float) -> Any:
        """The upper triangle by rows, LAPACK's lower one by columns; x holds its axes as rows."""
        n = x.shape[1]
        out, scale, shift = np.empty((n, n)), -0.5 * np.exp(-2 * p[0]), 2 * p[1]
        for i in range(n):
            row = out[i]
            for j in range(i, n):
                d0, d1, d2 = x[0, i] - x[0, j], x[1, i] - x[1, j], x[2, i] - x[2, j]
                row[j] = m.exp(shift + scale * (d0 * d0 + d1 * d1 + d2 * d2))
            row[i] += noise
        return out

    @m.kernel
    def gradient(p: Any, x: Any, inverse: Any, alpha: Any, noise: float) -> Any:
        n = x.shape[1]
        length, amplitude, trace = 0.0, 0.0, 0.0
        inverse_square, shift = np.exp(-2 * p[0]), 2 * p[1]
        for i in range(n):
            row, own = inverse[i], alpha[i]
            for j in range(i + 1, n):
                d0, d1, d2 = x[0, i] - x[0, j], x[1, i] - x[1, j], x[2, i] - x[2, j]
                scaled = inverse_square * (d0 * d0 + d1 * d1 + d2 * d2)
                weighted = m.exp(shift - 0.5 * scaled) * (row[j] - own * alpha[j])
                length += weighted * scaled
                amplitude += weighted
            trace += row[i] - own * own
        out = np.empty(3)
        out[0], out[1], out[2] = length, 2.0 * amplitude + np.exp(shift) * trace, noise * trace
        return out

    def likelihood(p: Any, x: Any, y: Any) -> Any:
        noise, by_axis = np.exp(2 * p[2]), np.ascontiguousarray(x.T)
        matrix = covariance(p, by_axis, noise).T
        factor = linalg.lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)[0]
        alpha = linalg.lapack.dpotrs(factor, y, lower=1)[0]
        value = 0.5 * (y @ alpha) + np.sum(np.log(factor.diagonal())) + 0.5 * y.size * LOG_TWO_PI
        inverse = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        return value, gradient(p, by_axis, inverse.T, alpha, noise)

    return likelihood


def torch_eager() -> Any:
    import torch

    def eager(p: Any, x: Any, y: Any) -> Any:
        squares = (x * x).sum(1)
        distances = squares[:, None] + squares - 2 * (x @ x.T)
        covariance = torch.exp(2 * p[1] - 0.5 * distances * torch.exp(-2 * p[0]))
        covariance = covariance + torch.exp(2 * p[2]) * torch.eye(len(y), dtype=x.dtype)
        factor = torch.linalg.cholesky(covariance)
        z = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        return 0.5 * (z * z).sum() + factor.diagonal().log().sum() + 0.5 * len(y) * LOG_TWO_PI

    return eager


def pytensor_cost() -> Any:
    import pytensor.tensor as pt
    from pytensor.tensor.slinalg import cholesky, solve_triangular

    def cost(p: Any, x: Any, y: Any) -> Any:
        n = y.shape[0]
        squares = pt.sum(x * x, axis=1)
        distances = squares[:, None] + squares[None, :] - 2 * pt.dot(x, x.T)
        covariance = pt.exp(2 * p[1] - 0.5 * distances * pt.exp(-2 * p[0])) + pt.exp(2 * p[2]) * pt.eye(n)
        factor = cholesky(covariance)
        z = solve_triangular(factor, y, lower=True)
        return 0.5 * pt.sum(z * z) + pt.sum(pt.log(pt.diag(factor))) + 0.5 * n * LOG_TWO_PI

    return cost


WORKLOAD = Workload(
    title="Gaussian process",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("200", (200,), goal=1e-3, limit=0.89e-3),
        Size("1000", (1000,), goal=40e-3, limit=36e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager, "pytensor": pytensor_cost},
    missing={
        "casadi": NOT_FOR_CASADI,
    },
)
