"""Calls of `tracejit.ops.arithmetic` and of Python's operators."""

import operator
from typing import Any

import numpy as np

from tests.ops.conformance.elementwise_operands import FLOATS, NUMBERS, Call, binary, operand, unary

X, Y, I, J = operand("f8"), operand("f8", 1, 1), operand("i8"), operand("i8", 1, 1)
F, U, B = operand("f4"), operand("u1", 1, 1), operand("?")

CALLS: list[Call] = [
    *(row for name in ("add", "multiply") for row in binary(name, (*NUMBERS, "?"))),
    *(
        row
        for name in ("subtract", "divide", "floor_divide", "remainder", "fmod")
        for row in binary(name, NUMBERS)
    ),
    *(row for name in ("true_divide", "mod", "divmod") for row in binary(name, ("f8", "i4"))),
    *binary("heaviside", FLOATS),
    *(
        row
        for name in ("negative", "positive", "sign", "square", "conjugate")
        for row in unary(name, NUMBERS)
    ),
    *unary("reciprocal", NUMBERS, low=1),
    *(row for name in ("absolute", "abs", "real", "imag") for row in unary(name, (*NUMBERS, "?"))),
    *unary("fabs", ("f8", "f4", "i8", "i4")),
    ("square-bool", lambda np, x: np.square(x), (B,)),
    ("negative-u8", lambda np, x: np.negative(x), (U,)),
    ("floor-divide-negative", lambda np, x, y: x // -y, (I, J)),
    ("remainder-negative", lambda np, x, y: x % -y, (I, J)),
    ("remainder-negative-float", lambda np, x, y: x % -y, (X, Y)),
    ("heaviside-zero", lambda np, x: np.heaviside(x, 0.5), (np.array([-1.0, -0.0, 0.0, 1.0, np.nan]),)),
]


def _apply(function: Any) -> Any:
    return lambda np, x, y: function(x, y)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _function = getattr(operator, _name)
    CALLS += [
        (f"operator-{_name}-f8", _apply(_function), (abs(X) + 1, Y)),
        (f"operator-{_name}-f4-i4", _apply(_function), (abs(F) + 1, J.astype("i4"))),
        (f"operator-{_name}-i8", _apply(_function), (I, J)),
        (f"operator-{_name}-int", lambda np, x, f=_function: f(x, 2), (F,)),
        (f"operator-{_name}-float", lambda np, x, f=_function: f(x, 2.5), (abs(F),)),
        (f"operator-{_name}-float-of-ints", lambda np, x, f=_function: f(x, 2.5), (abs(I),)),
        (f"operator-{_name}-reflected-int", lambda np, x, f=_function: f(3, x), (J,)),
        (f"operator-{_name}-reflected-float", lambda np, x, f=_function: f(3.5, x), (abs(F) + 1,)),
        (f"operator-{_name}-reflected-array", lambda np, x, f=_function: f(np.ones(4), x), (Y,)),
        (f"operator-{_name}-reflected-scalar", lambda np, x, f=_function: f(np.float64(2), x), (abs(F) + 1,)),
    ]
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _function = getattr(operator, _name)
    CALLS += [
        (f"operator-{_name}", _apply(_function), (X, Y)),
        (f"operator-{_name}-int", lambda np, x, f=_function: f(x, 1), (I,)),
        (f"operator-{_name}-beyond", lambda np, x, f=_function: f(x, 300), (U,)),
        (f"operator-{_name}-reflected", lambda np, x, f=_function: f(np.ones(4), x), (X,)),
    ]
for _name in ("and_", "or_", "xor"):
    _function = getattr(operator, _name)
    CALLS += [
        (f"operator-{_name}-i8", _apply(_function), (I, J)),
        (f"operator-{_name}-bool", _apply(_function), (B, ~B)),
        (f"operator-{_name}-int", lambda np, x, f=_function: f(x, 6), (U,)),
        (f"operator-{_name}-reflected", lambda np, x, f=_function: f(6, x), (I,)),
    ]
for _name in ("lshift", "rshift"):
    _function = getattr(operator, _name)
    CALLS += [
        (f"operator-{_name}", _apply(_function), (I, J)),
        (f"operator-{_name}-int", lambda np, x, f=_function: f(x, 2), (U,)),
        (f"operator-{_name}-reflected", lambda np, x, f=_function: f(1, x), (J,)),
    ]
CALLS += [
    ("operator-neg", lambda np, x: -x, (X,)),
    ("operator-pos", lambda np, x: +x, (I,)),
    ("operator-abs", lambda np, x: abs(x), (F,)),
    ("operator-invert", lambda np, x: ~x, (I,)),
    ("operator-invert-bool", lambda np, x: ~x, (B,)),
    ("operator-divmod", lambda np, x, y: divmod(x, y), (X, Y)),
    ("operator-divmod-reflected", lambda np, x: divmod(7, x), (J,)),
    ("operator-chain-f4", lambda np, x: 2 * x + 1 - x / 3.0, (F,)),
]

WHERE: list[Call] = [
    ("where-values", lambda np, c, x, y: np.where(c, x, y), (B, X, Y)),
    ("where-f4-number", lambda np, c, x: np.where(c, x, 0.0), (B, F)),
    ("where-i4-int", lambda np, c, x: np.where(c, x, 0), (B, I.astype("i4"))),
    ("where-i4-float", lambda np, c, x: np.where(c, x, 0.5), (B, I.astype("i4"))),
    ("where-f4-i4", lambda np, c, x, y: np.where(c, x, y), (B, F, I.astype("i4"))),
    ("where-ints", lambda np, c: np.where(c, 1, 0), (B,)),
    ("where-int-float", lambda np, c: np.where(c, 1, 0.5), (B,)),
    ("where-bools", lambda np, c: np.where(c, True, False), (B,)),
    ("where-integer-condition", lambda np, c, x: np.where(c, x, -x), (I, X)),
    ("where-float-condition", lambda np, c, x: np.where(c, x, -x), (np.array([0.0, 1.0, np.nan, -0.0]), X)),
    ("where-broadcast", lambda np, c, x, y: np.where(c, x, y), (B[:, :1], X[0], Y)),
    ("where-rank-0", lambda np, c, x: np.where(c, x, 0.0), (np.array(True), np.array(2.0))),
    ("where-captured-condition", lambda np, x: np.where(B, x, 0.0), (X,)),
    ("where-empty", lambda np, c, x: np.where(c, x, 0.0), (B[:0], X[:0])),
]
CALLS += WHERE
