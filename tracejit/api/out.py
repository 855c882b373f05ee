"""`out=` and `donate=`: arrays of the caller's that results are written to, and when they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError
from tracejit.ir import ArrayType, dtype_source
from tracejit.ir.source import find_source
from tracejit.ops.value import class_name
from tracejit.pytree import TreeDef, first_difference, flatten

MAX_OVERLAP_WORK: Any = 10_000  # of NumPy's search for a common byte; beyond it, arrays count as overlapping


@dataclass(frozen=True)
class Targets:
    """What `out=` must look like: the nesting and types of the outputs from number `first` on.

    noun: what these outputs are called, "gradients" or "results"
    """

    tree: TreeDef
    first: int
    types: tuple[ArrayType, ...]
    noun: str

    def take(
        self, out: Any, inputs: Iterable[Any], name: str, alike: Callable[[Any], Any] | None = None
    ) -> dict[int, Any]:
        """The arrays in `out` by the number of their output; raises ArgumentError where one does not do.

        inputs: what the program reads, which no array of `out` may share memory with
        alike: gives NumPy arrays that lie like those of a device, in place of which they are checked
        """
        given, tree = flatten(out)
        leaves = given if alike is None else [alike(x) for x in given]
        inputs = inputs if alike is None else [alike(x) for x in inputs]
        if tree != self.tree:
            difference = first_difference(self.tree, tree)
            raise _refusal(
                f"{name}: out must be nested like the {self.noun}, they differ {difference}",
                f"expected {self.tree}, with an array for each *",
            )
        names = [f"out{path}" for path in self.tree.leaf_paths()]
        for leaf, type, place in zip(leaves, self.types, names, strict=True):
            self._check_leaf(leaf, type, f"{name}: {place}", alike is not None)
        sources = [("an argument or a captured array", x) for x in inputs if isinstance(x, np.ndarray)]
        for n, (leaf, place) in enumerate(zip(leaves, names, strict=True)):
            for what, other in (*zip(names[:n], leaves), *sources):
                if is_overlap(leaf, other):
                    raise _refusal(
                        f"{name}: {place} shares memory with {what}",
                        "the result would overwrite what is still read; give it memory of its own",
                    )
        return {self.first + k: leaf for k, leaf in enumerate(given)}

    def _check_leaf(self, leaf: Any, type: ArrayType, place: str, is_elsewhere: bool) -> None:
        noun = self.noun.removesuffix("s")
        example = f"np.empty({type.shape}, {dtype_source(type.dtype)})"
        if is_elsewhere:
            example += ", or the same on the device of the arguments"
        if leaf.__class__ is not np.ndarray:
            raise _refusal(
                f"{place} is a {class_name(leaf)}, which no {noun} can be written to",
                f"give an array: {example}",
            )
        if leaf.shape != type.shape or leaf.dtype != type.dtype:
            found = f"{leaf.dtype}{list(leaf.shape)}"
            raise _refusal(
                f"{place} is {found}, but the {noun} there is {type.dtype}{list(type.shape)}",
                f"give an array of that type: {example}",
            )
        if not leaf.flags.writeable:
            raise _refusal(f"{place} is read-only", "give an array that may be written to")
        if has_shared_elements(leaf):
            raise _refusal(f"{place} has elements that share memory", "give an array that is not broadcast")


def _refusal(message: str, hint: str) -> ArgumentError:
    source = find_source()
    return ArgumentError(message, where=source.describe() if source is not None else None, hint=hint)


def is_overlap(a: Any, b: Any) -> bool:
    """Have two arrays a byte in common?

    >>> x = np.zeros(6)
    >>> is_overlap(x[::2], x[1::2]), is_overlap(x[:3], x[2:])
    (False, True)
    """
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=MAX_OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True


def has_shared_elements(array: Any) -> bool:
    """May two elements of an array be at one place? False only where its strides cannot do that.

    >>> has_shared_elements(np.zeros((3, 4)).T), has_shared_elements(np.broadcast_to(1.0, 3))
    (False, True)
    """
    reach = array.itemsize
    for stride, size in sorted(zip(map(abs, array.strides), array.shape)):
        if size > 1:
            if stride < reach:
                return bool(array.size)
            reach += (size - 1) * stride
    return False


def donations(
    pairs: Iterable[tuple[int, int]], inputs: Sequence[Any], into: dict[int, Any]
) -> dict[int, Any]:
    """The inputs whose memory outputs take in this call, by the number of the output.

    pairs: of an input and an output that the program allows; into: outputs that have memory already
    """
    found: dict[int, Any] = {}
    for source, target in pairs:
        array = inputs[source]
        if target in into or array.__class__ is not np.ndarray:
            continue
        if not array.flags.carray or not array.dtype.isnative:  # the flags do not tell the order of bytes
            continue
        others = [*inputs[:source], *inputs[source + 1 :], *into.values()]
        if not any(isinstance(x, np.ndarray) and is_overlap(array, x) for x in others):
            found[target] = array
    return found


def write(into: dict[int, Any], outputs: Sequence[Any]) -> list[Any]:
    """`outputs` with those for which there is an array in `into` written there."""
    written = list(outputs)
    for k, array in into.items():
        if written[k] is not array:
            array[...] = written[k].reshape(array.shape)
            written[k] = array
    return written
