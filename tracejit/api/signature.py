"""The arguments of a call: their leaves, the key that programs are found by, and the way back."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.errors import ArgumentError, DTypeError, TracejitError, TracerError
from tracejit.frontend import Tracer
from tracejit.frontend.dispatch import value_of
from tracejit.ir import Elsewhere, check_dtype, is_half
from tracejit.ops.value import class_name, is_on_device
from tracejit.pytree import TreeDef, flatten

if TYPE_CHECKING:
    from tracejit.runtime.calls.plan import Given

# Leaves of these types enter the key as their type alone, arrays as dtype and shape.
SCALAR_TYPES: frozenset[type] = frozenset(
    {float, int, bool, np.bool_, *(np.dtype(code).type for code in "bBhHiIlLqQefd")}
)

_ndarray = np.ndarray


def describe_leaves(leaves: list[Any], key: list[Any]) -> bool:
    """Append to `key` what the leaves are to a trace; False where one is neither an array nor a number."""
    for x in leaves:
        cls = type(x)
        if cls is _ndarray:
            key.append(x.dtype)
            key.append(x.shape)
        elif cls in SCALAR_TYPES or (issubclass(cls, np.generic) and is_half(x.dtype)):
            key.append(cls)
        else:
            return False
    return True


def describe_arguments(args: tuple[Any, ...], leaves: list[Any], key: list[Any]) -> bool:
    """Flatten positional arguments into `leaves` and append to `key` what they are: the way of every call.

    The key is that of `call_key`; False where a leaf is neither an array nor a number.
    """
    for x in args:
        cls = type(x)
        if cls is _ndarray:
            key.append(x.dtype)
            key.append(x.shape)
            leaves.append(x)
        elif cls in SCALAR_TYPES:
            key.append(cls)
            leaves.append(x)
        else:
            inner, treedef = flatten(x)
            if treedef.kind != "leaf":
                key.append(treedef)
            if not describe_leaves(inner, key):
                return False
            leaves += inner
    return True


@dataclass(frozen=True)
class Call:
    """The arguments of one call: `leaves` are what a trace sees, `statics` (name, value) pairs.

    `treedef` is the nesting of the positional arguments, or of `(args, kwargs)` where `has_keywords`.
    `elsewhere` knows the arrays on a device that the trace may capture, if it may capture any.
    """

    leaves: list[Any]
    treedef: TreeDef
    has_keywords: bool
    statics: tuple[tuple[str, Any], ...]
    parameters: Parameters
    elsewhere: Elsewhere | None = None

    def invoke(self, function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
        """Call `function` as the user did, with other leaves in place."""
        tree = self.treedef.unflatten(leaves)
        args, kwargs = tree if self.has_keywords else (tree, {})
        if not self.statics:
            return function(*args, **kwargs)
        args = list(args)
        for name, value in self.statics:
            position = self.parameters.index.get(name)
            if position is not None and position < len(args):
                args[position] = value
            else:
                kwargs[name] = value
        return function(*args, **kwargs)

    def positional(self) -> tuple[TreeDef, ...]:
        """The nesting of each positional argument."""
        return (self.treedef.children[0] if self.has_keywords else self.treedef).children

    def range_of(self, position: int) -> range:
        """Where the leaves of a positional argument are."""
        children = self.positional()
        start = sum(c.num_leaves for c in children[:position])
        return range(start, start + children[position].num_leaves)

    def leaves_under(self, name: str) -> range:
        """Where the leaves of a parameter are; empty where the call does not give it."""
        position = self.parameters.index.get(name)
        if position is not None:
            return self.range_of(position) if position < len(self.positional()) else range(0)
        start = sum(child.num_leaves for child in self.positional())
        keywords = self.treedef.children[1] if self.has_keywords else None
        for label, child in zip(keywords.labels, keywords.children) if keywords is not None else ():
            if label == name:
                return range(start, start + child.num_leaves)
            start += child.num_leaves
        return range(0)

    def leaf_names(self) -> list[str]:
        """What the user calls each leaf: `params['w']`, `x`."""
        names = [
            self.parameters.name_of(k) + path
            for k, child in enumerate(self.positional())
            for path in child.leaf_paths()
        ]
        if self.has_keywords:
            keywords = self.treedef.children[1]
            for label, child in zip(keywords.labels, keywords.children):
                names += [f"{label}{path}" for path in child.leaf_paths()]
        return names

    def as_given(self, count: int, names: tuple[str, ...]) -> Given | None:
        """Where compiled code finds the leaves, `count` arguments being positional, the others `names`.

        None where the function's defaults were filled in.
        """
        from tracejit.runtime.calls.plan import Given

        place = {name: count + k for k, name in enumerate(names)}
        place |= {self.parameters.name_of(k): k for k in range(count)}
        statics = dict(self.statics)
        trees = [
            (self.parameters.name_of(k), child)
            for k, child in enumerate(self.positional())
            if self.parameters.name_of(k) not in statics
        ]
        if self.has_keywords:
            keywords = self.treedef.children[1]
            trees += [(str(label), child) for label, child in zip(keywords.labels, keywords.children)]
        if not place.keys() >= {*statics, *(name for name, _ in trees)}:
            return None
        return Given(
            count,
            names,
            tuple((place[name], child) for name, child in trees),
            self.leaves,
            tuple((place[name], value) for name, value in statics.items()),
        )

    def check_leaves(self, function_name: str) -> None:
        """Raise the error for the first leaf that no trace can take; make array subclasses plain."""
        for k, leaf in enumerate(self.leaves):
            try:
                self.leaves[k] = check_leaf(leaf)
            except TracerError:
                raise
            except TracejitError as error:
                message = f"{function_name}: argument {self.leaf_names()[k]} {error.message}"
                raise type(error)(message, where=error.where, hint=error.hint) from None


def check_leaf(leaf: Any) -> Any:
    """An array or number that a trace can take, plain; an error says what the argument `has` or `is`."""
    if isinstance(leaf, Tracer):
        value_of(leaf)
        return leaf
    if type(leaf) in SCALAR_TYPES:
        return leaf
    if isinstance(leaf, np.ndarray):
        # NumPy loads its masked arrays when they are first named, which takes longer than a trace.
        if type(leaf) is not np.ndarray and isinstance(leaf, (np.ma.MaskedArray, np.matrix)):
            raise DTypeError(f"is a {type(leaf).__name__}", hint="pass a plain array: np.asarray(x)")
        _check_leaf_dtype(leaf.dtype)
        return np.asarray(leaf)
    if isinstance(leaf, np.generic):
        _check_leaf_dtype(leaf.dtype)
        return leaf
    if isinstance(leaf, bool):
        return bool(leaf)
    if isinstance(leaf, int):
        return int(leaf)
    if isinstance(leaf, float):
        return float(leaf)
    raise _refused_leaf(leaf)


def _check_leaf_dtype(dtype: np.dtype[Any]) -> None:
    try:
        check_dtype(dtype)
    except DTypeError as error:
        raise DTypeError(f"has dtype {dtype}, which is not supported", hint=error.hint) from None


def _refused_leaf(leaf: Any) -> TracejitError:
    name = class_name(leaf)
    static = "pass it as a static argument (static_argnames=...)"
    if isinstance(leaf, complex):
        return DTypeError(
            f"is a {name}, which is not supported", hint="split it into real and imaginary parts"
        )
    if isinstance(leaf, (str, bytes)):
        return DTypeError(f"is a {name}, which has no gradient", hint=static)
    if isinstance(leaf, Iterator):
        return ArgumentError(
            f"is a {name}, which can be read only once", hint="pass a list or a tuple of its items"
        )
    if isinstance(leaf, (set, frozenset)):
        return ArgumentError(f"is a {name}, which has no order", hint="pass a list or a tuple of its items")
    if is_on_device(leaf):
        return ArgumentError(
            f"is a {name} on a CUDA device", hint='leave it there with target="cuda", or copy it to the host'
        )
    if hasattr(leaf, "__array__"):
        return ArgumentError(
            f"is a {name}, which is not a NumPy array", hint="convert it first: np.asarray(x)"
        )
    return ArgumentError(
        f"is a {name}, which is not an array, a number, or a dict, list, tuple or dataclass of them",
        hint=static,
    )


class Parameters:
    """The parameters of a user's function, and how calls are laid out by them."""

    def __init__(self, function: Any, static_argnames: str | Sequence[str], name: str) -> None:
        statics = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self.function_name = name
        self.names: tuple[str, ...] = ()
        self.defaults: dict[str, Any] = {}
        self.keyword_only = keyword_only = list[str]()
        takes_any = True
        self.owns_out = True  # is `out=` an argument of the function's own?
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            parameters = ()
        else:
            takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
            self.owns_out = takes_any or any(p.name == "out" for p in parameters)
        for p in parameters:
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                self.names += (p.name,)
            elif p.kind is p.KEYWORD_ONLY:
                keyword_only.append(p.name)
            if p.default is not p.empty:
                self.defaults[p.name] = p.default
        self.index = {name: k for k, name in enumerate(self.names)}
        unknown = [s for s in statics if s not in self.index and s not in keyword_only]
        if unknown and not takes_any:
            raise ArgumentError(
                f"{name}: static_argnames has {unknown[0]!r}, which is not a parameter",
                hint=f"its parameters are {', '.join((*self.names, *keyword_only))}",
            )
        self.statics = statics

    def donated(self, donate: Sequence[str | int]) -> tuple[str, ...]:
        """The parameters that `donate` selects by name or position; raises ArgumentError for others."""
        found: list[str] = []
        known = (*self.names, *self.keyword_only)
        for chosen in donate:
            name = chosen
            if isinstance(chosen, int) and 0 <= chosen < len(self.names):
                name = self.names[chosen]
            if name not in known or name in self.statics:
                why = "a static argument" if name in self.statics else "not a parameter"
                raise ArgumentError(
                    f"{self.function_name}: donate has {chosen!r}, which is {why}",
                    hint=f"its parameters are {', '.join(known)}",
                )
            found.append(str(name))
        return tuple(found)

    def name_of(self, position: int) -> str:
        return self.names[position] if position < len(self.names) else f"args[{position}]"

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any], needed: int) -> Call:
        """Lay out a call: keywords of positional parameters become positional, statics are set apart.

        Defaults are filled in up to the parameter `needed`, the last one that must be there.
        """
        positional = list(args)
        rest = dict(kwargs)
        for name in self.names[len(args) :]:
            if name in rest:
                positional.append(rest.pop(name))
            elif len(positional) <= needed and name in self.defaults:
                positional.append(self.defaults[name])
            else:
                break
        if len(positional) <= needed:
            raise ArgumentError(
                f"{self.function_name}: argnums selects argument {needed}, but there "
                f"{'is' if len(positional) == 1 else 'are'} only {len(positional)}",
                hint="arguments are counted from 0; only those given by position or by the name of a "
                "positional parameter count",
            )
        statics = tuple(self._take_static(name, positional, rest) for name in self.statics)
        statics = tuple(s for s in statics if s is not None)
        tree = (tuple(positional), rest) if rest else tuple(positional)
        leaves, treedef = flatten(tree)
        return Call(leaves, treedef, bool(rest), statics, self)

    def without_statics(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: list[Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments of a call with None for static ones, whose types and values go to `key`.

        None where one of them cannot be hashed.
        """
        others, named = list(args), dict(kwargs)
        for name in self.statics:
            position = self.index.get(name)
            if position is not None and position < len(others):
                value, others[position] = others[position], None
            elif name in named:
                value, named[name] = named[name], None
            else:
                continue
            try:
                hash(value)
            except TypeError:
                return None
            key.append((name, type(value), value))
        return tuple(others), named

    def order(self, args: tuple[Any, ...], kwargs: dict[str, Any], needed: int) -> list[int] | None:
        """Which leaf of all that a call gives, from left to right, each leaf of `read` is.

        None where defaults are among these. Static arguments are None.
        """
        counted = itertools.count()
        numbered = []
        for x in (*args, *kwargs.values()):
            leaves, treedef = flatten(x)
            numbered.append(treedef.unflatten([next(counted) for _ in leaves]))
        named = dict(zip(kwargs, numbered[len(args) :], strict=True))
        order = self.read(tuple(numbered[: len(args)]), named, needed).leaves
        return order if len(order) == next(counted) else None

    def _take_static(self, name: str, positional: list[Any], rest: dict[str, Any]) -> tuple[str, Any] | None:
        position = self.index.get(name)
        if position is not None and position < len(positional):
            value, positional[position] = positional[position], None
        elif name in rest:
            value = rest.pop(name)
        else:
            return None
        try:
            hash(value)
        except TypeError:
            raise ArgumentError(
                f"{self.function_name}: static argument {name} is a {type(value).__name__}, which cannot "
                "be hashed",
                hint="static arguments select a program: use numbers, texts, or tuples of them",
            ) from None
        return name, value


def call_key(call: Call) -> tuple[Any, ...] | None:
    """What calls must share to run the same program; None where a leaf is not an array or number."""
    key: list[Any] = [(name, type(value), value) for name, value in call.statics]
    if call.has_keywords:
        key.append(call.treedef)
        return tuple(key) if describe_leaves(call.leaves, key) else None
    start = 0
    for child in call.positional():
        if child.kind != "leaf":
            key.append(child)
        if not describe_leaves(call.leaves[start : start + child.num_leaves], key):
            return None
        start += child.num_leaves
    return tuple(key) if describe_leaves(call.leaves[start:], key) else None


def normalize_argnums(argnums: Any) -> tuple[int, ...]:
    """`argnums` as a tuple of integers."""
    given = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for number in given:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, np.integer)):
            raise ArgumentError(
                f"argnums must be an integer or a tuple of integers, got {argnums!r}",
                hint="arguments are counted from 0",
            )
    if not given or len(set(given)) != len(given):
        raise ArgumentError(f"argnums must name one or more different arguments, got {argnums!r}")
    return tuple(int(number) for number in given)
