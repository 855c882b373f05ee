"""What a workload is: inputs by size, the plain NumPy source, the same program in every other system."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np

# The rows of the table, in its order; each is a module of `benchmarks.workloads`.
NAMES = (
    "tutorial",
    "curve_fit",
    "logistic_regression",
    "chain",
    "black_scholes",
    "rosenbrock",
    "stencil",
    "total_variation",
    "mlp",
    "softmax_cross_entropy",
    "layer_norm",
    "attention",
    "gaussian_process",
    "lotka_volterra",
    "oscillators",
)


NOT_FOR_CASADI = "made for scalar expressions and sparse matrices, not for large arrays"


@dataclass(frozen=True)
class Size:
    """One size of a workload.

    shape: what the workload's `inputs` is called with
    goal, limit: seconds that were set as the goal and that a hand-written kernel took, on one machine.
        Elsewhere the goal is this multiple of the hand-written kernel's time of the same run.
    """

    label: str
    shape: tuple[int, ...]
    goal: float
    limit: float


@dataclass(frozen=True)
class Workload:
    """A scalar function, differentiated for the arguments at `argnums`.

    loss(*args): plain NumPy; tracejit runs it as it stands
    by_hand(*args): `(value, gradients)` as one would write it in NumPy with care for time; the reference
    inputs(*shape): the arguments, the same at every call
    implementations: for each other system a function without arguments that imports what it needs and returns
        the program; `benchmarks.systems` says what each system expects
    missing: why there is none for a system, shown in the table in place of a time
    takes_numpy: arrays go in and come out as NumPy arrays in every system, conversion included in the time
    """

    title: str
    loss: Callable[..., Any]
    by_hand: Callable[..., tuple[Any, tuple[Any, ...]]]
    inputs: Callable[..., tuple[Any, ...]]
    sizes: tuple[Size, ...]
    implementations: Mapping[str, Callable[[], Callable[..., Any]]]
    argnums: tuple[int, ...] = (0,)
    missing: Mapping[str, str] = field(default_factory=dict)
    takes_numpy: bool = False

    def size(self, label: str) -> Size:
        """The size of that label; KeyError where there is none."""
        return {size.label: size for size in self.sizes}[label]


def get_workload(name: str) -> Workload:
    """The workload of a row by its name in `NAMES`."""
    if name not in NAMES:
        raise KeyError(f"no workload {name!r}; there are {', '.join(NAMES)}")
    return importlib.import_module(f"benchmarks.workloads.{name}").WORKLOAD


def with_modules(function: Callable[..., Any], **modules: Any) -> Callable[..., Any]:
    """The same code with other modules under the names of its globals: `with_modules(loss, np=jax.numpy)`.

    Functions of the workloads that it calls are replaced in the same way.
    """
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, **modules}
    for name, value in list(names.items()):
        if isinstance(value, FunctionType) and value.__module__.startswith("benchmarks.workloads"):
            # One dictionary is the globals of all of them, so each sees the others replaced.
            names[name] = FunctionType(value.__code__, names, name, value.__defaults__, value.__closure__)
    return FunctionType(function.__code__, names, function.__name__)


def normal(*shape: int, seed: int = 0) -> Any:
    """Standard normal numbers, float64, the same at every call."""
    return np.random.default_rng(seed).standard_normal(shape)


def integers(high: int, count: int, seed: int = 0) -> Any:
    """Labels below `high`, int64, the same at every call."""
    return np.random.default_rng(seed).integers(0, high, count)
