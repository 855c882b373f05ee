"""Calls of `tracejit.ops.contraction`."""

from typing import Any

import numpy as np

from tests.ops.conformance.elementwise_operands import NUMBERS, Call, operand

DTYPES = (*NUMBERS, "?")


def _f(*shape: int, seed: int = 0) -> Any:
    return operand("f8", seed, shape=shape)


# Shapes of two operands of a matrix product.
MATMUL: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 5, 2, 3), (6, 1, 3, 4)),
    ((1, 5, 2, 3), (6, 1, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((1, 1, 2, 3), (1, 3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((0, 2, 3), (3, 4)),
    ((1, 3), (3, 1)),
    ((2, 1), (1, 4)),
)
DOT = (((), ()), ((), (3,)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((3,), (5, 3, 4)))
DOT += (((5, 2, 3), (6, 3, 4)), ((5, 2, 3), (3,)), ((0,), (0,)))
INNER = (((), (3,)), ((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((5, 2, 3), (4, 3)))
VECDOT = (((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((5, 1, 3), (2, 3)), ((2, 0), (2, 0)))
MATVEC = (((2, 3), (3,)), ((5, 2, 3), (3,)), ((2, 3), (5, 3)), ((5, 2, 3), (5, 3)))


def _binary(name: str, shapes: Any) -> list[Call]:
    return [
        (
            f"{name}-{a}-{b}",
            lambda np, x, y, name=name: getattr(np, name)(x, y),
            (_f(*a), _f(*b, seed=1)),
        )
        for a, b in shapes
    ]


def _dtypes(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> list[Call]:
    rows: list[Call] = [
        (
            f"{name}-{d}",
            lambda np, x, y, name=name: getattr(np, name)(x, y),
            (operand(d, shape=a), operand(d, 1, shape=b)),
        )
        for d in DTYPES
    ]
    rows += [
        (
            f"{name}-{d}-{e}",
            lambda np, x, y, name=name: getattr(np, name)(x, y),
            (operand(d, shape=a), operand(e, 1, shape=b)),
        )
        for d, e in (("f4", "f8"), ("i4", "f4"), ("u1", "i8"), ("?", "f4"))
    ]
    return rows


M, N = _f(2, 3), _f(3, 4, seed=1)
CALLS: list[Call] = [
    *_binary("matmul", MATMUL),
    *_binary("dot", DOT),
    *_binary("inner", INNER),
    *_binary("vdot", (((3,), (3,)), ((2, 3), (3, 2)), ((), ()), ((0,), (0,)))),
    *_binary("outer", (((3,), (4,)), ((2, 3), (4,)), ((), (3,)), ((0,), (3,)))),
    *_binary("vecdot", VECDOT),
    *_binary("kron", (((2, 3), (2, 2)), ((2, 3), (2,)), ((2,), (2, 3)), ((), (3,)), ((2, 1, 2), (3, 2)))),
    *_binary("tensordot", (((2, 3, 4), (3, 4, 5)), ((3, 4), (3, 4)))),
    *(_binary("matvec", MATVEC) if hasattr(np, "matvec") else []),
    *_dtypes("matmul", (2, 3), (3, 4)),
    *_dtypes("dot", (2, 3), (3,)),
    *_dtypes("vdot", (3,), (3,)),
    *_dtypes("inner", (2, 3), (4, 3)),
    *_dtypes("outer", (2,), (3,)),
    *_dtypes("kron", (2, 2), (2, 3)),
    *_dtypes("vecdot", (2, 3), (3,)),
    ("matmul-operator", lambda np, x, y: x @ y, (M, N)),
    ("matmul-operator-array-left", lambda np, y: np.ones((2, 3)) @ y, (N,)),
    ("matmul-transposed", lambda np, x, y: y.T @ x.T, (M, N)),
    ("matmul-dtype", lambda np, x, y: np.matmul(x, y, dtype=np.float64), (M.astype("f4"), N.astype("f4"))),
    ("matmul-list", lambda np, x: np.matmul(x, [1, 2, 3]), (M.astype("f4"),)),
    ("dot-python-number", lambda np, x: np.dot(x, 2.0), (M,)),
    ("dot-method", lambda np, x, y: x.dot(y), (M, N)),
    ("linalg.vecdot-axis", lambda np, x, y: np.linalg.vecdot(x, y, axis=0), (M, M)),
    ("linalg.vecdot", lambda np, x, y: np.linalg.vecdot(x, y), (M, M)),
    ("linalg.matmul", lambda np, x, y: np.linalg.matmul(x, y), (M, N)),
    ("linalg.outer", lambda np, x, y: np.linalg.outer(x, y), (M[0], N[0])),
    ("linalg.tensordot", lambda np, x, y: np.linalg.tensordot(x, y, axes=1), (M, N)),
    ("tensordot-0", lambda np, x, y: np.tensordot(x, y, 0), (M, N)),
    ("tensordot-0-scalar", lambda np, x, y: np.tensordot(x, y, 0), (np.array(2.0), N)),
    ("tensordot-1", lambda np, x, y: np.tensordot(x, y, axes=1), (M, N)),
    (
        "tensordot-pairs",
        lambda np, x, y: np.tensordot(x, y, axes=([1, 0], [0, 1])),
        (_f(3, 4, 5), _f(4, 3, 2, seed=1)),
    ),
    (
        "tensordot-negative",
        lambda np, x, y: np.tensordot(x, y, axes=(-1, -2)),
        (_f(2, 3, 4), _f(5, 4, 2, seed=1)),
    ),
    (
        "tensordot-i32",
        lambda np, x, y: np.tensordot(x, y, 1),
        (operand("i4"), operand("i4", 1, shape=(4, 2))),
    ),
    ("multiply.outer", lambda np, x, y: np.multiply.outer(x, y), (M, N[0])),
]
if hasattr(np, "vecmat"):
    CALLS += _binary("vecmat", (((3,), (3, 4)), ((5, 3), (3, 4)), ((3,), (5, 3, 4)), ((5, 3), (5, 3, 4))))
