"""Arrays of one number in the likeness of another, and copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ops.arithmetic import full
from tracejit.ops.axes import is_default, refuse, static_ints
from tracejit.ops.core import broadcast_to, convert
from tracejit.ops.joining import array
from tracejit.ops.shape import settle_dtype, shape_of, strong
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value, capture


def _likeness(
    name: str, a: Any, dtype: Any, order: Any, shape: Any, device: Any
) -> tuple[Any, np.dtype[Any]]:
    """The shape and dtype of the result; the values of `a` are never read."""
    refuse(name, "order", order, "K", "C", "A")
    refuse(name, "device", device, "cpu")
    own = a.dtype if isinstance(a, Value) else np.asarray(a).dtype
    sizes = shape_of(a) if is_default(shape) else static_ints(shape, f"{name}: shape")
    return sizes, settle_dtype(dtype, own, name)


@implements(np.zeros_like, np.empty_like)
def zeros_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Value:
    """`np.zeros_like` and `np.empty_like`: zeros."""
    sizes, kind = _likeness("zeros_like", a, dtype, order, shape, device)
    return full(sizes, 0, kind)


@implements(np.ones_like)
def ones_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Value:
    """`np.ones_like`: ones."""
    sizes, kind = _likeness("ones_like", a, dtype, order, shape, device)
    return full(sizes, 1, kind)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Value:
    """`np.full_like`: `fill_value`, a number or an array that broadcasts."""
    sizes, kind = _likeness("full_like", a, dtype, order, shape, device)
    fill = as_value(fill_value) if isinstance(fill_value, (bool, int, float)) else array(fill_value)
    return broadcast_to(convert(fill, kind), sizes)


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Value:
    """`np.copy`: values never change, so the value itself; a concrete array is read as it is at each call."""
    refuse("copy", "order", order, "K", "C", "A")
    return capture(a) if isinstance(a, np.ndarray) else strong(array(a, what="copy"))
