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
            number = int(value)
            text = str(number) if number in (-1, 0, 1) or abs(number) >= 2**62 else self.size(number)
            return f"to_{short}({text})"
        if not np.isfinite(value):
            text = {"inf": "math.inf", "-inf": "-math.inf"}.get(str(float(value)), "math.nan")
        elif value in (-1.0, 0.0, 1.0):
            text = repr(float(value))
        else:
            text = self._float(value)
        return text if dtype == np.float64 else f"to_{short}({text})"

    def check(self, statement: Any) -> int:
        """The number, from 1, under which an index check reports."""
        if statement not in self.checks:
            self.checks.append(statement)
        return self.checks.index(statement) + 1

    def _float(self, value: np.generic) -> str:
        key = (value.dtype.str, value.tobytes())
        if key not in self._constant_names:
            self._constant_names[key] = f"c{len(self.constants)}"
            self.constants.append(float(value))
        return self._use(self._constant_names[key])

    def _use(self, name: str) -> str:
        self.used[name] = None
        return name
