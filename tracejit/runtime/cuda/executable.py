"""A program on a device: launches and library calls in order, on arrays that lie there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.codegen.cuda.launches import DeviceProgram, Launch, Plain, print_launch
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.codegen.program import LibraryCall
from tracejit.config import Config
from tracejit.ir import Var
from tracejit.runtime.cuda.arrays import Library, layout
from tracejit.runtime.cuda.device import Device, Run, Visit
from tracejit.runtime.library import call_library

_I64, _U8 = np.dtype(np.int64), np.dtype(np.uint8)


@dataclass(frozen=True)
class Step:
    """A launch that is ready: what runs it, and its arguments where only addresses and strides are missing.

    handles: (position, which of the call's arrays); strides: (position, input, dimension)
    status: the position of the status word's address, None where nothing can fail
    ticket: the position of the counter by which blocks learn which of them is the last, if there is one
    """

    launch: Launch
    run: Run
    arguments: list[Any]
    handles: tuple[tuple[int, int], ...]
    strides: tuple[tuple[int, int, int], ...]
    status: int | None
    ticket: int | None


@dataclass(frozen=True)
class Bound:
    """A program for one set of layouts on one device: launches and library calls, and those that may fail."""

    steps: tuple[Step | LibraryCall, ...]
    checked: tuple[Step, ...]
    takes_ticket: bool


class DeviceExecutable:
    """A compiled graph for CUDA: takes arrays that match the graph's inputs, returns fresh ones.

    The handles of a call are those of its inputs, its outputs, then its temporaries, in this order.
    """

    def __init__(self, program: DeviceProgram, config: Config, device: Device) -> None:
        self.device_program = program
        self.program = program.program
        self.config = config
        self.device = device
        self.workspace = program.workspace
        graph = self.program.schedule.graph
        self.shapes = tuple(a.type.shape for a in graph.outputs)
        self.types = tuple((v.type.dtype, v.type.shape) for v in self.program.outputs)
        self.is_reshaped = any(s != t[1] for s, t in zip(self.shapes, self.types, strict=True))
        self.dtypes = tuple(v.type.dtype for v in self.program.inputs)
        self.printed: dict[tuple[int, ...], list[Launch]] = {}
        self.bound: dict[tuple[tuple[int, ...], int], Bound] = {}
        self.tickets: dict[tuple[str, int, Any], Any] = {}
        self.temporaries = [(o, b.shape, b.dtype) for b, o in program.offsets.items()]
        named = (*self.program.inputs, *self.program.outputs)
        buffers = [self.program.buffers.get(v) for v in named] + list(program.offsets)
        self.numbers = {b: k for k, b in enumerate(buffers) if b is not None}
        self.calls_libraries = any(isinstance(s, LibraryCall) for s in program.steps)

    def launches(self, layouts: tuple[int, ...]) -> list[Launch]:
        """The printed launches for inputs that lie so."""
        found = self.printed.get(layouts)
        if found is None:
            strided = {
                self.program.buffers[v]: kind
                for v, kind in zip(self.program.inputs, layouts, strict=True)
                if v in self.program.buffers and kind != CONTIGUOUS
            }
            limit = self.config.literal_limit
            found = [print_launch(p, strided, limit) for p in self.device_program.launches]
            self.printed[layouts] = found
        return found

    # --- a call ---------------------------------------------------------------------------------------------

    def __call__(self, arrays: Sequence[Any], into: Mapping[int, Any] | None = None) -> list[Any]:
        """Run; `into` has arrays for some outputs, by number, of the inputs' kind."""
        into = into or {}
        visit = self.device.enter(arrays, self.dtypes, into)
        with visit.library.on(visit.device):
            targets = self.targets(visit, into)
            outputs = self.run(visit, targets)
            return self.results(visit, outputs, into, targets)

    def targets(self, visit: Visit, into: Mapping[int, Any]) -> dict[int, Any]:
        """Those arrays of `into` that launches can write to at once."""
        if not into or (visit.give is not None and visit.take is None):
            return {}
        taken = {k: x if visit.take is None else visit.take(x) for k, x in into.items()}
        return {k: x for k, x in taken.items() if _layout(visit.library, x) == CONTIGUOUS}

    def run(self, visit: Visit, targets: Mapping[int, Any]) -> list[Any]:
        """All steps, on the library's current stream; the outputs as arrays of the library."""
        library, number = visit.library, visit.device
        layouts = tuple(self.lay(visit, k) for k in range(len(visit.inputs)))
        bound = self.bound.get((layouts, number)) or self.bind(layouts, number)
        outputs = [
            targets[k] if k in targets else library.empty(shape, dtype, number)
            for k, (dtype, shape) in enumerate(self.types)
        ]
        handles = [library.pointer(x) for x in (*visit.inputs, *outputs)]
        workspace = None
        if self.temporaries:  # which may all be empty
            workspace = library.empty((max(1, self.workspace),), _U8, number)
            handles += library.pointers(workspace, self.temporaries)
        status = library.upload(np.zeros(len(bound.checked), _I64), number) if bound.checked else None
        words = [(8 * k, (1,), _I64) for k in range(len(bound.checked))]
        places = iter(library.pointers(status, words) if bound.checked else ())
        stream = self.device.stream(library, number)
        ticket = self.ticket(library, number) if bound.takes_ticket else None
        for step in bound.steps:
            if isinstance(step, Step):
                step.run(stream, _arguments(step, handles, visit, places, ticket))
            else:
                self.call_library(step, visit, outputs, workspace)
        if status is not None:
            self.check(bound, library.download(status))
        return outputs

    def ticket(self, library: Library, number: int) -> Any:
        """The address of a counter that is 0 before and after each launch, for the current stream alone."""
        key = (library.name, number, library.stream(number))
        if key not in self.tickets:
            self.tickets[key] = library.upload(np.zeros(1, np.int32), number)
        return library.pointer(self.tickets[key])

    def lay(self, visit: Visit, k: int) -> int:
        """How an input lies; a copy takes its place where its strides are not whole elements."""
        x = visit.inputs[k]
        if visit.library.is_compact(x):
            return CONTIGUOUS
        strides, size = visit.library.strides(x), self.dtypes[k].itemsize
        if any(s % size for s in strides):
            visit.inputs[k] = visit.library.compact(x)
            return CONTIGUOUS
        return layout(self.program.inputs[k].type.shape, strides, size)

    def check(self, bound: Bound, status: np.ndarray[Any, Any]) -> None:
        for step, number in zip(bound.checked, status, strict=True):
            if number:
                raise step.launch.checks[int(number) - 1].error()

    def results(
        self, visit: Visit, outputs: list[Any], into: Mapping[int, Any], targets: Mapping[int, Any]
    ) -> list[Any]:
        """What the caller gets: arrays of its own kind, those of `into` where it gave any."""
        shaped = outputs
        if self.is_reshaped:
            shaped = [x.reshape(s) for x, s in zip(outputs, self.shapes, strict=True)]
        if not into and visit.give is None:
            return shaped
        for k, x in into.items():
            if k in targets:
                continue
            if visit.give is not None and visit.take is None:
                x[...] = visit.give(shaped[k])
            else:
                visit.library.assign(x if visit.take is None else visit.take(x), shaped[k])
        give = visit.give or _same
        return [into[k] if k in into else give(x) for k, x in enumerate(shaped)]

    def call_library(self, call: LibraryCall, visit: Visit, outputs: list[Any], workspace: Any) -> None:
        """NumPy's function on CuPy's arrays, which CuPy answers: cuBLAS, cuSOLVER."""
        library = visit.library
        arrays: dict[Var, Any] = dict(zip(self.program.inputs, visit.inputs, strict=True))
        arrays |= dict(zip(self.program.outputs, outputs, strict=True))
        for buffer, offset in self.device_program.offsets.items():
            if buffer.var is not None:
                arrays[buffer.var] = library.part(workspace, offset, buffer.shape, buffer.dtype)
        views = _Lazily(arrays, library.for_cupy)
        with library.calls(visit.device) as (linalg, place):
            call_library(call.eqn, views, self.program.schedule.definitions, linalg, place)

    # --- before the first call ------------------------------------------------------------------------------

    def bind(self, layouts: tuple[int, ...], number: int) -> Bound:
        """Print the launches for one set of layouts, and have them loaded."""
        launches = iter(self.launches(layouts))
        steps = tuple(
            self.ready(next(launches), number) if isinstance(s, Plain) else s
            for s in self.device_program.steps
        )
        checked = tuple(s for s in steps if isinstance(s, Step) and s.status is not None)
        takes_ticket = any(isinstance(s, Step) and s.ticket is not None for s in steps)
        found = self.bound[(layouts, number)] = Bound(steps, checked, takes_ticket)
        return found

    def ready(self, launch: Launch, number: int) -> Step:
        arguments: list[Any] = []
        handles: list[tuple[int, int]] = []
        strides: list[tuple[int, int, int]] = []
        status = ticket = None
        for position, (kind, slot) in enumerate(zip(launch.parameters, launch.slots, strict=True)):
            value: Any = None
            if slot[0] == "array":
                handles.append((position, self.numbers[slot[1]]))
            elif slot[0] == "stride":
                strides.append((position, self.numbers[slot[1]], slot[2]))
            elif slot[0] == "status":
                status = position
            elif slot[0] == "ticket":
                ticket = position
            else:
                value = np.dtype(kind).type(slot[1])
            arguments.append(value)
        run = self.device.load(launch, number)
        return Step(launch, run, arguments, tuple(handles), tuple(strides), status, ticket)

    def donate(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """No result takes the memory of an argument: a device's pool gives fresh memory at no cost."""
        return []

    # --- text -----------------------------------------------------------------------------------------------

    def describe(self, layouts: tuple[int, ...]) -> str:
        """The source of all launches with their sizes, and the library calls in between."""
        launches = iter(self.launches(layouts))
        parts: list[str] = []
        for step in self.device_program.steps:
            if isinstance(step, Plain):
                launch = next(launches)
                parts.append(f"# {launch.blocks} blocks of {launch.threads} threads\n{launch.text}")
            else:
                parts.append(f"# library call: {step.eqn.primitive.name}, by CuPy\n")
        return "\n".join(parts)


class _Lazily(dict[Var, Any]):
    """Arrays that become CuPy's when they are asked for."""

    def __init__(self, arrays: Mapping[Var, Any], view: Callable[[Any], Any]) -> None:
        super().__init__(arrays)
        self.view = view

    def __getitem__(self, var: Var) -> Any:
        return self.view(super().__getitem__(var))


def _arguments(step: Step, handles: Sequence[Any], visit: Visit, places: Any, ticket: Any) -> list[Any]:
    arguments = step.arguments.copy()
    for position, number in step.handles:
        arguments[position] = handles[number]
    for position, number, dimension in step.strides:
        x = visit.inputs[number]
        itemsize = visit.library.facts(x)[0].itemsize
        arguments[position] = np.int64(visit.library.strides(x)[dimension] // itemsize)
    if step.status is not None:
        arguments[step.status] = next(places)
    if step.ticket is not None:
        arguments[step.ticket] = ticket
    return arguments


def _layout(library: Library, x: Any) -> int:
    dtype, shape = library.facts(x)
    return layout(shape, library.strides(x), dtype.itemsize)


def _same(x: Any) -> Any:
    return x
