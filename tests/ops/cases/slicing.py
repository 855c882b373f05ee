"""Rows for `tracejit.ops.slicing`: slice and unslice."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops.slicing import unslice

V, X, CUBE = normal(7), normal(4, 5), normal(2, 3, 4)

SLICE: list[Case] = [
    Case("slice", lambda x: x[1:3], (X,)),
    Case("slice", lambda x: x[:, -2:], (X,), label="last-columns"),
    Case("slice", lambda x: x[::2], (V,), label="step-2"),
    Case("slice", lambda x: x[1:6:3], (V,), label="step-3-inner"),
    Case("slice", lambda x: x[::-1], (V,), label="reversed"),
    Case("slice", lambda x: x[5:0:-2], (V,), label="step-minus-2"),
    Case("slice", lambda x: x[1, ..., ::2], (CUBE,), label="mixed"),
    Case("slice", lambda x: x[2], (V,), label="one-element"),
    Case("slice", lambda x: x[3:3], (V,), label="nothing"),
    Case("slice", lambda x: x[1:], (normal(3, 0),), label="of-empty"),
    Case("slice", lambda x: np.flip(x), (CUBE,), label="flip"),
    Case("slice", lambda x: x[1:] - x[:-1], (V,), label="neighbours"),
    Case("slice", lambda x: x[1:] * x[:-1], (V,), label="products-of-neighbours"),
    Case("slice", lambda x: np.array_split(x, 3)[1], (V,), label="split"),
    Case("slice", lambda x: x[::-2], (V.astype("f4"),), label="f32"),
    Case("slice", lambda x: x[1:, ::-1], (integers(-9, 9, 3, 4),), order=0, label="i64"),
    Case("slice", lambda x: x[1:, ::-1], (X > 0,), order=0, label="bool"),
]

UNSLICE: list[Case] = [
    Case("unslice", lambda x: np.pad(x, 1), (X,)),
    Case("unslice", lambda x: np.pad(x, ((0, 2), (3, 0))), (X,), label="one-sided"),
    Case("unslice", lambda x: np.pad(x, (2, 1)), (normal(0),), label="of-empty"),
    Case("unslice", lambda x: np.pad(x, 2), (normal(1, dtype="f4"),), label="f32"),
    Case("unslice", lambda x: np.pad(x, 1), (integers(-9, 9, 3),), order=0, label="i64"),
    Case(
        "unslice",
        lambda x: unslice(x, shape=(9,), starts=(1,), steps=(3,)),
        (normal(3),),
        expected=lambda x: np.array([0, x[0], 0, 0, x[1], 0, 0, x[2], 0]),
        label="step-3",
    ),
    Case(
        "unslice",
        lambda x: unslice(x, shape=(6, 2), starts=(4, 1), steps=(-2, -1)),
        (normal(2, 2),),
        expected=lambda x: np.array([[0, 0], [0, 0], x[1, ::-1], [0, 0], x[0, ::-1], [0, 0]]),
        label="backwards",
    ),
]

CASES: list[Case] = SLICE + UNSLICE
