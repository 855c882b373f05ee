"""Nested containers as a flat list of leaves and a description of the nesting, and back.

Enters any value; leaves are whatever is not a dict, list, tuple, named tuple, dataclass instance or None.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tracejit.errors import ArgumentError

Kind = Literal["leaf", "none", "tuple", "list", "dict", "namedtuple", "dataclass"]

# Exact types that need no further look; any other type is classified by `_kind_of`.
_LEAF_TYPES: frozenset[type] = frozenset(
    {np.ndarray, float, int, complex, bool, str, bytes, *np.sctypeDict.values()}
)
_DICT_TYPES: frozenset[type] = frozenset({dict, OrderedDict, defaultdict})
_PLAIN_KEY_TYPES: frozenset[type] = frozenset({str, int})
_ARRAY_PROTOCOLS = ("__array_ufunc__", "__array__", "__cuda_array_interface__", "__dlpack__")

# Descriptions met before are shared, so that a repeated call builds nothing and compares by identity.
_TABLE_LIMIT = 4096
_defs: dict[tuple[Any, ...], TreeDef] = {}
_key_orders: dict[tuple[Any, ...], tuple[tuple[Any, ...], tuple[int, ...]]] = {}


class TreeDef:
    """The nesting of a value, without its leaves; hashable and comparable.

    Like dicts themselves, two descriptions that differ only in the insertion order of keys are equal;
    `unflatten` restores the order of the value that this description was made from.

    >>> leaves, treedef = flatten({"w": 1.0, "b": (2.0, None)})
    >>> leaves, str(treedef), treedef.num_leaves
    ([2.0, 1.0], "{'w': *, 'b': (*, None)}", 2)
    >>> treedef.unflatten([20.0, 10.0])
    {'w': 10.0, 'b': (20.0, None)}
    """

    __slots__ = (
        "_hash",
        "_is_flat",
        "children",
        "cls",
        "factory",
        "is_shared",
        "kind",
        "labels",
        "num_leaves",
        "order",
    )

    def __init__(
        self,
        kind: Kind,
        cls: type,
        labels: tuple[Hashable, ...] = (),
        children: tuple[TreeDef, ...] = (),
        order: tuple[int, ...] = (),
        factory: Any = None,
    ) -> None:
        """`labels` are sorted keys or field names; `order` lists a dict's children as they were inserted."""
        self.kind: Kind = kind
        self.cls = cls
        self.labels = labels
        self.children = children
        self.order = order
        self.factory = factory
        self.num_leaves: int = 1 if kind == "leaf" else sum(c.num_leaves for c in children)
        self.is_shared = False
        self._is_flat = kind != "leaf" and all(c.kind == "leaf" for c in children)
        self._hash: int | None = None

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The value with this nesting and these leaves, in the order in which `flatten` gave them.

        Dataclass instances and named tuples are made without running their `__init__` or `__post_init__`.
        """
        if len(leaves) != self.num_leaves:
            raise ArgumentError(f"{len(leaves)} leaves do not fill {self}, which has {self.num_leaves}")
        if self._is_flat:
            return _BUILDERS[self.kind](self, leaves)
        return self._fill(iter(leaves))

    def leaf_paths(self) -> list[str]:
        """Where each leaf sits, as the text that would select it.

        >>> flatten({"w": 1.0, "b": (2.0, 3.0)})[1].leaf_paths()
        ["['b'][0]", "['b'][1]", "['w']"]
        """
        if self.kind == "leaf":
            return [""]
        return [step + rest for step, child in self._steps() for rest in child.leaf_paths()]

    def _fill(self, leaves: Iterator[Any]) -> Any:
        if self.kind == "leaf":
            return next(leaves)
        return _BUILDERS[self.kind](self, [child._fill(leaves) for child in self.children])

    def _steps(self) -> list[tuple[str, TreeDef]]:
        """The children, each with the text that selects it from its parent."""
        if self.kind == "dict":
            steps = [f"[{label!r}]" for label in self.labels]
        elif self.labels:
            steps = [f".{label}" for label in self.labels]
        else:
            steps = [f"[{i}]" for i in range(len(self.children))]
        return list(zip(steps, self.children))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TreeDef):
            return NotImplemented
        return (
            self.num_leaves == other.num_leaves
            and self.cls is other.cls
            and self.labels == other.labels
            and self.factory == other.factory
            and self.children == other.children
        )

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.cls, self.labels, self.children))
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        # Hashes of strings differ between processes, so the cached hash does not travel.
        return TreeDef, (self.kind, self.cls, self.labels, self.children, self.order, self.factory)

    def __str__(self) -> str:
        return _TEXTS[self.kind](self)

    def __repr__(self) -> str:
        return f"TreeDef({self})"


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of `tree`, from left to right, and its nesting.

    Dict values come in the order of the sorted keys where the keys can be sorted, else as inserted.
    Raises `ArgumentError` for a container that contains itself.

    >>> leaves, treedef = flatten(({"w": 1.0, "b": 2.0}, [3.0]))
    >>> leaves, str(treedef)
    ([2.0, 1.0, 3.0], "({'w': *, 'b': *}, [*])")
    """
    leaves: list[Any] = []
    try:
        return leaves, _flatten_into(tree, leaves)
    except RecursionError:
        raise ArgumentError(
            f"a {type(tree).__name__} is nested too deeply to be taken apart, or contains itself"
        ) from None


def map_leaves(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`tree` with each leaf replaced by `f` of it and of the leaves at its place in `rest`.

    Raises `ArgumentError` where a tree of `rest` is nested in another way.

    >>> map_leaves(lambda x, y: x + y, {"a": 1, "b": [2]}, {"a": 10, "b": [20]})
    {'a': 11, 'b': [22]}
    """
    leaves, treedef = flatten(tree)
    columns = [leaves]
    for other in rest:
        other_leaves, other_def = flatten(other)
        if other_def != treedef:
            raise ArgumentError(f"map_leaves: structures differ {first_difference(treedef, other_def)}")
        columns.append(other_leaves)
    return treedef.unflatten([f(*row) for row in zip(*columns)])


def leaf_paths(tree: Any) -> list[str]:
    """Where each leaf of `tree` sits, in the order of `flatten`, for error messages.

    >>> leaf_paths({"w": 1.0, "layers": [2.0, (3.0,)]})
    ["['layers'][0]", "['layers'][1][0]", "['w']"]
    """
    return flatten(tree)[1].leaf_paths()


def first_difference(a: TreeDef, b: TreeDef) -> str:
    """The first place, from the left, where two nestings differ, in words; empty when they are equal.

    >>> first_difference(flatten({"w": [1.0]})[1], flatten({"w": (1.0,)})[1])
    "at ['w']: list of 1 against tuple of 1"
    """
    return _difference(a, b, "")


def _difference(a: TreeDef, b: TreeDef, path: str) -> str:
    if a == b:
        return ""
    place = f"at {path}" if path else "at the top"
    if a.cls is not b.cls or a.factory != b.factory or len(a.children) != len(b.children):
        return f"{place}: {_describe(a)} against {_describe(b)}{_key_difference(a, b)}"
    if a.labels != b.labels:
        return f"{place}: two {_noun(a)}s{_key_difference(a, b)}"
    for (step, child_a), (_, child_b) in zip(a._steps(), b._steps()):
        if child_a != child_b:
            return _difference(child_a, child_b, path + step)
    return ""


def _key_difference(a: TreeDef, b: TreeDef) -> str:
    if a.kind != b.kind or a.kind not in ("dict", "dataclass"):
        return ""
    only_a = [repr(k) for k in a.labels if k not in b.labels]
    only_b = [repr(k) for k in b.labels if k not in a.labels]
    parts = [
        f"{', '.join(names)} only in the {side}"
        for names, side in ((only_a, "first"), (only_b, "second"))
        if names
    ]
    return f", {' and '.join(parts)}" if parts else ", keys in another order"


def _noun(treedef: TreeDef) -> str:
    return treedef.kind if treedef.kind in ("leaf", "dataclass", "namedtuple") else treedef.cls.__name__


def _describe(treedef: TreeDef) -> str:
    if treedef.kind == "none":
        return "None"
    if treedef.kind == "leaf":
        return "a leaf"
    if treedef.kind in ("namedtuple", "dataclass"):
        return f"{treedef.kind} {treedef.cls.__qualname__}"
    return f"{treedef.cls.__name__} of {len(treedef.children)}"


class _Leaf:
    """Stands for the type of a leaf, which a nesting does not record."""


_LEAF = TreeDef("leaf", _Leaf)
_NONE = TreeDef("none", type(None))
_LEAF.is_shared = _NONE.is_shared = True


def _flatten_into(tree: Any, leaves: list[Any]) -> TreeDef:
    """Append the leaves of `tree` to `leaves`; the tests come in the order of their frequency in calls."""
    cls: Any = type(tree)
    if cls in _LEAF_TYPES:
        leaves.append(tree)
        return _LEAF
    if cls is tuple:
        return _container("tuple", cls, (), (), tree, leaves)
    if cls in _DICT_TYPES:
        return _flatten_dict(tree, cls, leaves)
    if cls is list:
        return _container("list", cls, (), (), tree, leaves)
    if tree is None:
        return _NONE
    kind = _kind_of(cls)
    if kind == "namedtuple":
        return _container(kind, cls, cls._fields, (), tree, leaves)
    if kind == "dataclass":
        # A field declared with init=False may not have been set.
        names = tuple([f.name for f in dataclasses.fields(cls) if hasattr(tree, f.name)])
        return _container(kind, cls, names, (), [getattr(tree, name) for name in names], leaves)
    leaves.append(tree)
    return _LEAF


def _flatten_dict(tree: dict[Any, Any], cls: type, leaves: list[Any]) -> TreeDef:
    # Types belong to the table's key, because equal keys may differ: 1 == True, a str enum equals its text.
    table_key = (*tree, *map(type, tree))
    known = _key_orders.get(table_key)
    is_plain = known is not None
    if known is None:
        known = _sort_keys(tree)
        is_plain = _PLAIN_KEY_TYPES.issuperset(map(type, tree))
        if is_plain:
            _remember(_key_orders, table_key, known)
    labels, order = known
    values = [tree[label] for label in labels]
    if is_plain and cls is dict:
        return _container("dict", cls, labels, order, values, leaves)
    children = tuple([_flatten_into(value, leaves) for value in values])
    return TreeDef("dict", cls, labels, children, order, getattr(tree, "default_factory", None))


def _sort_keys(tree: dict[Any, Any]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The keys in canonical order, and for each key as inserted its position in that order."""
    try:
        labels = tuple(sorted(tree))
    except TypeError:
        labels = tuple(tree)
    positions = {label: i for i, label in enumerate(labels)}
    return labels, tuple([positions[key] for key in tree])


def _container(
    kind: Kind,
    cls: type,
    labels: tuple[Any, ...],
    order: tuple[int, ...],
    values: Sequence[Any],
    leaves: list[Any],
) -> TreeDef:
    """Flatten the values of one container; its description comes from the table when it was met before."""
    if _LEAF_TYPES.issuperset(map(type, values)):
        leaves.extend(values)
        children = None
        key = (cls, labels, order, ~len(values))  # negative, which no identity is
    else:
        # Identities serve as keys because an entry keeps alive the children that its key names.
        children = tuple([_flatten_into(value, leaves) for value in values])
        key = (cls, labels, order, *map(id, children))
    found = _defs.get(key)
    if found is not None:
        return found
    if children is None:
        children = (_LEAF,) * len(values)
    treedef = TreeDef(kind, cls, labels, children, order)
    if all(child.is_shared for child in children):
        treedef.is_shared = True
        _remember(_defs, key, treedef)
    return treedef


def _remember(table: dict[tuple[Any, ...], Any], key: tuple[Any, ...], value: Any) -> None:
    if len(table) >= _TABLE_LIMIT:
        table.clear()
    table[key] = value


def _kind_of(cls: Any) -> Kind:
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "namedtuple"
    if hasattr(cls, "__dataclass_fields__") and not any(hasattr(cls, name) for name in _ARRAY_PROTOCOLS):
        return "dataclass"
    return "leaf"


def _build_dict(treedef: TreeDef, values: Sequence[Any]) -> Any:
    items = {treedef.labels[i]: values[i] for i in treedef.order}
    if treedef.cls is dict:
        return items
    return defaultdict(treedef.factory, items) if treedef.cls is defaultdict else OrderedDict(items)


def _build_dataclass(treedef: TreeDef, values: Sequence[Any]) -> Any:
    made = object.__new__(treedef.cls)
    for name, value in zip(treedef.labels, values):
        object.__setattr__(made, str(name), value)
    return made


_BUILDERS: dict[Kind, Callable[[TreeDef, Sequence[Any]], Any]] = {
    "none": lambda treedef, values: None,
    "tuple": lambda treedef, values: tuple(values),
    "list": lambda treedef, values: list(values),
    "dict": _build_dict,
    "namedtuple": lambda treedef, values: tuple.__new__(treedef.cls, values),
    "dataclass": _build_dataclass,
}


def _tuple_text(treedef: TreeDef) -> str:
    return f"({', '.join(map(str, treedef.children))}{',' if len(treedef.children) == 1 else ''})"


def _dict_text(treedef: TreeDef) -> str:
    items = ", ".join(f"{treedef.labels[i]!r}: {treedef.children[i]}" for i in treedef.order)
    if treedef.cls is dict:
        return f"{{{items}}}"
    factory = getattr(treedef.factory, "__name__", repr(treedef.factory))
    first = f"{factory}, " if treedef.cls is defaultdict else ""
    return f"{treedef.cls.__name__}({first}{{{items}}})"


def _field_text(treedef: TreeDef) -> str:
    fields = ", ".join(f"{name}={child}" for name, child in zip(treedef.labels, treedef.children))
    return f"{treedef.cls.__name__}({fields})"


_TEXTS: dict[Kind, Callable[[TreeDef], str]] = {
    "leaf": lambda treedef: "*",
    "none": lambda treedef: "None",
    "tuple": _tuple_text,
    "list": lambda treedef: f"[{', '.join(map(str, treedef.children))}]",
    "dict": _dict_text,
    "namedtuple": _field_text,
    "dataclass": _field_text,
}
