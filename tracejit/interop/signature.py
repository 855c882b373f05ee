"""A call as Numba's compiler sees it, by dtypes and ranks without sizes, and as programs see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Function(Protocol):
    """What this package needs of a transformed function.

    call_sites: the places of compiled code that call it, by their types
    lower: the graph of a call, neither compiled nor kept; program_of: the program of one, found or made
    leaves_of: the arguments of a call, with defaults, in the order in which its program takes them
    out_path: which part of the result `out` stands for, as positions in nested tuples
    """

    call_sites: dict[Any, Any]

    def lower(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]: ...
    def program_of(self, *args: Any, **kwargs: Any) -> Any: ...
    def leaves_of(self, *args: Any, **kwargs: Any) -> list[Any]: ...
    def name_of_argument(self, position: int) -> str: ...

    @property
    def static_names(self) -> tuple[str, ...]: ...
    @property
    def takes_out(self) -> bool: ...
    @property
    def out_path(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class ArrayLeaf:
    """An array of `ndim` axes; `is_contiguous` where the compiler knows that it is."""

    dtype: str
    ndim: int
    is_contiguous: bool = True


@dataclass(frozen=True)
class ScalarLeaf:
    """A number: a Python one where `is_python`, which takes the dtype of what it meets, else a NumPy one."""

    dtype: str
    is_python: bool


@dataclass(frozen=True)
class Static:
    """A value that the compiler knows: None, or a static argument."""

    value: Any


@dataclass(frozen=True)
class Node:
    """A tuple, or a named tuple of class `cls`, of what is in it."""

    cls: type
    children: tuple[Spec, ...]


Leaf = ArrayLeaf | ScalarLeaf
Spec = Leaf | Static | Node


@dataclass(frozen=True)
class CallSpec:
    """The arguments of one call: the last of them have keywords; `out` is what results are written to."""

    arguments: tuple[Spec, ...]
    keywords: tuple[str, ...] = ()
    out: Spec | None = None

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(leaf for spec in self.arguments for leaf in leaves_of(spec))

    def arrange(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and the keyword arguments with these leaves in place."""
        supply = iter(leaves)
        values = [build(spec, lambda _: next(supply)) for spec in self.arguments]
        first = len(values) - len(self.keywords)
        return tuple(values[:first]), dict(zip(self.keywords, values[first:]))


class Position:
    """Stands for the leaf of a call that has this number, or for an output."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Output:
    """A result: a number where `is_scalar`, else a fresh contiguous array of `ndim` axes."""

    dtype: str
    ndim: int
    is_scalar: bool

    def __str__(self) -> str:
        return f"a {self.dtype} number" if self.is_scalar else f"a {self.ndim}-d array of {self.dtype}"


@dataclass(frozen=True)
class Result:
    """What a call gives: `tree` is a position in `outputs`, None, or the class and the items of a tuple."""

    outputs: tuple[Output, ...]
    tree: Any


def leaves_of(spec: Spec) -> Iterator[Leaf]:
    """The arrays and numbers in a nesting, in order."""
    if isinstance(spec, Node):
        for child in spec.children:
            yield from leaves_of(child)
    elif not isinstance(spec, Static):
        yield spec


def rank_of(leaf: Leaf) -> int:
    """How many axes it has."""
    return leaf.ndim if isinstance(leaf, ArrayLeaf) else 0


def build(spec: Spec, leaf: Callable[[Leaf], Any]) -> Any:
    """The nesting with `leaf(spec)` at each array and number, from the first to the last.

    >>> build(Node(tuple, (ArrayLeaf("float64", 1), Static(None))), lambda spec: spec.dtype)
    ('float64', None)
    """
    if isinstance(spec, Node):
        return make_tuple(spec.cls, [build(child, leaf) for child in spec.children])
    if isinstance(spec, Static):
        return spec.value
    return leaf(spec)


def make_tuple(cls: type, items: Sequence[Any]) -> Any:
    """A tuple, or a named tuple, of these items."""
    return tuple(items) if cls is tuple else cls(*items)


def example(leaf: Leaf, shape: tuple[int, ...]) -> Any:
    """Something of this type to trace with; an array of any shape takes the memory of one element."""
    dtype = np.dtype(leaf.dtype)
    if isinstance(leaf, ArrayLeaf):
        return np.broadcast_to(np.ones((), dtype), shape)
    return dtype.type(1).item() if leaf.is_python else dtype.type(1)
