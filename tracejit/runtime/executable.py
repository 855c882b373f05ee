"""Running a program on NumPy arrays: native code bound once a layout, argument tables filled each call."""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from tracejit.codegen import llvm, numba_source
from tracejit.codegen.donation import donate
from tracejit.codegen.loops import CONTIGUOUS, SCATTERED, Kernel
from tracejit.codegen.program import LibraryCall, Program, Segment, build_program
from tracejit.codegen.table import ProgramText
from tracejit.config import Config
from tracejit.ir import Var
from tracejit.runtime import threads
from tracejit.runtime import workspace as pool
from tracejit.runtime.abi import CONTENT, cell_address, offsets_hold
from tracejit.runtime.cache import Origin, get_program
from tracejit.runtime.library import call_library
from tracejit.runtime.native import NativeProgram, register_bytes
from tracejit.schedule.fusion import schedule_graph
from tracejit.schedule.normalize import pack_inputs


@dataclass(frozen=True)
class Bound:
    """A program for one set of layouts.

    A call's int64 table is the segment's number, then `pick` of the handles of all arrays (inputs, outputs,
    workspace, status), then `strides` (input number, dimension) in elements: `pack` makes these bytes, and
    `fixed` holds the rest. `whole` is the number of the one segment, None where some steps are Python's.
    `constants` is the address of the float64 table that `constant_table` keeps alive.
    """

    text: ProgramText
    entry: Callable[[Any, int], None] | None
    native: NativeProgram | None
    pack: Callable[..., bytes]
    picks: list[int]
    pick: Callable[[list[int]], tuple[int, ...]]
    strides: tuple[tuple[int, int], ...]
    fixed: bytes
    constants: int
    constant_table: Any
    has_status: bool
    whole: int | None


class Executable:
    """A compiled graph: call it with a list of arrays that match the graph's inputs in shape and dtype.

    Returns a list of fresh arrays. Arrays of any layout are taken; the first call with a new combination of
    contiguous and strided inputs prints (and perhaps compiles) once more.
    """

    def __init__(self, program: Program, config: Config) -> None:
        self.program = program
        self.config = config
        self.workspace = program.workspace
        self.bound: dict[tuple[int, ...], Bound] = {}
        self.dtypes = tuple(v.type.dtype for v in program.inputs)
        graph = program.schedule.graph
        self.outputs = tuple((v.type.shape, v.type.dtype) for v in program.outputs)
        self.shapes = tuple(a.type.shape for a in graph.outputs)
        multiplied = {b for c in program.library_calls for b in c.touched}
        self._multiplied = [program.buffers.get(v) in multiplied for v in program.inputs]
        self.packing: dict[tuple[int, ...], Executable | None] = {}  # by the inputs that are packed
        self._donated: list[tuple[int, int]] = []
        self._is_reshaped = any(s != v.type.shape for s, v in zip(self.shapes, program.outputs, strict=True))
        self._address: Callable[[Any], int] | None = id if offsets_hold() else None

    def __call__(self, arrays: Sequence[Any], into: Mapping[int, Any] | None = None) -> list[Any]:
        """Run; `into` has contiguous arrays for some outputs, by number, which share memory with no other."""
        inputs: list[Any] = []
        layout: list[int] = []
        for x, dtype in zip(arrays, self.dtypes):
            if type(x) is not np.ndarray or x.dtype is not dtype:
                x = np.asarray(x, dtype=dtype)
            flags = x.flags
            if flags.c_contiguous and flags.aligned:
                layout.append(CONTIGUOUS)
            else:
                x = x if is_usable(x) else x.copy(order="C")
                layout.append(layout_of(x))
            inputs.append(x)
        executable = self.for_layout(layout)
        if executable is None:
            inputs = [x.copy(order="C") if is_it else x for x, is_it in zip(inputs, self._multiplied)]
            executable, layout = self, [layout_of(x) for x in inputs]
        return executable.run(executable.bound_for(tuple(layout)), inputs, into)

    def for_layout(self, layout: Sequence[int]) -> Executable | None:
        """The executable for inputs that lie so: one whose kernels pack those that BLAS and LAPACK read.

        None where that may not write its results where this one does, into the memory of an argument.
        """
        numbers = tuple(k for k, kind in enumerate(layout) if kind != CONTIGUOUS and self._multiplied[k])
        if not numbers:
            return self
        if numbers not in self.packing:
            self.packing[numbers] = self._that_packs(numbers)
        return self.packing[numbers]

    def _that_packs(self, numbers: Sequence[int]) -> Executable | None:
        schedule, config = self.program.schedule, self.config
        graph = pack_inputs(schedule.graph, numbers)
        program = build_program(schedule_graph(graph, config.fuse, schedule.choices), self.program.execution)
        executable = Executable(program, config)
        return executable if executable.donate(self._donated) == self._donated else None

    def bound_for(self, layout: tuple[int, ...]) -> Bound:
        """The program bound for inputs that are contiguous or not."""
        bound = self.bound.get(layout)
        if bound is None:
            bound = self.bound[layout] = self.bind(layout)
        return bound

    def run(self, bound: Bound, inputs: list[Any], into: Mapping[int, Any] | None = None) -> list[Any]:
        """Fill the table, run every step, and hand out the outputs."""
        if into:
            outputs = [
                into[k].reshape(shape) if k in into else np.empty(shape, dtype)
                for k, (shape, dtype) in enumerate(self.outputs)
            ]
        else:
            outputs = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        keep: list[Any] = []  # whatever must live as long as the call
        address = self._address or partial(cell_address, keep=keep)
        handles = [address(x) for x in inputs]
        handles += [address(x) for x in outputs]
        workspace = status = None
        if self.program.workspace:
            workspace = pool.take(self.program.workspace)
        handles.append(0 if workspace is None else address(workspace))
        if bound.has_status:
            status = np.zeros(1, np.int64)
            handles.append(address(status))
        dynamic = bound.pick(handles)
        if bound.strides:
            dynamic += tuple(inputs[k].strides[d] // inputs[k].itemsize for k, d in bound.strides)
        if bound.whole is not None:
            assert bound.entry is not None
            bound.entry(bound.pack(bound.whole, *dynamic) + bound.fixed, bound.constants)
        else:
            self.run_steps(bound, inputs, outputs, dynamic, workspace)
        if workspace is not None:
            pool.give(workspace)
        if status is not None and status[0]:
            raise bound.text.checks[int(status[0]) - 1].error()
        if self._is_reshaped:
            return [x.reshape(s) for x, s in zip(outputs, self.shapes, strict=True)]
        return outputs

    def run_steps(
        self, bound: Bound, inputs: list[Any], outputs: list[Any], dynamic: tuple[int, ...], workspace: Any
    ) -> None:
        """Segments and library calls in turn; library results go to their planned places."""
        arrays: dict[Var, Any] = dict(zip(self.program.inputs, inputs, strict=True))
        arrays.update(zip(self.program.outputs, outputs, strict=True))
        for buffer, offset in self.program.offsets.items():
            if buffer.var is not None:
                arrays[buffer.var] = np.ndarray(buffer.shape, buffer.dtype, workspace, offset)
        for call in self.program.calls:
            if isinstance(call, LibraryCall):
                self.call_library(call, arrays)
            else:
                assert bound.entry is not None
                bound.entry(bound.pack(call.number, *dynamic) + bound.fixed, bound.constants)

    def call_library(self, call: LibraryCall, arrays: dict[Var, Any]) -> None:
        call_library(call.eqn, arrays, self.program.schedule.definitions)

    def bind(self, layout: tuple[int, ...]) -> Bound:
        """Print the program for one set of layouts, compile or find it, and lay out its table."""
        program = self.program
        text = self.print(layout, self.config.printer)
        whole = 0 if program.is_native else None
        native = self.load(text)[0] if program.segments else None
        arrays = (*program.inputs, *program.outputs)
        handle = {v: k for k, v in enumerate(arrays)}
        special = {"workspace": len(arrays), "status": len(arrays) + 1}
        dynamic, fixed = text.slots[: text.dynamic], text.slots[text.dynamic :]
        picks = [special[s[0]] if s[0] in special else handle[s[1].var] for s in dynamic if s[0] != "stride"]
        strides = tuple((handle[s[1].var], s[2]) for s in dynamic if s[0] == "stride")
        numbers = [program.number(slot) for slot in fixed]
        table = (ctypes.c_double * max(len(text.constants), 1))(*text.constants)
        return Bound(
            text,
            native.entry if native is not None else None,
            native,
            struct.Struct(f"{text.dynamic + 1}q").pack,
            picks,
            _picker(picks),
            strides,
            struct.pack(f"{len(numbers)}q", *numbers),
            ctypes.addressof(table),
            table,
            any(s[0] == "status" for s in dynamic),
            whole,
        )

    def load(self, text: ProgramText) -> tuple[NativeProgram, Origin]:
        """The machine code of a printed program, and where it came from."""
        if self.program.regions and text.language == "llvm":
            threads.provide((threads.SYMBOL,), self.config)
        if self.program.library_calls:
            threads.provide_hold(self.config)
        return get_program(text.text, self.config, text.language)

    def print(self, layout: tuple[int, ...] | None = None, printer: str = "numba") -> ProgramText:
        """The source for one set of layouts (none: contiguous): what is compiled, or the readable form."""
        program = self.program
        layout = layout or (CONTIGUOUS,) * len(program.inputs)
        strided = {
            program.buffers[v]: kind
            for v, kind in zip(program.inputs, layout, strict=True)
            if v in program.buffers and kind != CONTIGUOUS
        }
        arguments = (strided, program.resident, CONTENT, self.config.literal_limit)
        if printer == "llvm":
            return llvm.print_program(program.segments, *arguments, register_bytes=register_bytes())
        return numba_source.print_program(_runs_of_kernels(program), *arguments)

    def donate(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of the (input, output) numbers that `into` may hold the input for; before the first call."""
        assert not self.bound and not self.packing, "kernels are printed for what may share memory"
        self._donated = donate(self.program, pairs)
        return self._donated

    def raiser(self, bound: Bound) -> Callable[[int], None]:
        """What raises the error for the number that a check left."""

        def raise_error(number: int) -> None:
            raise bound.text.checks[number - 1].error()

        return raise_error


def _runs_of_kernels(program: Program) -> list[Segment]:
    """The kernels, apart where something else runs between them."""
    steps = [s for call in program.calls for s in (call.singles if isinstance(call, Segment) else [call])]
    groups = itertools.groupby(steps, lambda step: isinstance(step, Kernel))
    runs = [tuple(k for k in group if isinstance(k, Kernel)) for is_run, group in groups if is_run]
    return [Segment(number, run) for number, run in enumerate(runs)]


def layout_of(x: Any) -> int:
    """How an array lies in memory, in the terms of `codegen.loops`: what kernels are printed for.

    >>> x = np.zeros((4, 6))
    >>> [layout_of(v) for v in (x, x[:, :3], x.T, x[:, ::2])]
    [-1, 1, 0, -2]
    """
    if x.flags.c_contiguous:
        return CONTIGUOUS
    axes = [d for d, (n, s) in enumerate(zip(x.shape, x.strides)) if n > 1 and s == x.itemsize]
    return axes[-1] if axes else SCATTERED


def is_usable(x: Any) -> bool:
    """Can kernels read the array where it is: is its data aligned, and is each stride whole elements?"""
    return x.flags.aligned and all(s % x.itemsize == 0 for s in x.strides)


def _picker(positions: list[int]) -> Callable[[list[int]], tuple[int, ...]]:
    """`handles -> tuple of those at positions`, for any number of positions."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda handles: tuple(handles[k] for k in positions)
