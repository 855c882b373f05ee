"""Rows for `tracejit.ops.joining`: concatenate, and what is built on it."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops.joining import concatenate_op

X, Y, V, W = normal(3, 4), normal(2, 4, seed=1), normal(5), normal(3, seed=2)

CASES: list[Case] = [
    Case("concatenate", lambda x, y: np.concatenate([x, y]), (X, Y)),
    Case("concatenate", lambda x, y: np.concatenate([x, y], axis=-1), (X, normal(3, 1)), label="last-axis"),
    Case("concatenate", lambda x, y: np.concatenate([x, y, x]), (V, W), label="three-one-twice"),
    Case("concatenate", lambda x, y: np.concatenate([x, y], axis=None), (X, V), label="flattened"),
    Case(
        "concatenate",
        lambda *parts: concatenate_op(*parts, axis=0),
        (normal(0, 4), Y, normal(0, 4), X, normal(0, 4)),
        expected=lambda *parts: np.concatenate(parts),
        label="some-empty",
    ),
    Case(
        "concatenate",
        lambda *parts: concatenate_op(*parts, axis=0),
        (normal(0, 4), normal(0, 4)),
        expected=lambda *parts: np.concatenate(parts),
        label="all-empty",
    ),
    Case("concatenate", lambda x, y: np.concatenate([x, y]), (V.astype("f4"), W), label="f32-f64"),
    Case("concatenate", lambda x, y: np.concatenate([x, y]), (V, integers(0, 9, 3)), label="f64-i64"),
    Case("concatenate", lambda x, y: np.concatenate([x, y]), (V > 0, W > 0), order=0, label="bool"),
    Case("concatenate", lambda x: np.concatenate([x, np.ones(2)]), (V,), label="with-constant"),
    Case("concatenate", lambda x, y: np.stack([x, y], axis=1), (W, normal(3, seed=3)), label="stack"),
    Case("concatenate", lambda x, y: np.stack([x, y]), (normal(), normal(seed=1)), label="stack-numbers"),
    Case("concatenate", lambda x: np.roll(x, 2), (V,), label="roll"),
    Case("concatenate", lambda x: np.roll(x, (1, -1), axis=(0, 1)), (X,), label="roll-axes"),
    Case("concatenate", lambda x: np.pad(x, (1, 2), mode="edge"), (V,), label="pad-edge"),
    Case("concatenate", lambda x: np.pad(x, 2, mode="reflect"), (X,), label="pad-reflect"),
    Case("concatenate", lambda x: np.pad(x, 2, mode="symmetric"), (X,), label="pad-symmetric"),
    Case("concatenate", lambda x: np.pad(x, 2, mode="wrap"), (X,), label="pad-wrap"),
    Case("concatenate", lambda x, c: np.pad(x, 1, constant_values=c), (V, normal()), label="pad-traced"),
    Case("concatenate", lambda x: np.delete(x, 2), (V,), label="delete"),
    Case("concatenate", lambda x: np.diff(x, prepend=0.0), (V,), label="diff-prepend"),
]
