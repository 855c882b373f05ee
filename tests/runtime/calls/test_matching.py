"""Keywords, static arguments, and what a function captured: a plan serves only what it was made for."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.served import general, needs_native, same, served, warmed

X = np.array([0.5, -1.0, 2.0, 3.0, -0.25])

# --- keywords -----------------------------------------------------------------------------------------------


@needs_native
def test_keywords_defaults_and_static_arguments_are_served() -> None:
    @tj.grad_jit(static_argnames=("power", "mode"))
    def f(w: Any, x: Any, *, power: int = 2, mode: str = "sum", scale: Any = 1.0) -> Any:
        y = (w * x * scale) ** power
        return y.sum() if mode == "sum" else y.mean()

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((X, X), {}),
        ((X,), {"x": X}),
        ((), {"x": X + 1, "w": X}),
        ((X, X), {"power": 3}),
        ((X, X), {"mode": "mean", "power": 3}),
        ((X, X), {"scale": 2.0, "mode": "mean"}),
    ]
    for args, kwargs in calls:
        for _ in range(3):
            expected = general(f, *args, **kwargs)
            same(f(*args, **kwargs), expected)
        assert served(f, *args, **kwargs)[1], kwargs
    same(f(X, X, power=5), general(f, X, X, power=5))


@needs_native
def test_names_that_are_no_parameters_raise_as_before() -> None:
    f = warmed(tj.jit(lambda x, y: x + y), X, y=X)
    with pytest.raises(TypeError) as before:
        general(f, X, z=X)
    with pytest.raises(TypeError) as raised:
        f(X, z=X)
    assert str(raised.value) == str(before.value)
    np.testing.assert_array_equal(f(X, **{"".join(["y"]): X}), X + X)


# --- what the function captured -----------------------------------------------------------------------------

SCALE: Any = 2.0
TABLE: Any = {"k": 1.0}
WEIGHTS: Any = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


@needs_native
def test_globals_closures_and_containers_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    offset, items = 1.0, [1.0, 2.0]

    def f(x: Any) -> Any:
        return (x * SCALE + offset + TABLE["k"] + items[1]).sum()

    g = warmed(tj.grad_jit(f), X)
    assert served(g, X)[1]
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    same(g(X), tj.grad_jit(f)(X))
    offset = 4.0
    same(g(X), tj.grad_jit(f)(X))
    monkeypatch.setitem(TABLE, "k", 7.0)
    same(g(X), tj.grad_jit(f)(X))
    items[1] = -5.0
    same(g(X), tj.grad_jit(f)(X))
    items.append(0.0)
    same(g(X), tj.grad_jit(f)(X))


@needs_native
def test_captured_arrays_are_read_at_each_call_and_followed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return (x * WEIGHTS).sum()

    g = warmed(tj.grad_jit(f), X)
    result, is_native = served(g, X)
    assert is_native
    np.testing.assert_array_equal(result[1], WEIGHTS)
    WEIGHTS[0] = 10.0
    np.testing.assert_array_equal(g(X)[1], WEIGHTS)
    WEIGHTS[0] = 1.0
    other = WEIGHTS * 3
    monkeypatch.setattr(sys.modules[__name__], "WEIGHTS", other)
    for _ in range(3):
        np.testing.assert_array_equal(g(X)[1], other)
    assert served(g, X)[1]
    monkeypatch.setattr(sys.modules[__name__], "WEIGHTS", np.float64(2.0))
    np.testing.assert_array_equal(g(X)[1], np.full(5, 2.0))


@needs_native
def test_attributes_and_contents_are_watched_too() -> None:
    class Model:
        __slots__ = ("k", "mask")

        def __init__(self) -> None:
            self.k, self.mask = 2.0, np.array([1, 0, 1, 1, 0])

    model = Model()

    def f(x: Any) -> Any:
        return (x[model.mask == 1] * model.k).sum()

    g = warmed(tj.grad_jit(f), X)
    same(g(X), tj.grad_jit(f)(X))
    model.k = 3.0
    same(g(X), tj.grad_jit(f)(X))
    model.mask[1] = 1
    same(g(X), tj.grad_jit(f)(X))
    model.mask = np.array([0, 0, 0, 0, 1])
    same(g(X), tj.grad_jit(f)(X))


@needs_native
def test_methods_are_served_and_follow_their_instance() -> None:
    class Model:
        def __init__(self, k: float) -> None:
            self.k = k

        @tj.grad_jit
        def loss(self, x: Any) -> Any:
            return (self.k * x * x).sum()

    one, two = Model(1.0), Model(2.0)
    for model in (one, two, one, two, one, two):
        np.testing.assert_array_equal(model.loss(X)[1], 2 * model.k * X)
    assert served(one.loss, X)[1]
    one.k = 5.0
    np.testing.assert_array_equal(one.loss(X)[1], 10 * X)


@needs_native
def test_clear_forgets_the_plans() -> None:
    f = warmed(tj.jit(lambda x: x + 1), X)
    f.clear()
    traces = tj.cache_info().traces
    np.testing.assert_array_equal(f(X), X + 1)
    assert tj.cache_info().traces == traces + 1
