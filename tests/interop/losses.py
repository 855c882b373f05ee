"""Inputs that several tests share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Pair(NamedTuple):
    first: Any
    second: Any


def layouts(x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """A matrix, and parts of it, in every layout that an array can have."""
    readonly = x.copy()
    readonly.flags.writeable = False
    return {
        "C": x,
        "F": np.asfortranarray(x),
        "transposed": x.T,
        "rows": x[::2],
        "columns": x[:, 1::3],
        "reversed": x[::-1, ::-1],
        "one column": x[:, 2],
        "one row": x[1],
        "broadcast": np.broadcast_to(x[:, :1], x.shape),
        "readonly": readonly,
        "no rows": x[:0],
    }
