"""Steps that are NumPy calls: an equation evaluated on stored arrays, into the place planned for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracejit.errors import LinAlgError
from tracejit.ir import Atom, Const, Eqn, Var
from tracejit.schedule.access import is_virtual


def call_library(
    eqn: Eqn,
    arrays: Mapping[Var, Any],
    definitions: Mapping[Var, Eqn],
    linalg: Any = None,
    place: Callable[[Any], Any] = np.asarray,
) -> None:
    """Evaluate `eqn` on `arrays` into the one of its result.

    linalg, place: where the arrays are not NumPy's, a module like `scipy.linalg` for them, and what makes one
        of NumPy's theirs
    """
    operands = [operand(a, arrays, definitions, place) for a in eqn.inputs]
    out = arrays[eqn.out]
    with np.errstate(all="ignore"), _located(eqn):
        if linalg is not None and eqn.primitive.elsewhere is not None:
            out[...] = eqn.primitive.elsewhere(linalg, *operands, **eqn.params)
        elif eqn.primitive.evaluate_into is not None:
            eqn.primitive.evaluate_into(out, *operands, **eqn.params)
        else:
            out[...] = eqn.primitive.evaluate(*operands, **eqn.params)


def operand(
    atom: Atom,
    arrays: Mapping[Var, Any],
    definitions: Mapping[Var, Eqn],
    place: Callable[[Any], Any] = np.asarray,
) -> Any:
    """A stored array, or NumPy's view of one for a chain of views; `place` is given what is NumPy's."""
    if isinstance(atom, Const):
        return atom.value
    eqn = definitions.get(atom)
    if eqn is None or not is_virtual(eqn):
        return arrays[atom]
    found = eqn.primitive.evaluate(
        *(operand(a, arrays, definitions, place) for a in eqn.inputs), **eqn.params
    )
    return place(found) if isinstance(found, np.ndarray) else found


@contextmanager
def _located(eqn: Eqn) -> Generator[None]:
    """NumPy's errors about matrices come out with the user's line."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise LinAlgError(str(error), where=eqn.source.describe() if eqn.source else None) from None
