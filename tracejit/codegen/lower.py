"""From a group of equations to a loop nest: what is computed at which depth, and in which pass over a row.

At each depth the equations that live there are placed, then one loop holds everything deeper that can run
together, then again: a softmax row becomes max, then sum, then the results, in three passes over a row that
stays in cache. A value of an earlier pass is loaded back if it is stored, computed again if cheap, and
kept in a scratch row otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Load,
    Loop,
    Reset,
    Scalar,
    Statement,
    Store,
    held_dtype,
    remove_dead,
    walk,
)
from tracejit.codegen.scalars import BOOL, ScalarLanguage
from tracejit.codegen.time_loops import lower_time_loop
from tracejit.config import AUTO, Choices
from tracejit.costs import COSTS, SHORT_SCRATCH
from tracejit.ir import Atom, Const, Eqn, Kind, Var, computation_key
from tracejit.ops.core import reshape_p
from tracejit.schedule import cost
from tracejit.schedule.access import axis_map, full_index, is_virtual
from tracejit.schedule.group import is_scatter, new_axis, operand_axes
from tracejit.schedule.index import AxisRef, Guard, Index, Loaded, strongest
from tracejit.schedule.steps import KernelStep

FORCED = 60.0  # nanoseconds an element that are spent on repeated work where it is asked for
INT = np.dtype(np.int64)


class _Block:
    """A loop body under construction and the scalars known in it."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.known: dict[Any, Scalar] = {}
        self.values: dict[Var, Scalar] = {}


class Lowering:
    """Builds the kernel of one step."""

    def __init__(
        self,
        step: KernelStep,
        definitions: Mapping[Var, Eqn],
        name: str,
        buffers: dict[Var, Buffer],
        choices: Choices = AUTO,
        wide_sums: bool = True,
    ) -> None:
        self.wide_sums = wide_sums
        self.choices = choices
        self.group = step.group
        self.extents = dict(step.group.extents)  # of its axes, and of those that are time
        self.order = step.order
        self.stored = step.stored
        self.definitions = definitions
        self.buffers = buffers
        self.blocks: list[_Block] = []
        self.homes: dict[Var, tuple[list[Statement], Scalar]] = {}
        self.open_axes: list[int] = []
        self.scalars: dict[Var, Scalar] = {}
        self.accumulators: dict[Var, Accumulator] = {}
        self.scratch: dict[Var, Buffer] = {}
        self.timed: set[Any] = set()  # the loops over time that are there
        self.touched: set[Buffer] = set()  # of `kernel.buffers`, those that hold variables
        self.kernel = Kernel(name, [], [], set(), [])
        self.language = ScalarLanguage(self.emit)
        self.eqn: Eqn | None = None
        self.in_group = {e.out: e for e in self.group.eqns.values()}
        self.operands = {v: self.group.operands_of(e) for v, e in self.in_group.items()}
        self.paths = {v: self._ordered(self.group.domains[v]) for v in self.in_group}
        self.result_paths = {v: self._ordered(self.group.computed[v] or ()) for v in self.in_group}

    def run(self) -> Kernel:
        root = _Block()
        self.blocks.append(root)
        self.build((), list(self.group.eqns.values()))
        self.kernel.body = remove_dead(root.statements)
        read = {x.buffer for x in walk(self.kernel.body) if isinstance(x, (Load, Store, Fill, Combine))}
        self.kernel.buffers = [b for b in self.kernel.buffers if b in read]
        return self.kernel

    # --- placing equations ----------------------------------------------------------------------------

    def _ordered(self, axes: Iterable[int | None]) -> tuple[int, ...]:
        wanted = set(axes)
        return tuple(a for a in self.order if a in wanted)

    def path(self, eqn: Eqn) -> tuple[int, ...]:
        """The loops around the equation, outermost first."""
        return self.paths[eqn.outputs[0]]

    def build(self, prefix: tuple[int, ...], pending: list[Eqn]) -> None:
        """Fill the innermost open block with equations whose paths start with `prefix`."""
        while pending:
            waiting: list[Eqn] = []
            for eqn in pending:
                if self.path(eqn) == prefix and self.is_ready(eqn):
                    self.place(eqn, prefix)
                else:
                    waiting.append(eqn)
            if len(waiting) == len(pending):
                done = self.open_loop(prefix, pending)
                waiting = [e for e in pending if e not in done]
            pending = waiting

    def is_ready(self, eqn: Eqn) -> bool:
        return all(v in self.scalars or v in self.homes for v in self.operands[eqn.out])

    def open_loop(self, prefix: tuple[int, ...], pending: list[Eqn]) -> set[Eqn]:
        """One loop with all pending equations that can run in it now."""
        depth = len(prefix)
        inner: dict[int, list[Eqn]] = {axis: [] for axis in self.order}
        for eqn in pending:  # in order of definition: operands come first
            path = self.path(eqn)
            if len(path) > depth:
                inner[path[depth]].append(eqn)
        for axis, eqns in inner.items():
            chosen: dict[Var, Eqn] = {}
            for eqn in eqns:
                if all(self.is_available(v, (*prefix, axis), chosen) for v in self.operands[eqn.out]):
                    chosen[eqn.out] = eqn
            if chosen:
                self.loop(prefix, axis, list(chosen.values()))
                return set(chosen.values())
        raise AssertionError("no equation of the group can be placed; the order is not feasible")

    def is_available(self, var: Var, inside: tuple[int, ...], chosen: Mapping[Var, Eqn]) -> bool:
        if var in self.scalars or var in self.homes:
            return True
        return var in chosen and self.result_paths[var][: len(inside)] == inside

    def loop(self, prefix: tuple[int, ...], axis: int, eqns: list[Eqn]) -> None:
        outer, block = self.blocks[-1], _Block()
        self.blocks.append(block)
        self.open_axes.append(axis)
        self.build((*prefix, axis), eqns)
        self.open_axes.pop()
        self.blocks.pop()
        outer.statements.append(Loop(axis, self.extents[axis], block.statements))
        for var, scalar in block.values.items():
            if scalar.level <= len(prefix):
                outer.values[var] = scalar  # it does not depend on this loop and was placed outside of it
            else:
                self.scalars.pop(var, None)
        for eqn in eqns:
            self.close_reduction(eqn, prefix)

    def close_reduction(self, eqn: Eqn, prefix: tuple[int, ...]) -> None:
        """After the loop: a finished accumulator becomes a scalar and, if needed outside, is stored."""
        accumulator = self.accumulators.get(eqn.out)
        if accumulator is None or self.result_paths[eqn.out] != prefix:
            return
        raw = Scalar("acc", (accumulator,), accumulator.result_dtype, len(prefix))
        self.finish(eqn, self.language.cast(self.language.wrap(raw), held_dtype(eqn.out.type.dtype)).scalar)

    # --- equations ------------------------------------------------------------------------------------

    def place(self, eqn: Eqn, prefix: tuple[int, ...]) -> None:
        """Compute one equation in the innermost block."""
        self.eqn = eqn
        if eqn.primitive.kind is Kind.REDUCTION:
            self.reduce(eqn, prefix)
        elif eqn.primitive.kind is Kind.INDEX:
            self.pick(eqn)
        elif eqn.primitive.kind is Kind.CONTROL:
            self.run_in_time(eqn)
        else:
            self.finish(eqn, self.elementwise(eqn))

    def elementwise(self, eqn: Eqn) -> Scalar:
        axes = self.group.computed[eqn.out]
        assert axes is not None
        index = full_index(axes)
        operands = [self.language.wrap(self.read(a, index)) for a in eqn.inputs]
        assert eqn.primitive.body is not None
        result = eqn.primitive.body(self.language, *operands, **eqn.params)
        return self.language.cast(result, held_dtype(eqn.out.type.dtype)).scalar

    def finish(self, eqn: Eqn, scalar: Scalar) -> None:
        """The value of `eqn` is known in the innermost block; store it where others need it."""
        block = self.blocks[-1]
        self.scalars[eqn.out] = scalar
        block.values[eqn.out] = scalar
        self.homes[eqn.out] = (block.statements, scalar)
        if eqn.out in self.stored:
            axes = self.group.computed[eqn.out]
            assert axes is not None
            block.statements.append(Store(self.buffer(eqn.out, written=True), full_index(axes), scalar))

    def run_in_time(self, eqn: Eqn) -> None:
        """A loop over time, once, with all of its results that the group has."""
        key = computation_key(eqn)
        if key not in self.timed:
            self.timed.add(key)
            results = [e for e in self.in_group.values() if computation_key(e) == key]
            for result, scalar in lower_time_loop(self, results).items():
                self.finish(result, scalar)

    def open_time(self, steps: int) -> int:
        """Start the body of a loop over time; gives its axis."""
        axis = new_axis()
        self.extents[axis] = steps
        self.open_axes.append(axis)
        self.blocks.append(_Block())
        return axis

    def close_time(self) -> list[Statement]:
        self.open_axes.pop()
        return self.blocks.pop().statements

    def reduce(self, eqn: Eqn, prefix: tuple[int, ...]) -> None:
        axes = self.group.domain_dims[eqn.out]
        value = self.read(eqn.inputs[0], full_index(axes))
        result = self.result_paths[eqn.out]
        reducer = eqn.primitive.reducer
        assert reducer is not None
        position = None
        if reducer.startswith("arg"):
            position = full_index(axes)[eqn.params["axes"][0]]
        if result == prefix:  # every reduced axis has size 1
            one = self.from_index(Index(), eqn.out.type.dtype) if position is not None else value
            self.finish(eqn, self.language.cast(self.language.wrap(one), eqn.out.type.dtype).scalar)
        elif result == prefix[: len(result)]:
            if position is None:
                value = self.language.cast(self.language.wrap(value), self.accumulated_dtype(eqn)).scalar
            accumulator = Accumulator(reducer, value.dtype)
            self.accumulators[eqn.out] = accumulator
            self.blocks[len(result)].statements.append(Reset(accumulator))
            self.append(Accumulate(accumulator, value, position, eqn.source))
        else:
            self.combine(eqn, full_index(self.group.computed[eqn.out] or ()), reducer, value)

    def accumulated_dtype(self, eqn: Eqn) -> np.dtype[Any]:
        """float32 sums may run in float64: cheap in a memory-bound loop and exact to the last bit or so."""
        dtype = eqn.inputs[0].type.dtype
        is_wide = self.wide_sums and dtype == np.float32 and eqn.primitive.reducer in ("sum", "prod")
        return np.dtype(np.float64) if is_wide else dtype

    def combine(self, eqn: Eqn, index: tuple[Index, ...], reducer: str, value: Scalar | None) -> None:
        """Reduce into memory, from the neutral element on; nothing more where there is no value."""
        buffer = self.buffer(eqn.out, written=True)
        self.blocks[0].statements.append(Fill(buffer, reducer))
        if value is not None:
            self.append(Combine(buffer, index, reducer, value, eqn.source))

    def pick(self, eqn: Eqn) -> None:
        """A gather reads, and a scatter adds, at places that are data."""
        axes = self.group.domain_dims[eqn.out]
        indices = list(operand_axes(eqn, axes))[1:]
        batch = indices[0][0].type.shape
        target = eqn.out.type.shape if is_scatter(eqn) else eqn.inputs[0].type.shape
        places: list[Index] = []
        for (operand, dims), extent in zip(indices if 0 not in batch else (), target, strict=False):
            assert dims is not None
            places.append(self.checked(self.read(operand, full_index(dims)), extent))
        index = (*places, *full_index(axes)[len(batch) :])
        # With no index, or with none that fits an empty axis (which is reported), no memory is touched.
        is_nowhere = 0 in (*batch, *target[: len(indices)])
        if is_scatter(eqn):
            value = None if is_nowhere else self.read(eqn.inputs[0], full_index(axes))
            self.combine(eqn, index, "sum", value)
        elif is_nowhere:
            self.finish(eqn, self.zero(held_dtype(eqn.out.type.dtype)))
        else:
            self.finish(eqn, self.read(eqn.inputs[0], index))

    def checked(self, scalar: Scalar, extent: int) -> Index:
        """A data index wrapped into the axis; out of range is reported after the kernel has run."""
        if scalar.op == "const" and 0 <= int(scalar.args[0]) < extent:
            return Index((), int(scalar.args[0]))
        if scalar.op == "index":
            reached = scalar.args[0].bounds(self.extents)
            if reached is not None and reached[0] >= 0 and reached[1] < extent:
                return scalar.args[0]
        block = self.blocks[scalar.level]
        key = ("checked", scalar, extent)
        if key not in block.known:
            result = Scalar("checked", (scalar, extent), INT, scalar.level)
            block.known[key] = result
            block.statements.append(CheckIndex(result, scalar, extent, self.eqn.source if self.eqn else None))
            self.kernel.checks_indices = True
        return Index.factor(Loaded(block.known[key]))

    # --- reading --------------------------------------------------------------------------------------

    def read(self, atom: Atom, index: tuple[Index, ...], guards: tuple[Guard, ...] = ()) -> Scalar:
        """The element of `atom` at `index`; zero where a guard fails."""
        if isinstance(atom, Const):
            value, dtype = atom.value, held_dtype(atom.type.dtype)
            if dtype is not atom.type.dtype:
                value = np.asarray(value).astype(atom.type.dtype).view(dtype)[()]
            scalar = self.emit("const", (value,), dtype)
            return self.zero_outside(scalar, guards)
        eqn = self.definitions.get(atom)
        if is_virtual(eqn):
            assert eqn is not None
            return self.read_view(eqn, index, guards)
        if atom in self.in_group:
            return self.zero_outside(self.read_computed(atom), guards)
        return self.load(self.buffer(atom), index, guards)

    def read_view(self, eqn: Eqn, index: tuple[Index, ...], guards: tuple[Guard, ...]) -> Scalar:
        if eqn.primitive.position is not None:
            place = Index.of(eqn.primitive.position(index, eqn.out.type, **eqn.params))
            return self.zero_outside(self.from_index(place, eqn.out.type.dtype), guards)
        flat = self._flat_position(eqn, index)
        if flat is not None:
            return self.load(self.buffer(eqn.inputs[0]), (flat,), guards)
        assert eqn.primitive.index is not None
        entries = eqn.primitive.index(index, [a.type for a in eqn.inputs], eqn.out.type, **eqn.params)
        parts: list[tuple[tuple[Guard, ...], Scalar]] = []
        for number, (operand, inner, conditions) in enumerate(entries):
            own = tuple(c for c in conditions if not c)
            place = tuple(Index.of(k) for k in inner)
            parts.append((own, self.read(eqn.inputs[operand], place, (*guards, *own))))
            if not own:
                break
            if number + 1 < len(entries):  # the others must not even be loaded where this one is taken
                (only,) = own
                guards = (*guards, only.negated())
        result = parts[-1][1]
        for own, value in reversed(parts[:-1]):
            result = self.select(own, value, result)
        return result

    def _flat_position(self, eqn: Eqn, index: tuple[Index, ...]) -> Index | None:
        """For a reshape that regroups a contiguous array: the row-major position in it."""
        base = eqn.inputs[0]
        if eqn.primitive is not reshape_p or axis_map(eqn) is not None:
            return None
        if not isinstance(base, Var) or base in self.in_group or is_virtual(self.definitions.get(base, eqn)):
            return None  # inputs may be strided, and views have no memory of their own
        position: Index = Index()
        for k, n in zip(index, eqn.out.type.shape, strict=True):
            position = position * n + k
        return position

    def read_computed(self, var: Var) -> Scalar:
        """A result of this kernel: at hand, stored, cheap to compute again, or kept in scratch."""
        if var in self.scalars:
            return self.scalars[var]
        axes = self.group.computed[var]
        assert axes is not None
        if var in self.stored:
            return self.load(self.buffer(var), full_index(axes), ())
        if var in self.scratch:
            return self.from_scratch(var)
        eqn = self.in_group[var]
        if self.is_repeated(var):
            outer, self.eqn = self.eqn, eqn
            scalar = self.elementwise(eqn)
            self.eqn = outer
            self.scalars[var] = scalar
            self.blocks[-1].values[var] = scalar
            return scalar
        return self.from_scratch(var)

    def is_repeated(self, var: Var) -> bool:
        """Is an element computed again in a later pass, rather than kept in a scratch row?"""
        if self.choices.repeat == "store":
            return False
        spare = FORCED
        loading = 0.0
        if self.choices.repeat == "auto":
            row = math.prod(self.extents[a] for a in self.result_paths[var][1:])
            size = var.type.dtype.itemsize
            spare = 2 * COSTS.moving(size, row * size)
            if row <= SHORT_SCRATCH:  # rows side by side: lanes are loaded one by one, but scratch is not
                loading = COSTS.picked
        return self.repeating(var, spare, loading) <= spare

    def repeating(self, var: Var, spare: float, loading: float) -> float:
        """Nanoseconds to compute an element from what is at hand; infinite where arithmetic is not all.

        loading: what an element of an array of rows costs
        """
        if var in self.scalars or var in self.stored or var in self.scratch:
            return 0
        eqn = self.in_group[var]
        if eqn.primitive.kind is not Kind.ELEMENTWISE:
            return math.inf
        read = [v for v in self.group.operands[var] if v not in self.in_group and v.type.rank > 1]
        price = cost.arithmetic(eqn) + loading * len(read)
        for operand in self.operands[var]:
            if price > spare:
                break
            price += self.repeating(operand, spare - price, loading)
        return price

    def from_scratch(self, var: Var) -> Scalar:
        """Load from a row that the earlier pass is made to fill; all passes share the outermost loop."""
        path = self.result_paths[var][1:]
        index = tuple(Index.factor(AxisRef(a)) for a in path)
        if var not in self.scratch:
            buffer = Buffer(None, tuple(self.extents[a] for a in path), held_dtype(var.type.dtype))
            self.scratch[var] = buffer
            self.kernel.scratch.append(buffer)
            self.kernel.buffers.append(buffer)
            self.kernel.written.add(buffer)
            statements, scalar = self.homes[var]
            statements.append(Store(buffer, index, scalar))
        return self.load(self.scratch[var], index, ())

    # --- scalars --------------------------------------------------------------------------------------

    def emit(self, op: str, args: tuple[Any, ...], dtype: np.dtype[Any]) -> Scalar:
        """A scalar in the outermost block where its operands are known."""
        level = 0
        for arg in args:
            if isinstance(arg, Scalar) and arg.level > level:
                level = arg.level
        key = (op, args if op != "const" else _bits(*args), dtype)
        block = self.blocks[level]
        scalar = block.known.get(key)
        if scalar is None:
            scalar = block.known[key] = Scalar(op, args, dtype, level)
            if op != "const":
                block.statements.append(Compute(scalar, self.eqn.source if self.eqn else None))
        return scalar

    def from_index(self, index: Index, dtype: np.dtype[Any]) -> Scalar:
        level = self.level_of((index,))
        key = ("index", index, dtype)
        block = self.blocks[level]
        if key not in block.known:
            block.known[key] = Scalar("index", (index,), dtype, level)
            block.statements.append(Compute(block.known[key], self.eqn.source if self.eqn else None))
        return block.known[key]

    def needed(self, guards: Sequence[Guard]) -> tuple[Guard, ...]:
        """The guards that the loops do not already grant."""
        return strongest([g for g in guards if not g.always_holds(self.extents)])

    def select(self, guards: Sequence[Guard], a: Scalar, b: Scalar) -> Scalar:
        guards = self.needed(guards)
        if not guards:
            return a
        level = self.level_of([g.index for g in guards])
        key = ("guard", guards)
        block = self.blocks[level]
        if key not in block.known:
            block.known[key] = Scalar("guard", guards, BOOL, level)
            block.statements.append(Compute(block.known[key], self.eqn.source if self.eqn else None))
        return self.emit("select", (block.known[key], a, b), a.dtype)

    def zero_outside(self, scalar: Scalar, guards: Sequence[Guard]) -> Scalar:
        if not guards:
            return scalar
        return self.select(guards, scalar, self.zero(scalar.dtype))

    def zero(self, dtype: np.dtype[Any]) -> Scalar:
        return self.emit("const", (dtype.type(0),), dtype)

    def load(self, buffer: Buffer, index: tuple[Index, ...], guards: tuple[Guard, ...]) -> Scalar:
        if 0 in buffer.shape:  # nothing is there: the loops that would use it do not run
            return self.zero(buffer.dtype)
        guards = self.needed(guards)
        level = self.level_of([*index, *(g.index for g in guards)])
        block = self.blocks[level]
        key = ("load", buffer, index, guards)
        if key not in block.known:
            block.known[key] = Scalar("load", (buffer, index), buffer.dtype, level)
            block.statements.append(
                Load(block.known[key], buffer, index, guards, self.eqn.source if self.eqn else None)
            )
        return block.known[key]

    def level_of(self, indices: Sequence[Index]) -> int:
        """The number of loops that must be open for the indices to be known."""
        level = 0
        for index in indices:
            for axis in index.axes:
                level = max(level, self.open_axes.index(axis) + 1)
            for scalar in index.loaded:
                level = max(level, scalar.level)
        return level

    def append(self, statement: Statement) -> None:
        self.blocks[-1].statements.append(statement)

    def buffer(self, atom: Atom, written: bool = False) -> Buffer:
        assert isinstance(atom, Var)
        if atom not in self.buffers:
            self.buffers[atom] = Buffer(atom, atom.type.shape, held_dtype(atom.type.dtype))
        buffer = self.buffers[atom]
        if buffer not in self.touched:
            self.touched.add(buffer)
            self.kernel.buffers.append(buffer)
        if written:
            self.kernel.written.add(buffer)
        return buffer


def _bits(value: np.generic) -> Any:
    """What tells constants apart: 0.0 differs from -0.0, and NaN is itself."""
    return value.dtype, value.tobytes()
