"""Floats of two bytes for tests: the dtypes that are installed, and all of their values."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tracejit.ir import bfloat16

needs_bfloat16 = pytest.mark.skipif(find_spec("ml_dtypes") is None, reason="needs ml_dtypes for bfloat16")
HALVES = [pytest.param("f16", id="float16"), pytest.param("bf16", id="bfloat16", marks=needs_bfloat16)]
each_half = pytest.mark.parametrize("short", HALVES)


def half(short: str) -> np.dtype[Any]:
    """The dtype of a name in the IR's notation."""
    return np.dtype(np.float16) if short == "f16" else bfloat16()


def every_value(short: str) -> Any:
    """All 65,536 values of the dtype."""
    return np.arange(2**16).astype(np.uint16).view(half(short))


def near_ties(short: str) -> Any:
    """float32 numbers at, just below and just above the middle of each two neighbours, and far outside."""
    values = every_value(short).astype(np.float32)
    numbers = np.unique(values[np.isfinite(values)])
    middle = (numbers[1:].astype(float) + numbers[:-1]) / 2
    middle = middle.astype(np.float32)  # exact: one bit more than the two bytes have
    edge = np.float32(65520.0) if short == "f16" else np.float32(np.finfo(np.float32).max)
    rest = np.float32([0.0, -0.0, 1e-45, -1e-45, edge, -edge, np.nextafter(edge, np.float32(0)), np.inf])
    below, above = np.nextafter(middle, np.float32(-np.inf)), np.nextafter(middle, np.float32(np.inf))
    return np.concatenate([numbers, middle, below, above, rest, [np.float32(np.nan)]])


def same_bits(x: Any, y: Any) -> bool:
    """Equal bits, but that one nan is like another."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    nans = np.isnan(x.astype(np.float32)), np.isnan(y.astype(np.float32))
    bits = f"u{x.itemsize}"
    return bool((nans[0] == nans[1]).all() and ((x.view(bits) == y.view(bits)) | nans[0]).all())
