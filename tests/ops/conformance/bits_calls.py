"""Calls of `tracejit.ops.bits`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import INTEGERS, Call, binary, operand, unary

WIDE = np.array([-(2**63), -1, 0, 1, 2**62, 2**63 - 1])

CALLS: list[Call] = [
    *(row for name in ("bitwise_and", "bitwise_or", "bitwise_xor") for row in binary(name, (*INTEGERS, "?"))),
    *(row for name in ("left_shift", "right_shift", "gcd", "lcm") for row in binary(name, INTEGERS)),
    *unary("invert", (*INTEGERS, "?")),
    *unary("bitwise_count", (*INTEGERS, "i1", "u8")),
    ("bitwise_count-wide", lambda np, x: np.bitwise_count(x), (WIDE,)),
    ("left_shift-too-far", lambda np, x: np.left_shift(x, 64), (operand("i8"),)),
    ("right_shift-too-far", lambda np, x: np.right_shift(x, 70), (operand("i8"),)),
    ("gcd-negative", lambda np, x: np.gcd(x, -6), (operand("i8"),)),
]
