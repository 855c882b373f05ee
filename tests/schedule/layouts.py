"""The same numbers in memory in other ways: turned, spread out, repeated, read-only, misaligned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def in_some_layout(x: np.ndarray[Any, Any], choose: Callable[[int], int]) -> np.ndarray[Any, Any]:
    """The same elements, laid out in memory in another way (where a stride is 0, elements repeat)."""
    kind = choose(9)
    if x.ndim == 0 or kind < 2:
        return x
    if kind == 2:
        return np.asfortranarray(x)
    if kind == 3:
        return np.ascontiguousarray(x[::-1])[::-1]
    if kind == 4:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if kind == 5:
        return np.broadcast_to(x[:1], x.shape)
    if kind == 6:
        x.flags.writeable = False
        return x
    if kind == 7:
        raw = np.zeros(x.nbytes + 1, np.uint8)
        moved = raw[1:].view(x.dtype).reshape(x.shape) if x.nbytes else x
        if x.nbytes:
            moved[...] = x
        return moved
    return np.pad(x, 2)[(slice(2, -2),) * x.ndim]
