"""`inspect`: every stage between a function and its machine code as text, with counts, bytes and seconds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

from tracejit.api.record import Record, record_call
from tracejit.ir import Graph, Source, format_graph, line_sources

if TYPE_CHECKING:
    from tracejit.codegen.cuda.launches import Launch
    from tracejit.codegen.places import MemoryPlan
    from tracejit.compile import Stages
    from tracejit.roofline import Roofline
    from tracejit.runtime.native import NativeProgram


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found; its text is every stage under headings.

    name: of the function
    ir, adjoint, optimized: the traced graph, the graph with its derivative (equal to `ir` for `jit`), and the
        latter after the passes, each as Python text with the user's lines
    schedule: kernels and library calls with their equations, and the memory that each touches
    source: the kernels as Python, with the user's lines
    llvm: the module that is compiled, as text; empty where no kernel runs, or the Python source is compiled
    kernels, library_calls: how many of each one call of the function runs
    bytes_moved: bytes that these read and write at least
    workspace: bytes of temporary arrays
    memory: every array with its place, its lifetime in steps, and your name or line behind it; `print` it.
        Its `added_bytes` are what a call adds: results and workspace
    equation_counts: equations after each stage: "traced", "adjoint", "optimized"
    passes: for each pass its name, and the equations before and after it
    timings: seconds of each stage of a first call: trace (the function runs on tracers), transform (its
        derivative is taken), passes, schedule, lower, print, compile (where kernels run: their machine code
        is made or found), and run, which is all that later calls pay
    origin: where the machine code came from: "compiled" (now), "memory" or "disk"; None where there is none
    """

    name: str
    ir: str
    adjoint: str
    optimized: str
    schedule: str
    source: str
    llvm: str
    kernels: int
    library_calls: int
    bytes_moved: int
    workspace: int
    memory: MemoryPlan
    equation_counts: dict[str, int]
    passes: tuple[tuple[str, int, int], ...]
    timings: dict[str, float]
    origin: str | None
    _native: NativeProgram | None
    _launches: tuple[Launch, ...]
    _record: Record

    @functools.cached_property
    def roofline(self) -> Roofline:
        """Every kernel's and library call's bytes, flops and time against what this machine can do.

        Measured when it is asked for, on the arrays of the call, for about a second; the ceilings of a
        machine take another one at their first use, and are kept in the cache folder. `print` or `plot` it:

        >>> found = tj.inspect(tj.grad_jit(lambda w: np.sum(w * w)))(np.ones(1000))
        >>> (row,) = found.roofline.fused.rows
        >>> row.bytes_moved, row.flops, row.seconds > 0
        (16008, 3000, True)
        """
        from tracejit.roofline import measure_roofline

        record = self._record
        record.refuse_devices("roofline")
        return measure_roofline(record.graph, record.arrays, self.name, threads=record.threads)

    @functools.cached_property
    def assembly(self) -> str:
        """The machine code as assembly text; empty where no kernel runs."""
        return self._native.assembly() if self._native is not None else ""

    @functools.cached_property
    def ptx(self) -> str:
        """What Numba makes of the kernels of a CUDA target, for compute capability 9.0; empty for "cpu".

        Needs no device; raises UnsupportedError where numba-cuda is not installed.
        """
        from tracejit.runtime.cuda.compiler import compile_launch

        return "\n".join(compile_launch(launch, (9, 0)).ptx for launch in self._launches)

    def __str__(self) -> str:
        counts = self.equation_counts
        sections = [(f"{self.name}: traced, {_count(counts['traced'], 'equation')}", self.ir)]
        if self.adjoint != self.ir:
            sections.append((f"with its derivative, {_count(counts['adjoint'], 'equation')}", self.adjoint))
        passes = "\n".join(f"{name:<24}{before:>5} -> {after}" for name, before, after in self.passes)
        sections += [
            ("passes, equations before and after", passes),
            (f"after the passes, {_count(counts['optimized'], 'equation')}", self.optimized),
            (self._work(), self.schedule),
            (f"memory: a call adds {self.memory.added_bytes:,} bytes", str(self.memory)),
            ("kernel source", self.source.rstrip() or "no kernels"),
            ("compiled", self._facts()),
        ]
        return "\n\n".join(f"--- {title} ---\n{text}" for title, text in sections)

    def _work(self) -> str:
        calls = f"{_count(self.kernels, 'kernel')}, {_count(self.library_calls, 'library call')}"
        return f"schedule: {calls}, {self.bytes_moved:,} bytes moved"

    def _facts(self) -> str:
        timings = {**self.timings, "in all": sum(self.timings.values())}
        lines = [f"{name:<12}{1e3 * seconds:9.2f} ms" for name, seconds in timings.items()]
        if self._launches:
            lines.append("as PTX: .ptx")
            where = (
                "the array library's pool and stream" if self._record.target == "cuda" else "NumPy's memory"
            )
            lines.append(f"target {self._record.target}: {where}")
            given, captured = self._copied()
            lines.append(f"copied to the device at each call: {', '.join(given) or 'nothing'}")
            if captured:
                lines.append(f"copied once, and again when they have changed: {', '.join(captured)}")
        if self._native is not None:
            record = self._native.record
            lines.append(f"machine code: {len(record.object_code):,} bytes, from {self.origin}")
            lines.append(f"calls C functions: {', '.join(record.symbols) or 'none'}")
            lines.append("as LLVM IR: .llvm, as machine instructions: .assembly; each step timed: .roofline")
        return "\n".join(lines)

    def _copied(self) -> tuple[list[str], list[str]]:
        """The arguments and the captured arrays that do not lie on a device."""
        if self._record.target != "cuda":
            return [], []
        from tracejit.runtime.cuda.arrays import facts_of

        record, count = self._record, len(self._record.call.leaves)
        is_copied = [facts_of(x) is None for x in record.arrays]
        given, captured = record.inputs[:count], record.inputs[count:]
        return list(compress(given, is_copied)), list(compress(captured, is_copied[count:]))


def inspect(f: Callable[..., Any]) -> Callable[..., Inspection]:
    """Look at every stage of a function: `inspect(f)(*args)`, with arguments as for a call of `f`.

    f: a function made by `grad_jit`, `jit`, `grad` or `value_and_grad`; a plain function is treated as jitted
    Returns an `Inspection`: print it, or read its attributes. Kernels are compiled, or found, in the cache
    that calls of `f` use, and run on the data to be timed.

    >>> @tj.grad_jit
    ... def loss(w):
    ...     return np.sum(w * w)
    >>> found = tj.inspect(loss)(np.ones(3))
    >>> found.kernels, found.library_calls, found.bytes_moved
    (1, 0, 56)
    >>> print(*found.timings)
    trace transform passes schedule lower print compile run
    >>> print(found.ir)
    # v0 = w
    def loss(v0: 'f64[3]'):
        v1: 'f64[3]' = multiply(v0, v0)...
        v2: 'f64' = reduce_sum(v1, axes=(0,))...
        return (v2,)
    """

    @functools.wraps(f, updated=())
    def look(*args: Any, **kwargs: Any) -> Inspection:
        return inspect_record(record_call(f, args, kwargs))

    return look


def inspect_record(record: Record) -> Inspection:
    """Take the graph of a recorded call down the road, and describe what each stage made of it."""
    # The stages below are loaded when first used, so that `import tracejit` stays cheap.
    from tracejit.codegen.describe import count_kernels, format_program
    from tracejit.codegen.places import plan_of
    from tracejit.codegen.program import bytes_moved
    from tracejit.compile import compile_stages, run_stages, time_run
    from tracejit.schedule.describe import format_schedule

    stages = run_stages(
        record.graph,
        record.fuse,
        threads=record.threads,
        target=record.target,
        deterministic=record.deterministic,
    )
    compiled = compile_stages(stages, record.arrays)
    kernels, library_calls = count_kernels(stages.program)
    memory = format_program(stages.program, record.inputs, record.outputs)
    return Inspection(
        name=record.name,
        ir=_graph_text(record.traced, record.inputs),
        adjoint=_graph_text(record.graph, record.inputs),
        optimized=_graph_text(stages.optimized, record.inputs),
        schedule=f"{format_schedule(stages.schedule)}\n\n{memory}",
        source=compiled.text,
        llvm=compiled.llvm,
        kernels=kernels,
        library_calls=library_calls,
        bytes_moved=bytes_moved(stages.program),
        workspace=stages.executable.workspace,
        memory=plan_of(stages.program, record.inputs, record.outputs),
        equation_counts={
            "traced": len(record.traced.eqns),
            "adjoint": len(record.graph.eqns),
            "optimized": len(stages.optimized.eqns),
        },
        passes=_count_passes(record.graph, stages),
        timings={
            **record.seconds,
            **stages.seconds,
            **compiled.seconds,
            "run": time_run(stages, record.arrays),
        },
        origin=compiled.origin,
        _native=compiled.native,
        _launches=compiled.launches,
        _record=record,
    )


def _count_passes(graph: Graph, stages: Stages) -> tuple[tuple[str, int, int], ...]:
    """Run the passes once more, one by one."""
    from tracejit.passes import passes_for, prepare_unfused

    found: list[tuple[str, int, int]] = []
    config = stages.executable.config
    for step in passes_for(config.choices) if config.fuse else (prepare_unfused,):
        before, graph = len(graph.eqns), step(graph)
        found.append((step.__name__, before, len(graph.eqns)))
    return tuple(found)


def _graph_text(graph: Graph, inputs: tuple[str, ...]) -> str:
    """The graph's text under the user's names of its inputs; the user's lines are shown where they begin."""
    header, *lines = format_graph(graph).splitlines()
    shown: Source | None = None
    for k, source in enumerate(line_sources(graph)):
        if source is not None and source != shown:
            lines[k] = f"{lines[k]}  {source.text}".rstrip()
            shown = source
    named = ", ".join(f"v{k} = {name}" for k, name in enumerate(inputs))
    return "\n".join([f"# {named}", header, *lines] if named else [header, *lines])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
