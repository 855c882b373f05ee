"""The time of a call: rounds of several calls each, as many as make a round long enough to be timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.libraries import Library

WARM, ROUNDS, MOST_CALLS = 5, 5, 20
ROUND = 2e-3  # seconds that a round takes at least, where `MOST_CALLS` suffice


def timed(library: Library, call: Callable[[], Any]) -> list[float]:
    """Seconds a call, of each round, after some calls that do not count; one call without a device."""
    if not library.is_device:
        return [library.seconds(call)]
    for _ in range(WARM):
        library.wait(call())
    once = max(library.seconds(call), 1e-7)
    count = max(1, min(MOST_CALLS, math.ceil(ROUND / once)))

    def several() -> Any:
        result = None
        for _ in range(count):
            result = call()
        return result

    return [library.seconds(several) / count for _ in range(ROUNDS)]
