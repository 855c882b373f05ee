"""`autotune`: schedules that the cost table finds close to the best are timed; the winner is remembered."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.api import Transformed
from tracejit.api.record import Record, record_call
from tracejit.comparison import ROUNDS, format_table, readable_seconds, take_turns
from tracejit.config import AUTO, Choices, Config
from tracejit.costs import CLOSE, WORTH
from tracejit.progress import Progress

if TYPE_CHECKING:
    from tracejit.compile import Stages

MOST_BUILT = 32  # combinations of choices that change loop nests
MOST_TIMED = 8  # of these, programs that are compiled and run


@dataclass(frozen=True)
class Alternative:
    """One way to run the call: what is forced, the least seconds of a call, and what was estimated."""

    choices: Choices
    seconds: float
    estimate: float


@dataclass(frozen=True)
class Tuning:
    """What `autotune` found; its text is a table.

    rows: what was timed, the cost table's own schedule first
    winner: what is used from now on
    function: the function that was tuned, which uses it
    """

    name: str
    rows: tuple[Alternative, ...]
    winner: Choices
    function: Transformed

    def __str__(self) -> str:
        first = self.rows[0].seconds
        table = [(self.name, "time", "ratio", "estimate", "")]
        for row in self.rows:
            times = (
                readable_seconds(row.seconds),
                f"{row.seconds / first:.2f}",
                readable_seconds(row.estimate),
            )
            table.append((str(row.choices), *times, "used" if row.choices == self.winner else ""))
        return format_table(table)


def autotune(
    f: Callable[..., Any], *, seconds: float = 0.2, progress: bool | None = None
) -> Callable[..., Tuning]:
    """Time the few schedules of a call that may be best: `autotune(f)(*args)`, with arguments as for `f`.

    The fastest serves calls with arguments of these shapes from then on, in this process and, from the cache
    folder, in later ones on the same machine: of `f`, and of any function that is traced to the same graph.
    Results change by rounding at most; another size of an argument is tuned by another call.

    f: a function made by `grad_jit`, `jit`, `grad` or `value_and_grad`; a plain function is treated as jitted
    seconds: how long each schedule is run, about; at most 8 are
    progress: whether to show a progress bar; None shows one where standard error is a terminal
    Returns a `Tuning`; its `function` is `f`, or the jitted function. The program is run some hundred times:
    arguments that `f` donates are left alone meanwhile.

    >>> @tj.jit
    ... def scores(x, w):
    ...     return np.tanh(x @ w)
    >>> tuned = tj.autotune(scores, seconds=0.01)(np.ones((40, 24)), np.ones((24, 24)))
    >>> tuned.function is scores, tuned.rows[0].choices == tj.Choices()
    (True, True)
    """

    @functools.wraps(f, updated=())
    def tune(*args: Any, **kwargs: Any) -> Tuning:
        return _tune(record_call(f, args, kwargs), args, kwargs, seconds, progress)

    return tune


def _tune(
    record: Record, args: tuple[Any, ...], kwargs: Mapping[str, Any], seconds: float, progress: bool | None
) -> Tuning:
    from tracejit.runtime.tuned import remember

    record.refuse_devices("autotune")
    function, config = record.function, Config.from_environment()
    built = alternatives(record, config)
    chosen = most_promising(built)
    with Progress(f"tuning {record.name}", ROUNDS, progress) as bar:
        times = time_choices(record, args, kwargs, chosen, seconds, lambda: bar.advance("running"))
    rows = tuple(Alternative(c, times[c], built[c] * 1e-9) for c in chosen)
    best = min(rows, key=lambda row: row.seconds)
    winner = best.choices if best.seconds < WORTH * rows[0].seconds else AUTO
    if record.fuse and config.fuse:
        remember(record.graph, config, winner)
        function.clear()
    return Tuning(record.name, rows, winner, function)


def time_choices(
    record: Record,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    chosen: Sequence[Choices],
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[Choices, float]:
    """Seconds of a call under each of the choices: the least of some rounds, in which they take turns.

    The least, for what else the machine does only ever adds. No argument is given away.
    """
    options = replace(record.function._options, donate=())
    calls: dict[str, Callable[[], Any]] = {}
    for choices in chosen:
        variant = Transformed(record.function._function, replace(options, choices=choices))
        calls[str(choices)] = functools.partial(variant, *args, **kwargs)
    times = take_turns(calls, seconds, advance)
    return {choices: min(times[str(choices)]) for choices in chosen}


def most_promising(built: Mapping[Choices, float]) -> list[Choices]:
    """The cost table's own answer, then those that it estimates to be about as fast as the best."""
    limit = CLOSE * min(built.values())
    close = sorted((c for c, ns in built.items() if c != AUTO and ns <= limit), key=lambda c: built[c])
    return [AUTO, *close[: MOST_TIMED - 1]]


def alternatives(record: Record, config: Config) -> dict[Choices, float]:
    """Choices that lead to different programs, with the estimated nanoseconds of these.

    Choices that change loop nests are combined first; the table's own nests and the best ones are then run in
    all ways.
    """
    build = _Builder(record, config)
    build(AUTO)
    several = _combined(AUTO, Choices.changing("nests"), build)
    for choices in itertools.islice(several, MOST_BUILT):
        build(choices)
    found = build.found
    if record.fuse and config.fuse:
        for start in dict.fromkeys((AUTO, min(found, key=lambda c: found[c]))):
            for choices in _combined(start, Choices.changing("running"), build):
                build(choices)
    return found


def _combined(start: Choices, names: Sequence[str], build: _Builder) -> Iterator[Choices]:
    """`start` with every combination of those words of some choices that make a difference by themselves."""
    useful = {
        name: [w for w in Choices.words(name)[1:] if build(replace(start, **{name: w}))] for name in names
    }
    for words in itertools.product(*[(Choices.words(name)[0], *words) for name, words in useful.items()]):
        yield replace(start, **dict(zip(useful, words, strict=True)))


class _Builder:
    """Builds the program of some choices; `found` has those that led to a new one, with their estimates."""

    def __init__(self, record: Record, config: Config) -> None:
        self.record = record
        self.config = config
        self.layout = _layout(record.arrays)
        self.found: dict[Choices, float] = {}
        self.texts: set[str] = set()

    def __call__(self, choices: Choices) -> bool:
        """Is it a program that there has not been yet?"""
        from tracejit.codegen.estimate import program_ns
        from tracejit.compile import run_stages
        from tracejit.runtime.threads import most_threads

        if choices in self.found:
            return False
        record, config = self.record, self.config
        stages = run_stages(record.graph, record.fuse, config, record.threads, choices)
        text = _text(stages, self.layout)
        is_new = text not in self.texts
        if is_new:
            self.texts.add(text)
            threads = record.threads or config.threads or most_threads()
            self.found[choices] = program_ns(stages.program, config.literal_limit, threads)
        return is_new


def _layout(arrays: Sequence[Any]) -> tuple[int, ...]:
    from tracejit.runtime.executable import layout_of

    return tuple(layout_of(np.asarray(x)) for x in arrays)


def _text(stages: Stages, layout: tuple[int, ...]) -> str:
    """What tells programs apart: their code, what runs between its parts, and how regions are cut."""
    from tracejit.runtime.executable import Executable
    from tracejit.schedule.steps import LibraryStep

    calls = [step.eqn.primitive.name for step in stages.schedule.steps if isinstance(step, LibraryStep)]
    regions = [(r.strands, r.tile, r.workers) for r in stages.program.regions.values()]
    executable = stages.executable
    assert isinstance(executable, Executable), "functions of devices are not tuned"
    return f"{executable.print(layout, executable.config.printer).text}\n{calls}\n{regions}"
