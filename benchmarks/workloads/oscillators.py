"""Many oscillators by 1000 leapfrog steps each: a loop over time whose state is each element's own.

The gradient is for each stiffness and for the length of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workload import NOT_FOR_CASADI, Size, Workload

STEPS = 1000
TILE = 16  # oscillators whose states the hand-written kernel keeps at a time


def loss(k: Any, q: Any, p: Any, dt: Any) -> Any:
    return energy_after(tj.scan, k, q, p, dt)


def energy_after(scan: Callable[..., Any], k: Any, q: Any, p: Any, dt: Any) -> Any:
    def step(state: Any, _: Any) -> Any:
        q, p = state
        p = p - dt * k * q
        q = q + dt * p
        return (q, p), None

    (q, p), _ = scan(step, (q, p), None, length=STEPS)
    return (k * q * q + p * p).sum()


def by_hand(k: Any, q: Any, p: Any, dt: Any) -> tuple[Any, tuple[Any, ...]]:
    kick = dt * k
    qs, ps = np.empty((2, STEPS + 1, k.size), k.dtype)
    qs[0], ps[0] = q, p
    product = np.empty_like(k)
    for t in range(STEPS):
        np.multiply(kick, qs[t], out=product)
        np.subtract(ps[t], product, out=ps[t + 1])
        np.multiply(dt, ps[t + 1], out=product)
        np.add(qs[t], product, out=qs[t + 1])
    q, p = qs[-1], ps[-1]
    value = (k * q * q + p * p).sum()
    cq, cp = 2 * k * q, 2 * p
    g_dt, g_kick = np.zeros_like(k), np.zeros_like(k)
    for t in reversed(range(STEPS)):
        np.multiply(cq, ps[t + 1], out=product)
        g_dt += product
        np.multiply(dt, cq, out=product)
        cp += product
        np.multiply(cp, qs[t], out=product)
        g_kick -= product
        np.multiply(kick, cp, out=product)
        cq -= product
    return value, (q * q + dt * g_kick, (g_dt + k * g_kick).sum())


def inputs(n: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return rng.uniform(1, 2, n), rng.standard_normal(n), rng.standard_normal(n), np.float64(0.01)


def numba_limit() -> Any:
    from benchmarks import hand_math as m

    forward, backward = m.function(_forward), m.function(_backward)

    @m.kernel
    def oscillators(k: Any, q: Any, p: Any, dt: float, gradient: Any) -> Any:
        value, g_step = 0.0, 0.0
        qs, ps = np.empty((STEPS + 1, TILE)), np.empty((STEPS + 1, TILE))
        stiffness, kick, g_dt, g_kick = np.zeros(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE)
        for low in range(0, k.size, TILE):
            count = min(TILE, k.size - low)
            stiffness[count:] = 0.0
            qs[0, count:] = 0.0
            ps[0, count:] = 0.0
            for i in range(count):
                stiffness[i], qs[0, i], ps[0, i] = k[low + i], q[low + i], p[low + i]
            kick[:] = dt * stiffness
            value += forward(stiffness, kick, dt, qs, ps)
            backward(stiffness, kick, dt, qs, ps, g_dt, g_kick)
            for i in range(count):
                gradient[low + i] = qs[STEPS, i] * qs[STEPS, i] + dt * g_kick[i]
            for i in range(TILE):
                g_step += g_dt[i] + stiffness[i] * g_kick[i]
        return value, g_step

    def call(k: Any, q: Any, p: Any, dt: Any) -> Any:
        gradient = np.empty_like(k)
        value, g_step = oscillators(k, q, p, dt, gradient)
        return value, gradient, g_step

    return call


def _forward(k: Any, kick: Any, dt: float, qs: Any, ps: Any) -> float:
    for t in range(STEPS):
        for i in range(TILE):
            ps[t + 1, i] = ps[t, i] - kick[i] * qs[t, i]
            qs[t + 1, i] = qs[t, i] + dt * ps[t + 1, i]
    value = 0.0
    for i in range(TILE):
        value += k[i] * qs[STEPS, i] * qs[STEPS, i] + ps[STEPS, i] * ps[STEPS, i]
    return value


def _backward(k: Any, kick: Any, dt: float, qs: Any, ps: Any, g_dt: Any, g_kick: Any) -> None:
    cq, cp = 2.0 * k * qs[STEPS], 2.0 * ps[STEPS]
    g_dt[:] = 0.0
    g_kick[:] = 0.0
    for t in range(STEPS - 1, -1, -1):
        for i in range(TILE):
            g_dt[i] += cq[i] * ps[t + 1, i]
            cp[i] += dt * cq[i]
            g_kick[i] -= cp[i] * qs[t, i]
            cq[i] -= kick[i] * cp[i]


def jax_loss() -> Any:
    """The forms of its scan that were fastest of several, or as fast as any."""
    import jax

    def scan(step: Any, state: Any, _: Any, length: int) -> Any:
        return jax.lax.scan(jax.checkpoint(step), state, None, length=length, unroll=8)

    return lambda k, q, p, dt: energy_after(scan, k, q, p, dt)


def jax_plain() -> Any:
    import jax

    return lambda k, q, p, dt: energy_after(jax.lax.scan, k, q, p, dt)


def torch_eager() -> Any:
    def scan(step: Any, state: Any, _: Any, length: int) -> Any:
        for _ in range(length):
            state, _ = step(state, None)
        return state, None

    return lambda k, q, p, dt: energy_after(scan, k, q, p, dt)


WORKLOAD = Workload(
    title=f"Oscillators, {STEPS} steps",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    sizes=(
        Size("64", (64,), goal=0.36e-3, limit=0.26e-3),
        Size("1e3", (1000,), goal=5.7e-3, limit=4.1e-3),
        Size("1e4", (10_000,), goal=57e-3, limit=41e-3),
    ),
    argnums=(0, 3),
    implementations={"numba": numba_limit, "jax": jax_loss, "jax-plain": jax_plain, "torch": torch_eager},
    missing={
        "autograd": "the plain source loops by tj.scan",
        "pytensor": "the plain source loops by tj.scan",
        "torch-compile": "it unrolls the loop and compiles for minutes",
        "casadi": NOT_FOR_CASADI,
    },
)
