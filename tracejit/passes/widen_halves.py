"""float16 and bfloat16 are dtypes of memory: between loads and stores every value is a float32."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, UnsupportedError
from tracejit.ir import (
    Atom,
    Builder,
    Const,
    Eqn,
    Graph,
    Kind,
    Var,
    computed_dtype,
    constant,
    dtype_name,
    is_half,
)
from tracejit.ops import core, rounding
from tracejit.ops.halves import narrow_p, widen_p
from tracejit.passes.rewriting import drop_dead

F32 = np.dtype(np.float32)
# What these give is the distance to the next float16, which no float32 tells.
_GRANULAR = {rounding.nextafter.primitive, rounding.spacing.primitive}


def widen_halves(graph: Graph) -> Graph:
    """Compute in float32 what has a dtype of two bytes, and round results once.

    So results are those of float32 arithmetic, whatever is fused; derivatives, schedules and library calls
    need know nothing of it. Three things round, or stay, on the way:

    - a cast that the user wrote, from a wider dtype or a wide integer, rounds there as NumPy does;
    - casts of a derivative do not: a gradient is rounded when it leaves, in the dtype of its argument;
    - what only moves numbers out of an array in memory by positions that are data (a gather) moves two bytes.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f16[3]', v1: 'f16[3]'):
    ...     v2: 'f16[3]' = multiply(v0, v1)
    ...     v3: 'f16[3]' = exp(v2)
    ...     return (v3,)
    ... ''')
    >>> print(format_graph(widen_halves(graph)))
    def f(v0: 'f16[3]', v1: 'f16[3]'):
        v2: 'f32[3]' = widen(v0, source='f16')
        v3: 'f32[3]' = widen(v1, source='f16')
        v4: 'f32[3]' = multiply(v2, v3)
        v5: 'f32[3]' = exp(v4)
        v6: 'f16[3]' = narrow(v5, dtype='f16')
        return (v6,)
    """
    if not has_halves(graph):
        return graph
    return _Widening(graph).run()


def has_halves(graph: Graph) -> bool:
    """Has anything in the graph one of the two dtypes?"""
    return (
        _any_half(graph.inputs) or any(_any_half(e.outputs) for e in graph.eqns) or _any_half(graph.outputs)
    )


def _any_half(atoms: Iterable[Atom]) -> bool:
    return any(is_half(a.type.dtype) for a in atoms)


class _Widening:
    """stored: for variables of two bytes, what holds them so; wide: what stands for them in arithmetic."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = Builder(graph.name)
        self.builder.inputs = list(graph.inputs)
        self.stored: dict[Atom, Atom] = {v: v for v in graph.inputs if is_half(v.type.dtype)}
        self.wide: dict[Atom, Atom] = {}

    def run(self) -> Graph:
        for eqn in self.graph.eqns:
            with self.builder.at(eqn.source):
                if _any_half((*eqn.inputs, *eqn.outputs)):
                    self.widen(eqn)
                else:
                    self.builder.replay(eqn.with_inputs(self.read(a) for a in eqn.inputs))
        sources = {e.outputs[0]: e.source for e in self.graph.eqns}
        outputs: list[Atom] = []
        for atom in self.graph.outputs:
            with self.builder.at(sources.get(atom) if isinstance(atom, Var) else None):
                outputs.append(self.leave(atom) if is_half(atom.type.dtype) else self.read(atom))
        return drop_dead(self.builder.finish(outputs))

    def read(self, atom: Atom) -> Atom:
        """What stands for `atom` in arithmetic."""
        if isinstance(atom, Const):
            return constant(atom.value, F32) if is_half(atom.type.dtype) else atom
        found = self.wide.get(atom)
        if found is None and atom in self.stored:
            params = {"source": dtype_name(atom.type.dtype)}
            found = self.wide[atom] = self.builder.emit(widen_p, (self.stored[atom],), params)
        if found is None:
            found = self.builder.replaced.get(atom, atom)
        return found

    def leave(self, atom: Atom) -> Atom:
        """`atom`, which has two bytes, as it is stored."""
        if atom in self.stored:
            return self.stored[atom]
        value = self.read(atom)
        eqn = self.builder.definition(value)
        if eqn is not None and eqn.primitive is widen_p and eqn.inputs[0].type == atom.type:
            return eqn.inputs[0]  # it was rounded already
        return self.builder.emit(narrow_p, (value,), {"dtype": atom.type.dtype})

    def widen(self, eqn: Eqn) -> None:
        if eqn.primitive in _GRANULAR or eqn.primitive.kind is Kind.CONTROL:
            raise _refusal(eqn)
        first = eqn.inputs[0] if eqn.inputs else None
        if eqn.primitive is widen_p:  # it was here before
            self.wide[eqn.out] = self.read(eqn.inputs[0])
        elif eqn.primitive is narrow_p:
            self.stored[eqn.out] = self.builder.emit(narrow_p, (self.read(eqn.inputs[0]),), dict(eqn.params))
        elif eqn.primitive is core.convert_p:
            self.wide[eqn.out] = self.converted(eqn)
        elif eqn.primitive.kind is Kind.INDEX and eqn.primitive.reducer is None and first in self.stored:
            inputs = [self.stored[first], *(self.read(a) for a in eqn.inputs[1:])]
            self.stored[eqn.out] = self.builder.emit(eqn.primitive, inputs, dict(eqn.params))
        else:
            inputs = [self.read(a) for a in eqn.inputs]
            params = {k: computed_dtype(v) if isinstance(v, np.dtype) else v for k, v in eqn.params.items()}
            self.wide[eqn.out] = self.builder.emit(eqn.primitive, inputs, params)

    def converted(self, eqn: Eqn) -> Atom:
        (x,), target = eqn.inputs, eqn.params["dtype"]
        value = self.read(x)
        if is_half(target) and _rounds(eqn, x.type.dtype):
            rounded = self.builder.emit(narrow_p, (value,), {"dtype": target})
            return self.read_back(rounded, target)
        wanted = computed_dtype(target)
        if value.type.dtype == wanted:
            return value
        return self.builder.emit(core.convert_p, (value,), {"dtype": wanted})

    def read_back(self, rounded: Atom, dtype: np.dtype[Any]) -> Atom:
        if isinstance(rounded, Const):
            return constant(rounded.value, F32)
        return self.builder.emit(widen_p, (rounded,), {"source": dtype_name(dtype)})


def _rounds(eqn: Eqn, source: np.dtype[Any]) -> bool:
    """Does a cast to two bytes lose anything that the user's own code would lose there?"""
    is_ours = eqn.source is not None and eqn.source.is_derivative
    return not is_ours and (source.kind == "f" or is_half(source) or source.itemsize > 1)


def _refusal(eqn: Eqn) -> Exception:
    where = eqn.source.describe() if eqn.source else None
    name = eqn.source.call.name if eqn.source and eqn.source.call else eqn.primitive.name
    found = next(a for a in (*eqn.inputs, *eqn.outputs) if is_half(a.type.dtype)).type.dtype
    hint = "convert the operands first: x.astype(np.float32)"
    if eqn.primitive.kind is Kind.CONTROL:
        return UnsupportedError(
            f"{name}: a loop or branch on {found} is not supported", where=where, hint=hint
        )
    return DTypeError(
        f"{name}: not defined for {found}, which is computed in float32", where=where, hint=hint
    )
