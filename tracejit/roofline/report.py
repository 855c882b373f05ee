"""The roofline of a call: each step's bytes, flops and seconds, and the ceiling that it meets, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from tracejit.codegen.describe import count_kernels
from tracejit.codegen.loops import Kernel
from tracejit.codegen.program import Call, LibraryCall, Program, Segment, kernel_traffic
from tracejit.compile import Stages, run_stages
from tracejit.config import Config
from tracejit.ir import Graph, Source
from tracejit.roofline.machine import Level, Machine, measured_machine
from tracejit.roofline.steps import separated, time_call, time_steps
from tracejit.roofline.work import Work, kernel_work, library_work
from tracejit.runtime.threads import get_threads
from tracejit.schedule.describe import describe_axes
from tracejit.tables import align, readable_count, readable_seconds, three_digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LINE = 60  # characters of the user's line
TITLES = (
    *("over", "threads", "bytes", "in", "flops", "flop/B", "time"),
    *("GB/s", "mem %", "Gflop/s", "flop %", "bound by", "line"),
)
NOTES = """\
bytes: each array once; in: the smallest memory that holds them; flops: + - * / sqrt min max 1, fma 2,
elementary functions as programmed; time: of the step by itself; mem %: of the rate of reading where little is
written, else of the triad; flop %: of multiply-adds; bound by: what would take longer at its ceiling"""


@dataclass(frozen=True)
class StepRow:
    """One kernel or library call.

    over: the axes of its loops
    read, written: bytes that it must move at least, each array once
    work: what it computes; None where that is not known
    seconds: of the step by itself, median
    threads: that it uses; machine: the ceilings, of one thread or of all that a step may use
    level: the smallest cache that holds its arrays, with its bandwidth
    source: the line with most of its work
    """

    name: str
    over: str
    read: int
    written: int
    work: Work | None
    seconds: float
    level: Level
    machine: Machine
    threads: int
    source: Source | None

    @property
    def bytes_moved(self) -> int:
        return self.read + self.written

    @property
    def flops(self) -> int:
        return self.work.flops if self.work is not None else 0

    @property
    def intensity(self) -> float:
        """Flops a byte."""
        return self.flops / max(self.bytes_moved, 1)

    @property
    def memory_seconds(self) -> float:
        """The least time in which its bytes can be moved."""
        return self.bytes_moved / self.level.bandwidth(self.read, self.written)

    @property
    def arithmetic_seconds(self) -> float:
        """The least time in which its flops can be done."""
        if self.work is None:
            return 0.0
        return self.work.f64 / self.machine.f64 + self.work.f32 / self.machine.f32

    @property
    def memory_share(self) -> float:
        """Its rate of bytes, of what the level gives."""
        return self.memory_seconds / self.seconds

    @property
    def arithmetic_share(self) -> float:
        """Its rate of flops, of what multiply-adds reach."""
        return self.arithmetic_seconds / self.seconds

    @property
    def bound_by(self) -> str:
        """The ceiling that it meets first: a level of memory, or "flops"."""
        return "flops" if self.arithmetic_seconds > self.memory_seconds else self.level.name


@dataclass(frozen=True)
class Variant:
    """A program with its steps timed, each over all rows at once.

    seconds: of all in turn, range by range where several go together, by one native call where that can be
    """

    name: str
    rows: tuple[StepRow, ...]
    seconds: float
    kernels: int
    library_calls: int

    @property
    def bytes_moved(self) -> int:
        return sum(r.bytes_moved for r in self.rows)

    @property
    def flops(self) -> int:
        return sum(r.flops for r in self.rows)

    @property
    def step_seconds(self) -> float:
        """Of all steps, each timed by itself."""
        return sum(r.seconds for r in self.rows)

    def __str__(self) -> str:
        titles = TITLES if any(r.threads > 1 for r in self.rows) else (TITLES[0], "", *TITLES[2:])
        rows = [(self.name, *titles), *map(_cells, self.rows)]
        return "\n".join(align(rows, right=(2, 3, 5, 6, 7, 8, 9, 10, 11)))


@dataclass(frozen=True)
class Roofline:
    """What `inspect(f)(*args).roofline` measured; its text is a table, `plot` draws it.

    fused, unfused: the program as it runs, and with one kernel an equation
    machines: the ceilings of one thread, and where some step uses more those of all threads
    """

    name: str
    machines: tuple[Machine, ...]
    fused: Variant
    unfused: Variant

    def __str__(self) -> str:
        ceilings = "\n".join(map(str, self.machines))
        return "\n\n".join((f"{self.name} on {ceilings}", str(self.fused), self.comparison(), NOTES))

    def comparison(self) -> str:
        """Fused beside unfused: kernels, bytes, seconds, and how many times as much unfused takes.

        Seconds are those of the steps by themselves, added up, and of all in turn.
        """
        titles = ("kernels", "library calls", "bytes", "flops", "steps' sum", "in turn")
        rows = [("", *titles), *map(_totals, (self.fused, self.unfused))]
        pairs = [
            (getattr(self.unfused, what), getattr(self.fused, what))
            for what in ("kernels", "library_calls", "bytes_moved", "flops", "step_seconds", "seconds")
        ]
        rows.append(("unfused / fused", *[f"{three_digits(a / b)}x" if a and b else "" for a, b in pairs]))
        return "\n".join(align(rows, right=range(1, len(titles) + 1)))

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Flops a second over flops a byte, under the roofs of this machine; also written to `path`.

        Steps without floating-point work have no place in it. Raises UnsupportedError where matplotlib is not
        installed (`pip install tracejit[plot]`).
        """
        from tracejit.roofline.plot import draw_roofline

        figure = draw_roofline(self)
        if path is not None:
            figure.savefig(path)
        return figure


def measure_roofline(
    graph: Graph,
    arrays: Sequence[Any],
    name: str,
    seconds: float = 1.0,
    config: Config | None = None,
    threads: int | None = None,
) -> Roofline:
    """Time every step of `graph`, fused and unfused, on these arrays, for about `seconds` in all.

    threads: that a step may use; None: as many as `get_threads()` says
    The ceilings are measured at the first use on a machine, which takes some seconds more.

    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[1000]'):
    ...     v1: 'f64[1000]' = multiply(v0, v0)
    ...     v2: 'f64' = reduce_sum(v1, axes=(0,))
    ...     return (v2,)
    ... ''')
    >>> found = measure_roofline(graph, [np.ones(1000)], "f", seconds=0.01)
    >>> (row,) = found.fused.rows
    >>> row.bytes_moved, row.flops, row.bound_by in ("L1", "L2")
    (8008, 2000, True)
    >>> found.unfused.kernels, found.unfused.bytes_moved
    (2, 24008)
    """
    config = config or Config.from_environment()
    threads = threads or config.threads or get_threads()
    variants = [
        _measure_variant(run_stages(graph, fuse, config, threads), arrays, seconds / 2)
        for fuse in (True, False)
    ]
    used = {1, *(r.machine.threads for v in variants for r in v.rows)}
    machines = tuple(measured_machine(n, config) for n in sorted(used))
    return Roofline(name, machines, *variants)


def _measure_variant(stages: Stages, arrays: Sequence[Any], seconds: float) -> Variant:
    config = stages.executable.config
    steps = separated(stages.schedule, config)
    times = time_steps(steps, config, arrays, 0.8 * seconds)
    rows = tuple(_rows(steps, times, config))
    kernels, library_calls = count_kernels(steps)
    whole = time_call(stages.program, config, arrays, 0.2 * seconds)
    return Variant("fused" if config.fuse else "unfused", rows, whole, kernels, library_calls)


def _rows(steps: Program, times: Sequence[float], config: Config) -> list[StepRow]:
    rows: list[StepRow] = []
    kernels = iter(steps.schedule.kernels)
    most = config.threads or get_threads()
    for call, seconds in zip(steps.calls, times, strict=True):
        used = 1
        single: Kernel | Call | LibraryCall = call if isinstance(call, LibraryCall) else call.singles[0]
        if isinstance(call, Segment) and call.regions:
            used = min(call.regions[0].workers, most)
        machine = measured_machine(most if used > 1 else 1, config)
        if isinstance(single, Kernel):
            read, written = kernel_traffic(single)
            work, source = kernel_work(single), None
            step = next(kernels)
            loops = any(part.order for part in step.parts)
            name, over = single.name, describe_axes(step).removeprefix("over ") if loops else "scalars"
        else:
            eqn = single.eqn
            read, written = sum(a.type.nbytes for a in eqn.inputs), eqn.out.type.nbytes
            work, source = library_work(eqn), eqn.source
            name, over = eqn.primitive.name, " ".join(str(a.type) for a in eqn.inputs)
        source = work.main_line if work is not None and source is None else source
        level = machine.level_of(read + written)
        rows.append(StepRow(name, over, read, written, work, seconds, level, machine, used, source))
    return rows


# --- text ---------------------------------------------------------------------------------------------------


def _cells(row: StepRow) -> tuple[str, ...]:
    return (
        row.name,
        row.over,
        str(row.threads) if row.threads > 1 else "",
        readable_count(row.bytes_moved, "B"),
        row.level.name,
        readable_count(row.flops, "") if row.work is not None else "?",
        three_digits(row.intensity) if row.work is not None else "?",
        readable_seconds(row.seconds),
        three_digits(row.bytes_moved / row.seconds / 1e9),
        f"{row.memory_share:.0%}",
        three_digits(row.flops / row.seconds / 1e9) if row.work is not None else "?",
        f"{row.arithmetic_share:.0%}" if row.work is not None else "?",
        row.bound_by,
        _line(row.source),
    )


def _line(source: Source | None) -> str:
    if source is None:
        return ""
    text = source.text
    return f"{source}  {text if len(text) <= MAX_LINE else text[: MAX_LINE - 3] + '...'}".rstrip()


def _totals(variant: Variant) -> tuple[str, ...]:
    return (
        variant.name,
        str(variant.kernels),
        str(variant.library_calls),
        readable_count(variant.bytes_moved, "B"),
        readable_count(variant.flops, ""),
        readable_seconds(variant.step_seconds),
        readable_seconds(variant.seconds),
    )
