"""Rows for `tracejit.ops.loop`."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracejit as tj
from tests.ops.cases.case import Case, integers, normal, uniform

X, V, PUSHES = normal(3), normal(3, seed=1), normal(5, 3, seed=2)
RATES, ROWS = uniform(0.2, 0.9, 3, seed=3), normal(4, 2, 3, seed=4)
COLUMN, ROW = normal(2, seed=5), normal(4, 3, seed=6)


def pendulum(q: Any, p: Any, pushes: Any, dt: Any) -> Any:
    """Two carries, a scanned array, a number that all elements read, and two ys."""

    def step(state: Any, push: Any) -> Any:
        q, p = state
        p = p - dt * np.sin(q) + push
        q = q + dt * p
        return (q, p), (q * p, np.cos(q))

    (q, p), (products, cosines) = tj.scan(step, (q, p), pushes)
    return q, p, products, cosines


def decay(x: Any, rates: Any) -> Any:
    """No xs: a captured array that all steps read, and no ys."""
    return tj.scan(lambda x, _: (x * rates + np.tanh(x), None), x, length=4)[0]


def counted(x: Any) -> Any:
    """An integer and a truth value carried beside a float; another float that nothing needs."""

    def step(state: Any, _: Any) -> Any:
        count, x, seen = state
        seen = seen | (x > 1.0)
        return (count + seen, np.where(seen, x * 0.5, x + 0.4), seen), (count, x)

    start = np.zeros(x.shape, np.int64), x, np.zeros(x.shape, bool)
    (count, x, _), (counts, xs) = tj.scan(step, start, length=5)
    return x * count, counts * xs


def clock(x: Any, rows: Any, column: Any) -> Any:
    """A number that is carried beside an array, and an array broadcast along another axis."""

    def step(state: Any, row: Any) -> Any:
        t, x = state
        x = x * np.cos(t) + column[:, None] * row
        return (t + 0.1, x), (t, x.T)

    (t, x), (ts, turned) = tj.scan(step, (0.5, x), rows)
    return t * x, ts, turned


def scalars(x: Any, ys: Any) -> Any:
    """A state that is one number."""
    return tj.scan(lambda x, y: (np.sin(x) * y, x * y), x, ys)


def swapped(a: Any, b: Any) -> Any:
    """Carries that only change places."""
    return tj.scan(lambda s, _: ((s[1], s[0]), s[0]), (a, b), length=3)


def alone(xs: Any) -> Any:
    """Nothing is carried."""
    return tj.scan(lambda _, x: ((), np.exp(x)), (), xs)[1]


def constant(x: Any) -> Any:
    """What comes out does not depend on what goes in."""
    (a, b), y = tj.scan(lambda s, _: ((s[0] * 0 + 2.0, s[1]), 3.0), (x, x * x), length=3)
    return a * b * y.sum()


CASES: list[Case] = [
    Case("scan", pendulum, (X, V, PUSHES, 0.3), label="pendulum"),
    Case(
        "scan", pendulum, (X.astype("f4"), V.astype("f4"), PUSHES.astype("f4"), np.float32(0.3)), label="f32"
    ),
    Case("scan", pendulum, (X, V, PUSHES[:1], 0.3), label="one-step"),
    Case("scan", pendulum, (X, V, PUSHES[::-1, ::-1], 0.3), label="reversed"),
    Case("scan", pendulum, (X[:0], V[:0], PUSHES[:, :0], 0.3), label="empty"),
    Case("scan", decay, (X, RATES), label="captured"),
    Case("scan", decay, (ROWS, ROWS[0, 0]), label="broadcast"),
    Case("scan", counted, (uniform(-1.0, 0.95, 7),), label="integers"),
    Case("scan", clock, (ROWS[0], ROW, COLUMN), label="clock"),
    Case("scan", scalars, (0.3, normal(6)), label="rank-0"),
    Case("scan", swapped, (X, V), label="swapped"),
    Case("scan", alone, (PUSHES,), label="no-carry"),
    Case("scan", constant, (X,), label="constant"),
    Case(
        "scan",
        lambda n: tj.scan(lambda n, k: (n * 3 + k, n), n, np.arange(4)),
        (integers(-9, 9, 5),),
        order=0,
    ),
]
