"""Times of value and gradient: fused, one kernel an operation, NumPy by hand, HIPS autograd."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import tracejit as tj
from benchmarks import programs
from benchmarks.counting import check_gradients, count
from benchmarks.programs import Program, with_numpy
from benchmarks.timing import median_seconds, readable

COMPARISONS: tuple[tuple[Program, tuple[int, ...]], ...] = (
    (programs.TUTORIAL, (5, 3)),
    (programs.CHAIN, (1_000,)),
    (programs.CHAIN, (100_000,)),
    (programs.CHAIN, (10_000_000,)),
    (programs.ROSENBROCK, (10_000_000,)),
    (programs.LOGISTIC, (100_000, 30)),
    (programs.SOFTMAX, (4096, 1000)),
    (programs.STENCIL, (2000, 2000)),
    (programs.NETWORK, (1024, 64, 256, 10)),
)


@dataclass(frozen=True)
class Comparison:
    """Median seconds a call, by way of computing, and what the compiled programs consist of."""

    program: str
    sizes: tuple[int, ...]
    seconds: dict[str, float]
    kernels: dict[str, int]
    bytes_moved: dict[str, int]

    def ratio(self, name: str) -> float | None:
        """How many times as long as the fused program another way takes."""
        return self.seconds[name] / self.seconds["fused"] if name in self.seconds else None

    def as_record(self) -> dict[str, Any]:
        ratios = {name: self.ratio(name) for name in self.seconds if name != "fused"}
        return {**asdict(self), "ratios_to_fused": ratios}


def ways(program: Program) -> dict[str, Callable[..., Any]]:
    """The ways to compute the value and gradient of a program."""
    found: dict[str, Callable[..., Any]] = {
        "fused": tj.grad_jit(program.loss, argnums=program.argnums),
        "unfused": tj.grad_jit(program.loss, argnums=program.argnums, fuse=False),
        "NumPy by hand": program.by_hand,
    }
    if importlib.util.find_spec("autograd") is not None:
        import autograd
        import autograd.numpy

        loss = with_numpy(program.loss, autograd.numpy)
        by_autograd = autograd.value_and_grad(loss, argnum=program.argnums)
        found["autograd"] = by_autograd
    return found


def compare(program: Program, sizes: tuple[int, ...], rounds: int, round_seconds: float) -> Comparison:
    """Check every way against the derivation by hand, then time them in turns."""
    args = program.inputs(*sizes)
    calls = ways(program)
    for name, call in calls.items():
        check_gradients(program, args, call(*args), name)
    seconds = median_seconds(
        {name: partial(call, *args) for name, call in calls.items()}, rounds, round_seconds
    )
    counts = {"fused": count(program, args), "unfused": count(program, args, fuse=False)}
    return Comparison(
        program.name,
        sizes,
        seconds,
        {name: c.kernels + c.library_calls for name, c in counts.items()},
        {name: c.bytes_moved for name, c in counts.items()},
    )


HEADER = (
    f"{'value and gradient':<40} {'fused':>9} {'unfused':>9} {'by hand':>9} {'autograd':>9}   "
    f"{'ratios to fused':^23}  {'kernels':>9}"
)


def format_row(row: Comparison) -> str:
    """One line: four times, the three ratios to fused, kernels fused and unfused."""
    sizes = " x ".join(f"{n:,}" if n < 10**6 else f"{n:.0e}".replace("+0", "") for n in row.sizes)
    others = ("unfused", "NumPy by hand", "autograd")
    times = [f"{readable(row.seconds[n]) if n in row.seconds else '-':>9}" for n in ("fused", *others)]
    ratios = [row.ratio(name) for name in others]
    shown = [f"{'-' if r is None else f'{r:.1f}x' if r < 100 else f'{r:.0f}x':>7}" for r in ratios]
    kernels = f"{row.kernels['fused']} / {row.kernels['unfused']}"
    return f"{f'{row.program} {sizes}':<40} {' '.join(times)}   {' '.join(shown)}  {kernels:>9}"
