"""Results as one JSON file that grows row by row, so that a run can be split, stopped and taken up again."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# A ratio holds only within one run; these run in every one, and all others are measured against them.
PIVOTS = ("tracejit", "numba")


@dataclass
class Measurement:
    """What was found of one system in one row; `problem` in place of times where there are none.

    median, best: seconds of a call over the rounds, with the mean of each round's calls in `rounds`
    cores: processor time over time, more than 1 where a system does not keep to one thread
    ratio, ratio_to_hand: median over that of tracejit, and of the hand-written kernel, in the same run
    first_call: seconds of the first call in a process, nothing compiled before; None for a later size
    next_size: seconds of the first call at this size, after another size in the same process
    warm_first_call: as `first_call` in a new process that finds compiled code on disk
    added, outputs: bytes that a call adds at its peak, and bytes of its results
    run: the number of the run that measured it
    """

    problem: str | None = None
    median: float | None = None
    best: float | None = None
    rounds: list[float] = field(default_factory=list)
    cores: float | None = None
    ratio: float | None = None
    ratio_to_hand: float | None = None
    first_call: float | None = None
    next_size: float | None = None
    warm_first_call: float | None = None
    added: int | None = None
    outputs: int | None = None
    run: int = 0

    @property
    def is_settled(self) -> bool:
        """Is there a time, or a reason that another run would not change?"""
        return self.median is not None or not (self.problem or "failed").startswith(("failed", "wrong"))

    def summarise(self) -> None:
        """Median and best from the rounds."""
        if self.rounds:
            self.median, self.best = statistics.median(self.rounds), min(self.rounds)


@dataclass
class Row:
    """One size of one workload with what each system took; `goal_over_hand` is the goal as a multiple."""

    workload: str
    title: str
    size: str
    goal_over_hand: float
    systems: dict[str, Measurement] = field(default_factory=dict)

    def set_ratios(self) -> None:
        """Every median over those of the pivots, which ran in the same rounds."""
        for name, field_name in zip(PIVOTS, ("ratio", "ratio_to_hand"), strict=True):
            pivot = self.systems[name].median if name in self.systems else None
            for measured in self.systems.values():
                if pivot is not None and measured.median is not None:
                    setattr(measured, field_name, measured.median / pivot)


@dataclass
class Results:
    """All rows measured so far, and the runs that measured them."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def row(self, workload: str, size: str) -> Row | None:
        """The row of a workload's size, if it has been measured."""
        return next((r for r in self.rows if (r.workload, r.size) == (workload, size)), None)

    def lacking(self, workload: str, size: str, systems: tuple[str, ...]) -> tuple[str, ...]:
        """Of some systems those for which the row has neither a time nor a reason; failures count as none."""
        row = self.row(workload, size)
        known = {} if row is None else row.systems
        return tuple(s for s in systems if s not in known or not known[s].is_settled)

    def only(self, workload: str) -> Results:
        """The rows of one workload."""
        return Results(self.runs, [row for row in self.rows if row.workload == workload])

    def merge(self, row: Row, again: bool = False) -> None:
        """Take up a row's measurements; those that are there already stay, unless measured `again`."""
        old = self.row(row.workload, row.size)
        if old is None:
            self.rows.append(row)
            return
        for name, measured in row.systems.items():
            if again or name not in old.systems or old.systems[name].median is None:
                old.systems[name] = measured

    def sort(self, names: tuple[str, ...]) -> None:
        """The order of the workloads; sizes stay in the order in which they came."""
        self.rows.sort(key=lambda r: names.index(r.workload))

    def save(self, path: Path) -> None:
        """Write the file anew, never half of it."""
        text = json.dumps({"runs": self.runs, "rows": [_dense(asdict(r)) for r in self.rows]}, indent=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(text + "\n", encoding="utf-8")
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """What `save` wrote; empty where there is no file."""
        if not path.exists():
            return cls()
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(**{**r, "systems": {name: Measurement(**m) for name, m in r["systems"].items()}})
            for r in found["rows"]
        ]
        return cls(found["runs"], rows)


def _dense(row: dict[str, Any]) -> dict[str, Any]:
    systems = {
        name: {key: value for key, value in measured.items() if value not in (None, [])}
        for name, measured in row["systems"].items()
    }
    return {**row, "systems": systems}


def describe_machine() -> dict[str, Any]:
    """The processor and system, without which a time means nothing."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
