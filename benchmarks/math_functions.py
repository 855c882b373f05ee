"""Every elementary function in both float types: largest error found, time against NumPy, JAX and torch.

`python -m benchmarks.math_functions` prints the table and writes it beside the other results. One thread;
JAX and torch take part where they can be imported.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

import tracejit as tj

SIZE = 1 << 15  # elements a call: time is that of the arithmetic, not of calls or memory
SAMPLES = 1 << 19  # arguments of the search for the largest error
SLOW_SAMPLES = 4000  # where the exact value takes mpmath
ROUNDS, REPEATS = 30, 3
DTYPES = {"f64": np.dtype(np.float64), "f32": np.dtype(np.float32)}
SYSTEMS = ("tracejit", "NumPy", "JAX", "torch")

Array = Any


@dataclass(frozen=True)
class Row:
    """A function: its NumPy or SciPy form, names in JAX and torch, range of arguments, and mpmath's name.

    Arguments are uniform in low..high for times, and within `domain` for errors.
    """

    name: str
    function: Callable[..., Array]
    low: float = -4.0
    high: float = 4.0
    jax: str = ""
    torch: str = ""
    exact: str = ""  # mpmath's, where NumPy has no 80-bit form
    domain: tuple[float, float] = (-np.inf, np.inf)
    operands: int = 1


@dataclass(frozen=True)
class Rivals:
    """The modules that could be imported."""

    jax: Any = None
    torch: Any = None


def _numpy_row(name: str, *args: Any, **kwargs: Any) -> Row:
    kwargs = {"jax": f"numpy.{name}", "torch": name, **kwargs}
    return Row(name, getattr(np, name), *args, **kwargs)


ROWS = (
    _numpy_row("exp"),
    _numpy_row("exp2"),
    _numpy_row("expm1"),
    _numpy_row("log", 0.01, 8, domain=(0, np.inf)),
    _numpy_row("log2", 0.01, 8, domain=(0, np.inf)),
    _numpy_row("log10", 0.01, 8, domain=(0, np.inf)),
    _numpy_row("log1p", -0.9, 8, domain=(-1, np.inf)),
    _numpy_row("power", 0.01, 8, torch="pow", domain=(0, 16), operands=2),
    _numpy_row("sqrt", 0.01, 8, domain=(0, np.inf)),
    _numpy_row("cbrt", torch=""),
    _numpy_row("hypot", operands=2),
    _numpy_row("sin"),
    _numpy_row("cos"),
    _numpy_row("tan"),
    _numpy_row("arcsin", -1, 1, domain=(-1, 1)),
    _numpy_row("arccos", -1, 1, domain=(-1, 1)),
    _numpy_row("arctan"),
    _numpy_row("arctan2", operands=2),
    _numpy_row("sinh"),
    _numpy_row("cosh"),
    _numpy_row("tanh"),
    _numpy_row("arcsinh"),
    _numpy_row("arccosh", 1, 8, domain=(1, np.inf)),
    _numpy_row("arctanh", -0.99, 0.99, domain=(-1, 1)),
    Row("erf", scipy.special.erf, jax="scipy.special.erf", torch="erf", exact="erf"),
    Row("erfc", scipy.special.erfc, jax="scipy.special.erfc", torch="erfc", exact="erfc"),
    Row("gammaln", scipy.special.gammaln, 0.1, 12, "scipy.special.gammaln", "lgamma", "loggamma", (0, 1e30)),
    Row("digamma", scipy.special.digamma, 0.1, 12, "scipy.special.digamma", "digamma", "digamma", (0, 1e30)),
    Row("sigmoid", tj.nn.sigmoid, jax="nn.sigmoid", torch="sigmoid"),
    Row("softplus", tj.nn.softplus, jax="nn.softplus", torch="nn.functional.softplus"),
    _numpy_row("logaddexp", operands=2),
)


def _lookup(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


# Errors -----------------------------------------------------------------------------------------------------


def largest_error(row: Row, dtype: np.dtype[Any]) -> tuple[float, tuple[float, ...]]:
    """In ulp of the exact result, and the arguments where it is."""
    arguments = _samples(row, dtype, SLOW_SAMPLES if row.exact else SAMPLES)
    actual = tj.jit(row.function)(*arguments)
    exact = _exact(row, arguments)
    info = np.finfo(dtype)
    size = np.abs(exact)
    if row.name == "logaddexp":  # where the terms cancel, the error is one of the larger
        size = np.maximum(size, np.maximum(*map(np.abs, arguments)))
    with np.errstate(all="ignore"):
        exponent = np.where(size == 0, info.minexp, np.frexp(size)[1] - 1)
        unit = np.ldexp(np.longdouble(1), np.maximum(exponent, info.minexp) - info.nmant)
        error = np.abs(actual.astype(np.longdouble) - exact) / unit
    within = np.abs(exact) <= np.longdouble(info.max)
    error = np.where(within & np.isfinite(exact), error, 0)
    worst = int(np.argmax(error))
    return float(error[worst]), tuple(float(x[worst]) for x in arguments)


def _samples(row: Row, dtype: np.dtype[Any], count: int) -> list[Array]:
    """A third uniform in the row's range, a third up to where exponentials overflow, a third of all sizes."""
    rng = np.random.default_rng(3)
    part = count // 3
    overflow = 750.0 if dtype == np.float64 else 110.0
    found: list[Array] = []
    for _ in range(row.operands):
        exponents = rng.uniform(-60, 60 if row.operands == 1 else 4, count - 2 * part)
        parts = [
            rng.uniform(row.low, row.high, part),
            rng.uniform(-overflow, overflow, part),
            rng.choice([-1.0, 1.0], len(exponents)) * 2.0**exponents,
        ]
        x = np.concatenate(parts).astype(dtype)
        inside = (x > row.domain[0]) & (x < row.domain[1])
        found.append(np.where(inside, x, dtype.type(0.5 * (row.low + row.high))))
    if row.name == "power":  # results of every size
        info = np.finfo(dtype)
        with np.errstate(divide="ignore"):
            found[1] = (rng.uniform(info.minexp, info.maxexp, count) / np.log2(found[0])).astype(dtype)
    return found


def _exact(row: Row, arguments: Sequence[Array]) -> Array:
    if row.exact:
        return _by_mpmath(row.exact, arguments[0])
    wide = [x.astype(np.longdouble) for x in arguments]
    with np.errstate(all="ignore"):
        if row.name == "sigmoid":
            return np.exp(-np.logaddexp(np.longdouble(0), -wide[0]))
        if row.name == "softplus":
            return np.logaddexp(np.longdouble(0), wide[0])
        return row.function(*wide)


def _by_mpmath(name: str, x: Array) -> Array:
    """Values as 80-bit floats, each the sum of two doubles."""
    import mpmath

    with mpmath.workprec(120):
        values = [getattr(mpmath, name)(mpmath.mpf(v)) for v in x.tolist()]
        high = [float(v) for v in values]
        low = [float(v - h) if np.isfinite(h) else 0.0 for v, h in zip(values, high)]
    return np.array(high, np.longdouble) + np.array(low, np.longdouble)


# Times ------------------------------------------------------------------------------------------------------


def nanoseconds(row: Row, dtype: np.dtype[Any], rivals: Rivals) -> dict[str, float]:
    """Nanoseconds an element of each system that has the function: the fastest of rounds that take turns."""
    rng = np.random.default_rng(5)
    arguments = [rng.uniform(row.low, row.high, SIZE).astype(dtype) for _ in range(row.operands)]
    calls = dict(_calls(row, arguments, rivals))
    for call in calls.values():
        call()
        call()
    fastest = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(REPEATS):
                call()
            fastest[name] = min(fastest[name], time.perf_counter() - started)
    return {name: 1e9 * seconds / (REPEATS * SIZE) for name, seconds in fastest.items()}


def _calls(row: Row, arguments: Sequence[Array], rivals: Rivals) -> Iterator[tuple[str, Callable[[], Any]]]:
    own = tj.jit(row.function)
    yield "tracejit", lambda: own(*arguments)
    reference = {"sigmoid": scipy.special.expit, "softplus": lambda x: np.logaddexp(x.dtype.type(0), x)}
    function = reference.get(row.name, row.function)
    yield "NumPy", lambda: function(*arguments)
    jax, torch = rivals.jax, rivals.torch
    if row.jax and jax is not None:
        compiled = jax.jit(_lookup(jax, row.jax))
        arrays = [jax.numpy.asarray(x) for x in arguments]
        yield "JAX", lambda: compiled(*arrays).block_until_ready()
    if row.torch and torch is not None:
        eager = _lookup(torch, row.torch)
        tensors = [torch.from_numpy(x) for x in arguments]
        yield "torch", lambda: eager(*tensors)


def import_rivals() -> Rivals:
    """JAX and torch on one thread."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    jax = torch = None
    with suppress(ImportError):
        import jax
        import jax.nn
        import jax.scipy.special

        jax.config.update("jax_enable_x64", True)
    with suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    return Rivals(jax, torch)


# The table --------------------------------------------------------------------------------------------------

COLUMNS = ("function", "dtype", "max ulp", "at", "ns", "NumPy", "JAX", "torch", "best / own")


def table(rivals: Rivals) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for row in ROWS:
        for short, dtype in DTYPES.items():
            error, where = largest_error(row, dtype)
            times = nanoseconds(row, dtype, rivals)
            others = [times[name] for name in SYSTEMS[1:] if name in times]
            cells = [row.name, short, f"{error:.2f}", ", ".join(f"{x:.6g}" for x in where)]
            cells += [f"{times[name]:.2f}" if name in times else "-" for name in SYSTEMS]
            cells.append(f"{min(others) / times['tracejit']:.1f}")
            yield f"| {' | '.join(cells)} |"


def versions() -> str:
    from importlib import metadata

    found = [f"Python {platform.python_version()}"]
    for name in ("numpy", "scipy", "jax", "torch", "llvmlite"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not there")
    return ", ".join(found)


def main() -> None:
    """Print the table and write it to `benchmarks/results/`."""
    argparse.ArgumentParser(prog="python -m benchmarks.math_functions", description=__doc__).parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    lines: list[str] = []
    for line in (
        versions(),
        f"{SIZE} elements a call, one thread, the fastest of interleaved rounds",
        "",
        *table(import_rivals()),
    ):
        print(line, flush=True)
        lines.append(line)
    path = Path(__file__).parent / "results" / datetime.date.today().isoformat() / "math_functions.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
