"""The reference: a graph run with NumPy, equation by equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir.graph import Atom, Const, Graph, Var
from tracejit.ir.types import computed_dtype, is_half


def evaluate(graph: Graph, args: Sequence[Any]) -> list[Any]:
    """Run `graph` on arrays; `args` match `graph.inputs` in number, shape and dtype.

    What has the dtype float16 or bfloat16 is a float32 inside, and rounded when it leaves.
    """
    env: dict[Var, Any] = {
        v: np.asarray(x).astype(np.float32) if is_half(v.type.dtype) else x
        for v, x in zip(graph.inputs, args, strict=True)
    }

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Const) else env[atom]

    with np.errstate(all="ignore"):
        for eqn in graph.eqns:
            result = eqn.primitive.evaluate(*(read(a) for a in eqn.inputs), **eqn.params)
            env[eqn.out] = np.asarray(result, dtype=computed_dtype(eqn.out.type.dtype))
        return [np.asarray(read(a)).astype(a.type.dtype, copy=False) for a in graph.outputs]
