"""Rows of the tables as graphs: every module of a folder is found, every call is traced once."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError
from tracejit.frontend import Tracer, argument_of, trace
from tracejit.frontend.dispatch import value_of
from tracejit.ir import Graph
from tracejit.ops import Value
from tracejit.pytree import flatten


@dataclass(frozen=True)
class Traced:
    """A traced call: its graph, and the arrays that it takes (the arguments, then what was captured)."""

    graph: Graph
    arrays: tuple[Any, ...]


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        yield importlib.import_module(f"{package.__name__}.{found.name}")


def trace_call(call: Callable[..., Any], args: Sequence[Any], name: str) -> Traced:
    """`call` on tracers; on bare values where it is written in the ops themselves."""

    def on_tracers(*tracers: Any) -> Any:
        try:
            return call(*tracers)
        except ArgumentError as error:
            if "type Tracer" not in str(error):
                raise
            result = call(*(value_of(t) for t in tracers))
            parts = result if isinstance(result, (list, tuple)) else [result]
            return [Tracer(p) if isinstance(p, Value) else p for p in parts]

    done = trace(on_tracers, [argument_of(a) for a in args], name)
    return Traced(done.graph, tuple(np.asarray(a) for a in (*args, *done.captures)))


def leaves_of(result: Any) -> list[Any]:
    """The arrays of a NumPy result, nested lists and tuples flattened."""
    return [np.asarray(leaf) for leaf in flatten(result)[0]]
