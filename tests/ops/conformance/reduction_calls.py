"""Calls of `tracejit.ops.reduction` and `tracejit.ops.statistics`."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.ops.conformance.elementwise_operands import FLOATS, NUMBERS, Call, operand

DTYPES = (*NUMBERS, "?")
X, F, I, B = operand("f8"), operand("f4"), operand("i4"), operand("?")
CUBE = operand("f8", 2, shape=(2, 3, 4))
ROW_MASK = np.array([True, False, True, True])
HOLES = np.where(operand("?", 3), np.nan, operand("f8", 3))
NO_NUMBER = np.array([[np.nan, 1.0], [np.nan, 2.0]])
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
EDGES = np.array([1.0, np.nan, np.inf, -np.inf, np.nan])
AXES: tuple[Any, ...] = (None, 0, -1, (0, 2), (-1, 0), (), (0, 1, 2))


def _reductions(names: Iterable[str], dtypes: Iterable[str]) -> list[Call]:
    """Every axis, with and without kept dimensions, every dtype, at rank 0, and axes of size 1."""
    rows: list[Call] = []
    for name in names:
        rows += [
            (
                f"{name}-axis-{axis}-{keep}",
                lambda np, x, name=name, axis=axis, keep=keep: getattr(np, name)(x, axis=axis, keepdims=keep),
                (CUBE,),
            )
            for axis in AXES
            for keep in (False, True)
        ]
        rows += [
            (f"{name}-{d}", lambda np, x, name=name: getattr(np, name)(x, axis=1), (operand(d),))
            for d in dtypes
        ]
        rows += [
            (f"{name}-rank-0", lambda np, x, name=name: getattr(np, name)(x), (operand("f8", shape=()),)),
            (
                f"{name}-size-1",
                lambda np, x, name=name: getattr(np, name)(x, 0),
                (operand("f8", shape=(1, 3)),),
            ),
            (f"{name}-edges", lambda np, x, name=name: getattr(np, name)(x), (EDGES,)),
            (f"{name}-whole", lambda np, x, name=name: getattr(np, name)(x), (X,)),
        ]
    return rows


def _empty(names: Iterable[str], axes: Iterable[Any]) -> list[Call]:
    return [
        (
            f"{name}-empty-{axis}",
            lambda np, x, name=name, axis=axis: getattr(np, name)(x, axis=axis),
            (np.zeros((0, 3)),),
        )
        for name in names
        for axis in axes
    ]


def _masked(names: Iterable[str]) -> list[Call]:
    rows: list[Call] = []
    for name in names:
        rows += [
            (
                f"{name}-initial",
                lambda np, x, name=name: getattr(np, name)(x, axis=0, initial=2.5),
                (X,),
            ),
            (
                f"{name}-where-initial",
                lambda np, x, m, name=name: getattr(np, name)(x, axis=1, initial=0, where=m, keepdims=True),
                (X, ROW_MASK),
            ),
            (f"{name}-initial-i32", lambda np, x, name=name: getattr(np, name)(x, initial=2), (I,)),
            (
                f"{name}-initial-f32",
                lambda np, x, name=name: getattr(np, name)(x, initial=np.float64(2)),
                (F,),
            ),
            (
                f"{name}-initial-empty",
                lambda np, x, name=name: getattr(np, name)(x, initial=3.0),
                (np.zeros(0),),
            ),
        ]
    return rows


SUMS: list[Call] = [
    *_reductions(("sum", "prod", "nansum", "nanprod"), DTYPES),
    *_empty(("sum", "prod", "nansum"), (None, 0, 1)),
    *_masked(("sum", "prod")),
    ("sum-where", lambda np, x, m: np.sum(x, where=m), (X, ROW_MASK)),
    ("prod-where", lambda np, x, m: np.prod(x, where=m), (X, ROW_MASK)),
    ("sum-dtype-f32", lambda np, x: np.sum(x, axis=0, dtype=np.float32), (X,)),
    ("sum-dtype-f64", lambda np, x: np.sum(x, dtype="f8"), (F,)),
    ("sum-dtype-int", lambda np, x: np.sum(x, dtype=int), (X,)),
    ("sum-dtype-u8", lambda np, x: np.sum(x, dtype=np.uint8), (I,)),
    ("sum-method", lambda np, x: x.sum(-1, keepdims=True), (X,)),
    ("sum-positional", lambda np, x: np.sum(x, 1), (X,)),
    ("sum-rank-0-axis", lambda np, x: np.sum(x, axis=0), (np.array(3.0),)),
    ("sum-list", lambda np, x, y: np.sum(np.stack([x, y]), axis=0), (X, X)),
    ("prod-of-zeros", lambda np, x: np.prod(x, axis=0), (np.array([[0.0, 2.0], [3.0, 0.0]]),)),
    ("nansum-holes", lambda np, x: np.nansum(x, axis=0), (HOLES,)),
    ("nanprod-holes", lambda np, x: np.nanprod(x, axis=1, keepdims=True), (HOLES,)),
    ("count_nonzero", lambda np, x: np.count_nonzero(x), (I,)),
    ("count_nonzero-axis", lambda np, x: np.count_nonzero(x, axis=1, keepdims=True), (X,)),
    ("count_nonzero-bool", lambda np, x: np.count_nonzero(x, axis=(0, 1)), (B,)),
]

EXTREMES: list[Call] = [
    *_reductions(("max", "min", "amax", "amin", "nanmax", "nanmin"), DTYPES),
    *_reductions(("ptp",), NUMBERS),
    *_empty(("max", "min", "nanmax"), (1,)),
    *_masked(("max", "min")),
    ("nanmax-holes", lambda np, x: np.nanmax(x, axis=1), (HOLES,)),
    ("nanmin-holes", lambda np, x: np.nanmin(x, axis=0, keepdims=True), (HOLES,)),
    ("max-method", lambda np, x: x.max(axis=0), (F,)),
    ("argmax-method", lambda np, x: x.argmax(0), (F,)),
]
for _name in ("argmax", "argmin"):
    EXTREMES += [
        (
            f"{_name}-{label}-{axis}-{keep}",
            lambda np, x, name=_name, axis=axis, keep=keep: getattr(np, name)(x, axis=axis, keepdims=keep),
            (x,),
        )
        for axis in (None, 0, -1)
        for keep in (False, True)
        for label, x in (("ties", TIES), ("i4", I), ("bool", B), ("nan", HOLES), ("cube", CUBE))
    ]
    EXTREMES += [
        (f"{_name}-rank-0", lambda np, x, name=_name: getattr(np, name)(x), (np.array(2.0),)),
        (f"{_name}-rank-0-axis", lambda np, x, name=_name: getattr(np, name)(x, axis=0), (np.array(2.0),)),
        (f"{_name}-edges", lambda np, x, name=_name: getattr(np, name)(x), (EDGES,)),
        (f"{_name}-empty", lambda np, x, name=_name: getattr(np, name)(x, axis=1), (np.zeros((0, 3)),)),
    ]

TRUTH: list[Call] = [
    *_reductions(("any", "all"), DTYPES),
    *_empty(("any", "all"), (None, 0, 1)),
    ("any-where", lambda np, x, m: np.any(x, axis=1, where=m), (B, ROW_MASK)),
    ("all-where", lambda np, x, m: np.all(x, where=m), (B, ROW_MASK)),
    ("all-method", lambda np, x: (x > -9).all(axis=0), (X,)),
]

MEANS: list[Call] = [
    *_reductions(("mean", "var", "std"), DTYPES),
    *_empty(("mean", "var"), (1,)),
    ("mean-dtype-f64", lambda np, x: np.mean(x, dtype=np.float64), (F,)),
    ("mean-dtype-int", lambda np, x: np.mean(x, axis=0, dtype=int), (I,)),
    ("mean-where", lambda np, x, m: np.mean(x, axis=1, where=m), (X, ROW_MASK)),
    ("mean-where-f32", lambda np, x, m: np.mean(x, axis=1, where=m, keepdims=True), (F, ROW_MASK)),
    ("mean-method", lambda np, x: x.mean(axis=-1, keepdims=True), (F,)),
    ("var-ddof", lambda np, x: np.var(x, axis=0, ddof=1), (X,)),
    ("var-ddof-fraction", lambda np, x: np.var(x, ddof=1.5), (X,)),
    ("var-correction", lambda np, x: np.var(x, axis=1, correction=1), (X,)),
    ("var-where", lambda np, x, m: np.var(x, axis=1, where=m, ddof=1), (X, ROW_MASK)),
    ("var-mean", lambda np, x: np.var(x, axis=1, mean=np.mean(x, axis=1, keepdims=True)), (X,)),
    ("var-dtype", lambda np, x: np.var(x, dtype=np.float32), (I,)),
    ("std-ddof", lambda np, x: np.std(x, axis=(0, 1), ddof=1, keepdims=True), (F,)),
    ("std-of-equals", lambda np, x: np.std(x, axis=1), (np.ones((2, 3)),)),
    ("std-method", lambda np, x: x.std(0), (X,)),
    *(
        (
            f"{name}-holes-{axis}",
            lambda np, x, name=name, axis=axis: getattr(np, name)(x, axis=axis),
            (HOLES,),
        )
        for name in ("nanmean", "nanvar", "nanstd")
        for axis in (None, 0, 1)
    ),
    *(
        (f"{name}-{d}", lambda np, x, name=name: getattr(np, name)(x, axis=0, keepdims=True), (operand(d),))
        for name in ("nanmean", "nanvar", "nanstd")
        for d in (*FLOATS, "i4")
    ),
    ("nanvar-ddof", lambda np, x: np.nanvar(x, axis=1, ddof=1), (HOLES,)),
    ("average", lambda np, x: np.average(x), (I,)),
    ("average-axis", lambda np, x: np.average(x, axis=0, keepdims=True), (F,)),
    ("average-weights", lambda np, x, w: np.average(x, axis=1, weights=w), (X, ROW_MASK + 1.0)),
    ("average-weights-i32", lambda np, x, w: np.average(x, axis=-1, weights=w), (I, ROW_MASK + 1)),
    ("average-weights-f32", lambda np, x: np.average(x, weights=x * x), (F,)),
    ("average-weights-all", lambda np, x: np.average(x, axis=0, weights=x * x), (X,)),
    ("average-weights-axes", lambda np, x, w: np.average(x, axis=(2, 0), weights=w), (CUBE, np.ones((4, 2)))),
    ("average-returned", lambda np, x: np.average(x, axis=0, returned=True), (X,)),
    (
        "average-weights-returned",
        lambda np, x, w: np.average(x, axis=1, weights=w, returned=True),
        (X, ROW_MASK + 1.0),
    ),
]

METHODS: list[Call] = [
    *(
        (
            f"{name}.reduce-{d}",
            lambda np, x, name=name: getattr(np, name).reduce(x),
            (operand(d),),
        )
        for name in ("add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "fmax", "fmin")
        for d in DTYPES
    ),
    ("add.reduce-all", lambda np, x: np.add.reduce(x, axis=None), (CUBE,)),
    ("add.reduce-rank-0", lambda np, x: np.add.reduce(x), (np.array(2.0),)),
    ("add.reduce-keep", lambda np, x: np.add.reduce(x, axis=(0, 1), keepdims=True), (CUBE,)),
    ("add.reduce-dtype", lambda np, x: np.add.reduce(x, dtype=np.float64), (F,)),
    ("add.reduce-initial", lambda np, x: np.add.reduce(x, initial=5), (X,)),
    (
        "maximum.reduce-where",
        lambda np, x, m: np.maximum.reduce(x, axis=1, initial=0, where=m),
        (X, ROW_MASK),
    ),
    ("fmax.reduce-holes", lambda np, x: np.fmax.reduce(x, axis=1), (HOLES,)),
    ("bitwise_and.reduce", lambda np, x: np.bitwise_and.reduce(x), (B,)),
    ("bitwise_or.reduce", lambda np, x: np.bitwise_or.reduce(x, axis=1), (B,)),
    *((f"logaddexp.reduce-{d}", lambda np, x: np.logaddexp.reduce(x), (operand(d),)) for d in FLOATS),
    ("logaddexp.reduce-all", lambda np, x: np.logaddexp.reduce(x, axis=None), (1000 * X,)),
    ("logaddexp.reduce-keep", lambda np, x: np.logaddexp.reduce(x, axis=1, keepdims=True), (CUBE,)),
    (
        "logaddexp.reduce-inf",
        lambda np, x: np.logaddexp.reduce(x, axis=0),
        (np.array([[-np.inf, np.inf, 1]] * 2),),
    ),
    ("logaddexp.reduce-empty", lambda np, x: np.logaddexp.reduce(x), (np.zeros((0, 2)),)),
    ("nanmax-no-number", lambda np, x: np.fmax.reduce(x, axis=0), (NO_NUMBER,)),
]

CALLS: list[Call] = [*SUMS, *EXTREMES, *TRUTH, *MEANS, *METHODS]
