"""Calls from `@njit` code: ns an iteration of a compiled loop, against gradients by hand and bare kernels.

`python -m benchmarks.inside_njit` prints a table. "bare" calls the program's machine code with tables made
beforehand; what stands above it is what finding the program, filling the tables and allocating cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import tracejit as tj

ROUNDS = 9
SECONDS = 0.05  # of one measurement


@tj.grad_jit
def squares(w: Any) -> Any:
    return (w * w).sum()


@tj.grad_jit
def line(w: Any, x: Any, y: Any) -> Any:
    return ((x @ w - y) ** 2).mean()


@numba.njit(fastmath={"reassoc"}, error_model="numpy")
def squares_by_hand(g: Any, w: Any) -> Any:
    value = 0.0
    for k in range(len(w)):
        value += w[k] * w[k]
        g[k] = 2 * w[k]
    return value


@numba.njit(fastmath={"reassoc"}, error_model="numpy")
def line_by_hand(g: Any, w: Any, x: Any, y: Any) -> Any:
    n, k = x.shape
    g[:] = 0.0
    value = 0.0
    for i in range(n):
        residual = -y[i]
        for j in range(k):
            residual += x[i, j] * w[j]
        value += residual * residual
        for j in range(k):
            g[j] += residual * x[i, j]
    for j in range(k):
        g[j] *= 2 / n
    return value / n


Loops = dict[str, Callable[..., float]]  # compiled, of `times` gradients


def loops_of_squares() -> Loops:
    @numba.njit
    def fresh(times: int, w: Any) -> float:
        total = 0.0
        for _ in range(times):
            value, g = squares(w)
            total += value + g[0]
        return total

    @numba.njit
    def out(times: int, w: Any) -> float:
        total = 0.0
        g = np.empty_like(w)
        for _ in range(times):
            value, _same = squares(w, out=g)
            total += value + g[0]
        return total

    @numba.njit
    def hand_fresh(times: int, w: Any) -> float:
        total = 0.0
        for _ in range(times):
            g = np.empty_like(w)
            total += squares_by_hand(g, w) + g[0]
        return total

    @numba.njit
    def hand(times: int, w: Any) -> float:
        total = 0.0
        g = np.empty_like(w)
        for _ in range(times):
            total += squares_by_hand(g, w) + g[0]
        return total

    return {"fresh arrays": fresh, "out=": out, "by hand, fresh": hand_fresh, "by hand": hand}


def loops_of_line() -> Loops:
    @numba.njit
    def fresh(times: int, w: Any, x: Any, y: Any) -> float:
        total = 0.0
        for _ in range(times):
            value, g = line(w, x, y)
            total += value + g[0]
        return total

    @numba.njit
    def out(times: int, w: Any, x: Any, y: Any) -> float:
        total = 0.0
        g = np.empty_like(w)
        for _ in range(times):
            value, _same = line(w, x, y, out=g)
            total += value + g[0]
        return total

    @numba.njit
    def hand_fresh(times: int, w: Any, x: Any, y: Any) -> float:
        total = 0.0
        for _ in range(times):
            g = np.empty_like(w)
            total += line_by_hand(g, w, x, y) + g[0]
        return total

    @numba.njit
    def hand(times: int, w: Any, x: Any, y: Any) -> float:
        total = 0.0
        g = np.empty_like(w)
        for _ in range(times):
            total += line_by_hand(g, w, x, y) + g[0]
        return total

    return {"fresh arrays": fresh, "out=": out, "by hand, fresh": hand_fresh, "by hand": hand}


def bare_loop(loss: Any, args: tuple[Any, ...]) -> Callable[..., float]:
    """A compiled loop that calls the machine code of the gradient, with tables made once."""
    executable = loss.program_of(*args).run
    executable(list(args))
    ((_, bound),) = executable.bound.items()
    outputs = [np.empty(shape, dtype) for shape, dtype in executable.outputs]
    handles = [id(x) for x in (*args, *outputs)]
    workspace = np.empty(max(executable.program.workspace, 1), np.uint8)
    status = np.zeros(1, np.int64)
    dynamic = bound.pick([*handles, id(workspace), id(status)])
    table = np.frombuffer(bound.pack(0, *dynamic) + bound.fixed, np.int64).copy()
    entry, ip, fp = bound.entry, table.ctypes.data, bound.constants

    @numba.njit
    def bare(times: int) -> float:
        for _ in range(times):
            entry(ip, fp)
        return 0.0

    keep = (args, outputs, workspace, status, table, bound)  # what the addresses point to

    def run(times: int, *_: Any) -> float:
        assert keep
        return bare(times)

    return run


def measure(variants: Loops, args: tuple[Any, ...]) -> dict[str, float]:
    """Median ns an iteration of each loop, the loops taking turns."""
    counts: dict[str, int] = {}
    for name, loop in variants.items():
        loop(10, *args)
        started = time.perf_counter()
        loop(1000, *args)
        counts[name] = max(1000, int(1000 * SECONDS / (time.perf_counter() - started)))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, loop in variants.items():
            started = time.perf_counter()
            loop(counts[name], *args)
            times[name].append(1e9 * (time.perf_counter() - started) / counts[name])
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.inside_njit", description=__doc__).parse_args()
    rng = np.random.default_rng(0)
    rows: list[tuple[str, Any, Loops, Any, tuple[Any, ...]]] = []
    for n in (16, 1000):
        rows.append(
            (f"sum of {n} squares", squares, loops_of_squares(), squares_by_hand, (rng.normal(size=n),))
        )
    for n, k in ((20, 8), (200, 16)):
        arguments = (rng.normal(size=k), rng.normal(size=(n, k)), rng.normal(size=n))
        rows.append((f"least squares, {n} x {k}", line, loops_of_line(), line_by_hand, arguments))
    print(f"{'ns an iteration':26}", end="")
    titles = ("bare", "out=", "fresh arrays", "by hand", "by hand, fresh")
    print("".join(f"{title:>16}" for title in titles))
    for name, loss, loops, by_hand, arguments in rows:
        given, expected = np.empty_like(arguments[0]), loss(*arguments)
        value = by_hand(given, *arguments)
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(given, expected[1], rtol=1e-10)
        found = measure({**loops, "bare": bare_loop(loss, arguments)}, arguments)
        print(f"{name:26}" + "".join(f"{found[title]:16.1f}" for title in titles))


if __name__ == "__main__":
    main()
