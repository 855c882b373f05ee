"""Random stencils for the laws: layers of shifted sums and functions of them, and the gradient of a loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schedule.random_graphs import FLOATS, INEXACT, Choose, Growing, Program, value_and_gradients
from tracejit.ir import building, verify
from tracejit.ops import NUMPY, Value
from tracejit.ops.core import convert
from tracejit.ops.indexing import getitem
from tracejit.ops.slicing import unslice

N = NUMPY


def random_stencil(choose: Choose, second: bool = False) -> Program | None:
    """Value and gradients (and, if `second`, the gradient of a sum of these) of one to three layers."""
    g = Growing(choose)
    rank = g.pick((2, 2, 2, 3, 1))
    sizes = (1, 2, 3, 4, 5, 7, 9, 17, 20) if rank < 3 else (1, 2, 3, 5, 6)
    shape = tuple(g.pick(sizes) for _ in range(rank))
    with building(g.builder):
        x = g.add_input(g.pick((FLOATS[0], FLOATS[0], FLOATS[1])), shape).value
        terms: list[Any] = []
        for _ in range(1 + choose(3)):
            x = _layer(g, x)
            if choose(3) == 0:
                terms.append(N[np.sum](x))
        weights = [x, _function(g, x)][choose(2)]
        loss: Any = N[np.sum](_function(g, weights))
        for term in terms:
            loss = loss + term
        graph = g.builder.finish([convert(loss, np.float64).atom])
    wrt = [k for k, v in enumerate(graph.inputs) if v.type.is_float]
    program = Program(value_and_gradients(graph, wrt), g.arrays, g.tags)
    return _gradient_of_sum(program, wrt) if second else program


def stencil_of(seed: int, second: bool = False) -> Program | None:
    """The one of a seed."""
    rng = np.random.default_rng(seed)
    return random_stencil(lambda n: int(rng.integers(n)), second)


def _gradient_of_sum(program: Program, wrt: list[int]) -> Program:
    """Of the sines of all results: a gradient that is differentiated again."""
    g = Growing(lambda n: 0)
    with building(g.builder):
        inputs = [g.builder.add_input(v.type) for v in program.graph.inputs]
        found = [Value(g.builder, a) for a in g.builder.inline(program.graph, inputs)]
        loss: Any = 0.0
        for value in found:
            loss = loss + N[np.sum](N[np.sin](value * 0.1))
        graph = verify(g.builder.finish([convert(loss, np.float64).atom]))
    return Program(value_and_gradients(graph, wrt), program.arrays, program.tags)


def _layer(g: Growing, x: Value) -> Value:
    """A function of a sum of the same piece of `x` at several offsets, perhaps in a field of zeros."""
    halo = [g.choose(3) if n > 2 else 0 for n in x.shape]
    total: Any = 0.0
    for _ in range(2 + g.choose(4)):
        key = []
        for n, h in zip(x.shape, halo, strict=True):
            start = g.choose(h + 1)
            key.append(slice(start, n - h + start))
        part: Any = getitem(x, tuple(key))
        total = total + g.pick((1.0, -2.0, 0.5)) * (_function(g, part) if g.choose(4) == 0 else part)
    result = _function(g, total)
    if g.choose(4) == 0:
        result = result * getitem(N[np.cos](x), tuple(slice(h, None) for h in halo))
    if g.choose(4) == 0:
        starts = tuple(g.choose(3) for _ in result.shape)
        shape = tuple(n + s + g.choose(3) for n, s in zip(result.shape, starts, strict=True))
        result = unslice(result, shape=shape, starts=starts, steps=(1,) * len(shape))
    g.add("layer", result, INEXACT)
    return result


def _function(g: Growing, x: Any) -> Any:
    kind = g.choose(7)
    if kind == 0:
        return N[np.tanh](x)
    if kind == 1:
        return N[np.sqrt](x * x + 0.5)
    if kind == 2:
        return N[np.exp](-x * x)
    if kind == 3:
        return x * x
    if kind == 4:
        return N[np.where](x > 0.125, x, 0.5 * x)
    return x
