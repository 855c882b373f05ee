"""Rows for `tracejit.ops.arithmetic`."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal, uniform
from tracejit.ops import arithmetic

X, Y, POSITIVE = normal(3, 4), normal(3, 4, seed=1), uniform(0.5, 2, 3, 4, seed=2)
I, J = integers(-9, 10, 3, 4), integers(1, 7, 3, 4, seed=1)
B, C = X > 0, Y > 0

BINARY: list[Case] = [
    Case("add", np.add, (X, Y)),
    Case("add", np.add, (X, normal(4, seed=3)), label="row"),
    Case("add", np.add, (normal(3, 1), normal(1, 4, seed=3)), label="size-1"),
    Case("add", np.add, (normal(), normal(seed=1)), label="rank-0"),
    Case("add", np.add, (normal(0, 3), normal(3)), label="empty"),
    Case("add", np.add, (X, 2.5), differentiable=(0,), label="number"),
    Case("add", np.add, (X.astype("f4"), Y.astype("f4")), label="f32"),
    Case("add", np.add, (I, J), order=0, label="i64"),
    Case("add", np.add, (B, C), order=0, label="bool"),
    Case("subtract", np.subtract, (X, Y)),
    Case("subtract", np.subtract, (X, normal(3, 1, seed=3)), label="column"),
    Case("subtract", np.subtract, (I.astype("u1"), J.astype("u1")), order=0, label="u8-wraps"),
    Case("multiply", np.multiply, (X, Y)),
    Case("multiply", np.multiply, (X, X), label="same-operand"),
    Case("multiply", np.multiply, (X.astype("f4"), normal(seed=3)), label="f32-f64-scalar"),
    Case("multiply", np.multiply, (I, J), order=0, label="i64"),
    Case("multiply", np.multiply, (B, C), order=0, label="bool"),
    Case("multiply", np.square, (X,), label="square"),
    Case("divide", np.divide, (X, POSITIVE)),
    Case("divide", np.divide, (X.astype("f4"), POSITIVE.astype("f4")), label="f32"),
    Case("divide", np.divide, (I, J), order=0, label="i64"),
    Case("divide", np.reciprocal, (POSITIVE,), label="reciprocal"),
    Case("floor_divide", np.floor_divide, (3 * X, Y)),
    Case("floor_divide", np.floor_divide, (I, J), order=0, label="i64"),
    Case("floor_divide", np.floor_divide, (I, -J), order=0, label="i64-negative"),
    Case("remainder", np.remainder, (3 * X, Y)),
    Case("remainder", np.remainder, (3 * X.astype("f4"), Y.astype("f4")), label="f32"),
    Case("remainder", np.remainder, (I, J), order=0, label="i64"),
    Case("remainder", np.remainder, (I, -J), order=0, label="i64-negative"),
    Case("fmod", np.fmod, (3 * X, Y)),
    Case("fmod", np.fmod, (I, J), order=0, label="i64"),
    Case("heaviside", np.heaviside, (X, Y)),
    Case(
        "heaviside",
        np.heaviside,
        (np.array([-1.0, 0.0, 2.0]), np.array([0.3, 0.4, 0.5])),
        gradients=(np.zeros(3), np.array([0.0, 1.0, 0.0])),
        label="at-zero",
    ),
]

UNARY: list[Case] = [
    Case("negative", np.negative, (X,)),
    Case("negative", np.negative, (I,), order=0, label="i64"),
    Case("absolute", np.absolute, (X,)),
    Case(
        "absolute",
        np.absolute,
        (np.array([-2.0, 0.0, 2.0]),),
        gradients=(np.array([-1.0, 0.0, 1.0]),),
        label="at-zero",
    ),
    Case("absolute", np.absolute, (I,), order=0, label="i64"),
    Case("absolute", np.absolute, (J.astype("u1"),), order=0, label="u8"),
    Case("absolute", np.fabs, (X,), label="fabs"),
    Case("sign", np.sign, (X,)),
    Case("sign", np.sign, (I,), order=0, label="i64"),
    Case("sign", np.sign, (I.astype("u1"),), order=0, label="u8"),
]

SELECT: list[Case] = [
    Case("fma", arithmetic.fma, (X, Y, normal(3, 4, seed=2)), expected=lambda x, y, z: x * y + z),
    Case("select", np.where, (B, X, Y)),
    Case("select", np.where, (B[0], X, 0.0), differentiable=(1,), label="number"),
    Case("select", np.where, (B, X.astype("f4"), Y.astype("f4")), label="f32"),
    Case("select", np.where, (I, normal(3, 1), normal(4)), label="integer-condition"),
    Case("select", np.where, (B, I, J), order=0, label="i64"),
    Case("select", np.where, (np.array(True), normal(), normal(seed=1)), label="rank-0"),
    Case("select", lambda x: np.where(x > 0, x * x, -x), (X,), label="of-operand"),
]

CASES: list[Case] = BINARY + UNARY + SELECT
