"""Calls of `tracejit.ops.scan`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import NUMBERS, Call, operand

X, F, I = operand("f8"), operand("f4"), operand("i4")
CUBE = operand("f8", 2, shape=(2, 3, 4))

CALLS: list[Call] = [
    *(
        (f"{name}-{d}", lambda np, x, name=name: getattr(np, name)(x, axis=1), (operand(d),))
        for name in ("cumsum", "cumprod")
        for d in (*NUMBERS, "?")
    ),
    *(
        (f"{name}-axis-{axis}", lambda np, x, name=name, axis=axis: getattr(np, name)(x, axis=axis), (CUBE,))
        for name in ("cumsum", "cumprod")
        for axis in (None, 0, 1, -1)
    ),
    *(
        (
            f"{name}-shape-{shape}",
            lambda np, x, name=name: getattr(np, name)(x),
            (operand("f8", shape=shape),),
        )
        for name in ("cumsum", "cumprod")
        for shape in ((), (0,), (1,), (0, 3), (5,))
    ),
    *(
        (f"{name}-dtype", lambda np, x, name=name: getattr(np, name)(x, axis=0, dtype=np.float64), (F,))
        for name in ("cumsum", "cumprod")
    ),
    ("cumsum-dtype-i4", lambda np, x: np.cumsum(x, dtype=np.int32), (I,)),
    ("cumsum-rank-0-axis", lambda np, x: np.cumsum(x, axis=0), (np.array(2.0),)),
    ("cumsum-nan", lambda np, x: np.cumsum(x), (np.array([1.0, np.nan, 2.0]),)),
    ("cumprod-zeros", lambda np, x: np.cumprod(x), (np.array([2.0, 0.0, np.inf, 3.0]),)),
    ("cumsum-method", lambda np, x: x.cumsum(axis=0), (X,)),
    ("add.accumulate", lambda np, x: np.add.accumulate(x), (X,)),
    ("add.accumulate-axis", lambda np, x: np.add.accumulate(x, axis=-1), (I,)),
    ("multiply.accumulate", lambda np, x: np.multiply.accumulate(x), (F,)),
    ("multiply.accumulate-dtype", lambda np, x: np.multiply.accumulate(x, 1, np.float64), (F,)),
]
if hasattr(np, "cumulative_sum"):
    CALLS += [
        ("cumulative_sum", lambda np, x: np.cumulative_sum(x, axis=1), (X,)),
        ("cumulative_sum-vector", lambda np, x: np.cumulative_sum(x), (X[0],)),
        ("cumulative_sum-initial", lambda np, x: np.cumulative_sum(x, axis=0, include_initial=True), (X,)),
        ("cumulative_prod", lambda np, x: np.cumulative_prod(x, axis=0), (F,)),
        ("cumulative_prod-initial", lambda np, x: np.cumulative_prod(x, axis=1, include_initial=True), (I,)),
    ]
