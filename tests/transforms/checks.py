"""Derivatives run and compared: forward against differences, reverse against forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.ir import Atom, Graph, evaluate, verify
from tracejit.transforms import jvp_graph, vjp_graph

# Fourth-order central differences: offsets in steps, and weights.
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))

Arrays = Sequence[Any]


def is_single(graph: Graph) -> bool:
    """Is anything computed in single precision?"""
    atoms = [*graph.inputs, *(e.out for e in graph.eqns)]
    return any(a.type.dtype == np.float32 for a in atoms)


def float_outputs(graph: Graph) -> list[Atom]:
    return [a for a in graph.outputs if a.type.is_float]


def float_inputs(graph: Graph) -> tuple[int, ...]:
    """Positions of the inputs that can be differentiated."""
    return tuple(k for k, v in enumerate(graph.inputs) if v.type.is_float)


def random_like(rng: np.random.Generator, atom: Any) -> Any:
    return rng.standard_normal(atom.type.shape).astype(atom.type.dtype)


def shifted(arrays: Arrays, positions: Sequence[int], steps: Arrays, h: float) -> list[Any]:
    moved = list(arrays)
    for k, step in zip(positions, steps, strict=True):
        moved[k] = (arrays[k] + h * step).astype(arrays[k].dtype)
    return moved


def difference(graph: Graph, arrays: Arrays, positions: Sequence[int], steps: Arrays) -> list[Any]:
    """The derivative of the float outputs along `steps`, by central differences."""
    h = 2e-2 if is_single(graph) else 1e-5
    totals: list[Any] = [0.0 for _ in float_outputs(graph)]
    for offset, weight in STENCIL:
        results = evaluate(graph, shifted(arrays, positions, steps, offset * h))
        floats = [r.astype("f8") for r in results if r.dtype.kind == "f"]
        totals = [t + weight / h * r for t, r in zip(totals, floats, strict=True)]
    return totals


def push(graph: Graph, arrays: Arrays, positions: Sequence[int], tangents: Arrays) -> list[Any]:
    """Tangents of the float outputs."""
    moves = [k in positions for k in range(len(graph.inputs))]
    derived = verify(jvp_graph(graph, moves), "jvp")
    return evaluate(derived, [*arrays, *tangents])[len(graph.outputs) :]


def pull(graph: Graph, arrays: Arrays, positions: Sequence[int], cts: Arrays) -> list[Any]:
    """Cotangents of the inputs at `positions`."""
    derived = verify(vjp_graph(graph, positions), "vjp")
    return evaluate(derived, [*arrays, *cts])[len(graph.outputs) :]


def inner(xs: Arrays, ys: Arrays) -> float:
    return float(sum(np.sum(x.astype("f8") * y.astype("f8")) for x, y in zip(xs, ys, strict=True)))


def assert_close(got: Arrays, expected: Arrays, single: bool = False) -> None:
    """Equal up to the error of a difference."""
    assert len(got) == len(expected)
    tolerance = 2e-3 if single else 2e-7
    for g, e in zip(got, expected, strict=True):
        scale = max(1.0, float(np.max(np.abs(e), initial=0.0, where=np.isfinite(e))))
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * scale)


def assert_adjoint(graph: Graph, arrays: Arrays, positions: Sequence[int], rng: np.random.Generator) -> None:
    """<v, Jvp u> = <vjp v, u>, relative to the size of the terms."""
    tangents = [random_like(rng, graph.inputs[k]) for k in positions]
    cts = [random_like(rng, a) for a in float_outputs(graph)]
    pushed = push(graph, arrays, positions, tangents)
    pulled = pull(graph, arrays, positions, cts)
    size = inner([abs(v) for v in cts], [abs(p) for p in pushed])
    tolerance = (1e-4 if is_single(graph) else 1e-10) * max(1.0, size)
    np.testing.assert_allclose(inner(pulled, tangents), inner(cts, pushed), rtol=0, atol=tolerance)
