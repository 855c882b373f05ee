"""Library equations that compiled code can do by itself, with BLAS and LAPACK, on arrays where they lie.

Enters a library equation and the arrays around it; leaves a `RoutineCall`, or None where Python has to do it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.codegen.loops import Buffer
from tracejit.codegen.products import Storage
from tracejit.errors import LinAlgError
from tracejit.ir import Eqn, Var
from tracejit.schedule.access import reaches, stored_rows

MAX_EXTENT = 2**31 - 1  # the libraries count with 32 bits

DTYPES = (np.dtype(np.float64), np.dtype(np.float32))


@dataclass(frozen=True, eq=False)
class RoutineCall:
    """A function of `codegen.llvm.routines` on contiguous arrays: `touched` are the result's and those read.

    sizes: how many matrices, then two extents
    multiplications: with an addition each, that one matrix takes
    failure: what NumPy says of data that have no result, None where every input has one
    replaced: the array whose place the result may take, if nobody reads it later
    """

    eqn: Eqn
    name: str
    touched: tuple[Buffer, ...]
    sizes: tuple[int, int, int]
    multiplications: int
    flags: tuple[bool, ...]
    failure: str | None
    replaced: Buffer | None

    @property
    def out(self) -> Buffer:
        return self.touched[0]

    @property
    def batches(self) -> int:
        return self.sizes[0]

    @property
    def batch_steps(self) -> tuple[int, ...]:
        """For each array touched the elements from one matrix to the next."""
        return tuple(math.prod(b.shape) // self.batches for b in self.touched)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.out.dtype

    def error(self) -> LinAlgError:
        """What is raised where the call left its number in the status word."""
        assert self.failure is not None
        source = self.eqn.source
        return LinAlgError(self.failure, where=source.describe() if source else None)


def as_routine_call(eqn: Eqn, storage: Storage) -> RoutineCall | None:
    """The equation as a function of compiled code, if there is one and its operands are stored rows."""
    if eqn.primitive.routine is None or eqn.out.type.dtype not in DTYPES:
        return None
    routine = eqn.primitive.routine(*[a.type for a in eqn.inputs], **eqn.params)
    read = range(len(eqn.inputs)) if routine.operands is None else routine.operands
    bases = {k: stored_rows(eqn.inputs[k], storage.definitions) for k in read}
    stored = {k: storage.buffers[v] for k, v in bases.items() if v is not None}
    batches, n, k = (*routine.sizes, 1)[:3]
    if len(stored) < len(bases) or min(batches, n, k) < 1 or max(n, k) > MAX_EXTENT:
        return None
    return RoutineCall(
        eqn,
        routine.name,
        (storage.buffers[eqn.out], *stored.values()),
        (batches, n, k),
        routine.work,
        routine.flags,
        routine.failure,
        _replaced(eqn, routine.replaces, storage),
    )


def _replaced(eqn: Eqn, k: int | None, storage: Storage) -> Buffer | None:
    """The array of operand k, if no other operand lies in it."""
    if k is None:
        return None
    operand = stored_rows(eqn.inputs[k], storage.definitions)
    others = [r.base for n, a in enumerate(eqn.inputs) if n != k for r in reaches(a, storage.definitions)]
    return storage.buffers[operand] if isinstance(operand, Var) and operand not in others else None
