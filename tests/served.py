"""Calls that are served by machine code, told from those that Python serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracejit.runtime.calls import entry

needs_native = pytest.mark.skipif(not entry.HAS_NATIVE_CALLS, reason="objects are laid out in another way")


def warmed(f: Any, *args: Any, **kwargs: Any) -> Any:
    """`f` after the calls that make its plan; checks that there is one."""
    for _ in range(3):
        f(*args, **kwargs)
    assert f._programs._first is not None
    return f


def general(f: Any, *args: Any, **kwargs: Any) -> Any:
    """The call by the general path."""
    return type(f).__call__(f, *args, **kwargs)


def served(f: Any, *args: Any, **kwargs: Any) -> tuple[Any, bool]:
    """The result of a call, and whether machine code served it."""
    before = entry.NATIVE_HITS.value
    result = f(*args, **kwargs)
    return result, entry.NATIVE_HITS.value == before + 1


def same(a: Any, b: Any) -> None:
    """Equal in structure, types and every bit."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.strides, a.flags.owndata) == (
            b.dtype,
            b.shape,
            b.strides,
            b.flags.owndata,
        )
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b or (a != a and b != b)
