"""`out=` inside `@njit`: results go to arrays of the caller, whatever memory these share."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import tracejit as tj


@tj.grad_jit(argnums=(0, 1))
def affine(w: Any, b: Any, x: Any, y: Any) -> Any:
    return ((x @ w + b - y) ** 2).mean()


@tj.jit
def step(w: Any, g: Any) -> Any:
    return w - 0.1 * g + w[::-1]


@numba.njit
def gradients_into(w: Any, b: Any, x: Any, y: Any, out: Any) -> Any:
    return affine(w, b, x, y, out=(out, None))


@numba.njit
def step_into(w: Any, g: Any, out: Any) -> Any:
    return step(w, g, out=out)


def data(rng: np.random.Generator, n: int, k: int) -> tuple[Any, ...]:
    return rng.normal(size=k), 0.5, rng.normal(size=(n, k)), rng.normal(size=n)


def test_results_are_the_given_arrays(rng: np.random.Generator) -> None:
    arguments = data(rng, 9, 5)
    value, (dw, db) = affine(*arguments)
    out = np.empty(5)
    given_value, (given_dw, given_db) = gradients_into(*arguments, out)
    assert np.shares_memory(given_dw, out)
    np.testing.assert_array_equal(out, dw)
    assert (given_value, given_db) == (value, db)


def test_numbers_go_to_0d_arrays(rng: np.random.Generator) -> None:
    @numba.njit
    def inside(w: Any, b: Any, x: Any, y: Any, dw: Any, db: Any) -> Any:
        return affine.grad(w, b, x, y, out=(dw, db))

    arguments = data(rng, 9, 5)
    dw, db = np.empty(5), np.empty(())
    given = inside(*arguments, dw, db)
    expected = affine.grad(*arguments)
    assert np.shares_memory(given[1], db)
    np.testing.assert_array_equal(dw, expected[0])
    assert db == expected[1]


def test_out_may_be_an_input(rng: np.random.Generator) -> None:
    arguments = data(rng, 9, 5)
    expected = affine(*arguments)[1][0]
    gradients_into(*arguments, arguments[0])
    np.testing.assert_array_equal(arguments[0], expected)


@pytest.mark.parametrize("shift", [0, 1, 3, 8])
def test_out_may_overlap_an_input(shift: int, rng: np.random.Generator) -> None:
    memory = rng.normal(size=16)
    w, out, g = memory[:8], memory[shift : shift + 8], rng.normal(size=8)
    expected = step(w.copy(), g)
    step_into(w, g, out)
    np.testing.assert_array_equal(out, expected)


def test_out_may_overlap_a_reversed_input(rng: np.random.Generator) -> None:
    w, g = rng.normal(size=8), rng.normal(size=8)
    expected = step(w[::-1].copy(), g)
    step_into(w[::-1], g, w)
    np.testing.assert_array_equal(w, expected)


def test_out_may_be_a_captured_array(rng: np.random.Generator) -> None:
    state = rng.normal(size=6)

    @tj.jit
    def mix(x: Any) -> Any:
        return state[::-1] + x

    @numba.njit
    def inside(x: Any, out: Any) -> Any:
        return mix(x, out=out)

    expected = state[::-1] + 1.5
    inside(1.5, state)
    np.testing.assert_array_equal(state, expected)


def test_products_that_python_runs_write_to_out(rng: np.random.Generator) -> None:
    @tj.jit
    def product(a: Any, b: Any) -> Any:
        return a @ b

    @numba.njit
    def inside(a: Any, b: Any) -> Any:
        return product(a, b, out=a)

    a, b = rng.normal(size=(40, 40)), rng.normal(size=(40, 40))
    expected = product(a, b)
    inside(a, b)
    np.testing.assert_array_equal(a, expected)


def test_the_gradient_alone_and_auxiliary_results(rng: np.random.Generator) -> None:
    @tj.grad_jit(has_aux=True)
    def loss(w: Any) -> Any:
        return (w**2).sum(), w + 1

    @numba.njit
    def inside(w: Any, one: Any, two: Any) -> Any:
        return loss(w, out=one), loss.grad(w, out=two)

    w, one, two = rng.normal(size=4), np.empty(4), np.empty(4)
    inside(w, one, two)
    np.testing.assert_array_equal(one, 2 * w)
    np.testing.assert_array_equal(two, 2 * w)


def test_another_shape_is_an_error_and_nothing_is_written(rng: np.random.Generator) -> None:
    out = np.zeros(6)
    with pytest.raises(tj.ArgumentError) as caught:
        gradients_into(*data(rng, 9, 5), out)
    assert str(caught.value) == (
        "affine: out has an array f64[6], where the result is f64[5]\n"
        "  hint: give an array of that type: np.empty((5,), np.float64)"
    )
    assert not out.any()


def test_arrays_of_out_must_not_share_memory(rng: np.random.Generator) -> None:
    @tj.jit
    def two(x: Any) -> Any:
        return x + 1, x + 2

    @numba.njit
    def inside(x: Any, a: Any, b: Any) -> Any:
        return two(x, out=(a, b))

    memory = np.empty(10)
    with pytest.raises(tj.ArgumentError) as caught:
        inside(np.ones(5), memory[:5], memory[4:9])
    assert str(caught.value) == "two: two arrays of out share memory\n  hint: give each its own"
    inside(np.ones(5), memory[:5], memory[5:])
    np.testing.assert_array_equal(memory, [2] * 5 + [3] * 5)


def readonly(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros(5, "f4"), "out[0] is a 1-d array of float32, where the result is a 1-d array of float64"),
        (np.zeros((5, 1)), "out[0] is a 2-d array of float64, where the result is a 1-d array of float64"),
        (np.zeros(10)[::2], "out[0] is an array that is not known to be C-contiguous"),
        (readonly(np.zeros(5)), "out[0] is an array that cannot be written to"),
        (1.0, "out[0] is float64, where the result is an array"),
    ],
    ids=["dtype", "axes", "strided", "readonly", "number"],
)
def test_arrays_that_cannot_take_the_result(out: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(TypingError) as caught:
        gradients_into(*data(rng, 9, 5), out)
    assert f"affine: {message}" in str(caught.value)


def test_a_parameter_that_is_called_out_is_an_argument() -> None:
    @tj.jit
    def scaled(x: Any, out: Any) -> Any:
        return x * out

    @numba.njit
    def inside(x: Any) -> Any:
        return scaled(x, out=3.0)

    assert inside(np.ones(2)).tolist() == [3.0, 3.0]


def test_donated_arguments_keep_their_content_inside(rng: np.random.Generator) -> None:
    shifted = tj.jit(lambda x: x + 1, donate="x")

    @numba.njit
    def inside(x: Any) -> Any:
        return shifted(x)

    x = rng.normal(size=7)
    before = x.copy()
    np.testing.assert_array_equal(inside(x), before + 1)
    np.testing.assert_array_equal(x, before)
