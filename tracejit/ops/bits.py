"""Bits and whole numbers: logic on bits, shifts, the count of ones, gcd and lcm; none has a derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ops.families import elementwise

bitwise_and = elementwise("bitwise_and", np.bitwise_and, partials=None, body=lambda s, x, y: x & y)
bitwise_or = elementwise("bitwise_or", np.bitwise_or, partials=None, body=lambda s, x, y: x | y)
bitwise_xor = elementwise("bitwise_xor", np.bitwise_xor, partials=None, body=lambda s, x, y: x ^ y)
invert = elementwise("invert", np.invert, partials=None, body=lambda s, x: ~x)
left_shift = elementwise("left_shift", np.left_shift, partials=None, body=lambda s, x, y: s.left_shift(x, y))
right_shift = elementwise(
    "right_shift", np.right_shift, partials=None, body=lambda s, x, y: s.right_shift(x, y)
)
gcd = elementwise("gcd", np.gcd, partials=None, body=lambda s, x, y: s.gcd(x, y), cost=50)
lcm = elementwise("lcm", np.lcm, partials=None, body=lambda s, x, y: s.lcm(x, y), cost=50)


def _count_ones(s: Any, x: Any) -> Any:
    """Sums of neighbours in fields of 2, 4, 8 bits, then of all bytes by one product (Hacker's Delight)."""
    if x.dtype.kind == "i":  # NumPy counts the ones of the magnitude
        x = s.abs(s.cast(x, np.dtype(np.int64)))
    v = s.cast(x, np.dtype(np.uint64))

    def number(n: int) -> Any:
        return s.constant(n, like=v)

    v = v - (s.right_shift(v, number(1)) & number(0x5555555555555555))
    v = (v & number(0x3333333333333333)) + (s.right_shift(v, number(2)) & number(0x3333333333333333))
    v = (v + s.right_shift(v, number(4))) & number(0x0F0F0F0F0F0F0F0F)
    return s.cast(s.right_shift(v * number(0x0101010101010101), number(56)), np.dtype(np.uint8))


bitwise_count = elementwise("bitwise_count", np.bitwise_count, partials=None, body=_count_ones, cost=12)
