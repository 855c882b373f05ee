"""Resolving views: which element of which stored array a variable's element is.

Views are never computed in a kernel: an element of a view is an element of the array below it, at another
index, under guards. Equations that read a view read through it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from tracejit.ir import Atom, Const, Eqn, Kind, Var
from tracejit.ops.core import reshape_p
from tracejit.schedule.index import AxisRef, Index

Dims = tuple[int | None, ...]


@dataclass(frozen=True)
class Reach:
    """What lies below a chain of views.

    base: the variable or constant that the chain ends at
    dims: for each dimension of `base` the dimension of the view that runs along it (None: size 1), when the
        chain only moves whole axes; None when it picks elements
    """

    base: Atom
    dims: Dims | None


def is_virtual(eqn: Eqn | None) -> bool:
    """Is the result of `eqn` read through instead of computed? (views with operands, and `iota`)"""
    return eqn is not None and eqn.primitive.kind is Kind.VIEW


def reaches(atom: Atom, definitions: Mapping[Var, Eqn]) -> list[Reach]:
    """Every stored array or constant that elements of `atom` may come from."""
    eqn = definitions.get(atom) if isinstance(atom, Var) else None
    if isinstance(atom, Const) or eqn is None or not is_virtual(eqn):
        return [Reach(atom, tuple(k if n != 1 else None for k, n in enumerate(atom.type.shape)))]
    found: list[Reach] = []
    moved = axis_map(eqn)
    for operand in eqn.inputs:
        for below in reaches(operand, definitions):
            dims = None
            if below.dims is not None and moved is not None:
                dims = tuple(None if d is None else moved[d] for d in below.dims)
            found.append(Reach(below.base, dims))
    return found


def stored_rows(atom: Atom, definitions: Mapping[Var, Eqn]) -> Var | None:
    """The variable whose array holds `atom` in row-major order from its start; None for other views."""
    while isinstance(atom, Var):
        eqn = definitions.get(atom)
        if eqn is None or not is_virtual(eqn):
            return atom
        if eqn.primitive is not reshape_p:
            return None
        atom = eqn.inputs[0]
    return None


def axis_map(eqn: Eqn) -> Dims | None:
    """For a view that moves whole axes: for each operand dimension the output dimension, or None."""
    identity = eqn.primitive.identity_axes
    if identity is None:
        return None
    return identity([a.type for a in eqn.inputs], eqn.out.type, **eqn.params)


@functools.lru_cache(maxsize=256)
def full_index(axes: Dims) -> tuple[Index, ...]:
    """The index tuple of an array whose dimension k runs along loop axis `axes[k]`."""
    return tuple(Index() if a is None else Index.factor(AxisRef(a)) for a in axes)
