"""The passes in order, and the subset that runs between nested transforms.

1. `erase_markers`: no derivative is taken any more, so `stop_gradient` is its operand; it hides patterns.
2. `widen_halves`: from here on no arithmetic is on float16 or bfloat16, whose casts fuse like any work.
3. `eliminate_common`, `eliminate_dead`: every later pass has less to look at, and counts readers rightly.
4. `fold_constants`, `simplify`: what is left is work; chains of views are merged, so that the passes below
   meet one view where there were several.
5. `lower_contractions` brings broadcasts, products and sums into the open; `sink_broadcasts` then works on
   those too.
6. `embed_sums` takes sums over slices to where their gradients are; `push_views` comes last of those that
   move: views settle on inputs, reductions and calls.
7. `fold_constants`, `simplify`, `eliminate_common`, `eliminate_dead` clear up what the movers leave;
   `factor_sums` and `contract_derivatives` come before the last two, when sums have found their form, and
   `scale_products` takes up the factors that are left beside contractions. `checkpoint_loops` joins steps of
   loops whose bodies are as they will be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tracejit.config import AUTO, Choices
from tracejit.ir import Eqn, Graph, Kind, verify
from tracejit.passes.checkpoint_loops import checkpoint_loops
from tracejit.passes.contract import contract_derivatives
from tracejit.passes.cse import eliminate_common
from tracejit.passes.dce import eliminate_dead
from tracejit.passes.embed_sums import embed_sums
from tracejit.passes.erase_markers import erase_markers
from tracejit.passes.factor_sums import factor_sums
from tracejit.passes.fold_constants import FOLDING, fold_constants
from tracejit.passes.lower_contractions import lower_contractions
from tracejit.passes.push_views import push_views
from tracejit.passes.rewriting import rewrite_to_end
from tracejit.passes.scale_products import scale_products
from tracejit.passes.simplify import SIMPLIFICATION, simplify
from tracejit.passes.sink_broadcasts import sink_broadcasts
from tracejit.passes.widen_halves import widen_halves

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    erase_markers,
    widen_halves,
    eliminate_common,
    eliminate_dead,
    fold_constants,
    simplify,
    lower_contractions,
    sink_broadcasts,
    embed_sums,
    push_views,
    fold_constants,
    simplify,
    factor_sums,
    contract_derivatives,
    scale_products,
    checkpoint_loops,
    eliminate_common,
    eliminate_dead,
)

_CHEAP_RULES = FOLDING | SIMPLIFICATION


def passes_for(choices: Choices) -> tuple[Pass, ...]:
    """PIPELINE, its passes told what is chosen of that which they decide."""
    told: dict[Pass, Pass] = {
        lower_contractions: _told(lower_contractions, choices.products),
        embed_sums: _told(embed_sums, choices.shifted),
        push_views: _told(push_views, choices.shifted),
        checkpoint_loops: _told(checkpoint_loops, choices.states),
    }
    return tuple(told.get(step, step) for step in PIPELINE)


def _told(step: Callable[[Graph, str], Graph], word: str) -> Pass:
    return functools.wraps(step)(lambda graph: step(graph, word))


def optimize(graph: Graph, verify_each: bool = False, choices: Choices = AUTO) -> Graph:
    """`graph` through PIPELINE, subgraphs first; `verify_each` checks the graph after every pass."""
    graph = map_subgraphs(graph, lambda inner: optimize(inner, verify_each, choices))
    for step in passes_for(choices):
        graph = step(graph)
        if verify_each:
            verify(graph, step.__name__)
    return graph


def simplify_graph(graph: Graph) -> Graph:
    """Folded, simplified, without repeats and dead equations: as a graph should be before the next transform.

    Each is one table of rules in one emission, so this costs a few microseconds an equation.
    """
    graph = map_subgraphs(graph, simplify_graph)
    return rewrite_to_end(graph, _CHEAP_RULES, rounds=3)


def prepare_unfused(graph: Graph) -> Graph:
    """What runs in place of PIPELINE where nothing is fused."""
    return simplify_graph(widen_halves(map_subgraphs(graph, widen_halves)))


def map_subgraphs(graph: Graph, function: Pass) -> Graph:
    """The graph with `function` applied to the subgraphs of its equations; itself when there are none."""
    if not any(e.primitive.kind is Kind.CONTROL for e in graph.eqns):
        return graph
    once = functools.cache(function)  # equations with one subgraph have one afterwards
    eqns = tuple(_map_params(e, once) if e.primitive.kind is Kind.CONTROL else e for e in graph.eqns)
    return Graph(graph.inputs, eqns, graph.outputs, graph.name)


def _map_params(eqn: Eqn, function: Pass) -> Eqn:
    params = dict(eqn.params)
    for key, value in params.items():
        if isinstance(value, Graph):
            params[key] = function(value)
        elif isinstance(value, tuple) and any(isinstance(item, Graph) for item in value):
            params[key] = tuple(function(item) if isinstance(item, Graph) else item for item in value)
    return Eqn(eqn.primitive, eqn.inputs, params, eqn.outputs, eqn.source)
