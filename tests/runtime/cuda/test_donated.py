"""`donate=` on a device: which arguments' memory results take, in first and in repeated calls."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.fakes import CupyArray, Driver, Tensor, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.test_arrays import JaxArray, NumbaArray

X = np.array([0.5, -1.0, 2.0, 3.0, -0.25])


def step(w: Any, g: Any, rate: Any) -> Any:
    return w - rate * g


def host(x: Any) -> Any:
    return x if isinstance(x, np.ndarray) else getattr(x, "array", x).host


@pytest.mark.parametrize("kind", [wrap, lambda x: Tensor(wrap(x))], ids=["CuPy", "torch"])
def test_a_step_of_descent_needs_no_new_memory(fake_device: Driver, kind: Callable[..., Any]) -> None:
    f = tj.jit(step, donate="w", target="cuda")
    w, g = kind(X), kind(X)
    kept = w
    for _ in range(5):
        w = f(w, g, 0.1)
        assert w is kept
    np.testing.assert_allclose(host(w), X * 0.5)
    np.testing.assert_array_equal(host(g), X)


def test_repeated_calls_that_donate_are_prepared_ones(fake_device: Driver) -> None:
    f = tj.grad_jit(lambda w, x: (np.tanh(w) * x).sum(), donate="w", target="cuda")
    for _ in range(3):
        w = wrap(X)
        assert f(w, wrap(X + 1))[1] is w
        np.testing.assert_allclose(w.host, (1 - np.tanh(X) ** 2) * (X + 1))
    (prepared,) = f._programs.prepared.values()
    assert prepared.run is not None


def test_memory_that_is_seen_elsewhere_too_is_left_alone(fake_device: Driver) -> None:
    weights = np.arange(5.0)
    f = tj.jit(lambda x, y: x * 2 + y[::-1] + weights, donate="x", target="cuda")
    for _ in range(3):
        x, memory = wrap(X), wrap(np.concatenate([X, [0.0]]))
        assert f(x, wrap(X)) is x
        x = wrap(X)
        for first, second in ((x, x), (x, x[::-1]), (memory[:5], memory[1:]), (memory[1:], memory[:5])):
            before, other = first.host.copy(), second.host.copy()
            result = f(first, second)
            assert result is not first
            np.testing.assert_array_equal(result.host, before * 2 + other[::-1] + weights)
            np.testing.assert_array_equal(first.host, before)


def test_neighbours_in_one_piece_of_memory_are_written_over(fake_device: Driver) -> None:
    f = tj.jit(lambda x, y: x * 2 + y[::-1], donate="x", target="cuda")
    for _ in range(3):
        memory = wrap(np.concatenate([X, X]))
        first = memory[5:]
        assert f(first, memory[:5]) is first
        np.testing.assert_array_equal(memory.host, np.concatenate([X, X * 2 + X[::-1]]))


def packed() -> Any:
    pairs = wrap(np.zeros(5, np.dtype([("a", np.float32), ("x", np.float64)])))
    pairs.host["x"][:] = X
    return pairs._view(pairs.host["x"])


LEFT_ALONE: dict[str, Callable[[], Any]] = {
    "strided": lambda: wrap(np.repeat(X, 2))[::2],
    "strides of no whole elements": packed,
    "that autograd watches": lambda: Tensor(wrap(X), requires_grad=True),
    "of JAX": lambda: JaxArray(wrap(X)),
    "of NumPy": X.copy,
    "a number": lambda: 2.5,
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_arguments_that_cannot_be_written_over_are_left_alone(
    fake_device: Driver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jax.dlpack", types.SimpleNamespace(from_dlpack=JaxArray))
    f = tj.jit(lambda x: x * 2 + 1, donate="x", target="cuda")
    for _ in range(4):
        x = LEFT_ALONE[name]()
        if name == "a number":
            assert f(x) == 6.0
            continue
        result = f(x)
        assert result is not x
        np.testing.assert_array_equal(host(result), X * 2 + 1)
        np.testing.assert_array_equal(host(x), X)


def test_an_array_of_another_library_comes_back_itself(fake_device: Driver, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.cuda", types.SimpleNamespace(as_cuda_array=NumbaArray))
    f = tj.jit(lambda x: x * 2, donate="x", target="cuda")
    x = NumbaArray(wrap(X))
    assert f(x) is x
    np.testing.assert_array_equal(x.array.host, X * 2)
    x.__cuda_array_interface__["data"] = (x.__cuda_array_interface__["data"][0], True)
    assert f(x) is not x
    np.testing.assert_array_equal(x.array.host, X * 2)


def test_out_has_precedence(fake_device: Driver) -> None:
    f = tj.jit(lambda x: x * 2, donate="x", target="cuda")
    for gap in (1, 1, 2, 1):
        x, out = wrap(X), wrap(np.zeros(5 * gap))[::gap]
        assert f(x, out=out) is out
        np.testing.assert_array_equal(x.host, X)
        np.testing.assert_array_equal(out.host, X * 2)


def test_a_tensor_that_autograd_watches_is_no_place_for_results(fake_device: Driver) -> None:
    f = tj.jit(lambda x: x * 2, target="cuda")
    with pytest.raises(tj.ArgumentError, match="out is read-only"):
        f(Tensor(wrap(X)), out=Tensor(wrap(X), requires_grad=True))


def test_a_tensor_that_autograd_watches_is_an_argument_like_others(fake_device: Driver) -> None:
    found = tj.grad(lambda x: (x * x).sum(), target="cuda")(Tensor(wrap(X), requires_grad=True))
    assert type(found) is Tensor
    np.testing.assert_array_equal(host(found), X * 2)


def test_matrix_products_are_written_to_donated_memory(fake_device: Driver, rng) -> None:
    w, x = rng.normal(size=(40, 40)), rng.normal(size=(50, 40))
    f = tj.grad(lambda w, x: (np.tanh(x @ w)).sum(), donate="w", target="cuda")
    expected = tj.grad(lambda w, x: (np.tanh(x @ w)).sum())(w, x)
    for _ in range(3):
        given = wrap(w)
        assert f(given, wrap(x)) is given
        np.testing.assert_allclose(given.host, expected, rtol=1e-12)


def test_the_class_of_an_empty_array_is_kept(fake_device: Driver) -> None:
    f = tj.jit(lambda x: x * 2, donate="x", target="cuda")
    for _ in range(3):
        assert type(f(wrap(np.zeros(0)))) is CupyArray
