"""Measures rows: workers of all systems side by side, checked, then timed in rounds of turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import WorkerProcess
from benchmarks.results_file import PIVOTS, Measurement, Row
from benchmarks.systems import SYSTEMS, why_missing
from benchmarks.workload import Size, Workload, get_workload


@dataclass(frozen=True)
class Plan:
    """How to measure.

    systems: their names; the pivots run in any case
    rounds: how often the systems take turns; round_seconds: how long each turn lasts, one call at least
    row_seconds: a system that has used up so much drops out of the rounds of a row, after three of them
    patience: seconds after which a worker that has not answered is ended
    cache: folder below which the systems keep compiled code
    lock: a file that is held locked while something is timed, for machines on which other jobs do the same
    warm: measure first calls in new processes too
    threads: of each system; with one, all run on one core
    """

    systems: tuple[str, ...]
    cache: Path
    rounds: int = 7
    round_seconds: float = 0.05
    row_seconds: float = 3.0
    patience: float = 240.0
    lock: Path | None = None
    warm: bool = True
    threads: int = 1

    def all_systems(self) -> list[str]:
        return [name for name in SYSTEMS if name in self.systems or name in PIVOTS]


@dataclass
class Turn:
    """A worker in the rounds of one row: how many calls make a turn, and what was found."""

    worker: WorkerProcess
    calls: int
    found: Measurement
    used: float = 0.0
    cores: list[float] = field(default_factory=list)


@contextlib.contextmanager
def quiet(plan: Plan) -> Iterator[None]:
    """Hold the plan's lock, if it has one."""
    if plan.lock is None:
        yield
        return
    import fcntl

    with plan.lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure_workload(
    name: str, sizes: list[str], plan: Plan, note: Callable[[str], None], done: Callable[[Row], None]
) -> dict[str, dict[str, Any]]:
    """Measure the given sizes of one workload; `done` takes each row, and again once warm calls are known.

    Returns the versions that each system said it has.
    """
    workload = get_workload(name)
    missing = {s: why_missing(s, workload) for s in plan.all_systems()}
    note(f"{name}: starting")
    workers = start([s for s, reason in missing.items() if reason is None], plan)
    rows = []
    try:
        for size in (workload.size(label) for label in sizes):
            row = Row(name, workload.title, size.label, size.goal / size.limit)
            row.systems = {s: Measurement(problem=r) for s, r in missing.items() if r is not None}
            measure_row(row, workers, plan, is_first=not rows, note=note)
            rows.append(row)
            done(row)
    finally:
        for worker in workers:
            worker.close()
    if plan.warm and rows:
        measure_warm_calls(name, workload.size(sizes[0]), rows[0], plan, note)
        done(rows[0])
    return {w.system: w.hello.get("versions", {}) for w in workers}


def start(systems: list[str], plan: Plan) -> list[WorkerProcess]:
    """Workers that have imported and used their libraries; they start side by side, nothing is timed yet."""
    plan.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    workers = [WorkerProcess(s, plan.cache, plan.threads) for s in systems]
    core = timing_core() if plan.threads == 1 else None
    try:
        for worker in workers:
            worker.wait_until_awake(plan.patience)
            if core is not None:
                worker.ask(do="pin", core=core)
    except BaseException:
        # The run is being ended: no worker outlives it, nor writes into a cache that is being removed.
        for worker in workers:
            worker.close()
        raise
    return workers


def timing_core() -> int | None:
    """The last of the cores that this process may use: on many machines the first one serves interrupts."""
    import os

    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def measure_row(
    row: Row, workers: list[WorkerProcess], plan: Plan, is_first: bool, note: Callable[[str], None]
) -> None:
    """Fill one row: first calls and checks, then rounds, then memory."""
    turns = []
    for worker in workers:
        note(f"{row.workload} {row.size}: first call of {worker.system}")
        turn = prepare(row, worker, plan, is_first)
        if turn is not None:
            turns.append(turn)
    with quiet(plan):
        for number in range(plan.rounds):
            note(f"{row.workload} {row.size}: round {number + 1} of {plan.rounds}")
            # The one that begins changes, so that none always follows the same neighbour.
            for turn in turns[number % max(len(turns), 1) :] + turns[: number % max(len(turns), 1)]:
                take_turn(turn, plan, number)
    for turn in turns:
        turn.found.summarise()
        turn.found.cores = min(turn.cores, default=None)
        memory = turn.worker.ask(plan.patience, do="memory")
        turn.found.added, turn.found.outputs = memory.get("added"), memory.get("outputs")
    row.set_ratios()


def prepare(row: Row, worker: WorkerProcess, plan: Plan, is_first: bool) -> Turn | None:
    """First call, check and the number of calls in a turn; None where the system cannot be timed."""
    found = row.systems[worker.system] = Measurement()
    with quiet(plan):
        answer = worker.ask(plan.patience, do="prepare", workload=row.workload, size=row.size)
        if "first_call" in answer:
            found.first_call = answer["first_call"] if is_first else None
            found.next_size = None if is_first else answer["first_call"]
            answer = worker.ask(plan.patience, do="time", seconds=plan.round_seconds)
    if "calls" not in answer:
        found.problem = f"wrong: {answer['wrong']}" if "wrong" in answer else f"failed: {answer['failed']}"
        return None
    return Turn(worker, answer["calls"], found)


def take_turn(turn: Turn, plan: Plan, number: int) -> None:
    """One round of one system, unless it has had its time."""
    if turn.found.problem is not None or (number >= 3 and turn.used > plan.row_seconds):
        return
    answer = turn.worker.ask(plan.patience, do="time", calls=turn.calls)
    if "seconds" not in answer:
        turn.found.problem = f"failed: {answer['failed']}"
        return
    turn.found.rounds.append(answer["seconds"])
    turn.cores.append(answer["cores"])
    turn.used += answer["seconds"] * turn.calls


def measure_warm_calls(name: str, size: Size, row: Row, plan: Plan, note: Callable[[str], None]) -> None:
    """First calls in new processes, which find on disk what the others compiled."""
    systems = [s for s, m in row.systems.items() if SYSTEMS[s].keeps_code and m.median is not None]
    note(f"{name}: warm first calls")
    workers = start(systems, plan)
    try:
        for worker in workers:
            with quiet(plan):
                answer = worker.ask(plan.patience, do="prepare", workload=name, size=size.label)
            row.systems[worker.system].warm_first_call = answer.get("first_call")
    finally:
        for worker in workers:
            worker.close()


def sizes_to_measure(workload: Workload, wanted: tuple[str, ...]) -> list[str]:
    """The labels of a workload's sizes, all of them or those that were asked for."""
    return [s.label for s in workload.sizes if not wanted or s.label in wanted]
