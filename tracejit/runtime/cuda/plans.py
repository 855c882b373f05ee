"""A program prepared for arrays that lie in one way on one device: a call fills in addresses and starts.

The values of a call are the addresses of its inputs, its outputs, its temporaries, the status words of each
launch that checks indices, and the ticket, in this order. Behind them are constants, which no call changes:
sizes, strides, numbers. Every launch knows where among all of these its arguments are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tracejit.codegen.cuda.launches import DeviceProgram, Launch, Plain
from tracejit.codegen.cuda.scatter import Sort
from tracejit.codegen.loops import Buffer, CheckIndex
from tracejit.codegen.program import LibraryCall
from tracejit.ir import ArrayType, Var
from tracejit.runtime.cuda.arrays import Library, Shape
from tracejit.runtime.cuda.captured import stream_key
from tracejit.runtime.library import call_library

NOWHERE: dict[int, Any] = {}

_I64, _U8 = np.dtype(np.int64), np.dtype(np.uint8)


@dataclass(frozen=True)
class Step:
    """A launch, and where its arguments are among the values of a call."""

    launch: Launch
    places: tuple[int, ...]


class Constants:
    """The values behind the `count` that a call fills in, as NumPy scalars; each is there once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: list[Any] = []
        self._places: dict[tuple[str, bytes], int] = {}

    def place(self, value: Any) -> int:
        """Where a NumPy scalar is among all values."""
        key = (value.dtype.str, value.tobytes())
        if key not in self._places:
            self._places[key] = self.count + len(self.values)
            self.values.append(value)
        return self._places[key]


class Runner(Protocol):
    """Starts the launches of one call at a time."""

    def start(self, values: list[Any], stream: int) -> None:
        """Take what a call fills in, and the stream that its launches go to."""
        ...

    def run(self, number: int) -> None:
        """Start the launches of one part of the program."""
        ...


class Starter(Protocol):
    """What of a device a plan needs."""

    def prepare(
        self, parts: Sequence[Sequence[Step]], constants: Constants, device: int
    ) -> Callable[[], Runner]: ...


class Plan:
    """What calls with arrays that lie in one way on one device have in common.

    launches: those of the program, printed for these layouts
    strides: of each input in elements; None for one without gaps
    shapes: of the outputs as the user sees them
    """

    def __init__(
        self,
        program: DeviceProgram,
        launches: Iterable[Launch],
        shapes: Sequence[Shape],
        strides: Sequence[Shape | None],
        library: Library,
        number: int,
        starter: Starter,
    ) -> None:
        self.device_program, self.program = program, program.program
        self.library, self.number, self.strides = library, number, strides
        self.types = [(v.type.dtype, v.type.shape) for v in self.program.outputs]
        self.reaches = [_reach(v.type, s) for v, s in zip(self.program.inputs, strides, strict=True)]
        self.makers = [library.maker(s, t[0], number) for s, t in zip(shapes, self.types, strict=True)]
        self.temporaries = [(o, b.shape, b.dtype) for b, o in program.offsets.items()]
        self.make_workspace = library.maker((max(1, program.workspace),), _U8, number)
        ready = iter(launches)
        self._lay_out([next(ready) if isinstance(s, Plain) else s for s in program.steps], starter)
        self.tickets: dict[Hashable, tuple[Any, Any]] = {}  # address and array
        # What no call uses now. A call takes one and gives it back, so that threads share neither.
        self.statuses: list[Any] = []
        self.runners: list[Runner] = []

    def _lay_out(self, steps: Sequence[Launch | LibraryCall | Sort], starter: Starter) -> None:
        """Find the places of all arguments, and put launches in a row together."""
        named = (*self.program.inputs, *self.program.outputs)
        buffers = [self.program.buffers.get(v) for v in named] + list(self.device_program.offsets)
        numbers = {b: k for k, b in enumerate(buffers) if b is not None}
        launches = [s for s in steps if isinstance(s, Launch)]
        checked = [s for s in launches if ("status",) in s.slots]
        self.takes_ticket = any(("ticket",) in s.slots for s in launches)
        self.checks: list[CheckIndex] = []
        self.words: list[tuple[int, Shape, np.dtype[Any]]] = []  # of each of `checked`: offset, shape, dtype
        constants = Constants(len(buffers) + len(checked) + self.takes_ticket)
        self.parts: list[int | LibraryCall | Sort] = []
        runs: list[list[Step]] = []
        for step in steps:
            if not isinstance(step, Launch):
                self.parts.append(step)
                continue
            if not self.parts or not isinstance(self.parts[-1], int):
                self.parts.append(len(runs))
                runs.append([])
            status = len(buffers) + len(self.words)
            runs[-1].append(Step(step, self._places(step, numbers, status, constants)))
            if ("status",) in step.slots:
                self.words.append((8 * len(self.checks), (max(1, len(step.checks)),), _I64))
                self.checks += step.checks
        self.new_runner = starter.prepare(runs, constants, self.number)

    def _places(
        self, launch: Launch, numbers: Mapping[Buffer, int], status: int, constants: Constants
    ) -> tuple[int, ...]:
        """Where the arguments of a launch are; its status words at `status`."""
        found: list[int] = []
        for kind, slot in zip(launch.parameters, launch.slots, strict=True):
            if slot[0] == "array":
                found.append(numbers[slot[1]])
            elif slot[0] == "stride":
                strides = self.strides[numbers[slot[1]]]
                assert strides is not None, "an array without gaps is read by its strides"
                found.append(constants.place(np.int64(strides[slot[2]])))
            elif slot[0] == "status":
                found.append(status)
            elif slot[0] == "ticket":
                found.append(constants.count - 1)
            else:
                found.append(constants.place(np.dtype(kind).type(slot[1])))
        return tuple(found)

    # --- a call ---------------------------------------------------------------------------------------------

    def __call__(
        self,
        inputs: Sequence[Any],
        targets: Mapping[int, Any] = NOWHERE,
        pairs: Sequence[tuple[int, int]] = (),
    ) -> list[Any]:
        """Run on arrays of the library; `targets` has arrays for some outputs, by number.

        pairs: of an input and an output that may take its memory
        """
        library, number = self.library, self.number
        if library.current_device() != number:
            with library.on(number):
                return self(inputs, targets, pairs)
        if pairs or targets:
            outputs = self._outputs(inputs, targets, pairs)
        else:
            outputs = [make() for make in self.makers]
        values = [*map(library.pointer, inputs), *map(library.pointer, outputs)]
        workspace = status = None
        if self.temporaries:  # which may all be empty
            workspace = self.make_workspace()
            values += library.pointers(workspace, self.temporaries)
        if self.words:
            status = self._status()
            values += library.pointers(status, self.words)
        stream = library.stream(number)
        if self.takes_ticket:
            values.append(self._ticket(stream))
        try:
            runner = self.runners.pop()
        except IndexError:
            runner = self.new_runner()
        runner.start(values, stream)
        for part in self.parts:
            if isinstance(part, int):
                runner.run(part)
            else:
                self._call_library(part, inputs, outputs, workspace)
        self.runners.append(runner)
        if status is not None:
            self._check(status)
        return outputs

    def _outputs(
        self, inputs: Sequence[Any], targets: Mapping[int, Any], pairs: Sequence[tuple[int, int]]
    ) -> list[Any]:
        """Arrays for all outputs, fresh ones where there is no memory for them."""
        given = {**self.donations(inputs, pairs), **targets}
        return [given[k] if k in given else make() for k, make in enumerate(self.makers)]

    def write(
        self, inputs: Sequence[Any], targets: Mapping[int, Any], pairs: Sequence[tuple[int, int]] = ()
    ) -> list[Any] | None:
        """The same; None where an array of `targets` may share memory, or may not be written to."""
        library = self.library
        if not all(map(library.may_write, targets.values())):
            return None
        spans = self._spans(inputs)
        for k, x in targets.items():
            (dtype, shape), start = self.types[k], library.address(x)
            end = start + dtype.itemsize * math.prod(shape)
            if any(start < high and low < end for low, high in spans):
                return None
            spans.append((start, end))
        return self(inputs, targets, pairs)

    def donations(self, inputs: Sequence[Any], pairs: Sequence[tuple[int, int]]) -> dict[int, Any]:
        """The inputs whose memory outputs take, by the number of the output: no other input shows it."""
        library, spans = self.library, self._spans(inputs)
        found: dict[int, Any] = {}
        for source, target in pairs:
            if self.strides[source] is not None or not library.may_write(inputs[source]):
                continue
            low, high = spans[source]
            others = spans[:source] + spans[source + 1 :]
            if all(high <= begin or end <= low for begin, end in others):
                found[target] = inputs[source]
        return found

    def _spans(self, inputs: Sequence[Any]) -> list[tuple[int, int]]:
        """From which address to which each input is."""
        starts = map(self.library.address, inputs)
        return [(a + low, a + high) for a, (low, high) in zip(starts, self.reaches, strict=True)]

    def _status(self) -> Any:
        """A word a check, all 0."""
        try:
            return self.statuses.pop()
        except IndexError:
            return self.library.upload(np.zeros(max(1, len(self.checks)), _I64), self.number)

    def _check(self, status: Any) -> None:
        """Raise the error of the first check that failed; this waits for the launches."""
        failed = np.flatnonzero(self.library.download(status))
        if failed.size:
            raise self.checks[int(failed[0])].error()
        self.statuses.append(status)

    def _ticket(self, stream: int) -> Any:
        """The address of a counter that is 0 before and after each launch, for one stream alone."""
        key = stream_key(stream)
        found = self.tickets.get(key)
        if found is None:
            counter = self.library.upload(np.zeros(1, np.int32), self.number)
            found = self.tickets[key] = (self.library.pointer(counter), counter)
        return found[0]

    def _call_library(
        self, call: LibraryCall | Sort, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any
    ) -> None:
        """NumPy's function on CuPy's arrays, which CuPy answers: cuBLAS, cuSOLVER."""
        if isinstance(call, Sort):
            self._sort(call, workspace)
            return
        library = self.library
        shaped = [x.reshape(t[1]) for x, t in zip(outputs, self.types, strict=True)]
        arrays: dict[Var, Any] = dict(zip(self.program.inputs, inputs, strict=True))
        arrays |= dict(zip(self.program.outputs, shaped, strict=True))
        for buffer, offset in self.device_program.offsets.items():
            if buffer.var is not None:
                arrays[buffer.var] = library.part(workspace, offset, buffer.shape, buffer.dtype)
        views = _Lazily(arrays, library.for_cupy)
        with library.calls(self.number) as (linalg, place):
            call_library(call.eqn, views, self.program.schedule.definitions, linalg, place)

    def _sort(self, step: Sort, workspace: Any) -> None:
        """CuPy's sort, in place; all codes differ, so that it need not be a stable one."""
        library, codes = self.library, step.codes
        size = (math.prod(codes.shape),)
        array = library.part(workspace, self.device_program.offsets[codes], size, codes.dtype)
        with library.calls(self.number):
            library.for_cupy(array).sort()


def _reach(type: ArrayType, strides: Shape | None) -> tuple[int, int]:
    """How many bytes from its first element an array begins and ends, by its strides in elements."""
    size = type.dtype.itemsize
    if strides is None or not type.size:
        return 0, size * type.size
    steps = [size * (n - 1) * s for n, s in zip(type.shape, strides, strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + size


class _Lazily(dict[Var, Any]):
    """Arrays that become CuPy's when they are asked for."""

    def __init__(self, arrays: Mapping[Var, Any], view: Callable[[Any], Any]) -> None:
        super().__init__(arrays)
        self.view = view

    def __getitem__(self, var: Var) -> Any:
        return self.view(super().__getitem__(var))
