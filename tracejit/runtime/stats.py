"""Counts of what the library did in this process: traces, compiles and cache hits."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from typing import NamedTuple


class CacheInfo(NamedTuple):
    """What happened since the process started or `cache_clear` was called.

    `hits` are calls and programs served from memory, `disk_hits` programs loaded from object code;
    `compile_seconds` is the time that the `compiles` took together.

    >>> CacheInfo(traces=2).traces
    2
    """

    traces: int = 0
    compiles: int = 0
    hits: int = 0
    disk_hits: int = 0
    compile_seconds: float = 0.0


_lock = threading.Lock()
_info = CacheInfo()

# Calls served without a trace are counted on the way of every call: a count needs no lock and takes 30 ns.
_calls = itertools.count()
_calls_at_reset = 0
record_hit = _calls.__next__

# Calls that compiled code served, which it counts here.
NATIVE_HITS = ctypes.c_int64(0)


def _calls_served() -> int:
    return int(repr(_calls)[len("count(") : -1]) + NATIVE_HITS.value


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
    return _info._replace(hits=_info.hits + _calls_served() - _calls_at_reset)


def reset() -> None:
    """Set every counter to zero."""
    global _info, _calls_at_reset
    with _lock:
        _info = CacheInfo()
        _calls_at_reset = _calls_served()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
