"""`target="cuda-emu"`: the source of CUDA kernels run by stepping all threads, with checks no device makes.

The text that is compiled for a device is run as it stands, but that a barrier or a shuffle gives control back
to the scheduler (`_Emulated`), which goes on when all threads concerned have come to the same one. It reports
what a device would do wrong in silence: barriers that some threads do not reach, indices outside of an array,
shared memory that nobody wrote, and two threads at one address, one of which writes, with nothing in between
that orders them: a barrier within a block, fences and a ticket between blocks.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.cuda.scalars import DEVICE
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS
from tracejit.errors import InternalError

WARP = 32
Point = tuple[Any, ...]  # (kind, line, value, distance): where a thread waits


# --- the text, changed so that threads can be stepped -------------------------------------------------------


class _Emulated(ast.NodeTransformer):
    """Barriers and shuffles become points at which a thread waits; what the device knows, arguments."""

    WAITING: ClassVar = {"cuda.syncthreads": "block", "cuda.syncwarp": "warp", "cuda.shfl_xor_sync": "xor"}
    GIVEN: ClassVar = {
        "cuda.threadIdx.x": "_thread",
        "cuda.blockIdx.x": "_block",
        "cuda.gridDim.x": "_blocks",
    }
    CALLED: ClassVar = {"cuda.threadfence": "_fence", "cuda.atomic.add": "_atomic_add"}

    def __init__(self) -> None:
        self.stored: set[str] = set()  # arrays that the text writes to
        self.constants: dict[str, Any] = {}

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "cuda.shared.array":
            node.value.func = ast.Name("_shared", ast.Load())
            node.value.args.insert(0, ast.Constant(ast.unparse(node.targets[0])))
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.ctx, ast.Store):
            self.stored.add(ast.unparse(node.value))
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = self.GIVEN.get(ast.unparse(node))
        return ast.Name(name, ast.Load()) if name else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name in self.CALLED:
            node.func = ast.Name(self.CALLED[name], ast.Load())
            self.stored.update(ast.unparse(x) for x in node.args[:1])
        if name not in self.WAITING:
            return self.constant(node, name)
        values = [ast.Constant(self.WAITING[name]), ast.Constant(node.lineno), *node.args[1:]]
        return ast.Yield(ast.Tuple(values, ast.Load()))

    def constant(self, node: ast.Call, name: str) -> ast.AST:
        """A typed number is made once, not each time that a thread comes to it."""
        value = node.args[0] if len(node.args) == 1 else None
        value = value.operand if isinstance(value, ast.UnaryOp) else value
        if not name.startswith("np.") or not isinstance(value, ast.Constant):
            return node
        made = f"_constant{len(self.constants)}"
        self.constants[made] = eval(ast.unparse(node), {"np": np})
        return ast.Name(made, ast.Load())


@dataclass(frozen=True)
class _Function:
    """A kernel's text as a function of what the device knows and its arguments."""

    call: Callable[..., Any]
    names: tuple[str, ...]  # of its arguments
    stored: frozenset[str]

    @property
    def waits(self) -> bool:
        return inspect.isgeneratorfunction(self.call)


@functools.lru_cache(maxsize=512)
def _function(text: str, name: str) -> _Function:
    emulated = _Emulated()
    tree = emulated.visit(ast.parse(text))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
    names = tuple(a.arg for a in function.args.args)
    given = ("_thread", "_block", "_blocks", "_shared", "_fence", "_atomic_add")
    function.args.args[:0] = [ast.arg(x) for x in given]
    ast.fix_missing_locations(tree)
    space: dict[str, Any] = {"np": np, "math": math, "libdevice": _LIBDEVICE, **emulated.constants}
    exec(compile(tree, f"<{name}>", "exec"), space)
    return _Function(space[name], names, frozenset(emulated.stored))


# --- memory -------------------------------------------------------------------------------------------------


class ReadOnly:
    """An array that a launch only reads: elements behind an address, each access inside of it."""

    __slots__ = ("clock", "flat", "name", "offset", "size")

    def __init__(self, array: np.ndarray[Any, Any], name: str, clock: Clock) -> None:
        self.flat, self.offset = _flat(array)
        self.size = self.flat.size
        self.name, self.clock = name, clock

    def __getitem__(self, index: Any) -> Any:
        place = index + self.offset
        if 0 <= place < self.size:
            return self.flat[place]
        raise self.outside(index)

    def outside(self, index: Any) -> InternalError:
        return InternalError(f"{self.clock}: {self.name}[{int(index)}] is outside of the array")


class Memory(ReadOnly):
    """An array that a launch writes to: two accesses at one address, one a write, must be in an order."""

    __slots__ = ("reads", "writes")

    def __init__(self, array: np.ndarray[Any, Any], name: str, clock: Clock) -> None:
        super().__init__(array, name, clock)
        self.writes: dict[int, Stamp] = {}
        self.reads: dict[int, Stamp] = {}

    def __getitem__(self, index: Any) -> Any:
        place = index + self.offset
        if not 0 <= place < self.size:
            raise self.outside(index)
        now = self.clock.stamp or self.clock.new_stamp()
        wrote = self.writes.get(place)
        if wrote is not None and wrote is not now and not self.clock.is_after(wrote):
            raise self.race(place, wrote, "reads", "wrote")
        read = self.reads.get(place)
        if read is not now:
            self.reads[place] = now if read is None or self.clock.is_after(read) else now.joined(read)
        return self.flat[place]

    def __setitem__(self, index: Any, value: Any) -> None:
        place = index + self.offset
        if not 0 <= place < self.size:
            raise self.outside(index)
        now = self.clock.stamp or self.clock.new_stamp()
        wrote, read = self.writes.get(place), self.reads.get(place)
        if wrote is not None and wrote is not now and not self.clock.is_after(wrote):
            raise self.race(place, wrote, "writes", "wrote")
        if read is not None and read is not now and not self.clock.is_after(read):
            raise self.race(place, read, "writes", "read")
        self.writes[place] = now
        self.flat[place] = value

    def race(self, place: int, other: Stamp, does: str, did: str) -> InternalError:
        return InternalError(
            f"{self.clock} {does} {self.name}[{place - self.offset}], which {other} {did} "
            "with nothing in between that orders them"
        )


class Shared(Memory):
    """Shared memory of a block, which holds nothing until it is written."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if index not in self.writes and 0 <= index < self.size:
            raise InternalError(f"{self.clock}: {self.name}[{int(index)}] of shared memory was never written")
        return super().__getitem__(index)


class Stamp:
    """When an access was made: by which thread, and after how many barriers of its block and its warp.

    Of accesses by several threads the block, the warp and the thread are -1 where they differ.
    """

    __slots__ = ("block", "is_late", "phase", "thread", "warp", "warp_phase")

    def __init__(
        self, block: int, is_late: bool, thread: int, warp: int, phase: int, warp_phase: int
    ) -> None:
        self.block, self.is_late, self.thread, self.warp = block, is_late, thread, warp
        self.phase, self.warp_phase = phase, warp_phase

    def joined(self, other: Stamp) -> Stamp:
        is_same = self.block == other.block
        return Stamp(
            self.block if is_same else -1,
            self.is_late or other.is_late,
            -1,
            self.warp if is_same and self.warp == other.warp else -1,
            max(self.phase, other.phase),
            max(self.warp_phase, other.warp_phase),
        )

    def __str__(self) -> str:
        thread = f"thread {self.thread}" if self.thread >= 0 else "several threads"
        return f"{thread} of block {self.block}" if self.block >= 0 else "threads of several blocks"


class Clock:
    """Which thread runs now, how many barriers its block and its warp have passed, and which blocks are done.

    A block that takes a ticket, all of whose threads have fenced and met, gives what it did to blocks that
    take one later: to those of their threads that fence after that.
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.block = self.thread = self.phase = 0
        self.is_late = False  # has the block taken its ticket?
        self.warp_phases: list[int] = []
        self.stamp: Stamp | None = None
        self.fenced: dict[int, int] = {}  # by thread: the block's phase in which it last fenced
        self.released: set[int] = set()  # blocks that took a ticket
        self.before: frozenset[int] = frozenset()  # those that took it before this one
        self.acquired: set[int] = set()  # threads that see what these did

    def start_block(self, block: int, threads: int) -> None:
        self.block, self.phase, self.is_late = block, 0, False
        self.warp_phases = [0] * (-(-threads // WARP))
        self.fenced, self.acquired, self.before = {}, set(), frozenset()

    def new_stamp(self) -> Stamp:
        """That of all accesses until the running thread comes to a barrier; `stamp` is None at first."""
        warp = self.thread // WARP
        self.stamp = Stamp(self.block, self.is_late, self.thread, warp, self.phase, self.warp_phases[warp])
        return self.stamp

    def is_after(self, other: Stamp) -> bool:
        now = self.stamp or self.new_stamp()
        if other.block != now.block:
            if other.is_late or now.thread not in self.acquired:
                return False
            return other.block in self.before or len(self.before) == self.blocks - 1
        if other.thread == now.thread or other.phase < now.phase:
            return True
        return other.warp == now.warp and other.warp_phase < now.warp_phase

    def fence(self) -> None:
        self.fenced[self.thread] = self.phase
        if self.is_late:
            self.acquired.add(self.thread)

    def atomic_add(self, array: Any, index: int, value: Any) -> Any:
        """One more at an address, at once; here: the ticket that a block takes."""
        threads = len(self.warp_phases) * WARP
        if len(self.fenced) < threads or max(self.fenced.values()) >= self.phase:
            raise InternalError(f"{self} takes a ticket before all threads of its block have fenced and met")
        self.before = frozenset(self.released)
        self.released.add(self.block)
        self.is_late, self.stamp = True, None
        old = array.flat[index]
        array.flat[index] = old + value
        return old

    def __str__(self) -> str:
        return f"thread {self.thread} of block {self.block}"


def _flat(x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """All memory between the first and last element of an array, and where its element [0, ...] is in it."""
    x = x.view(np.uint8) if x.dtype.kind == "b" else x
    if x.flags.c_contiguous:
        return x.reshape(-1), 0
    low = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if s < 0 and n)
    high = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if s > 0 and n)
    if 0 in x.shape:
        return np.empty(0, x.dtype), 0
    start = x[tuple(slice(-1, None) if s < 0 else slice(0, 1) for s in x.strides)]
    count = (high - low) // x.itemsize + 1
    return np.lib.stride_tricks.as_strided(start, (count,), (x.itemsize,)), -low // x.itemsize


# --- running a launch ---------------------------------------------------------------------------------------


def run_launch(launch: Launch, arguments: Sequence[Any], order: Sequence[int] | None = None) -> None:
    """Run all blocks of a launch, in the order given or from the last to the first.

    arguments: arrays where the launch takes addresses, numbers elsewhere
    Raises InternalError for what would be wrong on a device.
    """
    clock = Clock(launch.blocks)
    function = _function(launch.text, launch.name)
    given: list[Any] = []
    for name, kind, slot, x in zip(function.names, launch.parameters, launch.slots, arguments, strict=True):
        is_array = (kind[0] == "*" or kind.endswith("[]")) and slot[0] != "status"
        given.append((Memory if name in function.stored else ReadOnly)(x, name, clock) if is_array else x)
    blocks = reversed(range(launch.blocks)) if order is None else order
    with np.errstate(all="ignore"):
        for block in blocks:
            _run_block(function, launch, block, given, clock)


def _run_block(function: _Function, launch: Launch, block: int, arguments: list[Any], clock: Clock) -> None:
    clock.start_block(block, launch.threads)
    shared: dict[str, Shared] = {}

    def shared_array(name: str, size: int, dtype: Any) -> Shared:
        if name not in shared:
            shared[name] = Shared(np.zeros(size, dtype), name, clock)
        return shared[name]

    device = (block, launch.blocks, shared_array, clock.fence, clock.atomic_add)
    call = function.call
    if not function.waits:
        for thread in range(launch.threads):
            clock.thread, clock.stamp = thread, None
            call(thread, *device, *arguments)
        return
    _step_block([call(thread, *device, *arguments) for thread in range(launch.threads)], clock)


def _step_block(threads: list[Generator[Point, Any, None]], clock: Clock) -> None:
    """Step the threads from one point to the next, a warp at a time."""
    warps = [range(w, min(w + WARP, len(threads))) for w in range(0, len(threads), WARP)]
    done = [False] * len(warps)
    while not all(done):
        waiting: list[int] = []
        for number, warp in enumerate(warps):
            if not done[number]:
                line = _step_warp(threads, warp, number, clock)
                done[number] = line is None
                waiting += [] if line is None else [line]
        if waiting and (len(waiting) < len(warps) or len(set(waiting)) > 1):
            raise InternalError(f"block {clock.block}: some warps wait at a barrier that others do not reach")
        clock.phase += 1


def _step_warp(
    threads: list[Generator[Point, Any, None]], warp: range, number: int, clock: Clock
) -> int | None:
    """Step a warp to its next barrier of the block; the line of it, or None where all threads are done."""
    answers: Sequence[Any] = [None] * len(warp)
    while True:
        points: list[Point | None] = []
        for thread, answer in zip(warp, answers, strict=True):
            clock.thread, clock.stamp = thread, None
            try:
                points.append(threads[thread].send(answer))
            except StopIteration:
                points.append(None)
        first = _common(points, clock.block, number)
        if first is None or first[0] == "block":
            return None if first is None else first[1]
        clock.warp_phases[number] += 1
        if first[0] == "xor":
            distance = int(first[3])
            answers = [points[k ^ distance][2] for k in range(len(warp))]  # type: ignore[index]
        else:
            answers = [None] * len(warp)


def _common(points: Sequence[Point | None], block: int, warp: int) -> Point | None:
    """What all threads of a warp wait for: the same thing."""
    first = points[0]
    line = first and first[1]
    for p in points:
        if (p and p[1]) != line:
            lines = sorted({p[1] if p else 0 for p in points})
            raise InternalError(
                f"block {block}: threads of warp {warp} wait at different barriers, in lines {lines}"
            )
    return first


# --- the device's library -----------------------------------------------------------------------------------


def _libdevice() -> SimpleNamespace:
    found: dict[str, Callable[..., Any]] = {}
    for name, device in {
        **DEVICE,
        "absolute": "fabs",
        "fmax": "fmax",
        "fmin": "fmin",
        "ldexp": "ldexp",
    }.items():
        function = getattr(np, _IN_NUMPY.get(device, device), None) or SCALAR_FUNCTIONS[name].evaluate
        found[device] = found[f"{device}f"] = function
    found["erf"] = lambda x: np.float64(math.erf(x))
    found["erff"] = lambda x: np.float32(math.erf(x))
    found["dmul_rn"] = found["fmul_rn"] = lambda a, b: a * b
    found["double_as_longlong"] = lambda x: np.float64(x).view(np.int64)
    found["longlong_as_double"] = lambda x: np.int64(x).view(np.float64)
    found["float_as_int"] = lambda x: np.float32(x).view(np.int32)
    found["int_as_float"] = lambda x: np.int32(x).view(np.float32)
    return SimpleNamespace(**found)


_IN_NUMPY = {
    **{name: f"arc{name[1:]}" for name in ("asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh")},
    "pow": "power",
}
_LIBDEVICE = _libdevice()
