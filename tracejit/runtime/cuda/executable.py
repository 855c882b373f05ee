"""A program on a device: launches and library calls in order, on arrays that lie there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tracejit.codegen.cuda.donation import donate
from tracejit.codegen.cuda.launches import DeviceProgram, Launch, Plain, print_launch
from tracejit.codegen.cuda.scatter import Sort
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.config import Config
from tracejit.runtime.cuda.arrays import Library, Shape, layout
from tracejit.runtime.cuda.device import Device, Given, Serve, Visit
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
        self.given = Given(self.dtypes)
        self.printed: dict[tuple[int, ...], list[Launch]] = {}
        self.plans: dict[tuple[Any, ...], Plan] = {}
        self.donated: list[tuple[int, int]] = []

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
        visit = self.device.enter(arrays, self.given, into)
        with visit.library.on(visit.device):
            plan = self.plan(visit)
            targets, own = self.targets(plan, visit, into)
            outputs = plan(visit.inputs, targets, self.pairs(visit))
            return self.results(visit, outputs, into, own, arrays)

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
            visit.fixed.add(k)
            return None
        if layout(self.program.inputs[k].type.shape, strides, size) == CONTIGUOUS:
            return None
        return tuple(s // size for s in strides)

    def prepare(self, arrays: Sequence[Any], into: Mapping[int, Any] = NOWHERE) -> Serve | None:
        """What serves calls whose arrays have the types, strides and device of these.

        None where each of them takes more than that: a copy, or a view by another library.
        """
        visit = self.device.enter(arrays, self.given, into)
        given = list(visit.inputs)
        with visit.library.on(visit.device):
            plan = self.plan(visit)
        if visit.give is not None or any(x is not y for x, y in zip(given, visit.inputs, strict=True)):
            return None
        if any(_layout(visit.library, x) != CONTIGUOUS for x in into.values()):
            return None
        pairs = self.pairs(visit)
        run: Serve = partial(plan, pairs=pairs) if pairs else plan
        if into:
            run = partial(plan.write, pairs=pairs)
        return self.device.serve(plan, run, arrays, self.given)

    def targets(
        self, plan: Plan, visit: Visit, into: Mapping[int, Any]
    ) -> tuple[dict[int, Any], dict[int, Any]]:
        """Memory for those outputs that have arrays in `into`, and the arrays as the library sees them.

        These themselves, where launches can write to them at once.
        """
        if not into:
            return {}, {}
        if visit.give is not None and visit.take is None:
            return {k: plan.makers[k]() for k in into}, {}
        own = {k: x if visit.take is None else visit.take(x) for k, x in into.items()}
        is_direct = {k: _layout(visit.library, x) == CONTIGUOUS for k, x in own.items()}
        return {k: x if is_direct[k] else plan.makers[k]() for k, x in own.items()}, own

    def results(
        self,
        visit: Visit,
        outputs: list[Any],
        into: Mapping[int, Any],
        own: Mapping[int, Any],
        arrays: Sequence[Any],
    ) -> list[Any]:
        """What the caller gets: arrays of its own kind, those of `into` where it gave any."""
        if not into and visit.give is None:
            return outputs
        for k, x in into.items():
            if k not in own:
                assert visit.give is not None
                x[...] = visit.give(outputs[k])
            elif outputs[k] is not own[k]:
                visit.library.assign(own[k], outputs[k])
        give = visit.give or _same
        known = {id(visit.inputs[s]): arrays[s] for s, _ in self.pairs(visit)}
        found = [known[id(x)] if id(x) in known else give(x) for x in outputs]
        return [into.get(k, x) for k, x in enumerate(found)]

    def pairs(self, visit: Visit) -> list[tuple[int, int]]:
        """Of an input of a call and an output that may take its memory."""
        return [(s, t) for s, t in self.donated if s not in visit.fixed]

    def donate(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Let outputs take the memory of inputs, where launches allow it; calls see to it by themselves."""
        self.donated = donate(self.device_program, pairs)
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
