"""Rows for `tracejit.ops.bits`."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal

I, J = integers(-50, 50, 3, 4), integers(-50, 50, 3, 4, seed=1)
U, V = integers(0, 200, 3, 4, dtype="u1"), integers(0, 200, 3, 4, seed=1, dtype="u1")
B, C = normal(3, 4) > 0, normal(3, 4, seed=1) > 0
SHIFTS = integers(0, 8, 3, 4, seed=2)
WIDE = np.array([-(2**63), -1, 0, 1, 2**62, 2**63 - 1])

CASES: list[Case] = [
    *(
        Case(f.__name__, f, (I, J), order=0)
        for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd, np.lcm)
    ),
    *(
        Case(f.__name__, f, (U, V), order=0, label="u8")
        for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    ),
    *(
        Case(f.__name__, f, (B, C), order=0, label="bool")
        for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    ),
    Case("gcd", np.gcd, (np.array([0, 0, 4, -6]), np.array([0, 5, 0, 4])), order=0, label="zeros"),
    Case("lcm", np.lcm, (np.array([0, 0, 4, -6]), np.array([0, 5, 0, 4])), order=0, label="zeros"),
    Case("invert", np.invert, (I,), order=0),
    Case("invert", np.invert, (U,), order=0, label="u8"),
    Case("invert", np.invert, (B,), order=0, label="bool"),
    Case("left_shift", np.left_shift, (I, SHIFTS), order=0),
    Case("left_shift", np.left_shift, (U, SHIFTS.astype("u1")), order=0, label="u8"),
    Case(
        "left_shift", np.left_shift, (np.array([1, 3, -1]), np.array([63, 64, 70])), order=0, label="too-far"
    ),
    Case("right_shift", np.right_shift, (I, SHIFTS), order=0),
    Case("right_shift", np.right_shift, (U, SHIFTS.astype("u1")), order=0, label="u8"),
    Case(
        "right_shift",
        np.right_shift,
        (np.array([8, -8, -1]), np.array([63, 64, 70])),
        order=0,
        label="too-far",
    ),
    Case("bitwise_count", np.bitwise_count, (WIDE,), order=0),
    Case("bitwise_count", np.bitwise_count, (U,), order=0, label="u8"),
    Case("bitwise_count", np.bitwise_count, (I.astype("i1"),), order=0, label="i8"),
]
