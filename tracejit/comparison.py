"""`compare`: one call timed as plain NumPy, as one kernel an equation, and fused; with what each costs."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.api import Transformed
from tracejit.api.record import Record, record_call
from tracejit.figures import new_figure
from tracejit.progress import Progress
from tracejit.tables import format_table, readable_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_ROUNDS = 3
ROUNDS = 9  # each variant's share of time is spread over so many turns


@dataclass(frozen=True)
class Row:
    """One way to run the call. None where it makes no sense: NumPy compiles nothing.

    seconds: median time of a call; ratio: the same divided by the fused one's
    kernels, library_calls: how many of each a call runs; bytes_moved: what they read and write at least
    compile_seconds: from the first line traced to machine code, with an empty cache
    """

    name: str
    seconds: float
    ratio: float
    kernels: int | None = None
    library_calls: int | None = None
    bytes_moved: int | None = None
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured; its text is a table. rows: NumPy forward, unfused, fused."""

    name: str
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        titles = (self.name, "time", "ratio", "kernels", "library calls", "bytes moved", "compile")
        return format_table([titles, *map(_cells, self.rows)])

    def __getitem__(self, name: str) -> Row:
        """The row called `name`."""
        return next(row for row in self.rows if row.name == name)

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Bars of the time of a call and of the bytes that it moves; also written to `path` if one is given.

        Raises UnsupportedError where matplotlib is not installed.
        """
        figure = new_figure(9.0, 2.6)
        times, moved = figure.subplots(1, 2)
        rows = list(reversed(self.rows))
        bars = times.barh([r.name for r in rows], [r.seconds for r in rows], color="#64748b")
        times.bar_label(bars, [readable_seconds(r.seconds) for r in rows], padding=3)
        times.set_title(f"{self.name}: seconds a call")
        counted = [r for r in rows if r.bytes_moved is not None]
        bars = moved.barh([r.name for r in counted], [r.bytes_moved or 0 for r in counted], color="#64748b")
        moved.bar_label(bars, [f"{r.bytes_moved:,}" for r in counted], padding=3)
        moved.set_title("bytes moved")
        for axes in (times, moved):
            axes.margins(x=0.35)
        if path is not None:
            figure.savefig(path)
        return figure


def compare(
    f: Callable[..., Any], *, seconds: float = 0.2, progress: bool | None = None
) -> Callable[..., Comparison]:
    """Time a call as plain NumPy, unfused and fused: `compare(f)(*args)`, with arguments as for `f`.

    f: a function made by `grad_jit`, `jit`, `grad` or `value_and_grad`; a plain function is treated as jitted
    seconds: how long each of the three is run, about; they take turns, and the median of the turns counts
    progress: whether to show a progress bar; None shows one where standard error is a terminal
    Returns a `Comparison`. NumPy runs the function alone, without derivatives.

    >>> @tj.grad_jit
    ... def loss(w):
    ...     return np.sum(np.tanh(w) ** 2)
    >>> table = tj.compare(loss, seconds=0.01)(np.ones(1000))
    >>> [row.name for row in table.rows]
    ['NumPy forward', 'unfused', 'fused']
    >>> table["fused"].kernels, table["unfused"].kernels > 1
    (1, True)
    """

    @functools.wraps(f, updated=())
    def measure(*args: Any, **kwargs: Any) -> Comparison:
        return _compare(record_call(f, args, kwargs), args, kwargs, seconds, progress)

    return measure


def _compare(
    record: Record, args: tuple[Any, ...], kwargs: Mapping[str, Any], seconds: float, progress: bool | None
) -> Comparison:
    record.refuse_devices("compare")
    options = record.function._options
    variants: dict[str, Transformed] = {
        name: Transformed(record.function._function, replace(options, fuse=fuse))
        for name, fuse in (("unfused", False), ("fused", True))
    }
    calls: dict[str, Callable[[], Any]] = {
        name: functools.partial(function, *args, **kwargs)
        for name, function in (("NumPy forward", record.base), *variants.items())
    }
    facts: dict[str, dict[str, Any]] = {}
    with Progress(f"comparing {record.name}", len(variants) + ROUNDS, progress) as bar:
        for name, function in variants.items():
            facts[name] = _facts(record_call(function, args, kwargs))
            bar.advance(f"{name} compiled")
        times = median_seconds(calls, seconds, lambda: bar.advance("running"))
    rows = [Row(name, times[name], times[name] / times["fused"], **facts.get(name, {})) for name in calls]
    return Comparison(record.name, tuple(rows))


def _facts(record: Record) -> dict[str, Any]:
    """What the compiler knows of a variant, which is compiled anew where the caches had it, for its time."""
    from tracejit.codegen.describe import count_kernels
    from tracejit.codegen.program import bytes_moved
    from tracejit.compile import compile_stages, run_stages
    from tracejit.runtime.native import compile_source

    stages = run_stages(record.graph, record.fuse, threads=record.threads)
    compiled = compile_stages(stages, record.arrays)
    native = 0.0
    if compiled.native is not None:
        native = compiled.native.compile_seconds or compile_source(compiled.text).compile_seconds
    kernels, library_calls = count_kernels(stages.program)
    spent = [*record.seconds.values(), *stages.seconds.values(), compiled.seconds["print"], native]
    return {
        "kernels": kernels,
        "library_calls": library_calls,
        "bytes_moved": bytes_moved(stages.program),
        "compile_seconds": sum(spent),
    }


def median_seconds(
    calls: Mapping[str, Callable[[], Any]], seconds: float, advance: Callable[[], None]
) -> dict[str, float]:
    """Median seconds of each call over the rounds of `take_turns`."""
    return {name: statistics.median(times) for name, times in take_turns(calls, seconds, advance).items()}


def take_turns(
    calls: Mapping[str, Callable[[], Any]], seconds: float, advance: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds of each call, warmed, in each of some rounds in which they take turns; each calls `advance`."""
    repeats: dict[str, int] = {}
    with np.errstate(all="ignore"):
        for name, call in calls.items():
            call()
            started = time.perf_counter()
            call()
            once = max(time.perf_counter() - started, 1e-7)
            repeats[name] = max(1, int(seconds / ROUNDS / once))
        turns: dict[str, list[float]] = {name: [] for name in calls}
        deadline = time.perf_counter() + 1.5 * seconds * len(calls)
        for number in range(ROUNDS):
            for name, call in calls.items():
                count = repeats[name]
                started = time.perf_counter()
                for _ in range(count):
                    call()
                turns[name].append((time.perf_counter() - started) / count)
            advance()
            if number + 1 >= MIN_ROUNDS and time.perf_counter() > deadline:
                break
    return turns


# --- text --------------------------------------------------------------------------------------------------


def _cells(row: Row) -> tuple[str, ...]:
    compiled = "" if row.compile_seconds is None else readable_seconds(row.compile_seconds)
    numbers = [f"{n:,}" if n is not None else "" for n in (row.kernels, row.library_calls, row.bytes_moved)]
    return row.name, readable_seconds(row.seconds), f"{row.ratio:.2f}", *numbers, compiled
