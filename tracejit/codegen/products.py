"""Contractions that are matrix products of arrays where they lie: what a BLAS call needs to know of them.

Enters a contraction and where arrays are stored; leaves a `MatrixProduct`, or None where a copy is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.codegen.loops import Buffer
from tracejit.ir import Atom, Eqn, Var
from tracejit.ir.primitive import Kind
from tracejit.ops.contraction import free_axes
from tracejit.schedule.access import is_virtual

MAX_EXTENT = 2**31 - 1  # BLAS counts with 32 bits
MAX_VIEW_BYTES = 2**26  # of an array that stands in for one that views are taken of

DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

Axis = tuple[int, int]  # size and stride, in elements


@dataclass(frozen=True)
class Operand:
    """A matrix, or a batch of them, in an array: its rows lie `leading` elements apart.

    offset: bytes from the start of the array; batch: elements from one matrix to the next
    is_turned: the columns are contiguous, `leading` elements apart, not the rows
    """

    buffer: Buffer
    offset: int
    leading: int
    is_turned: bool
    batch: int


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """`out[b] = scale * left[b] @ right[b]`: `batches` matrices of m by k and k by n; `out` is contiguous."""

    eqn: Eqn
    out: Buffer
    left: Operand
    right: Operand
    m: int
    n: int
    k: int
    batches: int
    scale: float

    @property
    def touched(self) -> tuple[Buffer, ...]:
        return self.left.buffer, self.right.buffer, self.out

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of a call that stand in the program's table, in the order of its parameters."""
        left, right = self.left, self.right
        extents = (self.m, self.n, self.k, left.leading, right.leading)
        return (*extents, self.batches, left.batch, right.batch)


@dataclass(frozen=True)
class Storage:
    """Which equation makes a variable, and which array holds it."""

    definitions: Mapping[Var, Eqn]
    buffers: Mapping[Var, Buffer]

    def view_of(self, atom: Var) -> Eqn | None:
        eqn = self.definitions.get(atom)
        return eqn if is_virtual(eqn) else None


def as_matrix_product(eqn: Eqn, storage: Storage) -> MatrixProduct | None:
    """The equation as matrix products of stored arrays, if it is that."""
    if eqn.primitive.kind is not Kind.CONTRACTION or eqn.out.type.dtype not in DTYPES:
        return None
    contract, batch = eqn.params["contract"], eqn.params["batch"]
    sides = [_View.of(atom, storage) for atom in eqn.inputs]
    axes = [free_axes(a.type.rank, contract[s], batch[s]) for s, a in enumerate(eqn.inputs)]
    operands: list[Operand] = []
    extents: list[tuple[int, int]] = []
    for s, view in enumerate(sides):
        rows, columns = (axes[0], contract[0]) if s == 0 else (contract[1], axes[1])
        found = view.as_matrix(rows, columns, batch[s]) if view is not None else None
        if found is None:
            return None
        operands.append(found)
        shape = eqn.inputs[s].type.shape
        extents.append((math.prod(shape[a] for a in rows), math.prod(shape[a] for a in columns)))
    (m, k), (_, n) = extents
    batches = math.prod(eqn.inputs[0].type.shape[a] for a in batch[0])
    scale = eqn.params.get("scale", 1.0)
    product = MatrixProduct(eqn, storage.buffers[eqn.out], operands[0], operands[1], m, n, k, batches, scale)
    return product if min(m, n, k) > 0 and max(product.sizes[:5]) <= MAX_EXTENT else None


@dataclass(frozen=True)
class _View:
    """A chain of views as NumPy sees it: one array's memory at an offset, with strides."""

    buffer: Buffer
    offset: int
    axes: tuple[Axis, ...]

    @staticmethod
    def of(atom: Atom, storage: Storage) -> _View | None:
        base = _base_of(atom, storage)
        if base is None:
            return None
        buffer = storage.buffers[base]
        if atom is base:
            steps = [math.prod(buffer.shape[k + 1 :]) for k in range(len(buffer.shape))]
            return _View(buffer, 0, tuple(zip(buffer.shape, steps)))
        if math.prod(buffer.shape) * buffer.dtype.itemsize > MAX_VIEW_BYTES:
            return None
        whole = np.zeros(buffer.shape, buffer.dtype)
        view = _seen(atom, storage, base, whole)
        if not np.may_share_memory(view, whole):
            return None
        offset = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        strides = [s // view.itemsize for s in view.strides]
        return _View(buffer, offset, tuple(zip(view.shape, strides)))

    def as_matrix(self, rows: Sequence[int], columns: Sequence[int], batch: Sequence[int]) -> Operand | None:
        row, column, between = (_merge([self.axes[a] for a in group]) for group in (rows, columns, batch))
        if row is None or column is None or between is None:
            return None
        if column[1] == 1 and row[1] >= column[0]:
            return Operand(self.buffer, self.offset, row[1], False, between[1])
        if row[1] == 1 and column[1] >= row[0]:
            return Operand(self.buffer, self.offset, column[1], True, between[1])
        return None


def _base_of(atom: Atom, storage: Storage) -> Var | None:
    """The stored array at the end of a chain of views of one array each."""
    while isinstance(atom, Var):
        eqn = storage.view_of(atom)
        if eqn is None:
            return atom
        if len(eqn.inputs) != 1:
            return None
        atom = eqn.inputs[0]
    return None


def _seen(atom: Atom, storage: Storage, base: Var, whole: Any) -> Any:
    assert isinstance(atom, Var)
    if atom is base:
        return whole
    eqn = storage.view_of(atom)
    assert eqn is not None
    return eqn.primitive.evaluate(_seen(eqn.inputs[0], storage, base, whole), **eqn.params)


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
