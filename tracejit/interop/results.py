"""What a call gives back, before its sizes are known: the function is traced with sizes that are tried out.

Numba's compiler must know dtypes and ranks of the results; these hardly ever depend on the sizes. A program
for the real sizes is made at the first call, which checks that what was found here holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, TracejitError
from tracejit.frontend import find_roots
from tracejit.interop.signature import (
    CallSpec,
    Function,
    Leaf,
    Output,
    Position,
    Result,
    example,
    rank_of,
)
from tracejit.ir import ArrayType

EQUAL_SIZES = (8, 16, 3, 2, 1, 64, 256)
MAX_TRIALS = 100


def find_result(function: Function, name: str, spec: CallSpec) -> Result:
    """Nesting, dtypes and ranks of what `function` gives for arguments of these types.

    Raises the error of the first trial where no sizes do, `ArgumentError` for a result that has lists or
    dictionaries in it.
    """
    failure: Exception | None = None
    for trial in _trials(function, spec.leaves):
        args, kwargs = spec.arrange(trial)
        try:
            lowered, _ = function.lower(*args, **kwargs)
        except Exception as error:
            failure = failure or error
            continue
        types = [atom.type for atom in lowered.graph.outputs]
        return describe_result(types, lowered.zero_dims, lowered.finish, name)
    assert failure is not None, "there is always one trial"
    raise failure


def describe_result(
    types: Sequence[ArrayType], zero_dims: Sequence[int], finish: Callable[[Sequence[Any]], Any], name: str
) -> Result:
    """The result that `finish` puts together of outputs of these types."""
    outputs = tuple(
        Output(str(t.dtype), t.rank, not t.rank and k not in zero_dims) for k, t in enumerate(types)
    )
    tree = finish([Position(k) for k in range(len(outputs))])
    return Result(outputs, _tree_of(tree, name))


def _tree_of(value: Any, name: str) -> Any:
    if isinstance(value, Position):
        return value.number
    if value is None:
        return None
    if isinstance(value, tuple) and (type(value) is tuple or hasattr(value, "_fields")):
        return type(value), tuple(_tree_of(item, name) for item in value)
    raise ArgumentError(
        f"{name} gives a {type(value).__name__}, which compiled code cannot hold",
        hint="inside @njit results are arrays, numbers, None, and tuples of them",
    )


def _trials(function: Function, leaves: Sequence[Leaf]) -> Iterator[list[Any]]:
    """Examples of the arguments: all sizes equal, then mixed with those of the arrays that are captured."""
    ranks = [rank_of(leaf) for leaf in leaves]
    total = sum(ranks)
    captured = sorted({n for a in _captured(function) for n in a.shape})
    tried = [(n,) * total for n in (EQUAL_SIZES if total else (1,))]
    mixed = itertools.product((*captured, 8), repeat=total) if captured and total else ()
    for sizes in itertools.chain(tried, itertools.islice(mixed, MAX_TRIALS)):
        supply = iter(sizes)
        yield [example(leaf, tuple(itertools.islice(supply, rank))) for leaf, rank in zip(leaves, ranks)]


def _captured(function: Function) -> list[np.ndarray[Any, Any]]:
    try:
        return list(find_roots(function).arrays.values())
    except TracejitError:
        return []
