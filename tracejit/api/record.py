"""One call of a function, taken apart to be looked at: graphs, names, arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tracejit.api.functions import Transformed, base_of
from tracejit.api.lowering import Lowered
from tracejit.api.public import jit
from tracejit.api.signature import Call
from tracejit.errors import UnsupportedError
from tracejit.frontend import find_roots
from tracejit.ir import Graph


@dataclass(frozen=True)
class Record:
    """What is known of one call before it is compiled.

    function: the function as it was transformed; plain functions count as jitted
    lowered, call: the graphs and the arguments
    inputs: what the user calls each input of the graph, captured arrays after the arguments
    results: the same of each output of the traced graph: `loss`, `f['mean']`
    outputs: the same of each output of the compiled graph: `loss`, `dloss/dparams['w']`
    wrt: positions of the inputs that are differentiated by
    seconds: of the stages "trace" and "transform"
    """

    function: Transformed
    lowered: Lowered
    call: Call
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    outputs: tuple[str, ...]
    wrt: tuple[int, ...]
    seconds: dict[str, float]

    @property
    def name(self) -> str:
        return self.function._name

    @property
    def fuse(self) -> bool:
        return self.function._options.fuse

    @property
    def threads(self) -> int | None:
        return self.function._options.threads

    @property
    def target(self) -> str:
        return self.function._options.target

    @property
    def deterministic(self) -> bool:
        return self.function._options.deterministic

    def refuse_devices(self, what: str) -> None:
        """Raise UnsupportedError where the function runs elsewhere than on this processor."""
        if self.target != "cpu":
            raise UnsupportedError(
                f'{what} measures this processor, and {self.name} has target="{self.target}"',
                hint="leave target out to measure here; python -m benchmarks.gpu_check measures a device",
            )

    @property
    def base(self) -> Callable[..., Any]:
        """The user's own function, under all transformations."""
        return base_of(self.function)[0]

    @property
    def traced(self) -> Graph:
        return self.lowered.traced.graph

    @property
    def graph(self) -> Graph:
        """The graph that is compiled: the traced one, or value and gradients in one."""
        return self.lowered.graph

    @property
    def arrays(self) -> list[Any]:
        """What an executable of `graph` is called with."""
        return [*self.call.leaves, *self.lowered.captures]


def record_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Record:
    """Trace and transform `function(*args, **kwargs)` as its call would; nothing is compiled or kept."""
    transformed = function if isinstance(function, Transformed) else jit(function)
    started = time.perf_counter()
    lowered, call = transformed.lower(*args, **kwargs)
    total = time.perf_counter() - started
    names = call.leaf_names()
    name = transformed._name
    options = transformed._options.grad
    paths = lowered.traced.result.leaf_paths()
    results = [name + path for path in paths]
    outputs, wrt = results, tuple[int, ...]()
    if options is not None:
        wrt = tuple(options.leaves(call))
        results[0] = name  # with has_aux its path is that of the first of a pair
        value = results[:1] if options.with_value else []
        outputs = [*value, *results[1:], *(f"d{name}/d{names[k]}" for k in wrt)]
    seconds = {"trace": lowered.traced.seconds, "transform": max(total - lowered.traced.seconds, 0.0)}
    inputs = (*names, *_capture_names(transformed, lowered))
    return Record(transformed, lowered, call, inputs, tuple(results), tuple(outputs), wrt, seconds)


def _capture_names(transformed: Transformed, lowered: Lowered) -> list[str]:
    """The variables that captured arrays are bound to, where they can be found."""
    known = find_roots(transformed._function).names
    found: list[str] = []
    for k, captured in enumerate(lowered.captures):
        found.append(known.get(id(captured)) or f"captured {k}")
    return found
