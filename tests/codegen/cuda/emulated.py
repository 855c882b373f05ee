"""CUDA kernels of a graph, run by the emulator in memory that holds no zeros, in any order of the blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

import tracejit as tj
from tracejit.codegen.cuda import launches, scatter
from tracejit.codegen.cuda.launches import DeviceProgram, Launch
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import Graph, evaluate, is_floating
from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.device import EmulatedDevice, Order
from tracejit.runtime.executable import layout_of

Arrays = Sequence[Any]
CONFIG = Config(cache_dir=None, target="cuda-emu")
SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 2500)  # around a warp, a block and several blocks
FLOATS = ("f8", "f4")
GRID, ONE_BLOCK = 0, launches.SMALL  # iterations that one block runs alone: none, and as it is


def device_program(graph: Graph, small: int = GRID, deterministic: bool = True) -> DeviceProgram:
    """The launches of a graph as users get them; `small`: iterations that one block runs alone."""
    with patch.object(launches, "SMALL", small):
        executable = run_stages(graph, config=CONFIG, deterministic=deterministic).executable
    assert isinstance(executable, DeviceExecutable)
    return executable.device_program


@contextmanager
def sorting() -> Iterator[None]:
    """Updates at places that are data are sorted, whatever can be, however few there are."""
    with patch.object(scatter, "copies_ns", lambda *_: np.inf):
        yield


def traced(function: Callable[..., Any], *arguments: Any, gradient: bool = True) -> tuple[Graph, list[Any]]:
    """The graph of a function's value and gradients with respect to its float arguments, and its inputs."""
    wrt = tuple(k for k, x in enumerate(arguments) if is_floating(np.asarray(x).dtype))
    transformed = tj.value_and_grad(function, argnums=wrt) if gradient else tj.jit(function)
    return lowered(transformed, *arguments)


def lowered(transformed: Any, *arguments: Any) -> tuple[Graph, list[Any]]:
    """The graph of a transformed function's call, and its inputs."""
    made, call = transformed.lower(*arguments)
    return made.graph, [np.asarray(x) for x in (*call.leaves, *made.captures)]


def printed(program: DeviceProgram, arrays: Arrays) -> list[Launch]:
    """The launches for inputs that lie as these do."""
    executable = DeviceExecutable(program, CONFIG, EmulatedDevice())
    return executable.launches(tuple(map(layout_of, arrays)))


def run(program: DeviceProgram, arrays: Arrays, order: Order | None = None) -> list[Any]:
    """The program's outputs for these inputs, its blocks run in this order."""
    executable = DeviceExecutable(program, CONFIG, EmulatedDevice(order))
    results = executable(arrays)
    assert not is_ticket_out(executable), "the next launch counts from 0"
    return results


def is_ticket_out(executable: DeviceExecutable) -> bool:
    """Is a ticket not 0, though no launch runs?"""
    return any(ticket.any() for plan in executable.plans.values() for _, ticket in plan.tickets.values())


def check(graph: Graph, arrays: Arrays, small: int = GRID, tolerance: float = 1e-12) -> DeviceProgram:
    """Blocks in three orders give the same bits, which are the evaluator's values up to rounding."""
    program = device_program(graph, small)
    check_launches(program, graph, arrays, tolerance)
    return program


def check_launches(program: DeviceProgram, graph: Graph, arrays: Arrays, tolerance: float) -> None:
    """`check` of launches that were made for a graph."""
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


def check_function(
    function: Callable[..., Any],
    *arguments: Any,
    gradient: bool = True,
    small: int = GRID,
    tolerance: float = 1e-12,
) -> DeviceProgram:
    """`check` of a function's value and gradients."""
    graph, arrays = traced(function, *arguments, gradient=gradient)
    return check(graph, arrays, small, tolerance)


def shape_of(program: DeviceProgram) -> list[tuple[int, int]]:
    """Threads of a team and blocks, by launch."""
    return [(p.lanes, p.blocks) for p in program.launches]
