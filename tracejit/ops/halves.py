"""The way in and out of float32 for the floats of two bytes, float16 and bfloat16.

The pass `widen_halves` puts these two around arithmetic, when all derivatives have been taken: no user and no
rule emits them, and they have no derivatives of their own. A kernel knows such a number only as its 16 bits:
the bodies name the scalar functions that make a float32 of them and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import Kind, Primitive
from tracejit.ops.tables import register

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)

widen_p = register(
    Primitive(
        "widen",
        Kind.ELEMENTWISE,
        infer=lambda t, source: t.with_dtype(F32),
        evaluate=lambda x, source: np.asarray(x).astype(F32),
        body=lambda s, x, source: s.make(f"read_{source}", x, dtype=F32),
    )
)


def _narrow_body(s: Any, x: Any, dtype: np.dtype[Any]) -> Any:
    """Rounded once: what float32 does not hold goes there with its last bit set where anything is lost."""
    if x.dtype.kind in "iu" and x.dtype.itemsize > 2:
        x = s.cast(x, F64)
    x = s.make("odd_f32", x, dtype=F32) if x.dtype == F64 else s.cast(x, F32)
    return s.make("write_f16" if dtype.kind == "f" else "write_bf16", x, dtype=np.uint16)


narrow_p = register(
    Primitive(
        "narrow",
        Kind.ELEMENTWISE,
        infer=lambda t, dtype: t.with_dtype(dtype),
        evaluate=lambda x, dtype: np.asarray(x).astype(dtype),
        body=_narrow_body,
        cost=2,
    )
)
