"""The stages in order, on one page: a graph in, a callable on NumPy arrays out.

    graph -> passes -> schedule -> loop nests -> source -> object code -> executable

Each stage is a function whose result prints as text; `tracejit.inspect` shows them all.
"""

from __future__ import annotations

from dataclasses import replace

from tracejit.codegen.program import build_program
from tracejit.config import Config
from tracejit.ir import Graph
from tracejit.passes import optimize, simplify_graph
from tracejit.runtime.executable import Executable
from tracejit.schedule.fusion import schedule_graph


def compile_graph(graph: Graph, fuse: bool = True, config: Config | None = None) -> Executable:
    """Compile `graph`; the executable takes a list of arrays in the order of `graph.inputs`.

    `fuse=False` runs one kernel an equation. Native code is made at the first call of each layout.
    """
    config = replace(config or Config.from_environment(), fuse=fuse)
    # Unfused, every intermediate array exists once: views must not be pushed into repeated work.
    graph = optimize(graph) if config.fuse else simplify_graph(graph)
    schedule = schedule_graph(graph, fuse=config.fuse)
    program = build_program(schedule)
    return Executable(program, config)
