"""A row of the case table: one call of one op on concrete arguments, from which every check is derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """`call(*args)` uses the primitive `op`; `args` are NumPy arrays or numbers, traced in order.

    differentiable: positions of the arguments to differentiate (default: every float one)
    order: highest derivative that is checked (0 for integer and piecewise constant ops)
    expected: the same computation in plain NumPy on the same arguments, where `call` is not NumPy itself
    gradients: for rows at kinks, the chosen subgradients of `sum(call)`, one an differentiable argument
    """

    op: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    differentiable: tuple[int, ...] | None = None
    order: int = 2
    expected: Callable[..., Any] | None = None
    gradients: tuple[Any, ...] | None = None
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


def normal(*shape: int, seed: int = 0, dtype: str = "f8") -> Any:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def uniform(low: float, high: float, *shape: int, seed: int = 0, dtype: str = "f8") -> Any:
    """Uniform numbers in [low, high)."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def integers(low: int, high: int, *shape: int, seed: int = 0, dtype: str = "i8") -> Any:
    """Integers in [low, high)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)
