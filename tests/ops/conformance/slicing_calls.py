"""Calls of `tracejit.ops.slicing`: basic indexing, flips and splits."""

import numpy as np

from tests.ops.conformance.elementwise_operands import Call, operand

X, CUBE, V = operand("f8"), operand("f8", shape=(2, 3, 4)), operand("f8", shape=(7,))
EMPTY, SCALAR = operand("f8", shape=(0, 3)), operand("f8")[0, 0]
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")

SLICES = [
    slice(start, stop, step)
    for start in (None, 0, 2, -3, 9, -9)
    for stop in (None, 0, 5, -2, 9, -9)
    for step in (None, 2, -1, -3)
]
KEYS = [
    0,
    -1,
    np.int64(1),
    np.array(1),
    (1, 2),
    (1, 2, 3),
    (-1, -1, -1),
    ...,
    None,
    (),
    (..., 1),
    (1, ...),
    (None, 1),
    (..., None),
    (slice(None), None, 1),
    (slice(None), slice(None, None, -1)),
    (..., slice(1, 3)),
    (0, ..., None, -1),
    (slice(1, None), slice(None, None, 2), slice(3, None, -2)),
    (slice(1, 1), 0),
    (None, ..., None, 0),
]

CALLS: list[Call] = [
    *((f"slice-{s}", lambda np, x, s=s: x[s], (V,)) for s in SLICES),
    *((f"basic-{n}", lambda np, x, k=k: x[k], (CUBE,)) for n, k in enumerate(KEYS)),
    *((f"basic-{d}", lambda np, x: x[1:, ::-2], (operand(d),)) for d in DTYPES),
    ("basic-empty", lambda np, x: x[:, 1:], (EMPTY,)),
    ("basic-rank-0", lambda np, x: x[()], (SCALAR,)),
    ("basic-rank-0-new", lambda np, x: x[None, ...], (SCALAR,)),
    *((f"flip-{a}", lambda np, x, a=a: np.flip(x, a), (CUBE,)) for a in (None, 0, -1, (0, 2), (1,))),
    ("flip-rank-0", lambda np, x: np.flip(x), (SCALAR,)),
    ("flip-empty", lambda np, x: np.flip(x), (EMPTY,)),
    ("fliplr", lambda np, x: np.fliplr(x), (CUBE,)),
    ("flipud", lambda np, x: np.flipud(x), (V,)),
    *((f"rot90-{k}", lambda np, x, k=k: np.rot90(x, k), (X,)) for k in (0, 1, 2, 3, -1, 5)),
    *((f"rot90-axes-{k}", lambda np, x, k=k: np.rot90(x, k, axes=(2, 0)), (CUBE,)) for k in (0, 1, 2, 3)),
    *((f"array_split-{n}", lambda np, x, n=n: np.array_split(x, n), (V,)) for n in (1, 2, 3, 9)),
    ("array_split-axis", lambda np, x: np.array_split(x, 3, axis=-1), (CUBE,)),
    *(
        (f"split-{n}", lambda np, x, n=n: np.split(x, n), (V,))
        for n in (7, [2, 5], (3,), [], [5, 2], [-2], [2, 20])
    ),
    ("split-positions", lambda np, x: np.split(x, np.array([1, 4])), (V,)),
    ("split-axis", lambda np, x: np.split(x, 2, axis=2), (CUBE,)),
    ("hsplit", lambda np, x: np.hsplit(x, 2), (X,)),
    ("hsplit-vector", lambda np, x: np.hsplit(x, [2, 3]), (V,)),
    ("vsplit", lambda np, x: np.vsplit(x, 3), (X,)),
    ("dsplit", lambda np, x: np.dsplit(x, [1]), (CUBE,)),
]
