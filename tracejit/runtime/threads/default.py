"""How many threads a call uses that does not say: one number of the process, which may change at any time."""

from __future__ import annotations

import operator
from functools import cache
from typing import SupportsIndex

from tracejit.config import threads_of_environment
from tracejit.errors import ArgumentError
from tracejit.runtime.threads.pool import limit_pool
from tracejit.runtime.threads.processors import available_threads

_chosen: list[int] = []


def get_threads() -> int:
    """Threads that one call may use, where its function was made without `threads=`.

    At first `TRACEJIT_THREADS`, or every processor that this process may run on.

    >>> get_threads() >= 1
    True
    """
    return _chosen[-1] if _chosen else _first()


@cache
def _first() -> int:
    return threads_of_environment() or available_threads()


def set_threads(count: int | None) -> int:
    """Change what `get_threads` says, for functions made before and after; returns what it said until now.

    count: at least 1; None is every processor again. How many threads work never changes a result.
    Raises ArgumentError for anything else.

    >>> before = set_threads(2)
    >>> set_threads(before)
    2
    """
    before = get_threads()
    chosen = available_threads() if count is None else check_threads("set_threads", count)
    _chosen[:] = [chosen]
    limit_pool(chosen)
    return before


def most_threads() -> int:
    """Threads that memory is planned for: a number that is set later may be above it, to no effect."""
    return max(get_threads(), available_threads())


def check_threads(api: str, count: object) -> int:
    """`count`, if it is a number of threads."""
    number = operator.index(count) if isinstance(count, SupportsIndex) and not isinstance(count, bool) else 0
    if number < 1:
        raise ArgumentError(f"{api}: threads must be a whole number of 1 or more, got {count!r}")
    return number
