"""CUDA kernels of a graph, run by the emulator in memory that holds no zeros, in any order of the blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

import tracejit as tj
from tracejit.codegen.cuda import launches
from tracejit.codegen.cuda.launches import DeviceProgram, Launch, Plain, launch_program, print_launch
from tracejit.codegen.loops import CONTIGUOUS, Buffer
from tracejit.codegen.program import Execution, build_program
from tracejit.config import Choices
from tracejit.ir import Graph, evaluate
from tracejit.passes import optimize
from tracejit.runtime.cuda.emulator import run_launch
from tracejit.runtime.executable import layout_of
from tracejit.runtime.library import call_library
from tracejit.schedule import schedule_graph

Arrays = Sequence[Any]
Order = Callable[[int], Sequence[int]]  # number of blocks -> the order in which they run


def device_program(graph: Graph, small: int = 0) -> DeviceProgram:
    """The launches of a graph; `small`: iterations that one block runs alone."""
    choices = Choices(shifted="memory")
    schedule = schedule_graph(optimize(graph, choices=choices), True, choices)
    program = build_program(schedule, Execution(products=False, ranges=False, literal_limit=4))
    with patch.object(launches, "SMALL", small):
        return launch_program(program)


def traced(function: Callable[..., Any], *arguments: Any, gradient: bool = True) -> tuple[Graph, list[Any]]:
    """The graph of a function's value and gradients with respect to its float arguments, and its inputs."""
    wrt = tuple(k for k, x in enumerate(arguments) if np.asarray(x).dtype.kind == "f")
    transformed = tj.value_and_grad(function, argnums=wrt) if gradient else tj.jit(function)
    lowered, call = transformed.lower(*arguments)
    return lowered.graph, [np.asarray(x) for x in (*call.leaves, *lowered.captures)]


def printed(program: DeviceProgram, arrays: Arrays) -> list[Launch]:
    """The launches for inputs that lie as these do."""
    inputs = zip(program.program.inputs, map(layout_of, arrays), strict=True)
    buffers = program.program.buffers
    strided = {buffers[v]: kind for v, kind in inputs if v in buffers and kind != CONTIGUOUS}
    return [print_launch(p, strided) for p in program.launches]


def backwards(blocks: int) -> Sequence[int]:
    return range(blocks - 1, -1, -1)


def run(program: DeviceProgram, arrays: Arrays, order: Order = backwards) -> list[Any]:
    """The program's outputs for these inputs."""
    outputs = [_poisoned(v.type.shape, v.type.dtype) for v in program.program.outputs]
    by_var = dict(zip(program.program.inputs, arrays, strict=True))
    by_var |= dict(zip(program.program.outputs, outputs, strict=True))
    memory: dict[Buffer, Any] = dict(_temporaries(program))
    memory |= {program.program.buffers[v]: x for v, x in by_var.items() if v in program.program.buffers}
    by_var |= {b.var: x for b, x in memory.items() if b.var is not None}
    texts = iter(printed(program, arrays))
    ticket, status = np.zeros(1, np.int32), np.zeros(1, np.int64)
    for step in program.steps:
        if isinstance(step, Plain):
            launch = next(texts)
            given = [_argument(slot, memory, ticket, status) for slot in launch.slots]
            run_launch(launch, given, order(launch.blocks))
            assert ticket[0] == 0
            if status[0]:
                raise launch.checks[int(status[0]) - 1].error()
        else:
            call_library(step.eqn, by_var, program.program.schedule.definitions)
    shapes = [a.type.shape for a in program.program.schedule.graph.outputs]
    return [x.reshape(shape) for x, shape in zip(outputs, shapes, strict=True)]


def check(graph: Graph, arrays: Arrays, small: int = 0, tolerance: float = 1e-12) -> DeviceProgram:
    """Blocks in three orders give the same bits, which are the evaluator's values up to rounding."""
    program = device_program(graph, small)
    results = run(program, arrays)
    rng = np.random.default_rng(0)
    if any(p.blocks > 1 for p in program.launches):
        orders: tuple[Order, ...] = (range, lambda blocks: rng.permutation(blocks).tolist())
        for order in orders:
            again = run(program, arrays, order)
            for x, y in zip(results, again, strict=True):
                np.testing.assert_array_equal(x, y, strict=True)
                assert x.tobytes() == y.tobytes()
    with np.errstate(all="ignore"):
        expected = evaluate(graph, list(arrays))
    for x, wanted in zip(results, expected, strict=True):
        scale = float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=1.0))
        slack = tolerance * scale if wanted.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(x, wanted, rtol=tolerance, atol=slack, strict=True)
    return program


def check_function(
    function: Callable[..., Any],
    *arguments: Any,
    gradient: bool = True,
    small: int = 0,
    tolerance: float = 1e-12,
) -> DeviceProgram:
    """`check` of a function's value and gradients."""
    graph, arrays = traced(function, *arguments, gradient=gradient)
    return check(graph, arrays, small, tolerance)


def shape_of(program: DeviceProgram) -> list[tuple[int, int]]:
    """Threads of a team and blocks, by launch."""
    return [(p.lanes, p.blocks) for p in program.launches]


def _poisoned(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    fresh = np.empty(shape, dtype)
    fresh.reshape(-1).view(np.uint8)[...] = 0xFF
    return fresh


def _temporaries(program: DeviceProgram) -> Iterator[tuple[Buffer, Any]]:
    workspace = _poisoned((max(1, program.workspace),), np.uint8)
    for buffer, offset in program.offsets.items():
        yield buffer, np.ndarray(buffer.shape, buffer.dtype, workspace, offset)


def _argument(slot: tuple[Any, ...], memory: dict[Buffer, Any], ticket: Any, status: Any) -> Any:
    kind = slot[0]
    if kind == "array":
        return memory[slot[1]]
    if kind == "stride":
        array = memory[slot[1]]
        return array.strides[slot[2]] // array.itemsize
    return {"ticket": ticket, "status": status}.get(kind, slot[-1])
