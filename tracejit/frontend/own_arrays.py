"""Arrays that a function makes for itself while it is traced: `np.ones(n)` and `np.eye(n)` are no inputs.

NumPy gives a concrete array to a function that asks for one, and a trace captures it as an input that every
call reads. Where nobody but the trace holds it, its content can never change, and one number with one place
says all of it. Enters a builder at the end of its trace; its captured arrays leave that are of such a kind.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from tracejit.ir import ArrayType, Builder, Eqn, Var, constant
from tracejit.ir.graph import freeze_params
from tracejit.ops.core import broadcast_p
from tracejit.ops.diagonal import undiagonal
from tracejit.ops.value import freeze


def _references(lifted: Mapping[Any, tuple[Any, Var]], key: Any) -> int:
    """How many references to a captured array Python counts, this function's own among them."""
    array = lifted[key][0]
    return sys.getrefcount(array)


# What is counted where only the builder has the array; it differs between versions of Python.
_ALONE = _references({0: (np.ones(1), Var(ArrayType((1,), np.dtype(np.float64))))}, 0)


def absorb_own_arrays(builder: Builder) -> None:
    """Make equations of the captured arrays that nobody else holds and one number describes."""
    made: list[Eqn] = []
    for key in list(builder.lifted):
        is_alone = _references(builder.lifted, key) <= _ALONE
        array, var = builder.lifted[key]
        if is_alone and type(array) is np.ndarray and array.base is None and array.size:
            eqns = _equations(array, var)
            if eqns:
                # It may have been computed from an array that others hold: `data > 2`.
                freeze(array)
                del builder.lifted[key]
                made += eqns
    builder.eqns[:0] = made
    builder.definitions.update((eqn.out, eqn) for eqn in made)


def _equations(array: np.ndarray[Any, Any], var: Var) -> list[Eqn]:
    """What gives `var` the content of `array`; none where it takes more than one number."""
    bits = np.ascontiguousarray(array).view(f"u{array.itemsize}")  # nan is nan, and -0.0 is not 0.0
    if (bits == bits.flat[0]).all():
        return [_filled(var, array.flat[0])]
    place = int(np.argmax(bits != 0)) if array.ndim == 2 else -1
    if place < 0:
        return []
    row, col = divmod(place, array.shape[1])
    diagonal = np.diagonal(bits[row:], col) if col else np.diagonal(bits[row:])
    if (row and col) or (diagonal != bits[row, col]).any() or np.count_nonzero(bits) != diagonal.size:
        return []
    rows, cols = array.shape
    ones = Var(var.type.with_shape((diagonal.size,)))
    params = freeze_params({"rows": rows, "cols": cols, "row": row, "col": col})
    return [_filled(ones, array[row, col]), Eqn(undiagonal.primitive, (ones,), params, (var,))]


def _filled(var: Var, number: Any) -> Eqn:
    params = freeze_params({"shape": var.type.shape, "dims": ()})
    return Eqn(broadcast_p, (constant(number, var.type.dtype),), params, (var,))
