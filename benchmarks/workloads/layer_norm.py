"""Layer normalisation with gain and shift and the squared distance from a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload, normal

EPSILON = 1e-5


def loss(x: Any, gain: Any, shift: Any, target: Any) -> Any:
    centred = x - np.mean(x, axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    return np.mean((centred / np.sqrt(variance + EPSILON) * gain + shift - target) ** 2)


def by_hand(x: Any, gain: Any, shift: Any, target: Any) -> tuple[Any, tuple[Any, ...]]:
    width = x.shape[1]
    normed = x - np.mean(x, axis=1, keepdims=True)
    scale = 1 / np.sqrt(np.einsum("ij,ij->i", normed, normed)[:, None] / width + EPSILON)
    normed *= scale
    d = normed * gain
    d += shift
    d -= target
    value = np.vdot(d, d) / x.size
    d *= 2 / x.size
    dshift, dgain = d.sum(axis=0), np.einsum("ij,ij->j", d, normed)
    d *= gain
    along = np.einsum("ij,ij->i", d, normed)[:, None] / width
    d -= d.mean(axis=1, keepdims=True)
    normed *= along
    d -= normed
    d *= scale
    return value, (d, dgain, dshift)


def inputs(rows: int, width: int) -> tuple[Any, ...]:
    gain, shift = 1 + 0.1 * normal(width, seed=1), 0.1 * normal(width, seed=2)
    return normal(rows, width), gain, shift, normal(rows, width, seed=3)


def numba_limit() -> Any:
    from math import sqrt

    from benchmarks import hand_math as m

    @m.kernel
    def moments(row: Any) -> Any:
        total, width = 0.0, row.size
        for j in range(width):
            total += row[j]
        mean, squares = total / width, 0.0
        for j in range(width):
            squares += (row[j] - mean) * (row[j] - mean)
        return mean, 1.0 / sqrt(squares / width + EPSILON)

    @m.kernel
    def norm_row(
        row: Any, gain: Any, shift: Any, target: Any, factor: float, out: Any, dgain: Any, dshift: Any
    ) -> float:
        mean, scale = moments(row)
        width, value, plain, along = row.size, 0.0, 0.0, 0.0
        for j in range(width):
            normed = (row[j] - mean) * scale
            error = normed * gain[j] + shift[j] - target[j]
            value += error * error
            d = error * factor
            dgain[j] += d * normed
            dshift[j] += d
            d *= gain[j]
            plain += d
            along += d * normed
            out[j] = d
        plain /= width
        along /= width
        for j in range(width):
            out[j] = (out[j] - plain - (row[j] - mean) * scale * along) * scale
        return value

    @m.kernel
    def norm(x: Any, gain: Any, shift: Any, target: Any) -> Any:
        gradient, dgain, dshift = np.empty_like(x), np.zeros_like(gain), np.zeros_like(shift)
        value, factor = 0.0, 2.0 / x.size
        for i in range(x.shape[0]):
            value += norm_row(x[i], gain, shift, target[i], factor, gradient[i], dgain, dshift)
        return value / x.size, gradient, dgain, dshift

    return norm


def torch_eager() -> Any:
    from torch.nn.functional import layer_norm, mse_loss

    def eager(x: Any, gain: Any, shift: Any, target: Any) -> Any:
        return mse_loss(layer_norm(x, gain.shape, gain, shift, EPSILON), target)

    return eager


WORKLOAD = Workload(
    title="layer norm",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 1, 2),
    sizes=(
        Size("64^2", (64, 64), goal=9e-6, limit=7.7e-6),
        Size("4096x1024", (4096, 1024), goal=31e-3, limit=29e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager},
    missing={"casadi": NOT_FOR_CASADI},
)
