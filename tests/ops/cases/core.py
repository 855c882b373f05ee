"""Rows for `tracejit.ops.core`: convert, broadcast, reshape, permute, reduce_sum, iota."""

from typing import Any

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops import as_value, emit
from tracejit.ops.core import copy_p
from tracejit.ops.halves import narrow_p, widen_p

X, F = normal(3, 4), normal(3, 4, dtype="f4")
CUBE = normal(2, 3, 4)
I = integers(-9, 10, 3, 4)
FAR = np.array([-2.9, -0.5, 0.5, 2.9])


def converted(dtype: str) -> Any:
    return lambda x: x.astype(dtype)


CONVERT: list[Case] = [
    Case("convert", converted("f4"), (X,), label="f64-f32"),
    Case("convert", converted("f8"), (F,), label="f32-f64"),
    Case("convert", lambda x: (x.astype("f4") * 3).astype("f8"), (X,), label="there-and-back"),
    Case("convert", converted("i8"), (FAR,), order=0, label="truncates"),
    Case("convert", converted("?"), (FAR,), order=0, label="f64-bool"),
    Case("convert", converted("f8"), (I,), order=0, label="i64-f64"),
    Case("convert", converted("u1"), (I,), order=0, label="i64-u8"),
    Case("convert", converted("i4"), (I > 0,), order=0, label="bool-i32"),
    Case("convert", converted("f4"), (normal(),), label="rank-0"),
    Case("convert", converted("f4"), (normal(0, 2),), label="empty"),
]

BROADCAST: list[Case] = [
    Case("broadcast", lambda x: np.broadcast_to(x, (2, 3, 4)), (X,), label="in-front"),
    Case("broadcast", lambda x: np.broadcast_to(x, (3, 4)), (normal(3, 1),), label="size-1"),
    Case("broadcast", lambda x: np.broadcast_to(x, (5, 3, 4)), (normal(1, 1),), label="both"),
    Case("broadcast", lambda x: np.broadcast_to(x, (2, 3)), (normal(),), label="rank-0"),
    Case("broadcast", lambda x: np.broadcast_to(x, (0, 4)), (normal(4),), label="to-empty"),
    Case("broadcast", lambda x: np.broadcast_to(x, (3, 0)), (normal(0),), label="empty"),
    Case("broadcast", lambda x: np.broadcast_to(x, (2, 3)), (normal(3, dtype="f4"),), label="f32"),
    Case("broadcast", lambda x: np.broadcast_to(x, (2, 3, 4)), (I,), order=0, label="i64"),
]

RESHAPE: list[Case] = [
    Case("reshape", lambda x: np.reshape(x, (4, 3)), (X,)),
    Case("reshape", lambda x: np.reshape(x, -1), (CUBE,), label="flat"),
    Case("reshape", lambda x: np.reshape(x, (2, -1)), (CUBE,), label="joined"),
    Case("reshape", lambda x: np.reshape(x, (3, 2, 2)), (X,), label="split"),
    Case("reshape", lambda x: np.reshape(x, (1, 3, 1, 4)), (X,), label="ones-come"),
    Case("reshape", lambda x: np.squeeze(x), (normal(1, 3, 1),), label="ones-go"),
    Case("reshape", lambda x: np.reshape(x, (1, 1)), (normal(),), label="rank-0"),
    Case("reshape", lambda x: np.reshape(x, ()), (normal(1, 1),), label="to-rank-0"),
    Case("reshape", lambda x: np.reshape(x, (0, 7)), (normal(3, 0),), label="empty"),
    Case("reshape", lambda x: np.reshape(x, (6, 2)), (F,), label="f32"),
    Case("reshape", lambda x: np.reshape(x, (6, 2)), (I,), order=0, label="i64"),
]

PERMUTE: list[Case] = [
    Case("permute", lambda x: np.transpose(x), (X,)),
    Case("permute", lambda x: np.transpose(x, (1, 2, 0)), (CUBE,), label="cycle"),
    Case("permute", lambda x: np.swapaxes(x, 0, -1), (CUBE,), label="negative-axes"),
    Case("permute", lambda x: np.transpose(x), (normal(0, 3),), label="empty"),
    Case("permute", lambda x: np.transpose(x), (normal(1, 3),), label="size-1"),
    Case("permute", lambda x: np.transpose(x), (F,), label="f32"),
    Case("permute", lambda x: np.transpose(x), (I,), order=0, label="i64"),
]

REDUCE_SUM: list[Case] = [
    Case("reduce_sum", lambda x: np.sum(x), (X,)),
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (CUBE,), label="first"),
    Case("reduce_sum", lambda x: np.sum(x, axis=-1), (CUBE,), label="last"),
    Case("reduce_sum", lambda x: np.sum(x, axis=(0, 2)), (CUBE,), label="two"),
    Case("reduce_sum", lambda x: np.sum(x, axis=1, keepdims=True), (CUBE,), label="keepdims"),
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (normal(0, 3),), label="empty"),
    Case("reduce_sum", lambda x: np.sum(x, axis=0), (normal(1, 3),), label="size-1"),
    Case("reduce_sum", lambda x: np.sum(x, axis=1), (F,), label="f32"),
    Case("reduce_sum", lambda x: np.sum(x, axis=1), (I,), order=0, label="i64"),
]

# Positions have no operand: they come in where a triangle is cut.
IOTA: list[Case] = [
    Case("iota", lambda x: np.tril(x), (X,), label="rows-and-columns"),
    Case("iota", lambda x: np.triu(x, 1), (normal(2, 3, 3),), label="from-an-offset"),
    Case("iota", lambda x: np.tril(x), (normal(0, 3),), label="empty"),
]

# The schedule copies what must not be shared; no NumPy function does.
COPY: list[Case] = [
    Case("copy", lambda x: emit(copy_p, as_value(x)), (X,), expected=lambda x: x.copy()),
]

# What the pass `widen_halves` puts around arithmetic on floats of two bytes.
HALVES: list[Case] = [
    Case(
        "widen",
        lambda x: emit(widen_p, as_value(x), source="f16"),
        (normal(3, 4, dtype="f2"),),
        order=0,
        expected=lambda x: x.astype("f4"),
    ),
    Case(
        "narrow",
        lambda x: emit(narrow_p, as_value(x), dtype=np.dtype("f2")),
        (X,),
        order=0,
        expected=lambda x: x.astype("f2"),
    ),
]

CASES: list[Case] = HALVES + COPY + CONVERT + BROADCAST + RESHAPE + PERMUTE + REDUCE_SUM + IOTA
