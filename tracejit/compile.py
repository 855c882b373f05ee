"""The stages in order, on one page: a graph in, a callable on NumPy arrays out.

    graph -> passes -> schedule -> loop nests -> source -> object code -> executable

Each stage is a function whose result prints as text; `tracejit.inspect` shows them all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.codegen.program import Execution, Program, build_program
from tracejit.config import AUTO, Choices, Config
from tracejit.errors import IndexOutOfBoundsError, LinAlgError
from tracejit.ir import Graph, Kind
from tracejit.passes import optimize, prepare_unfused
from tracejit.runtime import blas
from tracejit.runtime.cache import Origin
from tracejit.runtime.executable import Executable, layout_of
from tracejit.runtime.native import NativeProgram
from tracejit.runtime.threads import most_threads
from tracejit.runtime.tuned import recall
from tracejit.schedule import Schedule, schedule_graph

if TYPE_CHECKING:
    from tracejit.codegen.cuda.launches import Launch
    from tracejit.runtime.cuda import DeviceExecutable


@dataclass(frozen=True)
class Stages:
    """What each stage made of a graph, and the `seconds` that the stages took, by name.

    Printing the source and compiling it wait for the executable's first call, which knows the layouts.
    """

    optimized: Graph
    schedule: Schedule
    program: Program
    executable: Executable | DeviceExecutable
    seconds: dict[str, float]


def run_stages(
    graph: Graph,
    fuse: bool = True,
    config: Config | None = None,
    threads: int | None = None,
    choices: Choices | None = None,
    target: str | None = None,
    deterministic: bool = True,
) -> Stages:
    """Take `graph` down the road and keep what each stage made; `fuse=False` runs one kernel an equation.

    threads: that one call may use, target: where it runs; None leaves it to `config`
    deterministic: False lets a device add floats in any order
    choices: what is forced; None leaves it to `config`, or to what `autotune` found where that forces nothing
    """
    config = config or Config.from_environment()
    config = replace(config, fuse=config.fuse and fuse, threads=threads or config.threads)
    config = replace(config, target=target or config.target)  # type: ignore[arg-type]
    config = replace(config, deterministic=config.deterministic and deterministic)
    if choices is None and config.fuse and config.choices == AUTO and config.target == "cpu":
        choices = recall(graph, config)
    config = replace(config, choices=choices or config.choices)
    config = replace(config, fuse=config.fuse and config.choices.fuse == "auto")
    if config.target != "cpu":
        config = replace(config, choices=device_choices(config.choices))
    times = [time.perf_counter()]
    # Unfused, every intermediate array exists once: views must not be pushed into repeated work.
    optimized = optimize(graph, choices=config.choices) if config.fuse else prepare_unfused(graph)
    times.append(time.perf_counter())
    schedule = schedule_graph(optimized, config.fuse, config.choices)
    times.append(time.perf_counter())
    program = build_program(schedule, choose(schedule, config))
    times.append(time.perf_counter())
    seconds = {name: times[k + 1] - times[k] for k, name in enumerate(("passes", "schedule", "lower"))}
    return Stages(optimized, schedule, program, executable_of(program, config), seconds)


def executable_of(program: Program, config: Config) -> Executable | DeviceExecutable:
    """What runs a program on the target."""
    if config.target == "cpu":
        return Executable(program, config)
    from tracejit.codegen.cuda import launch_program
    from tracejit.runtime.cuda import DeviceExecutable, open_device

    return DeviceExecutable(launch_program(program, config.deterministic), config, open_device(config))


def device_choices(choices: Choices) -> Choices:
    """A device computes again what is read at several offsets: rings are for one thread after another.

    It has time for dozens of operations while it moves a number, and stores few of a loop's states.
    """
    if choices.shifted in ("auto", "ring"):
        choices = replace(choices, shifted="recompute")
    return replace(choices, states="recompute") if choices.states == "auto" else choices


def choose(schedule: Schedule, config: Config) -> Execution:
    """How the program of a schedule may run, with these settings on this machine."""
    if config.target != "cpu":
        return Execution(literal_limit=config.literal_limit, wide_sums=False)
    is_native = config.printer == "llvm"
    primitives = {e.primitive for e in schedule.graph.eqns}
    multiplies = any(p.kind is Kind.CONTRACTION or p.routine is not None for p in primitives)
    allowed = config.threads or most_threads()
    choices = config.choices
    tile = config.tile if config.tile is not None else 0 if choices.tile == "none" else None
    return Execution(
        products=is_native and multiplies and blas.is_available(),
        ranges=is_native,
        join=config.fuse and tile != 0,
        literal_limit=config.literal_limit,
        threads=config.threads,
        most_threads={"auto": allowed, "half": max(1, allowed // 2), "one": 1}[choices.threads],
        tile=tile or None,
        tile_scale={"short": 0.25, "long": 4.0}.get(choices.tile, 1.0),
    )


@dataclass(frozen=True)
class Compiled:
    """The kernels printed for the layouts of some arrays, and their machine code (None where no kernel runs).

    text, llvm: to read; what is compiled, empty where that is `text` itself
    launches: the CUDA kernels, on such a target
    origin: where the code came from, "memory", "disk" or "compiled"
    seconds: as in `Stages`, of "print" and "compile"
    """

    text: str
    llvm: str
    native: NativeProgram | None
    origin: Origin | None
    seconds: dict[str, float]
    launches: tuple[Launch, ...] = ()


def compile_stages(stages: Stages, arrays: Sequence[Any]) -> Compiled:
    """Print and compile, or find, the kernels that a call with `arrays` runs."""
    executable = stages.executable
    if not isinstance(executable, Executable):
        return compile_launches(executable, arrays)
    layout = tuple(layout_of(np.asarray(x)) for x in arrays)
    times = [time.perf_counter()]
    executable = executable.for_layout(layout) or executable
    text = executable.print(layout, executable.config.printer)
    times.append(time.perf_counter())
    if not stages.program.segments:
        return Compiled("", "", None, None, {"print": times[1] - times[0]})
    native, origin = executable.load(text)
    times.append(time.perf_counter())
    return Compiled(
        executable.print(layout).text if stages.program.kernels else "",
        text.text if text.language == "llvm" else "",
        native,
        origin,
        {"print": times[1] - times[0], "compile": times[2] - times[1]},
    )


def compile_launches(executable: DeviceExecutable, arrays: Sequence[Any]) -> Compiled:
    """The same on a device."""
    times = [time.perf_counter()]
    visit = executable.device.enter(arrays, executable.given, {})
    with visit.library.on(visit.device):
        layouts = executable.layouts(executable.strides(visit))
        text = executable.describe(layouts)
        times.append(time.perf_counter())
        executable.plan(visit)
    times.append(time.perf_counter())
    seconds = {"print": times[1] - times[0], "compile": times[2] - times[1]}
    return Compiled(text, "", None, None, seconds, tuple(executable.launches(layouts)))


def time_run(stages: Stages, arrays: Sequence[Any]) -> float:
    """Seconds of one call on `arrays`, when its kernels are there; errors of the data are not reported."""
    started = time.perf_counter()
    for _ in range(2):  # the first one binds the kernels
        started = time.perf_counter()
        with suppress(IndexOutOfBoundsError, LinAlgError):
            stages.executable(arrays)
    return time.perf_counter() - started


def compile_graph(
    graph: Graph,
    fuse: bool = True,
    config: Config | None = None,
    threads: int | None = None,
    choices: Choices | None = None,
    target: str | None = None,
    deterministic: bool = True,
) -> Executable | DeviceExecutable:
    """Compile `graph`; the executable takes a list of arrays in the order of `graph.inputs`.

    Native code is made at the first call of each layout.
    """
    return run_stages(graph, fuse, config, threads, choices, target, deterministic).executable
