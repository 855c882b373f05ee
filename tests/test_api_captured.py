"""Arrays and numbers that a function uses without taking them as arguments: never stale."""

from __future__ import annotations

import gc
import random
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.ones(3)


class Check:
    """Calls a transformed function and compares it with the plain one, and the number of traces it took."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.plain = function
        self.compiled = tj.jit(function)
        self.args = args or (X,)

    def __call__(self, traces: int) -> None:
        before = tj.cache_info().traces
        np.testing.assert_allclose(self.compiled(*self.args), self.plain(*self.args))
        assert tj.cache_info().traces - before == traces


def test_a_captured_array_is_read_at_each_call() -> None:
    data = np.arange(3.0)
    check = Check(lambda x: (x * data).sum())
    check(1)
    data[:] = 7
    check(0)
    data *= 2
    check(0)


def test_a_captured_array_may_be_replaced_by_another_of_its_type() -> None:
    data = np.arange(3.0)
    check = Check(lambda x: (x * data).sum())
    check(1)
    data = np.full(3, 5.0)
    check(0)
    data = np.full(1, 5.0)
    check(1)
    data = np.full(3, 5, "f4")
    check(1)
    data = 2.5
    check(1)
    data = np.zeros(3)
    check(0)


def test_a_captured_array_that_changes_its_shape_in_place_is_noticed() -> None:
    data = np.arange(4.0)
    check = Check(lambda x: (x[0] * data).sum() + data.ndim)
    check(1)
    data = data.reshape(2, 2)
    check(1)


def test_views_of_captured_arrays_are_read_at_each_call() -> None:
    data = np.arange(4.0)
    check = Check(lambda x: (x * data[1:] + data[::-1][:3]).sum())
    check(1)
    data[2] = 9
    check(0)


def test_what_was_computed_from_a_captured_array_follows_it() -> None:
    data = np.arange(3.0)
    for function in (
        lambda x: (x * np.sin(data)).sum(),
        lambda x: (x * data[1]).sum(),
        lambda x: (x * data.max()).sum(),
        lambda x: (x * float(data[0])).sum(),
        lambda x: (x[data.astype(int) % 3] * np.arange(3)).sum(),
        lambda x: x.sum() if data[0] > 4 else -x.sum(),
        lambda x: np.where(data > 2, x, -x).sum(),
    ):
        data[:] = [0, 1, 2]
        check = Check(function)
        check(1)
        check(0)
        data[0] = 5
        check(1)
        check(0)


def test_index_arrays_and_masks_may_change() -> None:
    mask = np.array([True, False, True])
    where = np.array([0, 2])
    check = Check(lambda x: x[mask].sum() + 10 * x[where].sum(), np.array([1.0, 2.0, 3.0]))
    check(1)
    mask[1] = True
    check(1)
    where[1] = 1
    before = tj.cache_info().traces
    np.testing.assert_allclose(check.compiled(*check.args), check.plain(*check.args))
    assert tj.cache_info().traces - before <= 1


def test_an_array_of_objects_that_a_function_looks_at_may_change() -> None:
    table: Any = np.array(["double", {"n": 2}, None], dtype=object)
    records = np.zeros(2, [("name", "O"), ("factor", "f8")])

    @tj.grad_jit
    def f(x):
        return np.sum(x) * (2 if table[0] == "double" else 3) * (5 if records["name"][0] else 1)

    assert f(X)[1][0] == 2.0
    table[0] = "triple"
    assert f(X)[1][0] == f(X)[1][0] == 3.0
    records["name"][0] = "five"
    assert f(X)[1][0] == 15.0
    table[0] = "double"
    assert f(X)[1][0] == 10.0


def test_captured_numbers_are_part_of_the_program() -> None:
    settings: dict[str, Any] = {"rate": 0.5, "layers": [1.0, 2.0]}
    check = Check(lambda x: (x * settings["rate"] * settings["layers"][0]).sum())
    check(1)
    settings["rate"] = 0.25
    check(1)
    settings["rate"] = 0.5
    check(0)
    settings["layers"][0] = 3.0
    check(1)
    settings["other"] = 1
    check(1)


def test_helper_functions_may_be_replaced() -> None:
    holder = SimpleNamespace(f=lambda x: x * 2)
    check = Check(lambda x: holder.f(x).sum())
    check(1)
    holder.f = lambda x: x * 3
    check(1)


def test_nested_transformations_see_changes_in_the_inner_function() -> None:
    k = 2.0

    def inner(x: Any) -> Any:
        return (x * k).sum()

    outer = tj.jit(lambda x: tj.grad(inner)(x).sum())
    again = tj.grad(tj.jit(inner))
    assert outer(X) == 6
    assert again(X).sum() == 6
    k = 3.0
    assert outer(X) == 9
    assert again(X).sum() == 9


def test_random_numbers_are_drawn_anew_at_each_call() -> None:
    rng = np.random.default_rng(0)
    for draw in (
        lambda: rng.standard_normal(3),
        lambda: np.random.rand(3),
        lambda: np.array(random.random()),
    ):
        f = tj.jit(lambda x, draw=draw: (x * draw()).sum(), static_argnames="draw")
        assert f(X) != f(X)


def test_side_effects_happen_when_a_function_is_traced() -> None:
    calls: list[int] = []
    count = 0

    @tj.jit
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        calls.append(count)
        return x * 2

    for _ in range(3):
        f(X)
    assert calls == [1]


# --- methods ------------------------------------------------------------------------------------------------


class Model:
    def __init__(self) -> None:
        self.w = np.ones(3)
        self.rate = 2.0
        self.parts = {"b": np.zeros(3)}

    @tj.grad_jit
    def loss(self, x: Any) -> Any:
        return ((x * self.w * self.scale() + self.parts["b"]) ** 2).sum()

    def scale(self) -> float:
        return self.rate

    @tj.jit(static_argnames="n")
    def power(self, x: Any, n: int = 2) -> Any:
        return x**n * self.rate


def test_methods_can_be_decorated() -> None:
    model = Model()
    before = tj.cache_info().traces
    value, grads = model.loss(X)
    assert value == 12
    np.testing.assert_array_equal(grads, [8, 8, 8])
    model.w = model.w - 0.5
    assert model.loss(X)[0] == 3
    model.w *= 2
    model.parts["b"] = np.ones(3)
    assert model.loss(X)[0] == 27
    assert tj.cache_info().traces - before == 1
    model.rate = 0.0
    assert model.loss(X)[0] == 3
    assert tj.cache_info().traces - before == 2
    np.testing.assert_array_equal(model.power(2 * X, n=3), 0 * X)
    assert model.loss.value(X) == 3
    np.testing.assert_array_equal(model.loss.grad(X), 0 * X)


def test_instances_do_not_share_programs_and_are_not_kept_alive() -> None:
    one, two = Model(), Model()
    two.rate = 1.0
    assert (one.loss(X)[0], two.loss(X)[0]) == (12, 3)
    reference = weakref.ref(one)
    del one
    gc.collect()
    assert reference() is None


def test_instances_that_are_equal_or_cannot_be_hashed_are_still_two() -> None:
    class Same:
        def __init__(self, k: float) -> None:
            self.k = k

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Same)

        __hash__ = None  # type: ignore[assignment]

        @tj.jit
        def f(self, x: Any) -> Any:
            return x * self.k

    assert (Same(2.0).f(1.0), Same(3.0).f(1.0)) == (2, 3)


def test_slots_and_bound_methods_work() -> None:
    class Slotted:
        __slots__ = ("w",)

        def __init__(self) -> None:
            self.w = np.ones(3)

        @tj.jit
        def f(self, x: Any) -> Any:
            return (x * self.w).sum()

    model = Slotted()
    assert model.f(X) == 3
    model.w = 2 * X
    assert model.f(X) == 6

    plain = Model()
    before = tj.cache_info().traces
    for _ in range(3):
        tj.jit(plain.scale)()
        tj.grad(Model.loss.value)  # the function of the class itself
    assert tj.cache_info().traces - before == 3


def test_a_transformed_function_of_a_class_is_reached_through_the_class() -> None:
    assert isinstance(Model.loss, type(tj.jit(np.sin)))
