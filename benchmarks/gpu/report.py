"""What the check found: one value, written after every stage as JSON and as text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tracejit.tables import format_table

COPY = "copy, bytes a second"
COPIES = (COPY, "copy by tracejit, bytes a second")


@dataclass
class Timing:
    """A variant of a workload at one size.

    seconds: a call, the least of the medians of all turns; None where there is none, for the `problem`
    rounds: seconds a call of each round; first_seconds: of the first call, with what is compiled in it
    repeats: whether two calls gave the same bits; launches, library_calls: of ours, a step
    floor_bytes, bytes_moved: that any step must move, and that ours moves at least
    """

    workload: str
    size: str
    dtype: str
    variant: str
    floor_bytes: int = 0
    seconds: float | None = None
    rounds: list[float] = field(default_factory=list[float])
    first_seconds: float | None = None
    compile_seconds: float | None = None
    launches: int | None = None
    library_calls: int | None = None
    bytes_moved: int | None = None
    repeats: bool | None = None
    problem: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.workload, self.size, self.dtype


@dataclass
class Report:
    """All that was found.

    missing: what could not be looked at, and why: no fault of the code
    problems: what went wrong with ours, or disagrees with it; these decide the exit status
    """

    versions: dict[str, str] = field(default_factory=dict[str, str])
    ceilings: dict[str, float] = field(default_factory=dict[str, float])
    tests: dict[str, str] = field(default_factory=dict[str, str])
    timings: list[Timing] = field(default_factory=list[Timing])
    host: dict[str, float] = field(default_factory=dict[str, float])
    stages: dict[str, float] = field(default_factory=dict[str, float])
    missing: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def timing(self, workload: str, size: str, dtype: str, variant: str) -> Timing:
        """The entry, which is made where there is none."""
        key = (workload, size, dtype)
        for found in self.timings:
            if found.key == key and found.variant == variant:
                return found
        self.timings.append(Timing(*key, variant))
        return self.timings[-1]

    def copy_rate(self) -> float | None:
        """The best rate of a copy that was seen, in bytes a second."""
        return max((self.ceilings[name] for name in COPIES if name in self.ceilings), default=None)

    def write(self, folder: Path) -> None:
        """`gpu_check.json` and `gpu_check.txt`."""
        folder.mkdir(parents=True, exist_ok=True)
        written = json.dumps(asdict(self), indent=1) + "\n"
        (folder / "gpu_check.json").write_text(written, encoding="utf-8")
        (folder / "gpu_check.txt").write_text(report_text(self) + "\n", encoding="utf-8")


def read_report(folder: Path) -> Report:
    """What `Report.write` wrote."""
    found: dict[str, Any] = json.loads((folder / "gpu_check.json").read_text(encoding="utf-8"))
    found["timings"] = [Timing(**t) for t in found["timings"]]
    return Report(**found)


def _number(x: float | None, scale: float = 1.0, digits: int = 2) -> str:
    return "" if x is None else f"{scale * x:.{digits}f}"


def rows_text(report: Report, key: tuple[str, str, str]) -> str:
    """The table of one workload at one size and dtype."""
    chosen = [t for t in report.timings if t.key == key and (t.seconds is not None or t.problem)]
    fused = next((t.seconds for t in chosen if t.variant == "fused"), None)
    rate = report.copy_rate()
    heads = ("ms", "floor ms", "% of copy", "ratio", "first s", "compile s", "launches", "bytes", "")
    table: list[tuple[str, ...]] = [(" ".join(key), *heads)]
    for t in chosen:
        floor = t.floor_bytes / rate if rate else None
        launches = "" if t.launches is None else str(t.launches)
        if t.library_calls:
            launches += f"+{t.library_calls}"
        table.append(
            (
                t.variant,
                _number(t.seconds, 1e3, 4),
                _number(floor, 1e3, 4),
                _number(floor / t.seconds if floor and t.seconds else None, 100, 0),
                _number(t.seconds / fused if fused and t.seconds else None),
                _number(t.first_seconds),
                _number(t.compile_seconds),
                launches,
                _number(t.bytes_moved / t.floor_bytes if t.bytes_moved and t.floor_bytes else None),
                t.problem or ("other bits each time" if t.repeats is False else ""),
            )
        )
    return format_table(table)


def report_text(report: Report) -> str:
    """Everything, as it is written beside the JSON."""
    facts = [f"{name:<44} {value}" for name, value in report.versions.items()]
    ceilings = [f"{name:<44} {value:.4g}" for name, value in report.ceilings.items()]
    tests = [f"{name:<44} {text}" for name, text in report.tests.items()]
    keys = dict.fromkeys(t.key for t in report.timings if t.seconds is not None or t.problem)
    tables = ["\n\n".join(rows_text(report, key) for key in keys)] if keys else []
    host = [f"{name:<32} {1e6 * s:10.1f} us of the host a call" for name, s in report.host.items()]
    stages = [f"{name:<32} {s:10.1f} s" for name, s in report.stages.items()]
    ends = [f"missing: {text}" for text in report.missing] + [f"PROBLEM: {text}" for text in report.problems]
    parts = (facts, ceilings, tests, tables, host, stages, ends)
    return "\n\n".join("\n".join(part) for part in parts if part)
