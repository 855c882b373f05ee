"""How good the cost table's schedules are: each beside the fastest of all that can be forced.

Run `python -m benchmarks.schedule_choice`. Programs are the rows of the table and random ones, each
differentiated. Every alternative is timed in rounds of turns; the fastest then runs against the table's own
choice once more, so that it does not win by the luck of one round, and the loss is what that race shows.
`--smoke` takes two small programs of each kind and a few milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workload import NAMES, get_workload
from tracejit.api.record import record_call
from tracejit.comparison import format_table, readable_seconds
from tracejit.config import AUTO, Config
from tracejit.tuning import alternatives, time_choices

MOST_NUMBERS = 20_000_000  # of the arguments of a program
SMOKE = ("tutorial", "curve_fit")


@dataclass(frozen=True)
class Subject:
    """A scalar function, what it is differentiated by, and its arguments."""

    name: str
    loss: Callable[..., Any]
    argnums: tuple[int, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Verdict:
    """What was chosen and what was fastest: seconds in their race; `tried` different programs there are."""

    name: str
    chosen: float
    best: float
    winner: str
    tried: int
    unfused: float

    @property
    def percent(self) -> float:
        """By how much the choice is slower than the best; 0 where it is the best."""
        return max(100 * (self.chosen / self.best - 1), 0.0)


# --- programs -----------------------------------------------------------------------------------------------


def rows(names: Sequence[str], only_small: bool) -> Iterator[Subject]:
    """The table's rows at every size that fits; those whose functions are not supported are left out."""
    for name in names:
        workload = get_workload(name)
        for size in workload.sizes[:1] if only_small else workload.sizes:
            arguments = workload.inputs(*size.shape)
            if sum(np.size(a) for a in arguments) <= MOST_NUMBERS:
                yield Subject(f"{name} {size.label}", workload.loss, workload.argnums, arguments)


Step = Callable[[Any, Any, Any], Any]  # of x, an (n, k) array; w, a (k, k) array; v, one of k numbers

STEPS: dict[str, Step] = {
    "tanh": lambda x, w, v: np.tanh(x),
    "affine": lambda x, w, v: 0.5 * x + v,
    "gauss": lambda x, w, v: np.exp(-x * x),
    "divide": lambda x, w, v: x / (1.0 + v * v),
    "product": lambda x, w, v: x @ w,
    "turned": lambda x, w, v: x @ w.T + x,
    "softmax": lambda x, w, v: softmax(x),
    "standardize": lambda x, w, v: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3),
    "center": lambda x, w, v: x - x.mean(axis=0),
    "neighbours": lambda x, w, v: np.concatenate([x[:1], x[1:] - x[:-1]]),
    "gate": lambda x, w, v: np.where(x > v, x, 0.1 * x),
    "scores": lambda x, w, v: x * (x @ v)[:, None],
}


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def random_subject(seed: int, most_rows: int) -> Subject:
    """Three to seven of `STEPS` on an array of random size, squared and averaged."""
    rng = np.random.default_rng(seed)
    n = int(2 ** rng.uniform(3, np.log2(most_rows)))
    k = int(rng.choice([2, 4, 7, 8, 10, 16, 24, 32, 64, 100]))
    names = [str(rng.choice(list(STEPS))) for _ in range(int(rng.integers(3, 8)))]
    steps = [STEPS[name] for name in names]

    def loss(x: Any, w: Any, v: Any) -> Any:
        for step in steps:
            x = step(x, w, v)
        return np.mean(x * x)

    scale = 1 / np.sqrt(k)
    arguments = rng.standard_normal((n, k)), scale * rng.standard_normal((k, k)), rng.standard_normal(k)
    return Subject(f"{n}x{k} {' '.join(names)}", loss, (0, 1, 2), arguments)


# --- measuring ----------------------------------------------------------------------------------------------


def measure(subject: Subject, seconds: float) -> Verdict:
    """Time every alternative, then the fastest against the table's choice."""
    function = tj.grad_jit(subject.loss, argnums=subject.argnums)
    record = record_call(function, subject.arguments, {})
    built = list(alternatives(record, Config.from_environment()))
    call = subject.arguments, dict[str, Any]()
    times = time_choices(record, *call, built, seconds)
    best = min(times, key=lambda choices: times[choices])
    if best != AUTO:
        times = time_choices(record, *call, [AUTO, best], 2 * seconds)
    unfused = tj.grad_jit(subject.loss, argnums=subject.argnums, fuse=False)
    (alone,) = time_choices(record_call(unfused, *call), *call, [AUTO], seconds).values()
    return Verdict(subject.name, times[AUTO], times[best], str(best), len(built), alone)


def report(verdicts: Sequence[Verdict]) -> str:
    """A line a program, and the median and the worst loss of each kind of program."""
    table = [("program", "chosen", "best", "loss", "programs", "unfused", "the best is")]
    for v in verdicts:
        times = readable_seconds(v.chosen), readable_seconds(v.best), f"{v.percent:.0f} %"
        table.append((v.name, *times, str(v.tried), f"{v.unfused / v.chosen:.1f}x", v.winner))
    losses = [v.percent for v in verdicts]
    summary = (
        f"median loss {statistics.median(losses):.1f} %, worst {max(losses):.0f} %, {len(losses)} programs"
    )
    return f"{format_table(table)}\n{summary}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule_choice", description=__doc__)
    parser.add_argument("--only", default="", help="rows of the table whose name contains this text")
    parser.add_argument("--random", type=int, default=20, help="so many random programs")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--seconds", type=float, default=0.05, help="that each program is run, about")
    parser.add_argument("--small", action="store_true", help="the first size of each row only")
    parser.add_argument("--smoke", action="store_true", help="two small programs of each kind, one round")
    options = parser.parse_args(arguments)
    seconds = 1e-4 if options.smoke else options.seconds
    names = [n for n in (SMOKE if options.smoke else NAMES) if options.only in n]
    most_rows = 50 if options.smoke else 20_000
    count = 2 if options.smoke else options.random
    for kind, subjects in (
        ("rows of the table", rows(names, options.small or options.smoke)),
        ("random programs", (random_subject(options.seed + k, most_rows) for k in range(count))),
    ):
        verdicts: list[Verdict] = []
        for subject in subjects:
            try:
                verdicts.append(measure(subject, seconds))
            except tj.TracejitError as error:
                print(f"left out: {subject.name}: {str(error).splitlines()[0]}", flush=True)
        if verdicts:
            print(f"{kind}\n{report(verdicts)}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
