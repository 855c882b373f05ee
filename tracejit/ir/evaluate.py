"""The reference: a graph run with NumPy, equation by equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir.graph import Atom, Const, Graph, Var


def evaluate(graph: Graph, args: Sequence[Any]) -> list[Any]:
    """Run `graph` on arrays; `args` match `graph.inputs` in number, shape and dtype."""
    env: dict[Var, Any] = dict(zip(graph.inputs, args, strict=True))

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Const) else env[atom]

    with np.errstate(all="ignore"):
        for eqn in graph.eqns:
            result = eqn.primitive.evaluate(*(read(a) for a in eqn.inputs), **eqn.params)
            env[eqn.out] = np.asarray(result, dtype=eqn.out.type.dtype)
    return [np.asarray(read(a)) for a in graph.outputs]
