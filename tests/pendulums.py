"""Many pendulums through time, each pushed at each step: a loop whose steps have few operations."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracejit as tj


def swing(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
    """The last state, and the places at all steps."""

    def step(state: Any, push: Any) -> Any:
        q, p = state
        p = p - dt * k * np.sin(q) + push
        q = q + dt * p
        return (q, p), q

    return tj.scan(step, (q, p), pushes)


def arguments(n: int, steps: int, dtype: str = "f8", push: float = 1.0) -> tuple[Any, ...]:
    """Of `swing`, for `n` pendulums pushed `push` hard."""
    rng = np.random.default_rng(n)
    k, q, p = rng.uniform(0.5, 2.0, (3, n)).astype(dtype)
    return k, q, p, np.dtype(dtype).type(0.1), (push * rng.normal(size=(steps, n))).astype(dtype)
