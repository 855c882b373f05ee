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


def numba_rows() -> tuple[Any, Any, Any]:
    """The way forward along a row, its part of the sums over rows, the way back."""
    from math import sqrt

    from benchmarks import hand_math as m

    @m.kernel
    def norm_row(row: Any, gain: Any, shift: Any, target: Any, factor: float, normed: Any, d: Any) -> Any:
        """Fills the normed row and the cotangent of the result; returns the value and 1 / deviation."""
        total, width = 0.0, row.size
        for j in range(width):
            total += row[j]
        mean, squares = total / width, 0.0
        for j in range(width):
            squares += (row[j] - mean) * (row[j] - mean)
        scale, value = 1.0 / sqrt(squares / width + EPSILON), 0.0
        for j in range(width):
            normed[j] = (row[j] - mean) * scale
            error = normed[j] * gain[j] + shift[j] - target[j]
            value += error * error
            d[j] = error * factor
        return value, scale

    @m.kernel
    def add_row(normed: Any, d: Any, dgain: Any, dshift: Any) -> None:
        for j in range(d.size):
            dgain[j] += d[j] * normed[j]
            dshift[j] += d[j]

    @m.kernel
    def back_row(normed: Any, d: Any, gain: Any, scale: float, out: Any) -> None:
        width, plain, along = d.size, 0.0, 0.0
        for j in range(width):
            c = d[j] * gain[j]
            plain += c
            along += c * normed[j]
        plain /= width
        along /= width
        for j in range(width):
            out[j] = (d[j] * gain[j] - plain - normed[j] * along) * scale

    return norm_row, add_row, back_row


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    norm_row, add_row, back_row = numba_rows()

    @m.kernel
    def fill(x: Any, gain: Any, shift: Any, target: Any, gradient: Any) -> Any:
        rows, width = x.shape
        dgain, dshift = np.zeros_like(gain), np.zeros_like(shift)
        normed, d = np.empty(width), np.empty(width)
        total, factor = 0.0, 2.0 / x.size
        for i in range(rows):
            value, scale = norm_row(x[i], gain, shift, target[i], factor, normed, d)
            total += value
            add_row(normed, d, dgain, dshift)
            back_row(normed, d, gain, scale, gradient[i])
        return total / x.size, dgain, dshift

    step = m.allocate(fill, 0)

    def norm(x: Any, gain: Any, shift: Any, target: Any) -> Any:
        (value, dgain, dshift), gradient = step(x, gain, shift, target)
        return value, gradient, dgain, dshift

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
