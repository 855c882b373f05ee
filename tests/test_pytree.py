"""Flattening containers and putting them back."""

from __future__ import annotations

import copy
import enum
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracejit import pytree
from tracejit.errors import ArgumentError
from tracejit.pytree import TreeDef, first_difference, flatten, leaf_paths, map_leaves


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Params:
    w: Any
    b: Any
    count: ClassVar[int] = 0


@dataclass(frozen=True)
class Frozen:
    scale: Any
    layers: Any

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError("scale must be positive")


@dataclass(frozen=True, slots=True)
class Slotted:
    a: Any
    b: Any


TREES: list[tuple[Any, list[Any], str]] = [
    (1.0, [1.0], "*"),
    ("text", ["text"], "*"),
    (None, [], "None"),
    ((), [], "()"),
    ([], [], "[]"),
    ({}, [], "{}"),
    ((1.0,), [1.0], "(*,)"),
    ((1, [2, (3,)], None), [1, 2, 3], "(*, [*, (*,)], None)"),
    ({"w": 1, "b": 2}, [2, 1], "{'w': *, 'b': *}"),
    ({"w": {"z": 1, "a": 2}, "b": []}, [2, 1], "{'w': {'z': *, 'a': *}, 'b': []}"),
    ({2: "two", 1: "one"}, ["one", "two"], "{2: *, 1: *}"),
    ({"a": 1, 0: 2}, [1, 2], "{'a': *, 0: *}"),
    ({(1, 2): 1, (0, 5): 2}, [2, 1], "{(1, 2): *, (0, 5): *}"),
    (OrderedDict([("z", 1), ("a", 2)]), [2, 1], "OrderedDict({'z': *, 'a': *})"),
    (defaultdict(list, {"z": 1, "a": 2}), [2, 1], "defaultdict(list, {'z': *, 'a': *})"),
    (Point(1, (2, 3)), [1, 2, 3], "Point(x=*, y=(*, *))"),
    (Params(1, {"k": 2}), [1, 2], "Params(w=*, b={'k': *})"),
    (Frozen(1.0, [2.0, 3.0]), [1.0, 2.0, 3.0], "Frozen(scale=*, layers=[*, *])"),
    (Slotted(1, None), [1], "Slotted(a=*, b=None)"),
]


@pytest.mark.parametrize(("tree", "leaves", "text"), TREES, ids=[text for _, _, text in TREES])
def test_a_tree_flattens_and_comes_back(tree: Any, leaves: list[Any], text: str) -> None:
    found, treedef = flatten(tree)
    assert found == leaves
    assert str(treedef) == text
    assert repr(treedef) == f"TreeDef({text})"
    assert treedef.num_leaves == len(leaves)
    rebuilt = treedef.unflatten(found)
    assert rebuilt == tree
    assert type(rebuilt) is type(tree)
    assert flatten(rebuilt)[1] == treedef
    assert len(leaf_paths(tree)) == len(leaves)


@pytest.mark.parametrize(("tree", "leaves", "text"), TREES, ids=[text for _, _, text in TREES])
def test_descriptions_survive_copies_and_pickling(tree: Any, leaves: list[Any], text: str) -> None:
    treedef = flatten(tree)[1]
    for other in (pickle.loads(pickle.dumps(treedef)), copy.deepcopy(treedef)):
        assert other == treedef
        assert hash(other) == hash(treedef)
        assert other.unflatten(leaves) == tree


def test_all_the_example_trees_have_different_descriptions() -> None:
    defs = [flatten(tree)[1] for tree, _, _ in TREES]
    # Only the bare number and the bare string are nested alike.
    assert len(set(defs)) == len(defs) - 1


def test_descriptions_of_equal_nestings_are_equal_and_hash_alike() -> None:
    a = flatten(({"w": np.ones(2), "b": 1.0}, [Params(1, 2)]))[1]
    b = flatten(({"w": np.zeros((3, 4)), "b": "x"}, [Params(3, 4)]))[1]
    assert a == b
    assert hash(a) == hash(b)
    assert a != flatten(({"w": 1, "b": 1.0}, (Params(1, 2),)))[1]
    assert a != "({'w': *, 'b': *}, [Params(w=*, b=*)])"


def test_the_insertion_order_of_keys_does_not_matter_for_equality_and_comes_back() -> None:
    leaves_a, def_a = flatten({"w": 1, "b": 2})
    leaves_b, def_b = flatten({"b": 2, "w": 1})
    assert leaves_a == leaves_b == [2, 1]
    assert def_a == def_b
    assert hash(def_a) == hash(def_b)
    assert list(def_a.unflatten(leaves_a)) == ["w", "b"]
    assert list(def_b.unflatten(leaves_a)) == ["b", "w"]


def test_the_insertion_order_comes_back_in_nested_dicts_too() -> None:
    for tree in ({"p": {"z": 1, "a": 2}}, {"p": {"a": 2, "z": 1}}):
        leaves, treedef = flatten(tree)
        assert list(treedef.unflatten(leaves)["p"]) == list(tree["p"])


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize("keys", [["red"], [Colour.RED], [np.str_("red")], [1], [True], [1.0]])
def test_keys_that_compare_equal_keep_their_own_type(keys: list[Any]) -> None:
    leaves, treedef = flatten(dict.fromkeys(keys, 0.0))
    assert [type(key) for key in treedef.unflatten(leaves)] == [type(key) for key in keys]


def test_a_default_factory_is_kept() -> None:
    leaves, treedef = flatten(defaultdict(list, {"a": 1}))
    assert treedef.unflatten(leaves)["missing"] == []
    assert treedef != flatten(defaultdict(dict, {"a": 1}))[1]
    assert treedef != flatten({"a": 1})[1]


def test_a_dataclass_is_rebuilt_without_running_its_checks() -> None:
    treedef = flatten(Frozen(1.0, []))[1]
    placeholder = object()
    rebuilt = treedef.unflatten([placeholder])
    assert type(rebuilt) is Frozen
    assert rebuilt.scale is placeholder


def test_a_field_that_was_never_set_is_left_out() -> None:
    @dataclass
    class Lazy:
        a: float
        cached: float = field(init=False)

    leaves, treedef = flatten(Lazy(1.0))
    assert leaves == [1.0]
    assert not hasattr(treedef.unflatten(leaves), "cached")


def test_a_subclass_of_a_dataclass_keeps_its_class() -> None:
    @dataclass
    class More(Params):
        extra: Any = 3

    leaves, treedef = flatten(More(1, 2))
    assert leaves == [1, 2, 3]
    assert type(treedef.unflatten(leaves)) is More


def test_named_tuples_of_the_same_fields_differ_by_class() -> None:
    other = namedtuple("other", ["x", "y"])
    assert flatten(Point(1, 2))[1] != flatten(other(1, 2))[1]
    assert flatten(Point(1, 2))[1] != flatten((1, 2))[1]


@dataclass
class ArrayLike:
    data: Any

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.data, dtype)


class TupleSubclass(tuple):
    __slots__ = ()


@pytest.mark.parametrize(
    "leaf",
    [
        np.ones(3),
        np.float32(1),
        1,
        True,
        1j,
        "text",
        b"bytes",
        {1, 2},
        range(3),
        (i for i in range(3)),
        iter([1, 2]),
        object(),
        int,
        Params,
        ArrayLike([1, 2]),
        TupleSubclass((1, 2)),
        np.ma.masked_array([1, 2]),
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_everything_else_is_a_leaf(leaf: Any) -> None:
    for tree, path in ((leaf, ""), ((leaf,), "[0]"), ({"k": [1, leaf]}, "['k'][1]")):
        leaves, treedef = flatten(tree)
        assert leaves[-1] is leaf
        assert treedef.leaf_paths()[-1] == path


def test_generators_are_not_consumed() -> None:
    numbers = (i for i in range(3))
    flatten([numbers])
    assert list(numbers) == [0, 1, 2]


def test_none_inside_a_container_has_no_leaf_and_comes_back() -> None:
    leaves, treedef = flatten({"a": None, "b": (None, 1)})
    assert leaves == [1]
    assert treedef.unflatten([5]) == {"a": None, "b": (None, 5)}


def test_paths_read_as_the_code_that_selects_the_leaf() -> None:
    tree = {"w": Params(1, [2, 3]), "p": Point(x=(4,), y={"k": 5, 7: 6})}
    assert leaf_paths(tree) == [
        "['p'].x[0]",
        "['p'].y['k']",
        "['p'].y[7]",
        "['w'].w",
        "['w'].b[0]",
        "['w'].b[1]",
    ]
    for path, leaf in zip(leaf_paths(tree), flatten(tree)[0]):
        assert eval(f"tree{path}") == leaf
    assert leaf_paths(1.0) == [""]


def test_map_leaves_pairs_the_leaves_of_several_trees() -> None:
    a = {"w": np.array([1.0, 2.0]), "b": (1.0, None)}
    b = {"b": (10.0, None), "w": np.array([10.0, 20.0])}
    total = map_leaves(lambda x, y: x + y, a, b)
    np.testing.assert_array_equal(total["w"], [11.0, 22.0])
    assert total["b"] == (11.0, None)
    assert list(total) == ["w", "b"]


def test_map_leaves_refuses_trees_that_are_nested_differently() -> None:
    with pytest.raises(ArgumentError) as caught:
        map_leaves(lambda x, y: x + y, {"w": [1]}, {"w": (1,)})
    assert str(caught.value) == "map_leaves: structures differ at ['w']: list of 1 against tuple of 1"


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        ({"w": 1}, {"w": 2}, ""),
        (1, (1,), "at the top: a leaf against tuple of 1"),
        ([1], (1,), "at the top: list of 1 against tuple of 1"),
        ((1, 2), (1, 2, 3), "at the top: tuple of 2 against tuple of 3"),
        ((1, None), (1, 2), "at [1]: None against a leaf"),
        ({"a": 1, "b": 2}, {"a": 1}, "at the top: dict of 2 against dict of 1, 'b' only in the first"),
        (
            {"p": {"a": 1, "b": 2}},
            {"p": {"a": 1, "c": 2}},
            "at ['p']: two dicts, 'b' only in the first and 'c' only in the second",
        ),
        (Point(1, [2]), Point(1, 2), "at .y: list of 1 against a leaf"),
        (Params(1, 2), Point(1, 2), "at the top: dataclass Params against namedtuple Point"),
        ({"a": 1, 0: 2}, {0: 2, "a": 1}, "at the top: two dicts, keys in another order"),
    ],
)
def test_the_first_difference_is_named(a: Any, b: Any, text: str) -> None:
    assert first_difference(flatten(a)[1], flatten(b)[1]) == text


@pytest.mark.parametrize("tree", [(1, 2), {"a": [1], "b": 2}, 1, None])
def test_a_wrong_number_of_leaves_is_refused(tree: Any) -> None:
    leaves, treedef = flatten(tree)
    with pytest.raises(ArgumentError) as caught:
        treedef.unflatten([*leaves, 9])
    n = len(leaves)
    assert str(caught.value) == f"{n + 1} leaves do not fill {treedef}, which has {n}"


def test_a_container_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ArgumentError) as caught:
        flatten({"a": loop})
    assert str(caught.value) == "a dict is nested too deeply to be taken apart, or contains itself"


def test_descriptions_met_before_are_shared() -> None:
    tree = ({"w": 1, "b": [2, 3]}, Point(1, 2), (), None)
    assert flatten(tree)[1] is flatten(copy.deepcopy(tree))[1]


def test_the_tables_of_shared_descriptions_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytree, "_TABLE_LIMIT", 50)
    kept: list[tuple[Any, TreeDef]] = []
    for i in range(300):
        tree = ({f"k{i}": 1, "a": [2] * (i % 7)}, i)
        kept.append((tree, flatten(tree)[1]))
    for tree, treedef in kept:
        leaves, again = flatten(tree)
        assert again == treedef
        assert treedef.unflatten(leaves) == tree
    assert len(pytree._defs) <= 50
    assert len(pytree._key_orders) <= 50


leaf_values = st.floats(allow_nan=False) | st.integers() | st.text(max_size=3)
trees = st.recursive(
    leaf_values | st.none(),
    lambda children: (
        st.lists(children, max_size=4)
        | st.lists(children, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), children, max_size=4)
        | st.builds(Point, children, children)
        | st.builds(Slotted, children, children)
    ),
    max_leaves=12,
)


@given(trees)
def test_any_tree_comes_back_with_its_order_of_keys(tree: Any) -> None:
    leaves, treedef = flatten(tree)
    rebuilt = treedef.unflatten(leaves)
    assert repr(rebuilt) == repr(tree)
    assert len(leaf_paths(tree)) == len(leaves) == treedef.num_leaves


@given(trees, trees)
def test_two_descriptions_are_equal_exactly_when_no_difference_is_found(a: Any, b: Any) -> None:
    def_a, def_b = flatten(a)[1], flatten(b)[1]
    assert (def_a == def_b) == (first_difference(def_a, def_b) == "")
    if def_a == def_b:
        assert hash(def_a) == hash(def_b)
