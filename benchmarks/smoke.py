"""Counts that must hold: kernels, library calls, bytes moved, compilations, vector instructions.

Nothing is timed. `expectations.json` holds what is promised of each workload; `--smoke --record` writes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tracejit as tj
from benchmarks.assembly import count_arithmetic
from benchmarks.systems import SYSTEMS
from benchmarks.worker import compare
from benchmarks.workload import NAMES, Workload, get_workload

EXPECTATIONS = Path(__file__).with_name("expectations.json")

# Two shapes of each workload: the second must run without a compilation.
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tutorial": ((15, 13), (11, 9)),
    "curve_fit": ((50,), (33,)),
    "logistic_regression": ((500, 30), (333, 17)),
    "chain": ((1000,), (777,)),
    "black_scholes": ((1000,), (777,)),
    "rosenbrock": ((1000,), (777,)),
    "stencil": ((60,), (44,)),
    "total_variation": ((60,), (44,)),
    "mlp": ((100,), (60,)),
    "softmax_cross_entropy": ((64, 10), (48, 13)),
    "layer_norm": ((40, 64), (23, 50)),
    "attention": ((100, 32), (60, 24)),
    "gaussian_process": ((100,), (60,)),
    "oscillators": ((100,), (60,)),
}

# Tails and work that is done once a row aside, a vectorised kernel has this share at least.
VECTORISED = 0.5


@dataclass(frozen=True)
class Counts:
    """What one workload's value and gradient consist of.

    kernels, library_calls, bytes_moved: at most these
    compiles: exactly so many for both shapes
    is_vectorised: at least half of its arithmetic is on vectors; None on processors that are not understood
    """

    kernels: int
    library_calls: int
    bytes_moved: int
    compiles: int
    is_vectorised: bool | None


def count(name: str, workload: Workload) -> Counts:
    """Compile and call a workload at both shapes, check its gradients, and look at what was made."""
    shape, other_shape = SHAPES[name]
    step = tj.grad_jit(workload.loss, argnums=workload.argnums)
    # The code that serves calls is the same for all programs and compiled once a process.
    SYSTEMS["tracejit"].wake()
    tj.cache_clear()
    for inputs in (workload.inputs(*shape), workload.inputs(*other_shape)):
        reference = workload.by_hand(*inputs)
        for _ in range(2):
            value, gradients = step(*inputs)
            wrong = compare((value, gradients), reference)
            assert wrong is None, f"{name}: {wrong}"
    info = tj.cache_info()
    assert info.traces == 2, f"{name}: two calls of each of two shapes, {info}"
    found = tj.inspect(step)(*workload.inputs(*shape))
    arithmetic = count_arithmetic(found.assembly)
    return Counts(
        found.kernels,
        found.library_calls,
        found.bytes_moved,
        info.compiles,
        None if arithmetic is None else arithmetic.share >= VECTORISED,
    )


def problems(found: Counts, expected: Counts) -> list[str]:
    """In what respects a workload is worse than promised."""
    worse = [
        f"{field} {getattr(found, field):,} in place of {getattr(expected, field):,}"
        for field in ("kernels", "library_calls", "bytes_moved", "compiles")
        if getattr(found, field) > getattr(expected, field)
    ]
    if expected.is_vectorised and found.is_vectorised is False:
        worse.append("its arithmetic is no longer on vectors")
    return worse


def load_expectations() -> dict[str, Counts]:
    """What `expectations.json` promises, by the name of the workload."""
    recorded: dict[str, dict[str, Any]] = json.loads(EXPECTATIONS.read_text(encoding="utf-8"))
    return {name: Counts(**counts) for name, counts in recorded.items()}


def main(record: bool = False) -> int:
    """Check every workload, a line each; returns 0 where all keep their promise."""
    expectations = {} if record else load_expectations()
    found, broken = {}, []
    for name in NAMES:
        workload = get_workload(name)
        if "tracejit" in workload.missing:
            print(f"{name:<22} left out: {workload.missing['tracejit']}", flush=True)
            continue
        found[name] = counts = count(name, workload)
        worse = [] if record else problems(counts, expectations[name])
        broken += [f"{name}: {text}" for text in worse]
        print(describe(name, counts) + ("  WORSE" if worse else ""), flush=True)
    if record:
        recorded = {name: asdict(counts) for name, counts in found.items()}
        EXPECTATIONS.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    for line in broken:
        print(line)
    if not broken:
        print(f"ok: {len(found)} programs")
    return 1 if broken else 0


def describe(name: str, counts: Counts) -> str:
    """One line of what was counted."""
    code = {True: "vectors", False: "scalars", None: "unknown code"}[counts.is_vectorised]
    return (
        f"{name:<22} kernels {counts.kernels}  calls {counts.library_calls}  "
        f"bytes {counts.bytes_moved:>9,}  compiles {counts.compiles}  {code}"
    )
