"""Fair times in one process: every call warmed, rounds in which the calls take turns, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def median_seconds(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 7, round_seconds: float = 0.2
) -> dict[str, float]:
    """Median seconds of each call; a busy moment of the machine hits all of them alike.

    A round repeats each call for about `round_seconds`, and at least once.
    """
    repeats: dict[str, int] = {}
    for name, call in calls.items():
        call()
        started = time.perf_counter()
        call()
        repeats[name] = max(1, int(round_seconds / max(time.perf_counter() - started, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            count = repeats[name]
            started = time.perf_counter()
            for _ in range(count):
                call()
            seconds[name].append((time.perf_counter() - started) / count)
    return {name: statistics.median(times) for name, times in seconds.items()}
