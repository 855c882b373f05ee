"""Operands that the elementwise calls share: one small array a dtype, and rows over dtypes."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Call = tuple[str, Callable[..., Any], tuple[Any, ...]]

FLOATS = ("f8", "f4")
INTEGERS = ("i8", "i4", "u1")
NUMBERS = FLOATS + INTEGERS


def operand(
    dtype: str, seed: int = 0, low: float = -3, high: float = 3, shape: tuple[int, ...] = (3, 4)
) -> Any:
    """Numbers between `low` and `high` (from 0 for unsigned integers), or truth values."""
    rng = np.random.default_rng(seed)
    if dtype == "?":
        return rng.random(shape) > 0.5
    if dtype[0] == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    return rng.integers(0 if dtype[0] == "u" else int(low), int(high) + 1, shape).astype(dtype)


def unary(name: str, dtypes: Iterable[str], low: float = -3, high: float = 3) -> list[Call]:
    """`np.<name>` of every dtype, at rank 0, and of nothing."""

    def call(np: Any, x: Any) -> Any:
        return getattr(np, name)(x)

    rows: list[Call] = [(f"{name}-{d}", call, (operand(d, low=low, high=high),)) for d in dtypes]
    first = next(iter(dtypes))
    scalar, empty = operand(first, low=low, high=high, shape=()), operand(first, shape=(0, 3))
    return [*rows, (f"{name}-rank-0", call, (scalar,)), (f"{name}-empty", call, (empty,))]


def binary(name: str, dtypes: Iterable[str], low: float = -3, high: float = 3) -> list[Call]:
    """`np.<name>` of pairs of dtypes, broadcast, with Python and NumPy numbers, at rank 0, and of nothing.

    The second operand is positive, so that division and powers of integers are defined.
    """

    def call(np: Any, x: Any, y: Any) -> Any:
        return getattr(np, name)(x, y)

    def left(dtype: str, *shape: int) -> Any:
        return operand(dtype, 0, low, high, shape)

    def right(dtype: str, *shape: int) -> Any:
        return operand(dtype, 1, 1, high, shape)

    dtypes = tuple(dtypes)
    number = True if dtypes == ("?",) else 2
    rows: list[Call] = [
        (f"{name}-{a}-{b}", call, (left(a, 3, 4), right(b, 4))) for a in dtypes for b in dtypes
    ]
    for d in dtypes:
        known = right(d, 3)
        rows += [
            (f"{name}-{d}-number", lambda np, x: call(np, x, number), (left(d, 3),)),
            (f"{name}-number-{d}", lambda np, y: call(np, number, y), (right(d, 3),)),
            (f"{name}-{d}-captured", lambda np, x, y=known: call(np, x, y), (left(d, 2, 3),)),
        ]
        if d[0] == "f":
            rows.append((f"{name}-{d}-f64-scalar", lambda np, x: call(np, x, np.float64(1.5)), (left(d, 3),)))
    first = dtypes[0]
    return [
        *rows,
        (f"{name}-outer", call, (left(first, 3, 1), right(first, 1, 4))),
        (f"{name}-rank-0", call, (left(first), right(first))),
        (f"{name}-empty", call, (left(first, 0, 3), right(first, 3))),
        (f"{name}-list", lambda np, x: call(np, x, [number, number, number]), (left(first, 2, 3),)),
    ]
