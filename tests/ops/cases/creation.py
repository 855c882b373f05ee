"""Rows for `tracejit.ops.creation`: numbers repeated, which is what broadcast does."""

import numpy as np

from tests.ops.cases.case import Case, normal

X = normal(3, 4)

CASES: list[Case] = [
    Case("broadcast", lambda x: x * np.ones_like(x), (X,), label="ones_like"),
    Case("broadcast", lambda x: x + np.zeros_like(x), (X,), label="zeros_like"),
    Case("broadcast", lambda x, c: x * np.full_like(x, c), (X, normal()), label="full_like"),
]
