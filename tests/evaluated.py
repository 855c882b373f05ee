"""A fixture for tests that are not about kernels: graphs run in NumPy, equation by equation, and compile
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tracejit.ir import Graph, evaluate, verify


def evaluate_graph(graph: Graph, fuse: bool = True, **settings: Any) -> Callable[[Sequence[Any]], list[Any]]:
    """Stands in for `compile_graph`: the reference, with fresh arrays out and the arguments checked."""
    verify(graph)

    def run(arrays: Sequence[Any]) -> list[Any]:
        given = [np.asarray(a, dtype=v.type.dtype) for a, v in zip(arrays, graph.inputs, strict=True)]
        for array, var in zip(given, graph.inputs, strict=True):
            assert array.shape == var.type.shape
        with np.errstate(all="ignore"):
            outputs = evaluate(graph, given)
        return [
            np.array(np.broadcast_to(out, atom.type.shape), dtype=atom.type.dtype)
            for out, atom in zip(outputs, graph.outputs, strict=True)
        ]

    return run


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracejit.compile.compile_graph", evaluate_graph)
