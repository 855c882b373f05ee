"""The stages in order, on one page: a graph in, a callable on NumPy arrays out.

    graph -> passes -> schedule -> loop nests -> source -> object code -> executable

Each stage is a function whose result prints as text; `tracejit.inspect` shows them all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from tracejit.codegen.program import Program, build_program
from tracejit.config import Config
from tracejit.ir import Graph
from tracejit.passes import optimize, simplify_graph
from tracejit.runtime.executable import Executable
from tracejit.schedule.fusion import Schedule, schedule_graph


@dataclass(frozen=True)
class Stages:
    """What each stage made of a graph, and the `seconds` that the stages took, by name.

    Printing the source and compiling it wait for the executable's first call, which knows the layouts.
    """

    optimized: Graph
    schedule: Schedule
    program: Program
    executable: Executable
    seconds: dict[str, float]


def run_stages(graph: Graph, fuse: bool = True, config: Config | None = None) -> Stages:
    """Take `graph` down the road, keeping what each stage made of it. `fuse=False` runs one kernel an equation."""
    config = replace(config or Config.from_environment(), fuse=fuse)
    times = [time.perf_counter()]
    # Unfused, every intermediate array exists once: views must not be pushed into repeated work.
    optimized = optimize(graph) if config.fuse else simplify_graph(graph)
    times.append(time.perf_counter())
    schedule = schedule_graph(optimized, fuse=config.fuse)
    times.append(time.perf_counter())
    program = build_program(schedule)
    times.append(time.perf_counter())
    seconds = {name: times[k + 1] - times[k] for k, name in enumerate(("passes", "schedule", "lower"))}
    return Stages(optimized, schedule, program, Executable(program, config), seconds)


def compile_graph(graph: Graph, fuse: bool = True, config: Config | None = None) -> Executable:
    """Compile `graph`; the executable takes a list of arrays in the order of `graph.inputs`.

    Native code is made at the first call of each layout.
    """
    return run_stages(graph, fuse, config).executable
