"""Choices that `autotune` found best, by graph: kept in memory and, as small files, in the cache folder.

A file is JSON with the key of what was measured: the graph with its sizes, the versions, the processor. Only
words that `Choices` knows are taken from it; a file of another form is as if it were not there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from tracejit.config import Choices, Config
from tracejit.errors import ArgumentError
from tracejit.ir import Graph, format_graph
from tracejit.runtime.cache import load_text, program_key, store_text

MARK = "tuned"  # a file that is there once anything was tuned: until then no graph has to be looked up

_found: dict[str, Choices] = {}


def recall(graph: Graph, config: Config) -> Choices | None:
    """What was found best for a graph, by this process or an earlier one on this machine; None if nothing."""
    has_files = config.cache_dir is not None and (config.cache_dir / MARK).exists()
    if not _found and not has_files:
        return None
    key = tuning_key(graph)
    if key not in _found and has_files:
        kept = _read(load_text(config, _name(key)), key)
        if kept is not None:
            _found[key] = kept
    return _found.get(key)


def remember(graph: Graph, config: Config, choices: Choices) -> None:
    """Use `choices` for this graph from now on."""
    key = tuning_key(graph)
    _found[key] = choices
    store_text(config, _name(key), json.dumps({"key": key, "choices": asdict(choices)}))
    store_text(config, MARK, "")


def forget(graph: Graph) -> None:
    """Let the cost table decide again in this process."""
    _found.pop(tuning_key(graph), None)


def tuning_key(graph: Graph) -> str:
    """A hash of the graph, without its name and the user's lines, and of what its time depends on besides."""
    eqns = tuple(replace(e, source=None) for e in graph.eqns)
    return program_key(format_graph(Graph(graph.inputs, eqns, graph.outputs, "f")), "llvm")


def _name(key: str) -> str:
    return f"{key}.tuned"


def _read(text: str | None, key: str) -> Choices | None:
    """The choices in a file, None where it is not one of these."""
    try:
        kept = json.loads(text or "")
        return Choices(**kept["choices"]) if kept["key"] == key else None
    except (ValueError, TypeError, KeyError, ArgumentError):
        return None
