"""Equation counts of the first three derivatives of an MLP's loss, as derived and after the passes.

Run `python -m benchmarks.equation_counts`. Counts are exact and the same on every machine; tests bound them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.frontend import argument_of, trace
from tracejit.ir import Graph
from tracejit.passes import optimize, simplify_graph
from tracejit.transforms import vjp_graph


@dataclass(frozen=True)
class Count:
    """Equations of the derivative of one order: as derived, simplified, and through the whole pipeline."""

    order: int
    derived: int
    simplified: int
    optimized: int


def mlp_loss(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    """The mean squared error of a network of two layers, tanh between them."""
    hidden = np.tanh(x @ w1 + b1)
    error = hidden @ w2 + b2 - y
    return np.mean(error * error)


def mlp_graph(batch: int = 128, inputs: int = 32, hidden: int = 64) -> Graph:
    """The loss as a graph; parameters are its first four inputs."""
    shapes = [(inputs, hidden), (hidden,), (hidden, 8), (8,), (batch, inputs), (batch, 8)]
    return trace(mlp_loss, [argument_of(np.zeros(s)) for s in shapes], "mlp_loss").graph


def gradient(graph: Graph) -> Graph:
    """The gradient of `graph` in the parameters; cotangents of its outputs are further inputs."""
    derived = vjp_graph(graph, (0, 1, 2, 3))
    return Graph(derived.inputs, derived.eqns, derived.outputs[len(graph.outputs) :], derived.name)


def equation_counts(orders: int = 3, between: bool = True) -> list[Count]:
    """Counts for each order; `between` simplifies the graph before the next derivative is taken."""
    graph, counts = mlp_graph(), []
    for order in range(1, orders + 1):
        derived = gradient(graph)
        simplified, optimized = simplify_graph(derived), optimize(derived)
        counts.append(Count(order, len(derived.eqns), len(simplified.eqns), len(optimized.eqns)))
        graph = simplified if between else derived
    return counts


def main() -> None:
    """Print the counts, with and without simplification between derivatives."""
    argparse.ArgumentParser(prog="python -m benchmarks.equation_counts", description=__doc__).parse_args()
    for between in (True, False):
        print(f"{'simplified' if between else 'not simplified'} between derivatives")
        for c in equation_counts(between=between):
            print(f"  order {c.order}: {c.derived:4} derived, {c.simplified:4} simplified, ", end="")
            print(f"{c.optimized:4} optimized")


if __name__ == "__main__":
    main()
