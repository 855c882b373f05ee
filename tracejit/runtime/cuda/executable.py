"""A program on a device: launches and library calls in order, on arrays that lie there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tracejit.codegen.cuda.launches import DeviceProgram, Launch, Plain, print_launch
from tracejit.codegen.cuda.scatter import Sort
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.config import Config
from tracejit.runtime.cuda.arrays import Library, Shape, layout
from tracejit.runtime.cuda.device import Device, Visit
from tracejit.runtime.cuda.plans import NOWHERE, Plan

MAX_PLANS = 64

Strides = tuple[Shape | None, ...]


class DeviceExecutable:
    """A compiled graph for CUDA: takes arrays that match the graph's inputs, returns fresh ones."""

    def __init__(self, program: DeviceProgram, config: Config, device: Device) -> None:
        self.device_program = program
        self.program = program.program
        self.config = config
        self.device = device
        self.workspace = program.workspace
        self.shapes = tuple(a.type.shape for a in self.program.schedule.graph.outputs)
        self.dtypes = tuple(v.type.dtype for v in self.program.inputs)
        self.printed: dict[tuple[int, ...], list[Launch]] = {}
        self.plans: dict[tuple[Any, ...], Plan] = {}

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

    def __call__(self, arrays: Sequence[Any], into: Mapping[int, Any] = NOWHERE) -> list[Any]:
        """Run; `into` has arrays for some outputs, by number, of the inputs' kind."""
        visit = self.device.enter(arrays, self.dtypes, into)
        with visit.library.on(visit.device):
            plan = self.plan(visit)
            targets = self.targets(visit, into)
            outputs = plan(visit.inputs, targets)
            return self.results(visit, outputs, into, targets)

    def plan(self, visit: Visit) -> Plan:
        """The plan for arrays like these, with their kernels loaded.

        Where strides are not whole elements, copies take the place of the arrays.
        """
        strides = self.strides(visit)
        key = (visit.library.name, visit.device, strides)
        found = self.plans.get(key)
        if found is None:
            launches = self.launches(self.layouts(strides))
            found = Plan(
                self.device_program, launches, self.shapes, strides, visit.library, visit.device, self.device
            )
            if len(self.plans) >= MAX_PLANS:
                self.plans.clear()
            self.plans[key] = found
        return found

    def layouts(self, strides: Strides) -> tuple[int, ...]:
        """What launches are printed for, from strides in elements."""
        shapes = [v.type.shape for v in self.program.inputs]
        return tuple(
            CONTIGUOUS if s is None else layout(n, s, 1) for n, s in zip(shapes, strides, strict=True)
        )

    def strides(self, visit: Visit) -> Strides:
        """Of each input, in elements; None where it has no gaps."""
        return tuple(self._strides(visit, k) for k in range(len(visit.inputs)))

    def _strides(self, visit: Visit, k: int) -> Shape | None:
        x = visit.inputs[k]
        if visit.library.is_compact(x):
            return None
        strides, size = visit.library.strides(x), self.dtypes[k].itemsize
        if any(s % size for s in strides):
            visit.inputs[k] = visit.library.compact(x)
            return None
        if layout(self.program.inputs[k].type.shape, strides, size) == CONTIGUOUS:
            return None
        return tuple(s // size for s in strides)

    def prepare(self, arrays: Sequence[Any]) -> Callable[[Sequence[Any]], list[Any]] | None:
        """What serves calls whose arrays have the types, strides and device of these.

        None where each of them takes more than that: a copy, or a view by another library.
        """
        visit = self.device.enter(arrays, self.dtypes, NOWHERE)
        given = list(visit.inputs)
        with visit.library.on(visit.device):
            plan = self.plan(visit)
        if visit.give is not None or any(x is not y for x, y in zip(given, visit.inputs, strict=True)):
            return None
        return self.device.serve(plan, arrays, self.dtypes)

    def targets(self, visit: Visit, into: Mapping[int, Any]) -> dict[int, Any]:
        """Those arrays of `into` that launches can write to at once."""
        if not into or (visit.give is not None and visit.take is None):
            return {}
        taken = {k: x if visit.take is None else visit.take(x) for k, x in into.items()}
        return {k: x for k, x in taken.items() if _layout(visit.library, x) == CONTIGUOUS}

    def results(
        self, visit: Visit, outputs: list[Any], into: Mapping[int, Any], targets: Mapping[int, Any]
    ) -> list[Any]:
        """What the caller gets: arrays of its own kind, those of `into` where it gave any."""
        if not into and visit.give is None:
            return outputs
        for k, x in into.items():
            if k in targets:
                continue
            if visit.give is not None and visit.take is None:
                x[...] = visit.give(outputs[k])
            else:
                visit.library.assign(x if visit.take is None else visit.take(x), outputs[k])
        give = visit.give or _same
        return [into[k] if k in into else give(x) for k, x in enumerate(outputs)]

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
            elif isinstance(step, Sort):
                parts.append(f"# library call: {step.codes.name}.sort(), by CuPy\n")
            else:
                parts.append(f"# library call: {step.eqn.primitive.name}, by CuPy\n")
        return "\n".join(parts)


def _layout(library: Library, x: Any) -> int:
    dtype, shape = library.facts(x)
    return layout(shape, library.strides(x), dtype.itemsize)


def _same(x: Any) -> Any:
    return x
