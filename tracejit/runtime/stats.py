"""Counts of what the library did in this process: traces, compiles and cache hits."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple


class CacheInfo(NamedTuple):
    """What happened since the process started or `cache_clear` was called.

    `hits` are programs found in memory, `disk_hits` programs loaded from object code; `compile_seconds` is
    the time that the `compiles` took together.
    """

    traces: int = 0
    compiles: int = 0
    hits: int = 0
    disk_hits: int = 0
    compile_seconds: float = 0.0


_lock = threading.Lock()
_info = CacheInfo()


def record(name: str, amount: float = 1) -> None:
    """Add to the counter called `name`, a field of `CacheInfo`.

    >>> before = cache_info().traces
    >>> record("traces")
    >>> cache_info().traces - before
    1
    """
    global _info
    with _lock:
        _info = _info._replace(**{name: getattr(_info, name) + amount})


def cache_info() -> CacheInfo:
    """The counters now.

    >>> isinstance(cache_info().compiles, int)
    True
    """
    return _info


def reset() -> None:
    """Set every counter to zero."""
    global _info
    with _lock:
        _info = CacheInfo()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
