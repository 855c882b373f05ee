"""Sizes are data: integers and constants of a trace become named run-time arguments, in order of first use.

Two traces of one function at different sizes print the same text and differ only in the values here.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Symbols:
    """Names for the numbers of one program.

    `literal_limit`: integers up to this magnitude stay in the text.
    """

    def __init__(self, literal_limit: int = 4) -> None:
        self.literal_limit = literal_limit
        self.sizes: list[int] = []
        self.constants: list[float] = []
        self._constant_names: dict[tuple[str, bytes], str] = {}
        self.used: dict[str, None] = {}
        self.checks: list[Any] = []

    def start_kernel(self) -> None:
        """Forget which names were used: each kernel takes only those that its own text has."""
        self.used = {}

    def size(self, n: int) -> str:
        """Text of a non-negative or negative integer."""
        if abs(n) <= self.literal_limit:
            return str(n)
        if n < 0:
            return f"-{self.size(-n)}"
        if n not in self.sizes:
            self.sizes.append(n)
        return self._use(f"s{self.sizes.index(n)}")

    def constant(self, value: np.generic) -> str:
        """Text of a scalar constant: 0, 1 and -1, truth values, inf and nan stay, others become symbols."""
        dtype = value.dtype
        if dtype.kind == "b":
            return str(bool(value))
        short = f"{dtype.kind}{8 * dtype.itemsize}"
        if dtype.kind in "iu":
            text = str(int(value)) if stays_literal(value) else self.size(int(value))
            return f"to_{short}({text})"
        if not np.isfinite(value):
            text = {"inf": "math.inf", "-inf": "-math.inf"}.get(str(float(value)), "math.nan")
        else:
            text = repr(float(value)) if stays_literal(value) else self.float_name(value)
        return text if dtype == np.float64 else f"to_{short}({text})"

    def check(self, statement: Any) -> int:
        """The number, from 1, under which an index check reports."""
        if statement not in self.checks:
            self.checks.append(statement)
        return self.checks.index(statement) + 1

    def float_name(self, value: np.generic) -> str:
        """The name of a float constant, whose value goes into the table."""
        key = (value.dtype.str, value.tobytes())
        if key not in self._constant_names:
            self._constant_names[key] = f"c{len(self.constants)}"
            self.constants.append(float(value))
        return self._use(self._constant_names[key])

    def constant_dtype(self, name: str) -> np.dtype[np.generic]:
        """The type in which a float constant was asked for."""
        return next(np.dtype(kind) for (kind, _), n in self._constant_names.items() if n == name)

    def _use(self, name: str) -> str:
        self.used[name] = None
        return name


def stays_literal(value: np.generic) -> bool:
    """Is a constant part of the text: 0, 1, -1, a truth value, inf, nan, or an integer near 64 bits?

    >>> stays_literal(np.float32(1)), stays_literal(np.float64(0.5)), stays_literal(np.int8(3))
    (True, False, False)
    """
    if value.dtype.kind == "b" or (value.dtype.kind == "f" and not np.isfinite(value)):
        return True
    return value in (-1, 0, 1) or (value.dtype.kind in "iu" and abs(int(value)) >= 2**62)
