"""Lotka and Volterra's equations by Runge-Kutta steps, fitted to data at each step; four parameters.

Column JAX is a scan with `jax.checkpoint` on its body, column JAX plain the default scan: the plain source, a
Python loop, had not compiled in 90 s at 50 steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workload import Size, Workload, normal

STEP = 0.01
START = (1.0, 0.5)


def loss(p: Any, xs: Any, ys: Any) -> Any:
    x, y = START
    total = 0.0
    for i in range(xs.shape[0]):
        x, y = advance(p, x, y)
        total = total + (x - xs[i]) ** 2 + (y - ys[i]) ** 2
    return total


def advance(p: Any, x: Any, y: Any) -> Any:
    """One step of the classical method of order four."""
    k1x, k1y = slope(p, x, y)
    k2x, k2y = slope(p, x + 0.5 * STEP * k1x, y + 0.5 * STEP * k1y)
    k3x, k3y = slope(p, x + 0.5 * STEP * k2x, y + 0.5 * STEP * k2y)
    k4x, k4y = slope(p, x + STEP * k3x, y + STEP * k3y)
    new_x = x + STEP / 6 * (k1x + 2 * k2x + 2 * k3x + k4x)
    return new_x, y + STEP / 6 * (k1y + 2 * k2y + 2 * k3y + k4y)


def slope(p: Any, x: Any, y: Any) -> Any:
    return x * (p[0] - p[1] * y), y * (p[3] * x - p[2])


def by_hand(p: Any, xs: Any, ys: Any) -> tuple[Any, tuple[Any, ...]]:
    parameters, wanted = p.tolist(), list(zip(xs.tolist(), ys.tolist(), strict=True))
    states, value = [START], 0.0
    for tx, ty in wanted:
        x, y = advance(parameters, *states[-1])
        states.append((x, y))
        value += (x - tx) ** 2 + (y - ty) ** 2
    lx = ly = 0.0
    totals = (0.0, 0.0, 0.0, 0.0)
    for i in range(len(wanted) - 1, -1, -1):
        (x, y), (tx, ty) = states[i + 1], wanted[i]
        lx, ly, *totals = retreat(*parameters, *states[i], lx + 2 * (x - tx), ly + 2 * (y - ty), *totals)
    return value, (np.array(totals),)


def retreat(
    a: float, b: float, c: float, d: float, x: float, y: float, lx: float, ly: float,
    ga: float, gb: float, gc: float, gd: float,
) -> Any:  # fmt: skip
    """The adjoint of a step from (x, y): cotangents of its end to those of its start, parameters added up."""
    h = STEP
    k1x, k1y = x * (a - b * y), y * (d * x - c)
    x2, y2 = x + 0.5 * h * k1x, y + 0.5 * h * k1y
    k2x, k2y = x2 * (a - b * y2), y2 * (d * x2 - c)
    x3, y3 = x + 0.5 * h * k2x, y + 0.5 * h * k2y
    k3x, k3y = x3 * (a - b * y3), y3 * (d * x3 - c)
    x4, y4 = x + h * k3x, y + h * k3y
    # From the last slope to the first; (ux, uy) is the cotangent of a slope, (vx, vy) what its point gets.
    ux, uy = h / 6 * lx, h / 6 * ly
    v4x, v4y = ux * (a - b * y4) + uy * d * y4, uy * (d * x4 - c) - ux * b * x4
    ga, gb, gc, gd = ga + ux * x4, gb - ux * x4 * y4, gc - uy * y4, gd + uy * x4 * y4
    ux, uy = h / 3 * lx + h * v4x, h / 3 * ly + h * v4y
    v3x, v3y = ux * (a - b * y3) + uy * d * y3, uy * (d * x3 - c) - ux * b * x3
    ga, gb, gc, gd = ga + ux * x3, gb - ux * x3 * y3, gc - uy * y3, gd + uy * x3 * y3
    ux, uy = h / 3 * lx + 0.5 * h * v3x, h / 3 * ly + 0.5 * h * v3y
    v2x, v2y = ux * (a - b * y2) + uy * d * y2, uy * (d * x2 - c) - ux * b * x2
    ga, gb, gc, gd = ga + ux * x2, gb - ux * x2 * y2, gc - uy * y2, gd + uy * x2 * y2
    ux, uy = h / 6 * lx + 0.5 * h * v2x, h / 6 * ly + 0.5 * h * v2y
    v1x, v1y = ux * (a - b * y) + uy * d * y, uy * (d * x - c) - ux * b * x
    ga, gb, gc, gd = ga + ux * x, gb - ux * x * y, gc - uy * y, gd + uy * x * y
    return lx + v1x + v2x + v3x + v4x, ly + v1y + v2y + v3y + v4y, ga, gb, gc, gd


def inputs(steps: int) -> tuple[Any, ...]:
    true, state = (1.5, 1.0, 3.0, 1.0), START
    path = np.array([state := advance(true, *state) for _ in range(steps)])
    path += 0.05 * normal(steps, 2)
    xs, ys = path.T.copy()
    return np.array([1.4, 1.1, 2.8, 0.9]), xs, ys


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    backward, forward = m.function(retreat), m.function(_advance_scalars)

    @m.kernel
    def fit(p: Any, xs: Any, ys: Any) -> Any:
        steps = xs.size
        px, py = np.empty(steps + 1), np.empty(steps + 1)
        px[0], py[0] = START
        a, b, c, d = p[0], p[1], p[2], p[3]
        x, y, value = px[0], py[0], 0.0
        for i in range(steps):
            x, y = forward(a, b, c, d, x, y)
            px[i + 1], py[i + 1] = x, y
            value += (x - xs[i]) ** 2 + (y - ys[i]) ** 2
        lx, ly, ga, gb, gc, gd = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(steps - 1, -1, -1):
            lx += 2.0 * (px[i + 1] - xs[i])
            ly += 2.0 * (py[i + 1] - ys[i])
            lx, ly, ga, gb, gc, gd = backward(a, b, c, d, px[i], py[i], lx, ly, ga, gb, gc, gd)
        gradient = np.empty(4)
        gradient[0], gradient[1], gradient[2], gradient[3] = ga, gb, gc, gd
        return value, gradient

    return fit


def _advance_scalars(a: float, b: float, c: float, d: float, x: float, y: float) -> Any:
    k1x, k1y = x * (a - b * y), y * (d * x - c)
    x2, y2 = x + 0.5 * STEP * k1x, y + 0.5 * STEP * k1y
    k2x, k2y = x2 * (a - b * y2), y2 * (d * x2 - c)
    x3, y3 = x + 0.5 * STEP * k2x, y + 0.5 * STEP * k2y
    k3x, k3y = x3 * (a - b * y3), y3 * (d * x3 - c)
    x4, y4 = x + STEP * k3x, y + STEP * k3y
    k4x, k4y = x4 * (a - b * y4), y4 * (d * x4 - c)
    new_x = x + STEP / 6 * (k1x + 2 * k2x + 2 * k3x + k4x)
    return new_x, y + STEP / 6 * (k1y + 2 * k2y + 2 * k3y + k4y)


def _jax_scan(checkpoint: bool) -> Any:
    import jax

    def scanned(p: Any, xs: Any, ys: Any) -> Any:
        def body(carry: Any, wanted: Any) -> Any:
            x, y, total = carry
            x, y = advance(p, x, y)
            return (x, y, total + (x - wanted[0]) ** 2 + (y - wanted[1]) ** 2), None

        start = tuple(jax.numpy.asarray(s) for s in (*START, 0.0))
        return jax.lax.scan(jax.checkpoint(body) if checkpoint else body, start, (xs, ys))[0][2]

    return scanned


def torch_eager() -> Any:
    return loss


def pytensor_cost() -> Any:
    import pytensor
    import pytensor.tensor as pt

    def cost(p: Any, xs: Any, ys: Any) -> Any:
        start = [pt.constant(np.float64(s)) for s in START]
        path = pytensor.scan(
            lambda x, y, p: advance(p, x, y), outputs_info=start, non_sequences=[p], n_steps=xs.shape[0]
        )
        x, y = path[0] if isinstance(path[0], list) else path
        return pt.sum((x - xs) ** 2) + pt.sum((y - ys) ** 2)

    return cost


def casadi_loss() -> Any:
    import casadi

    p, state = casadi.SX.sym("p", 4), casadi.SX.sym("state", 2)
    one = casadi.Function(
        "one", [state, p], [casadi.vertcat(*advance(casadi.vertsplit(p), *casadi.vertsplit(state)))]
    )

    def unrolled(p: Any, xs: Any, ys: Any) -> Any:
        steps = xs.numel()
        path = one.mapaccum(steps)(casadi.DM(START), casadi.repmat(p, 1, steps))
        return casadi.sumsqr(path[0, :].T - xs) + casadi.sumsqr(path[1, :].T - ys)

    return unrolled


WORKLOAD = Workload(
    title="Lotka-Volterra, steps",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("50", (50,), goal=4e-6, limit=2.9e-6),
        Size("1000", (1000,), goal=45e-6, limit=36e-6),
    ),
    implementations={
        "numba": numba_limit,
        "jax": lambda: _jax_scan(True),
        "jax-plain": lambda: _jax_scan(False),
        "torch": torch_eager,
        "pytensor": pytensor_cost,
        "casadi": casadi_loss,
    },
    missing={
        "tracejit": "a loop of Python's in the plain source; loops by tj.scan are the row oscillators",
        "torch-compile": "it unrolls the loop and compiles for minutes",
    },
)
