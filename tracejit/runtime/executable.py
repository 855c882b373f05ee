"""Running a program on NumPy arrays: native code bound once a layout, argument tables filled each call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tracejit.codegen.loops import Buffer
from tracejit.codegen.numba_source import ProgramText, print_program
from tracejit.codegen.program import LibraryCall, Program, Segment
from tracejit.config import Config
from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import Atom, Const, Var
from tracejit.runtime.abi import DATA_OFFSET, cell_address, offsets_hold
from tracejit.runtime.cache import get_program
from tracejit.runtime.native import NativeProgram
from tracejit.schedule.access import is_virtual

WORKSPACE_KEPT = 256 * 2**20  # bytes: a larger workspace is given back after each call


@dataclass(frozen=True)
class Bound:
    """A program for one set of layouts.

    template: the int64 table with sizes and offsets filled in; slots to fill at each call are beside it:
    `inputs`/`outputs`/`others` pair a table position with an input number, output number or variable;
    `strides` hold (position, input number, dimension).
    """

    text: ProgramText
    native: NativeProgram | None
    table_type: Any
    template: bytes
    constants: Any
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]
    others: tuple[tuple[int, Var], ...]
    strides: tuple[tuple[int, int, int], ...]
    workspace_slot: int
    status_slot: int


class Executable:
    """A compiled graph: call it with a list of arrays that match the graph's inputs in shape and dtype.

    Returns a list of fresh arrays. Arrays of any layout are taken; the first call with a new combination of
    contiguous and strided inputs prints (and perhaps compiles) once more.
    """

    def __init__(self, program: Program, config: Config) -> None:
        self.program = program
        self.config = config
        self.bound: dict[tuple[bool, ...], Bound] = {}
        self._dtypes = tuple(v.type.dtype for v in program.inputs)
        self._read = tuple(v in program.buffers for v in program.inputs)
        graph = program.schedule.graph
        self._outputs = tuple((v.type.shape, v.type.dtype) for v in program.outputs)
        self._reshaped = tuple(
            a.type.shape if a.type.shape != v.type.shape else None
            for a, v in zip(graph.outputs, program.outputs, strict=True)
        )
        self._plain = all(isinstance(c, Segment) for c in program.calls) and not any(self._reshaped)
        self._workspaces: list[Any] = []

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        settled: list[Any] = []
        layout: list[bool] = []
        for x, dtype in zip(arrays, self._dtypes, strict=True):
            if type(x) is not np.ndarray or x.dtype is not dtype:
                x = np.asarray(x, dtype=dtype)
            contiguous = x.flags.c_contiguous
            if not contiguous:
                x, contiguous = _usable(x)
            settled.append(x)
            layout.append(contiguous)
        key = tuple(layout)
        bound = self.bound.get(key)
        if bound is None:
            bound = self.bound[key] = self.bind(key)
        return self.run(bound, settled)

    def run(self, bound: Bound, inputs: list[Any]) -> list[Any]:
        outputs = [np.empty(shape, dtype) for shape, dtype in self._outputs]
        table = bound.table_type.from_buffer_copy(bound.template)
        keep: list[Any] = [inputs, outputs]
        address = id if offsets_hold() else partial(cell_address, keep=keep)
        for position, k in bound.inputs:
            table[position] = address(inputs[k])
        for position, k in bound.outputs:
            table[position] = address(outputs[k])
        for position, k, dimension in bound.strides:
            table[position] = inputs[k].strides[dimension] // inputs[k].itemsize
        workspace = status = None
        if self.program.workspace:
            workspace = self.take_workspace()
            if bound.workspace_slot:
                table[bound.workspace_slot] = address(workspace)
        if bound.status_slot:
            status = np.zeros(1, np.int64)
            table[bound.status_slot] = address(status)
        constants = ctypes.addressof(bound.constants)
        if self._plain and len(self.program.calls) == 1:
            assert bound.native is not None
            bound.native.entry(ctypes.addressof(table), constants)
        else:
            self.run_steps(bound, inputs, outputs, table, workspace, address)
        if workspace is not None and workspace.nbytes <= WORKSPACE_KEPT:
            self._workspaces.append(workspace)
        if status is not None and status[0]:
            raise self.index_error(bound, int(status[0]))
        return [x if s is None else x.reshape(s) for x, s in zip(outputs, self._reshaped, strict=True)]

    def take_workspace(self) -> Any:
        """A workspace that no other thread uses."""
        try:
            return self._workspaces.pop()
        except IndexError:
            return np.empty(self.program.workspace, np.uint8)

    def run_steps(
        self, bound: Bound, inputs: list[Any], outputs: list[Any], table: Any, workspace: Any, address: Any
    ) -> None:
        """Segments and library calls in turn; library results live in their own planned arrays."""
        arrays: dict[Var, Any] = dict(zip(self.program.inputs, inputs, strict=True))
        arrays.update(zip(self.program.outputs, outputs, strict=True))
        for buffer, offset in self.program.offsets.items():
            if buffer.var is not None:
                arrays[buffer.var] = np.ndarray(buffer.shape, buffer.dtype, workspace, offset)
        for position, var in bound.others:
            table[position] = address(arrays[var])
        for call in self.program.calls:
            if isinstance(call, LibraryCall):
                self.call_library(call, arrays)
            else:
                assert bound.native is not None
                table[0] = call.number
                bound.native.entry(ctypes.addressof(table), ctypes.addressof(bound.constants))

    def call_library(self, call: LibraryCall, arrays: dict[Var, Any]) -> None:
        eqn = call.eqn
        operands = [self.operand(a, arrays) for a in eqn.inputs]
        out = arrays[eqn.out]
        with np.errstate(all="ignore"):
            if eqn.primitive.evaluate_into is not None:
                eqn.primitive.evaluate_into(out, *operands, **eqn.params)
            else:
                out[...] = eqn.primitive.evaluate(*operands, **eqn.params)

    def operand(self, atom: Atom, arrays: dict[Var, Any]) -> Any:
        """A stored array, or NumPy's view of one for a chain of views."""
        if isinstance(atom, Const):
            return atom.value
        eqn = self.program.schedule.definitions.get(atom)
        if eqn is None or not is_virtual(eqn):
            return arrays[atom]
        return eqn.primitive.evaluate(*(self.operand(a, arrays) for a in eqn.inputs), **eqn.params)

    def bind(self, layout: tuple[bool, ...]) -> Bound:
        """Print the program for one set of layouts, compile or find it, and lay out its table."""
        program = self.program
        text = self.print(layout)
        native = get_program(text.text, self.config)[0] if program.kernels else None
        numbers = {v: k for k, v in enumerate(program.inputs)}
        places = {v: k for k, v in enumerate(program.outputs)}
        table = [0] * (len(text.slots) + 1)
        inputs, outputs, others, strides = [], [], [], []
        special = {"workspace": 0, "status": 0}
        for position, slot in enumerate(text.slots, start=1):
            kind = slot[0]
            if kind in special:
                special[kind] = position
            elif kind == "size":
                table[position] = slot[1]
            elif kind == "temp":
                table[position] = program.offsets[slot[1]]
            elif kind == "stride":
                strides.append((position, numbers[slot[1].var], slot[2]))
            elif slot[1].var in numbers:
                inputs.append((position, numbers[slot[1].var]))
            elif slot[1].var in places:
                outputs.append((position, places[slot[1].var]))
            else:
                others.append((position, slot[1].var))
        table_type = ctypes.c_int64 * len(table)
        return Bound(
            text,
            native,
            table_type,
            bytes(table_type(*table)),
            (ctypes.c_double * max(len(text.constants), 1))(*text.constants),
            tuple(inputs),
            tuple(outputs),
            tuple(others),
            tuple(strides),
            special["workspace"],
            special["status"],
        )

    def print(self, layout: tuple[bool, ...]) -> ProgramText:
        """The source for one set of layouts."""
        program = self.program
        strided: set[Buffer] = {
            program.buffers[v]
            for v, contiguous in zip(program.inputs, layout, strict=True)
            if v in program.buffers and not contiguous
        }
        segments = [c.kernels for c in program.calls if isinstance(c, Segment)]
        return print_program(segments, strided, set(program.offsets), DATA_OFFSET, self.config.literal_limit)

    def index_error(self, bound: Bound, number: int) -> IndexOutOfBoundsError:
        check = bound.text.checks[number - 1]
        return IndexOutOfBoundsError(
            f"index: an index array reaches outside an axis of size {check.extent}",
            where=check.source.describe() if check.source else None,
            hint="indices must lie in [-size, size)",
        )


def _usable(x: Any) -> tuple[Any, bool]:
    """An array whose strides are whole elements and whose data is aligned; copied only when it is not."""
    whole = x.flags.aligned and all(s % x.itemsize == 0 for s in x.strides)
    return (x, False) if whole else (np.ascontiguousarray(x), True)
