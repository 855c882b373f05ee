"""Where temporaries lie: first gaps in one piece of memory, by when each is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tracejit.codegen.loops import Buffer, nbytes

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def plan_memory(
    lifetimes: Mapping[Buffer, tuple[int, int]], size_of: Callable[[Buffer], int] = nbytes
) -> tuple[dict[Buffer, int], int]:
    """Offsets such that buffers alive at the same time do not overlap, and the bytes that all need.

    lifetimes: the first and the last step that touches a buffer; size_of: its bytes. Big ones come first.
    """
    # What has been placed, by offset: (offset, end, first time, last time), a row each.
    placed = np.empty((4, len(lifetimes)), np.int64)
    offsets: dict[Buffer, int] = {}
    for count, buffer in enumerate(sorted(lifetimes, key=lambda b: -size_of(b))):
        start, end = lifetimes[buffer]
        size = -(-max(size_of(buffer), 1) // ALIGNMENT) * ALIGNMENT
        low, _, born, dies = taken = placed[:, :count]
        offset = offsets[buffer] = _first_gap(taken[:2, (born <= end) & (start <= dies)], size)
        place = np.searchsorted(low, offset)
        placed[:, place + 1 : count + 1] = placed[:, place:count].copy()
        placed[:, place] = (offset, offset + size, start, end)
    return offsets, int(placed[1].max(initial=0))


def _first_gap(taken: Any, size: int) -> int:
    """The least offset at which `size` bytes fit between the ranges `taken`: lows, in order, and highs."""
    low, high = taken
    reached = np.concatenate(([0], np.maximum.accumulate(high)))
    return int(reached[np.argmax(np.append(low, np.iinfo(np.int64).max) - reached >= size)])
