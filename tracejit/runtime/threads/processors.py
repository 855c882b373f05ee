"""How many threads can run at once in this process: its processors, or what its container may use of them."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_threads() -> int:
    """The processors that this process may run on, at most as many as its control groups give it time for.

    >>> available_threads() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, math.ceil(min(count, time_quota())))


@cache
def time_quota(own: Path = _OWN, mount: Path = _MOUNT) -> float:
    """Processors' worth of time that Linux' control groups of either version allow; infinite without any."""
    quota = math.inf
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, inside = line.split(":", 2)
            if not controllers:
                folder, read = mount, _quota_of_version_2
            elif "cpu" in controllers.split(","):
                folder, read = mount / "cpu", _quota_of_version_1
            else:
                continue
            # A limit of a group holds for all groups in it; in a container the path may be the host's.
            parts = Path(inside.lstrip("/")).parts
            for depth in range(len(parts) + 1):
                quota = min(quota, read(folder.joinpath(*parts[:depth])))
    return quota


def _quota_of_version_2(folder: Path) -> float:
    with suppress(OSError, ValueError):
        most, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return _ratio(most, period)
    return math.inf


def _quota_of_version_1(folder: Path) -> float:
    with suppress(OSError, ValueError):
        most = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
        return _ratio(most, (folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    return math.inf


def _ratio(most: str, period: str) -> float:
    """`most / period`; no limit is "max" in version 2 and -1 in version 1."""
    if most.strip() == "max" or int(most) <= 0 or int(period) <= 0:
        return math.inf
    return int(most) / int(period)
