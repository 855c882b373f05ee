"""Contractions that are matrix products of arrays where they lie: what a BLAS call needs to know of them.

Enters a contraction and where arrays are stored; leaves a `MatrixProduct`, or None where a copy is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracejit.codegen.loops import Buffer
from tracejit.ir import Eqn, Var
from tracejit.ir.primitive import Kind
from tracejit.schedule.strides import Matrix, operand_of, view_of

MAX_EXTENT = 2**31 - 1  # BLAS counts with 32 bits

DTYPES = (np.dtype(np.float64), np.dtype(np.float32))


@dataclass(frozen=True)
class Operand:
    """A matrix, or a batch of them, that lies so many bytes from the start of an array."""

    buffer: Buffer
    offset: int
    matrix: Matrix

    @property
    def leading(self) -> int:
        return self.matrix.leading

    @property
    def is_turned(self) -> bool:
        return self.matrix.is_turned


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
    def batch_steps(self) -> tuple[int, ...]:
        """For each array touched the elements from one matrix to the next."""
        return self.left.matrix.batch, self.right.matrix.batch, self.m * self.n

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of a call that stand in the program's table, in the order of its parameters."""
        left, right = self.left.matrix, self.right.matrix
        extents = (self.m, self.n, self.k, left.leading, right.leading)
        return (*extents, self.batches, left.batch, right.batch)


@dataclass(frozen=True)
class Storage:
    """Which equation makes a variable, and which array holds it."""

    definitions: Mapping[Var, Eqn]
    buffers: Mapping[Var, Buffer]


def as_matrix_product(eqn: Eqn, storage: Storage) -> MatrixProduct | None:
    """The equation as matrix products of stored arrays, if it is that."""
    if eqn.primitive.kind is not Kind.CONTRACTION or eqn.out.type.dtype not in DTYPES:
        return None
    operands: list[Operand] = []
    for side, atom in enumerate(eqn.inputs):
        view = view_of(atom, storage.definitions)
        matrix = operand_of(eqn, side, view) if view is not None else None
        if view is None or matrix is None:
            return None
        operands.append(Operand(storage.buffers[view.base], view.offset, matrix))
    left, right = operands
    m, k, n = left.matrix.rows, left.matrix.columns, right.matrix.columns
    batches = math.prod(eqn.inputs[0].type.shape[a] for a in eqn.params["batch"][0])
    scale = eqn.params.get("scale", 1.0)
    product = MatrixProduct(eqn, storage.buffers[eqn.out], left, right, m, n, k, batches, scale)
    return product if min(m, n, k) > 0 and max(product.sizes[:5]) <= MAX_EXTENT else None
