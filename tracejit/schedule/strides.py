"""How views of row-major arrays lie in memory, and which of them BLAS takes as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.ir import Atom, Eqn, Var
from tracejit.ops.contraction import free_axes
from tracejit.schedule.access import is_virtual

MAX_VIEW_BYTES = 2**26  # of an array that stands in for one that views are taken of

Axis = tuple[int, int]  # size and stride, in elements


@dataclass(frozen=True)
class Matrix:
    """A matrix, or a batch of them, in memory: its rows lie `leading` elements apart.

    is_turned: the columns are contiguous, `leading` elements apart, not the rows
    batch: elements from one matrix to the next
    """

    rows: int
    columns: int
    leading: int
    is_turned: bool
    batch: int


@dataclass(frozen=True)
class View:
    """A chain of views as NumPy sees it: the memory of `base` from `offset` bytes on, with strides."""

    base: Var
    offset: int
    axes: tuple[Axis, ...]

    def as_matrix(self, rows: Sequence[int], columns: Sequence[int], batch: Sequence[int]) -> Matrix | None:
        """Groups of axes as those of matrices; None where BLAS cannot step along them."""
        row, column, between = (_merge([self.axes[a] for a in group]) for group in (rows, columns, batch))
        if row is None or column is None or between is None:
            return None
        if column[1] == 1 and row[1] >= column[0]:
            return Matrix(row[0], column[0], row[1], False, between[1])
        if row[1] == 1 and column[1] >= row[0]:
            return Matrix(row[0], column[0], column[1], True, between[1])
        return None


def operand_of(eqn: Eqn, side: int, view: View) -> Matrix | None:
    """An operand of a contraction as matrices; the left one's columns are summed over."""
    contract, batch = eqn.params["contract"][side], eqn.params["batch"][side]
    free = free_axes(eqn.inputs[side].type.rank, contract, batch)
    return view.as_matrix(*((free, contract) if side == 0 else (contract, free)), batch)


def view_of(atom: Atom, definitions: Mapping[Var, Eqn]) -> View | None:
    """The view that `atom` is of a stored array; None for other things, and where that is not looked into."""
    base = _base_of(atom, definitions)
    if base is None:
        return None
    shape, dtype = base.type.shape, base.type.dtype
    if atom is base:
        return whole_view(base)
    if base.type.nbytes > MAX_VIEW_BYTES:
        return None
    whole = np.zeros(shape, dtype)
    view = _seen(atom, definitions, base, whole)
    if not np.may_share_memory(view, whole):
        return None
    offset = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return View(base, offset, tuple(zip(view.shape, (s // view.itemsize for s in view.strides))))


def whole_view(base: Var) -> View:
    shape = base.type.shape
    return View(base, 0, tuple((n, math.prod(shape[k + 1 :])) for k, n in enumerate(shape)))


def _base_of(atom: Atom, definitions: Mapping[Var, Eqn]) -> Var | None:
    """The stored array at the end of a chain of views of one array each."""
    while isinstance(atom, Var):
        eqn = definitions.get(atom)
        if eqn is None or not is_virtual(eqn):
            return atom
        if len(eqn.inputs) != 1:
            return None
        atom = eqn.inputs[0]
    return None


def _seen(atom: Atom, definitions: Mapping[Var, Eqn], base: Var, whole: Any) -> Any:
    if atom is base:
        return whole
    assert isinstance(atom, Var)
    eqn = definitions[atom]
    return eqn.primitive.evaluate(_seen(eqn.inputs[0], definitions, base, whole), **eqn.params)


def _merge(axes: Sequence[Axis]) -> Axis | None:
    """Axes, from the outermost to the innermost, as one; None where they are not evenly spaced.

    >>> _merge([(3, 8), (4, 2)]), _merge([(3, 9), (4, 2)]), _merge([])
    ((12, 2), None, (1, 1))
    """
    merged: Axis | None = None
    for size, stride in reversed(axes):
        if size == 1:
            continue
        if merged is None:
            merged = (size, stride)
        elif stride == merged[0] * merged[1]:
            merged = (merged[0] * size, merged[1])
        else:
            return None
    return merged or (1, 1)
