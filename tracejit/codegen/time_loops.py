"""A loop over time inside a nest: carries in registers, rows read and stored on the way.

Enters: the results of one `scan` that a group has. Leaves: statements where the lowering stands, in the loops
over the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracejit.codegen.loops import Compute, Loop, Register, Scalar, SetRegister, Store, held_dtype
from tracejit.ir import Atom, Const, Eqn, Graph, Var
from tracejit.ops.loop import needed_parts
from tracejit.schedule.access import full_index
from tracejit.schedule.index import AxisRef, Index

if TYPE_CHECKING:
    from tracejit.codegen.lower import Lowering


def lower_time_loop(lowering: Lowering, eqns: Sequence[Eqn]) -> dict[Eqn, Scalar]:
    """Emit the loop; gives the values of those results that are carries after the last step."""
    return _TimeLoop(lowering, eqns).run()


class _TimeLoop:
    def __init__(self, lowering: Lowering, eqns: Sequence[Eqn]) -> None:
        self.lowering = lowering
        self.first = eqns[0]
        params = self.first.params
        self.body: Graph = params["body"]
        self.steps: int = params["steps"]
        self.carries: int = params["carries"]
        self.rows = range(self.carries, self.carries + params["scanned"])
        self.reverse: bool = params["reverse"]
        self.results = {e.params["result"]: e for e in eqns}
        self.kept, self.needed = needed_parts(self.body, self.carries, self.results)
        axes = lowering.group.domain_dims[self.first.out]
        self.place = full_index(axes)
        self.scalars: dict[Var, Scalar] = {}

    def run(self) -> dict[Eqn, Scalar]:
        lowering = self.lowering
        registers = {k: Register(self.body.inputs[k].type.dtype) for k in self.kept}
        for k, atom in enumerate(self.first.inputs):
            if k in registers:
                lowering.append(SetRegister(registers[k], lowering.read(atom, self.place)))
            elif k >= self.rows.stop and self.body.inputs[k] in self.needed:
                self.scalars[self.body.inputs[k]] = lowering.read(atom, self.place)
        axis = lowering.open_time(self.steps)
        for k, register in registers.items():
            self.scalars[self.body.inputs[k]] = self.held(register)
        self.step(Index.factor(AxisRef(axis)))
        for k, register in registers.items():
            lowering.append(SetRegister(register, self.value(self.body.outputs[k])))
        statements = lowering.close_time()
        lowering.append(Loop(axis, self.steps, statements, serial=True))
        return {e: self.held(registers[k]) for k, e in self.results.items() if k < self.carries}

    def held(self, register: Register) -> Scalar:
        """What the register holds here, kept under a name: it may be set before that is used."""
        scalar = Scalar("register", (register,), register.dtype, len(self.lowering.open_axes))
        self.lowering.append(Compute(scalar, self.first.source))
        return scalar

    def step(self, counter: Index) -> None:
        lowering, made = self.lowering, len(self.body.outputs)
        place = (self.steps - 1 - counter if self.reverse else counter, *self.place)
        for k in self.rows:
            if self.body.inputs[k] in self.needed:
                self.scalars[self.body.inputs[k]] = lowering.read(self.first.inputs[k], place)
        for eqn in self.body.eqns:
            if eqn.out in self.needed:
                lowering.eqn = eqn
                self.scalars[eqn.out] = self.elementwise(eqn)
        lowering.eqn = self.first
        for k, eqn in self.results.items():
            if k >= self.carries and eqn.out in lowering.stored:
                atom = self.body.outputs[k] if k < made else self.body.inputs[k - made]
                buffer = lowering.buffer(eqn.out, written=True)
                lowering.append(Store(buffer, place, self.value(atom)))

    def elementwise(self, eqn: Eqn) -> Scalar:
        language = self.lowering.language
        assert eqn.primitive.body is not None
        operands = [language.wrap(self.value(a)) for a in eqn.inputs]
        result = eqn.primitive.body(language, *operands, **eqn.params)
        return language.cast(result, held_dtype(eqn.out.type.dtype)).scalar

    def value(self, atom: Atom) -> Scalar:
        if isinstance(atom, Const):
            return self.lowering.read(atom, self.place)
        return self.scalars[atom]
