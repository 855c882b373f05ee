"""Kernels with one mistake each, made from printed ones: what the emulator's checks must find.

A green run of the emulator means something only if it is red for every such kernel: a barrier, a fence or the
ticket's reset left out, an index one further, a wrong distance or mask of a shuffle, a thread that leaves, an
order of sums that depends on which block comes last.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.codegen.cuda.emulated import CONFIG, device_program, is_ticket_out, printed, traced
from tracejit.codegen.cuda import launches
from tracejit.codegen.cuda.launches import DeviceProgram, Launch
from tracejit.errors import InternalError
from tracejit.ir import evaluate
from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.device import EmulatedDevice, Order
from tracejit.runtime.executable import layout_of

SYNCHRONISING = ("cuda.syncthreads()", "cuda.syncwarp()", "cuda.threadfence()", "ticket[0] = np.int32(0)")
BLOCKS = 5  # of a launch at most, so that some go round their loops more than once
ORDERS: tuple[Order, ...] = (  # the last is another one each time
    lambda n: range(n)[::-1],
    range,
    lambda n: [k for k in range(n) if k != n // 2] + [n // 2],
    lambda n: [k for k in range(n) if k != 1] + [1] * (n > 1),
)

Change = Callable[[Any], Any]  # a node into another, None for nothing


@dataclass(frozen=True)
class Mutant:
    """One launch of a program with a mistake: what was done, and to which line of its text."""

    launch: int
    what: str
    line: str
    text: str

    def __str__(self) -> str:
        return f"launch {self.launch}: {self.what}: {self.line}"


# --- mistakes -----------------------------------------------------------------------------------------------


def mutants(program: Sequence[Launch]) -> Iterator[Mutant]:
    """Every mistake at every place of the launches that matter."""
    most = max(launch.blocks for launch in program)
    for number, launch in enumerate(program):
        tree = ast.parse(launch.text)
        if launch.blocks == 1 < most:
            continue  # the small launches of a program of large ones do too little to tell
        lines = [line.partition("#")[0].strip() for line in launch.text.splitlines()] + ["the end"]
        for position, node in enumerate(ast.walk(tree)):
            if not isinstance(node, (ast.stmt, ast.Subscript, ast.Call)):
                continue
            for what, change in changes(node):
                line = lines[node.lineno - 1]
                line = f"{line} before {lines[node.lineno]}" if line in SYNCHRONISING else line
                yield Mutant(number, what, line, _changed(launch.text, position, change))


def _changed(text: str, position: int, change: Change) -> str:
    """The text with the node at this position (of `ast.walk`) changed."""
    whole = ast.parse(text)
    target = next(itertools.islice(ast.walk(whole), position, None))

    class Changed(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return change(node) if node is target else self.generic_visit(node)

    return ast.unparse(Changed().visit(whole))


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done wrong at a node."""
    text = ast.unparse(node) if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.expr)) else ""
    if isinstance(node, (ast.Expr, ast.Assign)) and text in SYNCHRONISING:
        yield "left out", lambda _: ast.Pass()
    elif isinstance(node, ast.Subscript) and not text.startswith("status"):  # which only mistakes touch
        yield "an index one further", _further
    elif isinstance(node, ast.FunctionDef):
        yield "a thread leaves", _leaving
    elif isinstance(node, ast.AugAssign) and "gridDim" in text:
        yield "the stride of one block", _beside
    elif isinstance(node, ast.For):
        yield from _loops(node)
    elif isinstance(node, ast.If):
        yield "done by all", lambda node: node.body
    elif isinstance(node, ast.While):
        yield "one iteration more", _inclusive
    elif isinstance(node, ast.Call) and text.startswith("cuda.shfl"):
        yield "the mask of half a warp", lambda node: _with(node, 0, "0xffff")
        yield "half the distance", lambda node: _with(node, 2, "8 >> d")


def _loops(node: ast.For) -> Iterator[tuple[str, Change]]:
    bounds = [ast.unparse(x) for x in node.iter.args] if isinstance(node.iter, ast.Call) else []
    if "gridDim" in bounds[-1] and len(bounds) == 3:
        step = bounds[2].replace("cuda.gridDim.x", "1")
        yield "the stride of one block", lambda node: _over(node, bounds[0], bounds[1], step)
    if len(bounds) == 3:
        yield "one iteration more", lambda node: _over(node, bounds[0], f"{bounds[1]} + 1", bounds[2])
    if bounds[0] == "5":
        yield "one exchange less", lambda node: _over(node, "4")
    if bounds[0] == "1":
        yield "the last one left out", lambda node: _over(node, "1", f"{bounds[1]} - 1")
    if bounds[1:2] == ["cuda.gridDim.x"]:
        yield "from the last block on", _rotated


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _further(node: ast.Subscript) -> ast.Subscript:
    node.slice = ast.BinOp(node.slice, ast.Add(), ast.Constant(1))
    return node


def _beside(node: ast.AugAssign) -> ast.AugAssign:
    node.value = _expression(ast.unparse(node.value).replace("cuda.gridDim.x", "1"))
    return node


def _leaving(node: ast.FunctionDef) -> ast.FunctionDef:
    node.body[1:1] = ast.parse("if thread == 1:\n    return").body  # behind the line that tells its number
    return node


def _inclusive(node: ast.While) -> ast.While:
    assert isinstance(node.test, ast.Compare)
    node.test.ops = [ast.LtE()]
    return node


def _with(node: ast.Call, position: int, argument: str) -> ast.Call:
    node.args[position] = _expression(argument)
    return node


def _over(node: ast.For, *bounds: str) -> ast.For:
    node.iter = _expression(f"range({', '.join(bounds)})")
    return node


def _rotated(node: ast.For) -> ast.For:
    """Partial results are taken from the block that came last on: another order for another last block."""
    counter = ast.unparse(node.target)

    class Rotated(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.AST:
            is_counter = name.id == counter and isinstance(name.ctx, ast.Load)
            return _expression(f"({counter} + block) % cuda.gridDim.x") if is_counter else name

    node.body = [Rotated().visit(s) for s in node.body]
    return node


# --- are they found? ----------------------------------------------------------------------------------------


class Program:
    """A function's value and gradients as launches of some blocks, and what they give when they are right."""

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Any], gradient: bool = True, **limits: int
    ) -> None:
        """limits: constants of `codegen.cuda.launches` that differ."""
        graph, self.arrays = traced(function, *arguments, gradient=gradient)
        limits = {"MOST_BLOCKS": BLOCKS, "BLOCKS_WITH_COPIES": BLOCKS, **limits}
        with patch.multiple(launches, **limits):
            self.program: DeviceProgram = device_program(graph)
        self.layouts = tuple(map(layout_of, self.arrays))
        self.launches = printed(self.program, self.arrays)
        self.expected = evaluate(graph, self.arrays)
        assert not self.mistake(self.launches)

    def survivors(self, what: str = "", first: int = 0) -> Iterator[Mutant]:
        """Those that nothing tells from the program as it is, of one kind, or of launches from `first` on."""
        for mutant in mutants(self.launches):
            if mutant.launch < first or what not in mutant.what:
                continue
            changed = list(self.launches)
            changed[mutant.launch] = dataclasses.replace(changed[mutant.launch], text=mutant.text)
            if not self.mistake(changed):
                yield mutant

    def mistake(self, changed: Sequence[Launch]) -> str:
        """What shows that these launches are wrong; "" where nothing does."""
        bits: set[tuple[bytes, ...]] = set()
        for order in ORDERS:
            executable = DeviceExecutable(self.program, CONFIG, EmulatedDevice(order))
            executable.printed[self.layouts] = list(changed)
            try:
                results = executable(self.arrays)
            except (InternalError, IndexError) as error:
                return str(error)
            if is_ticket_out(executable):
                return "the ticket is not 0 for the next launch"
            if not self.is_right(results):
                return "other values"
            bits.add(tuple(x.tobytes() for x in results))
        return "other bits in another order of the blocks" if len(bits) > 1 else ""

    def is_right(self, results: Sequence[Any]) -> bool:
        return all(
            np.allclose(x, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max(initial=1.0))
            for x, wanted in zip(results, self.expected, strict=True)
        )
