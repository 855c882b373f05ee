"""What the first call of a function costs: by stage, against JAX, at a second size, and with code on disk.

Run `python -m benchmarks.compile_time`. Each number comes from a process of its own; imports are done and the
compilers were used once before a clock starts, except where code is found on disk: there nothing was used.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import programs
from benchmarks.programs import with_numpy

ROOT = Path(__file__).parents[1]
LENGTHS = (6, 50, 200, 1000)  # operations of the chains; the derivative makes about five equations of each
STAGES = ("trace", "transform", "passes", "schedule", "lower", "print", "compile", "run")


@dataclass(frozen=True)
class Subject:
    """A scalar function and two sizes of its inputs.

    loss(module): the function on NumPy, or on another module that looks like it
    """

    loss: Callable[[Any], Callable[..., Any]]
    inputs: Callable[..., tuple[Any, ...]]
    sizes: tuple[int, ...]
    second: tuple[int, ...]
    argnums: tuple[int, ...] = (0,)


def long_chain(length: int, module: Any) -> Callable[[Any], Any]:
    """The sum of `length` elementwise operations, one after the other."""
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


def subjects() -> dict[str, Subject]:
    """The chains, and the small programs that are measured elsewhere too."""
    rows = (
        (programs.TUTORIAL, (5, 3), (7, 6)),
        (programs.CHAIN, (1000,), (2000,)),
        (programs.ROSENBROCK, (100,), (200,)),
        (programs.LOGISTIC, (100, 30), (200, 30)),
        (programs.SOFTMAX, (100, 10), (200, 10)),
        (programs.STENCIL, (50, 60), (70, 80)),
        (programs.NETWORK, (64, 30, 20, 10), (128, 30, 20, 10)),
    )
    found = {
        f"{length} operations": Subject(partial(long_chain, length), programs.CHAIN.inputs, (1000,), (2000,))
        for length in LENGTHS
    }
    for program, sizes, second in rows:
        loss = partial(with_numpy, program.loss)
        found[program.name] = Subject(loss, program.inputs, sizes, second, program.argnums)
    return found


# --- in the worker ------------------------------------------------------------------------------------------


def seconds_of(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure_tracejit(subject: Subject, is_warm: bool) -> dict[str, Any]:
    """Seconds of the first call, of the first call at the second size, and what was compiled for both."""
    import llvmlite.binding  # noqa: F401 - what a first call would import

    import tracejit as tj
    import tracejit.compile

    step = tj.grad_jit(subject.loss(np), argnums=subject.argnums)
    if not is_warm:
        tj.grad_jit(lambda x: np.sum(x))(np.ones(7))
    before = tj.cache_info().compiles
    first, second = (subject.inputs(*sizes) for sizes in (subject.sizes, subject.second))
    found: dict[str, Any] = {"first": seconds_of(lambda: step(*first))}
    found["compiles"] = tj.cache_info().compiles - before
    found["second"] = seconds_of(lambda: step(*second))
    found["second_compiles"] = tj.cache_info().compiles - before - found["compiles"]
    return found


def measure_stages(subject: Subject) -> dict[str, Any]:
    """Seconds of each stage, compiled anew, and the equations of value and gradient."""
    import tracejit as tj

    tj.grad_jit(lambda x: np.sum(x))(np.ones(7))
    step = tj.grad_jit(subject.loss(np), argnums=subject.argnums)
    found = tj.inspect(step)(*subject.inputs(*subject.sizes))
    return {"equations": found.equation_counts["adjoint"], "stages": found.timings}


def measure_jax(subject: Subject) -> dict[str, Any]:
    """The same of JAX's `jit(value_and_grad)` on the same code."""
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.block_until_ready(jax.jit(jax.value_and_grad(lambda x: jnp.sum(x)))(jnp.ones(7)))
    step = jax.jit(jax.value_and_grad(subject.loss(jnp), argnums=subject.argnums))
    first, second = (
        [jnp.asarray(a) for a in subject.inputs(*sizes)] for sizes in (subject.sizes, subject.second)
    )
    return {
        "first": seconds_of(lambda: jax.block_until_ready(step(*first))),
        "second": seconds_of(lambda: jax.block_until_ready(step(*second))),
    }


MEASURES: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "cold": lambda subject: measure_tracejit(subject, is_warm=False),
    "warm": lambda subject: measure_tracejit(subject, is_warm=True),
    "stages": measure_stages,
    "jax": measure_jax,
}


# --- outside ------------------------------------------------------------------------------------------------


def ask(measure: str, name: str, cache: str) -> dict[str, Any]:
    """What a fresh process measures; its compiled code is kept in the folder `cache`."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ, TRACEJIT_CACHE_DIR=cache, PYTHONPATH=paths, JAX_PLATFORMS="cpu")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(variable, "1")
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
    compiled = [name for name, found in results.items() if found["cold"]["second_compiles"]]
    yield f"\ncompiled anew at the second size: {', '.join(compiled) or 'none'}"


def main() -> None:
    """Parse the command line; with `--measure` this is a worker that prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_time", description=__doc__)
    parser.add_argument("--only", default="", help="programs whose name contains this text")
    parser.add_argument("--measure", choices=MEASURES, help="measure one program in this process")
    options = parser.parse_args()
    known = subjects()
    if options.measure is not None:
        print(json.dumps(MEASURES[options.measure](known[options.only])))
        return
    names = [name for name in known if options.only in name]
    for line in report(names, importlib.util.find_spec("jax") is not None):
        print(line, flush=True)


if __name__ == "__main__":
    main()
