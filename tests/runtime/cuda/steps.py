"""A loss with its data, and what is kept of its calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.plans import Plan


def loss(w, x, y):
    z = x @ w
    return (np.logaddexp(0, z) - y * z).mean()


def data(rng: np.random.Generator, n: int = 50) -> tuple[Any, ...]:
    return rng.normal(size=4), rng.normal(size=(n, 4)), (rng.random(n) > 0.5) * 1.0


def same(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def plans_of(f: Any) -> list[Plan]:
    """All plans of a function."""
    found: list[Plan] = []
    for variants in f._programs.table.values():
        for program in variants:
            assert isinstance(program.run, DeviceExecutable)
            found += program.run.plans.values()
    return found
