"""Rows for `tracejit.ops.reduction`, for the statistics composed of it, and for `reduce_sum`."""

from typing import Any

import numpy as np

from tests.ops.cases.case import Case, integers, normal, uniform

X, CUBE = normal(3, 4), normal(2, 3, 4)
F = X.astype("f4")
ROW, ONE, COLUMN = normal(5), normal(1, 3), normal(3, 1)
SCALAR, EMPTY = np.array(1.5), np.zeros((0, 3))
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
ZEROS = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [-1.0, 4.0, 0.5]])
LONG = np.where(np.arange(12) == 7, 0.0, uniform(0.5, 1.5, 12))
MASK = np.array([True, False, True, True])
HOLES = np.array([[1.0, np.nan, 3.0], [np.nan, 2.0, 4.0]])
NAN = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])

SUM = [
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (X,)),
    Case("reduce_sum", lambda x: np.sum(x), (F,), label="f32"),
    Case("reduce_sum", lambda x: np.sum(x, axis=(0, -1), keepdims=True), (CUBE,), label="axes"),
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (ONE,), label="size-1"),
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (EMPTY,), label="empty"),
    Case(
        "reduce_sum", lambda x: np.sum(x, axis=1), (integers(-9, 9, 3, 4, dtype="i4"),), order=0, label="i32"
    ),
    Case("reduce_sum", lambda x: np.sum(x, axis=1), (X > 0,), order=0, label="bool"),
    Case("reduce_sum", lambda x: np.sum(x, axis=1, initial=2.0, where=MASK), (X,), label="where"),
    Case("reduce_sum", lambda x: np.nansum(x, axis=0), (HOLES,), order=0, label="nansum"),
    Case("reduce_sum", lambda x: np.count_nonzero(x, axis=0), (ZEROS,), order=0, label="count-nonzero"),
]

PROD = [
    Case("reduce_prod", lambda x: np.prod(x, axis=1), (X,)),
    Case("reduce_prod", lambda x: np.prod(x, axis=0), (F,), label="f32"),
    Case("reduce_prod", lambda x: np.prod(x, axis=(-1, 0)), (CUBE[:, :2, :2],), label="axes"),
    Case("reduce_prod", lambda x: np.prod(x, axis=0), (ONE,), label="size-1"),
    Case("reduce_prod", lambda x: np.prod(x, axis=0), (EMPTY,), label="empty"),
    Case(
        "reduce_prod",
        lambda x: np.prod(x, axis=1),
        (ZEROS,),
        gradients=(np.array([[6.0, 0, 0], [0, 0, 0], [0, 0, 0], [2, -0.5, -4]]),),
        label="zeros",
    ),
    Case("reduce_prod", lambda x: np.prod(np.stack([x, x + 1])), (LONG,), label="long-with-zero"),
    Case("reduce_prod", lambda x: np.prod(x, axis=0), (normal(12, 2),), label="long"),
    Case(
        "reduce_prod",
        lambda x: np.prod(x, axis=1),
        (integers(-3, 4, 3, 4, dtype="i4"),),
        order=0,
        label="i32",
    ),
    Case("reduce_prod", lambda x: np.prod(x, axis=1, where=MASK), (X,), label="where"),
]


def _extremes() -> list[Case]:
    rows: list[Case] = []
    tied = {
        "max": np.array([[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]),
        "min": np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]),
    }
    for name, f in (("max", np.max), ("min", np.min)):
        op = f"reduce_{name}"
        rows += [
            Case(op, lambda x, f=f: f(x, axis=1), (X,)),
            Case(op, lambda x, f=f: f(x), (F,), label="f32"),
            Case(op, lambda x, f=f: f(x, axis=(0, -1), keepdims=True), (CUBE,), label="axes"),
            Case(op, lambda x, f=f: f(x, axis=0), (ONE,), label="size-1"),
            Case(op, lambda x, f=f: f(x, axis=1), (EMPTY,), label="empty"),
            Case(op, lambda x, f=f: f(x, axis=0), (integers(-9, 9, 3, 4),), order=0, label="i64"),
            Case(op, lambda x, f=f: f(x, axis=1), (TIES,), gradients=(tied[name],), label="ties"),
            Case(op, lambda x, f=f: f(x, axis=1), (NAN,), order=0, label="nan"),
            Case(op, lambda x, f=f: f(x, axis=1, initial=0.25, where=MASK), (X,), label="where"),
            Case(
                op,
                lambda x, name=name: getattr(np, f"nan{name}")(x, axis=0),
                (HOLES,),
                order=0,
                label="nan-skipped",
            ),
        ]
    return rows


def _positions() -> list[Case]:
    rows: list[Case] = []
    for op, f in (("argmax", np.argmax), ("argmin", np.argmin)):
        rows += [
            Case(op, lambda x, f=f: f(x, axis=1), (X,), order=0),
            Case(op, f, (CUBE,), order=0, label="flat"),
            Case(op, lambda x, f=f: f(x, axis=-1, keepdims=True), (TIES,), order=0, label="ties"),
            Case(op, lambda x, f=f: f(x, axis=1), (NAN,), order=0, label="nan"),
            Case(op, lambda x, f=f: f(x, axis=0), (X > 0,), order=0, label="bool"),
            Case(op, f, (SCALAR,), order=0, label="rank-0"),
            Case(op, lambda x, f=f: f(x, axis=1), (EMPTY,), order=0, label="empty"),
        ]
    return rows


def _truths() -> list[Case]:
    rows: list[Case] = []
    for op, f in (("reduce_any", np.any), ("reduce_all", np.all)):
        rows += [
            Case(op, lambda x, f=f: f(x, axis=0), (X > 0,), order=0),
            Case(op, f, (ZEROS,), order=0, label="f64"),
            Case(
                op,
                lambda x, f=f: f(x, axis=(0, 1), keepdims=True),
                (integers(0, 2, 2, 2),),
                order=0,
                label="i64",
            ),
            Case(op, lambda x, f=f: f(x, axis=0), (EMPTY > 0,), order=0, label="empty"),
        ]
    return rows


def _logsumexp(x: Any) -> Any:
    return np.logaddexp.reduce(x, axis=1)


STATISTICS = [
    Case("reduce_sum", lambda x: np.mean(x, axis=0), (X,), label="mean"),
    Case("reduce_sum", np.mean, (F,), label="mean-f32"),
    Case("reduce_sum", lambda x: np.mean(x, axis=-1), (COLUMN,), label="mean-size-1"),
    Case("reduce_sum", np.mean, (np.zeros(0),), order=0, label="mean-empty"),
    Case("reduce_sum", lambda x: np.var(x, axis=1, ddof=1), (X,), label="var"),
    Case("reduce_sum", lambda x: np.var(x), (F,), label="var-f32"),
    Case("reduce_sum", lambda x: np.std(x, axis=0, keepdims=True), (X,), label="std"),
    Case(
        "reduce_sum",
        lambda x: np.std(x, axis=1),
        (np.ones((2, 3)),),
        order=0,
        gradients=(np.zeros((2, 3)),),
        label="std-of-equals",
    ),
    Case("reduce_sum", lambda x, w: np.average(x, axis=1, weights=w), (X, uniform(1, 2, 4)), label="average"),
    Case("reduce_max", lambda x: np.ptp(x, axis=0), (X,), label="ptp"),
    Case("reduce_max", _logsumexp, (X,), label="logsumexp"),
    Case("reduce_max", _logsumexp, (800 + F,), label="logsumexp-large"),
]

CASES: list[Case] = [*SUM, *PROD, *_extremes(), *_positions(), *_truths(), *STATISTICS]
