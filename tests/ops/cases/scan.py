"""Rows for `tracejit.ops.scan`."""

from typing import Any

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops import scan

X, CUBE, ROW = normal(3, 4), normal(2, 3, 4), normal(5)
Y = normal(3, 4, seed=1)
ZEROS = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
ONE_ZERO = np.array([2.0, 0.0, 3.0, 4.0])


def _recurrence(axis: int, reverse: bool) -> Any:
    return lambda a, b: scan.linear_recurrence(a, b, axis=axis, reverse=reverse)


def _recurrence_by_loop(axis: int, reverse: bool) -> Any:
    def run(a: Any, b: Any) -> Any:
        order = np.flip if reverse else lambda x, axis: x
        a, b = (np.moveaxis(order(x, axis), axis, 0) for x in (a, b))
        states, state = [], np.zeros_like(b[0])
        for push, factor in zip(b, a, strict=True):
            states.append(state)
            state = factor * state + push
        return order(np.moveaxis(np.stack(states), 0, axis), axis)

    return run


def _before(axis: int, reverse: bool) -> Any:
    return lambda x: scan.exclusive_cumprod(x, axis=axis, reverse=reverse)


def _before_by_cumprod(axis: int, reverse: bool) -> Any:
    def run(x: Any) -> Any:
        order = np.flip if reverse else lambda x, axis: x
        x = np.moveaxis(order(x, axis), axis, 0)
        products = np.cumprod(np.concatenate([np.ones_like(x[:1]), x[:-1]]), axis=0)
        return order(np.moveaxis(products, 0, axis), axis)

    return run


CASES: list[Case] = [
    Case("cumsum", lambda x: np.cumsum(x, axis=1), (X,)),
    Case("cumsum", lambda x: np.cumsum(x, axis=-2), (X.astype("f4"),), label="f32"),
    Case("cumsum", np.cumsum, (CUBE,), label="flat"),
    Case("cumsum", np.cumsum, (np.array(2.0),), label="rank-0"),
    Case("cumsum", lambda x: np.cumsum(x, axis=0), (np.zeros((0, 3)),), label="empty"),
    Case("cumsum", lambda x: np.cumsum(x, axis=0), (normal(1, 3),), label="size-1"),
    Case(
        "cumsum", lambda x: np.cumsum(x, axis=0), (integers(-9, 9, 3, 4, dtype="i4"),), order=0, label="i32"
    ),
    Case(
        "cumsum",
        lambda x: scan.running_sum(x, axis=1, reverse=True),
        (CUBE,),
        expected=lambda x: np.flip(np.cumsum(np.flip(x, 1), 1), 1),
        label="reverse",
    ),
    *(
        Case(
            "linear_recurrence",
            _recurrence(axis, reverse),
            args,
            expected=_recurrence_by_loop(axis, reverse),
            label=f"{label}-{'reverse' if reverse else 'forward'}",
        )
        for reverse in (False, True)
        for label, axis, args in (
            ("rows", 1, (X, Y)),
            ("columns", 0, (X, Y)),
            ("vector", 0, (ROW, ROW[::-1].copy())),
            ("f32", 0, (X.astype("f4"), Y.astype("f4"))),
            ("zeros", 0, (ZEROS, ROW)),
            ("size-1", 0, (X[:1], Y[:1])),
        )
    ),
    *(
        Case(
            "exclusive_cumprod",
            _before(axis, reverse),
            (x,),
            expected=_before_by_cumprod(axis, reverse),
            label=f"{label}-{'reverse' if reverse else 'forward'}",
        )
        for reverse in (False, True)
        for label, axis, x in (
            ("rows", 1, X),
            ("cube", 1, CUBE),
            ("zeros", 0, ZEROS),
            ("f32", 0, X.astype("f4")),
        )
    ),
    Case("exclusive_cumprod", lambda x: np.cumprod(x, axis=1), (X,), label="cumprod"),
    Case("exclusive_cumprod", np.cumprod, (X.astype("f4"),), label="cumprod-f32"),
    Case(
        "exclusive_cumprod",
        np.cumprod,
        (ONE_ZERO,),
        gradients=(np.array([1.0, 2 + 6 + 24, 0, 0]),),
        label="cumprod-zero",
    ),
    Case("exclusive_cumprod", np.cumprod, (ZEROS,), label="cumprod-zeros"),
    Case("exclusive_cumprod", np.cumprod, (np.zeros(0),), label="cumprod-empty"),
    Case("exclusive_cumprod", np.cumprod, (np.array(2.0),), label="cumprod-rank-0"),
    Case("exclusive_cumprod", np.cumprod, (integers(-3, 4, 5, dtype="i4"),), order=0, label="cumprod-i32"),
]
