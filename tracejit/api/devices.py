"""Arguments on a device, for functions with a CUDA target: the key of a call, stand-ins to trace with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.api.signature import SCALAR_TYPES
from tracejit.errors import ArgumentError
from tracejit.pytree import flatten

TARGETS = ("cpu", "cuda", "cuda-emu")


def check_target(api: str, target: str, threads: int | None) -> None:
    """Raise ArgumentError for an unknown target, and for settings that have no meaning there."""
    if target not in TARGETS:
        raise ArgumentError(
            f"{api}: target={target!r} is none of {', '.join(map(repr, TARGETS))}",
            hint="leave target out for this processor",
        )
    if target != "cpu" and threads is not None:
        raise ArgumentError(
            f'{api}: threads={threads} is for target="cpu", got target="{target}"',
            hint="leave threads out: the threads of a device follow from the sizes of the arrays",
        )


def describe_device_arguments(args: tuple[Any, ...], leaves: list[Any], key: list[Any]) -> bool:
    """`describe_arguments`, where arrays may lie on a device: the key is the same as of NumPy arrays."""
    from tracejit.runtime.cuda.arrays import facts_of

    for x in args:
        inner, treedef = flatten(x)
        if treedef.kind != "leaf":
            key.append(treedef)
        for leaf in inner:
            cls = type(leaf)
            if cls is np.ndarray:
                key += (leaf.dtype, leaf.shape)
            elif cls in SCALAR_TYPES:
                key.append(cls)
            else:
                facts = facts_of(leaf)
                if facts is None:
                    return False
                key += facts
        leaves += inner
    return True


def stand_ins(leaves: Sequence[Any]) -> list[Any]:
    """The leaves, with NumPy arrays of the same types, which have no memory, for those on a device."""
    from tracejit.runtime.cuda.arrays import facts_of, stand_in

    facts = [facts_of(x) for x in leaves]
    return [x if f is None else stand_in(*f) for x, f in zip(leaves, facts, strict=True)]


def twin(x: Any) -> Any:
    """`runtime.cuda.arrays.twin`, which is loaded with the first array."""
    from tracejit.runtime.cuda import arrays

    return arrays.twin(x)
