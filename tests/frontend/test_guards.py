"""What a function can reach is found, and a change of any of it is noticed."""

from __future__ import annotations

import collections
import functools
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tracejit.frontend import find_roots
from tracejit.frontend.guards import Roots, bits_of, is_writeable, same

rate = 0.5
table = np.arange(3.0)
settings: dict[str, Any] = {"scale": 2.0, "arrays": [np.ones(3), np.zeros(3)]}
names = {"a", "b"}
queue = collections.deque([1, 2])


def helper(x: Any) -> Any:
    return x * rate


def uses_globals(x: Any) -> Any:
    return helper(x) * table * settings["scale"]


def watched(function: Any, captures: Any = (), frozen: Any = ()) -> Roots:
    roots = find_roots(function)
    roots.watch(captures, frozen, ())
    return roots


def test_unchanged_things_hold() -> None:
    assert watched(uses_globals).guards.hold([])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 0.75),
        ("rate", np.float64(0.5)),
        ("helper", lambda x: x),
        ("table", np.ones(3)),
        ("settings", {}),
    ],
)
def test_a_global_that_is_bound_anew_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    roots = watched(uses_globals)
    monkeypatch.setitem(globals(), name, value)
    assert not roots.guards.hold([])


def test_an_equal_number_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    roots = watched(uses_globals)
    monkeypatch.setitem(globals(), "rate", float("0.5"))
    assert roots.guards.hold([])


def test_changes_inside_containers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return x * settings["scale"] + len(names) + sum(queue)

    for change, undo in (
        (lambda: settings.update(scale=3.0), lambda: settings.update(scale=2.0)),
        (lambda: settings.update(new=1), lambda: settings.pop("new")),
        (lambda: settings["arrays"].append(1), lambda: settings["arrays"].pop()),
        (lambda: settings["arrays"].reverse(), lambda: settings["arrays"].reverse()),
        (lambda: names.add("c"), lambda: names.discard("c")),
        (lambda: queue.append(3), lambda: queue.pop()),
    ):
        roots = watched(f)
        assert roots.guards.hold([])
        change()
        assert not roots.guards.hold([])
        undo()
        assert roots.guards.hold([])


def test_closures_defaults_and_partials_are_looked_into() -> None:
    inner = np.ones(2)
    default = np.zeros(2)
    given = np.full(2, 3.0)

    def f(p: Any, x: Any, d: Any = default) -> Any:
        return p * x * d * inner

    roots = find_roots(functools.partial(f, given))
    assert {id(a) for a in roots.arrays.values()} == {id(inner), id(default), id(given)}
    assert sorted(roots.names.values()) == ["[0]", "d", "inner"]


def test_a_closure_variable_that_changes_is_noticed() -> None:
    k = 1

    def f(x: Any) -> Any:
        return x * k

    roots = watched(f)
    assert roots.guards.hold([])
    k = 2
    assert not roots.guards.hold([])


class Part:
    __slots__ = ("w",)

    def __init__(self) -> None:
        self.w = np.ones(3)


class Model:
    factor = 2.0

    def __init__(self) -> None:
        self.w = np.ones(3)
        self.part = Part()
        self.unused = np.zeros(100)
        self._gain = 1.0

    @property
    def gain(self) -> float:
        return self._gain

    def scale(self, x: Any) -> Any:
        return x * self.factor * self.gain

    def __call__(self, x: Any) -> Any:
        return self.scale(x * self.w) * self.part.w


def test_objects_are_looked_into_by_the_names_that_code_mentions() -> None:
    model = Model()
    roots = find_roots(model)
    assert {id(a) for a in roots.arrays.values()} == {id(model.w), id(model.part.w)}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "w", np.ones(3)),
        lambda m: setattr(m, "_gain", 2.0),
        lambda m: setattr(m.part, "w", np.ones(3)),
        lambda m: setattr(m, "part", Part()),
        lambda m: setattr(m, "factor", 3.0),
        lambda m: setattr(m, "new", 3.0),
        lambda m: delattr(m, "w"),
    ],
)
def test_changes_of_attributes_are_noticed(change: Any) -> None:
    model = Model()
    roots = watched(model.__call__)
    assert roots.guards.hold([])
    change(model)
    assert not roots.guards.hold([])


def test_changes_of_classes_and_modules_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mine")
    module.__file__ = __file__
    module.alpha = 1.0  # type: ignore[attr-defined]

    def f(x: Any) -> Any:
        return x * module.alpha * Model.factor

    roots = watched(f)
    module.alpha = 2.0  # type: ignore[attr-defined]
    assert not roots.guards.hold([])
    roots = watched(f)
    monkeypatch.setattr(Model, "factor", 5.0)
    assert not roots.guards.hold([])


def test_libraries_are_not_looked_into() -> None:
    def f(x: Any) -> Any:
        return np.linalg.norm(x) + functools.reduce(max, [1.0])

    assert not find_roots(f).arrays
    assert len(find_roots(f).guards.mappings) == 0


def test_an_array_under_one_name_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = [table]
    roots = watched(uses_globals, captures)
    other = np.full(3, 7.0)
    monkeypatch.setitem(globals(), "table", other)
    assert roots.guards.hold(captures)
    assert captures[0] is other
    monkeypatch.setitem(globals(), "table", np.ones(4))
    assert not roots.guards.hold(captures)


def test_arrays_in_closures_and_lists_are_followed() -> None:
    w = np.ones(3)
    layers = [np.ones(2), np.zeros(2)]

    def f(x: Any) -> Any:
        return x * w + layers[0] * layers[1]

    captures = [w, layers[0], layers[1]]
    roots = watched(f, captures)
    w = np.full(3, 2.0)
    layers[1] = np.full(2, 3.0)
    assert roots.guards.hold(captures)
    assert captures[0] is w
    assert captures[2] is layers[1]
    layers[1] = np.ones(2, "f4")
    assert not roots.guards.hold(captures)


def test_an_array_under_two_names_is_not_followed() -> None:
    holder = SimpleNamespace(a=np.ones(3))
    b = holder.a

    def f(x: Any) -> Any:
        return x * holder.a * b

    captures = [b]
    roots = watched(f, captures)
    holder.a = np.zeros(3)
    assert not roots.guards.hold(captures)


def test_content_is_watched_where_an_array_was_computed_from() -> None:
    data = np.array([1.0, np.nan])

    def f(x: Any) -> Any:
        return x * np.sin(data)

    roots = watched(f, [np.sin(data)])
    assert roots.guards.hold([np.sin(data)])
    data[0] = 2.0
    assert not roots.guards.hold([np.sin(data)])


def test_content_is_not_watched_where_arrays_are_only_inputs() -> None:
    data = np.ones(3)
    roots = watched(lambda x: x * data + data[1:], [data, data[1:]])
    assert not roots.guards.contents


def test_arrays_that_nobody_can_write_to_are_not_watched() -> None:
    data = np.arange(3.0)
    data.flags.writeable = False

    def f(x: Any) -> Any:
        return x * np.sin(data)

    assert not watched(f, [np.sin(data)]).guards.contents
    assert is_writeable(np.broadcast_to(np.ones(3), (2, 3)))


def test_drawing_random_numbers_changes_the_state() -> None:
    rng = np.random.default_rng(0)

    def f(x: Any) -> Any:
        return x * rng.random()

    roots = find_roots(f)
    before = roots.random_state()
    assert before == find_roots(f).random_state()
    f(1.0)
    assert before != roots.random_state()


def test_bits_tell_zeros_and_nans_apart() -> None:
    assert not np.array_equal(bits_of(np.array([0.0])), bits_of(np.array([-0.0])))
    assert np.array_equal(bits_of(np.array([np.nan])), bits_of(np.array([np.nan])))
    assert np.array_equal(bits_of(np.arange(6).reshape(2, 3).T), bits_of(np.arange(6).reshape(2, 3).T.copy()))
    assert bits_of(np.ones(3, np.int8)).size == 3


def test_same_is_strict_about_types_and_lax_about_identity() -> None:
    assert same((1, (2.0, "a")), (1, (2.0, "a")))
    assert not same((1, 2), (1, 2.0))
    assert not same([1], [1])
    assert same(Model.scale.__get__(table), Model.scale.__get__(table))


def test_recursive_functions_and_containers_come_to_an_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    def f(x: Any) -> Any:
        return f(x) if loop else x

    assert find_roots(f).guards.hold([])
