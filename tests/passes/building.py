"""Graphs from functions on values: tests state a rewrite as the function before and the function after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracejit.ir import Builder, Graph, building, format_graph, verify
from tracejit.ops import Value
from tracejit.ops.reading import read_type
from tracejit.passes.rewriting import drop_dead


def build(function: Callable[..., Any], *types: str) -> Graph:
    """The graph of `function` on values of the given types."""
    builder = Builder("f")
    with building(builder):
        inputs = [Value(builder, builder.add_input(read_type(t))) for t in types]
        result = function(*inputs)
    results = result if isinstance(result, tuple) else (result,)
    return drop_dead(verify(builder.finish([r.atom for r in results])))


def assert_becomes(
    step: Callable[[Graph], Graph], before: Callable[..., Any], after: Callable[..., Any], *types: str
) -> None:
    """`step` makes of `before` exactly what `after` writes down, and of that nothing else."""
    result = verify(step(build(before, *types)))
    assert format_graph(result) == format_graph(build(after, *types))
    assert format_graph(step(result)) == format_graph(result)


def assert_stays(step: Callable[[Graph], Graph], function: Callable[..., Any], *types: str) -> None:
    """`step` leaves the function as it is."""
    assert_becomes(step, function, function, *types)
