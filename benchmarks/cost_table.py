"""The prices of `tracejit/costs.py` beside what this machine takes for the same.

Run `python -m benchmarks.cost_table`. Prices are nanoseconds; only their ratios matter, so the last column
divides by the median ratio: a line far from 1 is a price that would lead to other choices here. `--smoke` is
quick, and its numbers are not worth reading.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.comparison import format_table, take_turns
from tracejit.config import Choices
from tracejit.costs import COSTS
from tracejit.tuning import time_choices

CHAIN = 32  # operations whose sum of times tells one of them
NEAR = 2000  # elements of arrays that stay in the nearest cache


def nanoseconds(function: Callable[..., Any], *arguments: Any, seconds: float, fuse: bool = True) -> float:
    """A call of the compiled function, the least of some rounds."""
    compiled = tj.jit(function, fuse=fuse)
    (times,) = take_turns({"call": lambda: compiled(*arguments)}, seconds, lambda: None).values()
    return 1e9 * min(times)


def repeated(step: Callable[[Any], Any], count: int) -> Callable[[Any], Any]:
    def chain(x: Any) -> Any:
        for _ in range(count):
            x = step(x)
        return x

    return chain


def measure(seconds: float) -> Iterator[tuple[str, float, float]]:
    """What is priced, its price, and what it takes."""
    near = np.linspace(0.1, 0.9, NEAR)
    one = nanoseconds(lambda x: x + 1.5, near, seconds=seconds)

    def each(step: Callable[[Any], Any], count: int) -> float:
        return (nanoseconds(repeated(step, count), near, seconds=seconds) - one) / count / NEAR

    yield "addition", COSTS.addition, each(lambda x: (x + 0.5) * 0.5, CHAIN) / 2
    yield "division", COSTS.arithmetic(4), each(lambda x: 1.5 / x, 4)
    for name, cost in (("exp", 15), ("log", 20), ("tanh", 20)):
        yield name, COSTS.arithmetic(cost), each(getattr(np, name), 1)
    call = nanoseconds(lambda x: x + 1.5, np.ones(1), seconds=seconds)
    for size in (10_000, 200_000, 4_000_000):
        moved = nanoseconds(lambda x: x + 1.5, np.ones(size), seconds=seconds) - call
        yield f"element read and written, {16 * size:,} bytes", 2 * COSTS.moving(8, 16 * size), moved / size
    few = np.ones(8)
    kernels = [nanoseconds(repeated(lambda x: x + 1.5, n), few, seconds=seconds, fuse=False) for n in (1, 41)]
    yield "kernel", COSTS.kernel, (kernels[1] - kernels[0]) / 40
    for m, n, k in ((8, 8, 8), (64, 64, 64), (1000, 4, 4), (1000, 8, 8), (1000, 10, 64)):
        loop, library = products(m, n, k, seconds)
        yield f"product {m}x{k} by {k}x{n}, loop", COSTS.product_loop(m, n, k, 1), loop - call
        yield f"product {m}x{k} by {k}x{n}, BLAS", COSTS.product_call(m, n, k, 1), library - call


def products(m: int, n: int, k: int, seconds: float) -> list[float]:
    """Nanoseconds of a product as a loop and as a call."""
    arguments = np.ones((m, k)), np.ones((k, n))
    record = record_call(tj.jit(lambda x, w: x @ w), arguments, {})
    chosen = [Choices(products="loop"), Choices(products="library")]
    times = time_choices(record, arguments, {}, chosen, seconds)
    return [1e9 * times[choices] for choices in chosen]


def report(rows: Sequence[tuple[str, float, float]]) -> str:
    """A line a price."""
    scale = statistics.median(taken / price for _, price, taken in rows)
    table = [("nanoseconds", "table", "here", "relative")]
    table += [
        (name, f"{price:.3g}", f"{taken:.3g}", f"{taken / price / scale:.2f}") for name, price, taken in rows
    ]
    return f"{format_table(table)}\nthis machine: {scale:.2f} times the table, in the median"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_table", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one round of each")
    options = parser.parse_args(arguments)
    print(report(list(measure(1e-4 if options.smoke else 0.1))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
