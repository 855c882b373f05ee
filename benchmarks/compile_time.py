"""What the first call of a function costs: by stage, against JAX, at a second size, and with code on disk.

Run `python -m benchmarks.compile_time`. Each number comes from a process of its own; imports are done and the
compilers were used once before a clock starts, except where code is found on disk: there nothing was used.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.asked_process import ROOT
from benchmarks.processes import threads_environment
from benchmarks.systems import Jax, System, Tracejit
from benchmarks.workload import Workload, get_workload, normal

LENGTHS = (6, 50, 200, 1000)  # operations of the chains; the derivative makes about five equations of each
STAGES = ("trace", "transform", "passes", "schedule", "lower", "print", "compile", "run")


# Rows of the table with a small size, and a second one that has the same program: no two sizes of one are
# equal by chance, and none becomes small enough to stand in the text.
ROWS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tutorial": ((5, 3), (7, 3)),
    "curve_fit": ((50,), (60,)),
    "logistic_regression": ((1000, 20), (2000, 20)),
    "chain": ((1000,), (2000,)),
    "black_scholes": ((1000,), (2000,)),
    "rosenbrock": ((100,), (200,)),
    "stencil": ((64,), (80,)),
    "mlp": ((60,), (120,)),
    "softmax_cross_entropy": ((64, 10), (128, 10)),
    "layer_norm": ((64, 48), (128, 48)),
    "attention": ((64, 16), (128, 16)),
}


@dataclass(frozen=True)
class Subject:
    """A workload and two shapes that its `inputs` is called with."""

    workload: Workload
    first: tuple[int, ...]
    second: tuple[int, ...]


def long_chain(length: int, module: Any) -> Callable[[Any], Any]:
    """The sum of `length` elementwise operations of NumPy, or of a module like it, one after the other."""
    steps: tuple[Callable[[Any, Any], Any], ...] = (
        lambda x, y: y * 1.01 + 0.1,
        lambda x, y: module.tanh(y),
        lambda x, y: y * y - 0.5,
        lambda x, y: module.exp(-y * y),
        lambda x, y: y / (1.0 + x * x),
    )

    def chain(x: Any) -> Any:
        y = x
        for k in range(length):
            y = steps[k % len(steps)](x, y)
        return module.sum(y)

    return chain


def subject_named(name: str) -> Subject:
    """A chain, `50 operations`, or a row of the table."""
    if name in ROWS:
        return Subject(get_workload(name), *ROWS[name])
    length = int(name.split()[0])

    def in_jax() -> Callable[[Any], Any]:
        return long_chain(length, importlib.import_module("jax.numpy"))

    def by_hand(x: Any) -> Any:
        raise NotImplementedError("nobody writes this derivative by hand")

    workload = Workload(name, long_chain(length, np), by_hand, lambda n: (normal(n),), (), {"jax": in_jax})
    return Subject(workload, (1000,), (2000,))


NAMES = (*(f"{length} operations" for length in LENGTHS), *ROWS)

# --- in the worker ------------------------------------------------------------------------------------------


def seconds_of(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def first_calls(system: System, subject: Subject) -> dict[str, float]:
    """Seconds of the first call, and of the first call at the second shape."""
    step = system.build(subject.workload)
    shapes = {"first": subject.first, "second": subject.second}
    arguments = {
        key: system.convert(subject.workload, subject.workload.inputs(*shape))
        for key, shape in shapes.items()
    }
    return {key: seconds_of(lambda args=args: step(*args)) for key, args in arguments.items()}


def measure_cold(subject: Subject) -> dict[str, Any]:
    """Nothing is compiled before; how many programs both calls compiled."""
    import tracejit as tj

    system = Tracejit()
    system.wake()
    before = tj.cache_info().compiles
    return {**first_calls(system, subject), "compiles": tj.cache_info().compiles - before}


def measure_warm(subject: Subject) -> dict[str, Any]:
    """Code is found on disk; only imports are done, and nothing is used before."""
    import llvmlite.binding  # noqa: F401 - what a first call would import

    import tracejit.compile  # noqa: F401

    return first_calls(Tracejit(), subject)


def measure_stages(subject: Subject) -> dict[str, Any]:
    """Seconds of each stage, compiled anew, and the equations of value and gradient."""
    import tracejit as tj

    system = Tracejit()
    system.wake()
    found = tj.inspect(system.build(subject.workload))(*subject.workload.inputs(*subject.first))
    return {"equations": found.equation_counts["adjoint"], "stages": found.timings}


def measure_jax(subject: Subject) -> dict[str, Any]:
    """The same of JAX, without its cache on disk."""
    system = Jax()
    system.wake()
    return first_calls(system, subject)


MEASURES: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "cold": measure_cold,
    "warm": measure_warm,
    "stages": measure_stages,
    "jax": measure_jax,
}


# --- outside ------------------------------------------------------------------------------------------------


def ask(measure: str, name: str, cache: str) -> dict[str, Any]:
    """What a fresh process measures; its compiled code is kept in the folder `cache`."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **threads_environment(1), "TRACEJIT_CACHE_DIR": cache, "PYTHONPATH": paths}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.compile_time", "--measure", measure, "--only", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{measure} of {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_all(name: str, has_jax: bool) -> dict[str, Any]:
    """Every measure of one program."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as other:
        found = {"cold": ask("cold", name, cache), "warm": ask("warm", name, cache)}
        found["stages"] = ask("stages", name, other)
    if has_jax:
        found["jax"] = ask("jax", name, "")
    return found


HEADER = f"{'program':<24}{'equations':>10}" + "".join(f"{stage:>10}" for stage in STAGES)
SECOND_HEADER = (
    f"{'program':<24}{'first':>9}{'JAX':>9}{'ratio':>7}{'on disk':>9}{'second size':>13}{'JAX':>9}"
    f"{'trace and transform / 100':>27}"
)


def stage_row(name: str, found: dict[str, Any]) -> str:
    """One line of the first table: milliseconds of each stage."""
    stages = found["stages"]["stages"]
    cells = "".join(f"{1e3 * stages[s]:>10.1f}" if s in stages else f"{'-':>10}" for s in STAGES)
    return f"{name:<24}{found['stages']['equations']:>10}{cells}"


def call_row(name: str, found: dict[str, Any]) -> str:
    """One line of the second table: milliseconds of whole calls, and of retracing 100 equations."""
    cold, warm, jax = found["cold"], found["warm"], found.get("jax")
    stages, equations = found["stages"]["stages"], found["stages"]["equations"]
    retrace = 1e5 * (stages["trace"] + stages["transform"]) / max(equations, 1)
    rival = [f"{1e3 * jax['first']:>9.1f}", f"{cold['first'] / jax['first']:>7.2f}"] if jax else [" " * 16]
    second = f"{1e3 * jax['second']:>9.1f}" if jax else " " * 9
    return (
        f"{name:<24}{1e3 * cold['first']:>9.1f}{''.join(rival)}{1e3 * warm['first']:>9.1f}"
        f"{1e3 * cold['second']:>13.1f}{second}{retrace:>27.2f}"
    )


def report(names: list[str], has_jax: bool) -> Iterator[str]:
    """The two tables, line by line; milliseconds throughout."""
    results: dict[str, dict[str, Any]] = {}
    yield HEADER
    for name in names:
        results[name] = measure_all(name, has_jax)
        yield stage_row(name, results[name])
    yield ""
    yield SECOND_HEADER
    for name, found in results.items():
        yield call_row(name, found)
    compiled = [name for name, found in results.items() if found["cold"]["compiles"] > 1]
    yield f"\ncompiled anew at the second size: {', '.join(compiled) or 'none'}"


def main() -> None:
    """Parse the command line; with `--measure` this is a worker that prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_time", description=__doc__)
    parser.add_argument("--only", default="", help="programs whose name contains this text")
    parser.add_argument("--measure", choices=MEASURES, help="measure one program in this process")
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(MEASURES[options.measure](subject_named(options.only))))
        return
    names = [name for name in NAMES if options.only in name]
    for line in report(names, importlib.util.find_spec("jax") is not None):
        print(line, flush=True)


if __name__ == "__main__":
    main()
