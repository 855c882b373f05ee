"""Errors inside `@njit`: typing errors of Numba at compile time, those of an ordinary call at run time."""

from __future__ import annotations

import warnings
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import tracejit as tj


@tj.grad_jit
def loss(w: Any, x: Any) -> Any:
    return ((x @ w) ** 2).sum()


@numba.njit
def call_loss(w: Any, x: Any) -> Any:
    return loss(w, x)


@tj.jit
def pick(x: Any, index: Any) -> Any:
    return x[index] * 2


@numba.njit
def call_pick(x: Any, index: Any) -> Any:
    return pick(x, index)


def test_sizes_that_do_not_fit_raise_what_an_ordinary_call_raises() -> None:
    w, x = np.ones(4), np.ones((3, 5))
    with pytest.raises(tj.ShapeError) as outside:
        loss(w, x)
    with pytest.raises(tj.ShapeError) as inside:
        call_loss(w, x)
    assert str(inside.value) == str(outside.value)
    assert "test_errors.py" in str(inside.value)
    assert call_loss(np.ones(5), x)[0] == loss(np.ones(5), x)[0]


def test_an_index_out_of_range_is_raised_after_the_call() -> None:
    x, index = np.arange(10.0), np.array([1, 12])
    with pytest.raises(tj.IndexOutOfBoundsError) as outside:
        pick(x, index)
    for _ in range(3):
        with pytest.raises(tj.IndexOutOfBoundsError) as inside:
            call_pick(x, index)
        assert str(inside.value) == str(outside.value)
    np.testing.assert_array_equal(call_pick(x, np.array([1, -1])), [2.0, 18.0])


def test_an_error_of_the_users_own_passes_through() -> None:
    @tj.jit
    def picky(x: Any) -> Any:
        if x.shape[0] > 100:
            raise LookupError("too long")
        return x + 1

    @numba.njit
    def inside(x: Any) -> Any:
        return picky(x)

    assert inside(np.zeros(3)).tolist() == [1, 1, 1]
    with pytest.raises(LookupError, match="too long"):
        inside(np.zeros(101))


def test_what_no_trace_can_do_is_a_typing_error_with_the_users_line() -> None:
    @tj.grad_jit
    def branching(w: Any) -> Any:
        return w.sum() if w[0] > 0 else -w.sum()

    @numba.njit
    def inside(w: Any) -> Any:
        return branching(w)

    with pytest.raises(TypingError) as caught:
        inside(np.ones(3))
    assert "in branching, test_errors.py" in str(caught.value)
    assert "np.where" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (np.ones(3, complex), "argument w has dtype complex128, which is not supported"),
        ("text", "argument w is a unicode_type, which a call inside @njit cannot take"),
        (numba.typed.List([1.0]), "pass a tuple of arrays"),
        (np.array(["2020"], "M8[Y]"), "argument w has dtype datetime64[Y], which is not supported"),
        (np.ones(3, int), "only float arguments have gradients"),
    ],
    ids=["complex", "text", "list", "date", "integer"],
)
def test_arguments_that_no_call_can_take(argument: Any, message: str) -> None:
    with pytest.raises(TypingError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba's own, about what it does not like of the argument
        call_loss(argument, np.ones((3, 3)))
    assert message in str(caught.value)


def test_results_that_compiled_code_cannot_hold() -> None:
    @tj.jit
    def as_dict(x: Any) -> Any:
        return {"double": 2 * x}

    @numba.njit
    def inside(x: Any) -> Any:
        return as_dict(x)

    with pytest.raises(TypingError) as caught:
        inside(np.ones(3))
    assert "as_dict gives a dict, which compiled code cannot hold" in str(caught.value)
    assert "tuples of them" in str(caught.value)


def test_a_result_that_changes_its_type_with_sizes_is_refused() -> None:
    @tj.jit
    def fickle(x: Any) -> Any:
        return x if x.shape[0] < 50 else x.sum()

    @numba.njit
    def inside(x: Any) -> Any:
        return fickle(x)

    assert inside(np.ones(3)).tolist() == [1, 1, 1]
    with pytest.raises(tj.ArgumentError) as caught:
        inside(np.ones(50))
    expected = "fickle: for these sizes it gives a float64 number, but its caller was compiled for "
    assert str(caught.value).startswith(expected + "a 1-d array of float64")


def test_random_numbers_drawn_while_tracing_are_refused(rng: np.random.Generator) -> None:
    @tj.jit
    def noisy(x: Any) -> Any:
        return x + rng.normal()

    @numba.njit
    def inside(x: Any) -> Any:
        return noisy(x)

    with pytest.raises(tj.UnsupportedError) as caught:
        inside(np.ones(3))
    assert str(caught.value) == (
        "noisy: it draws random numbers while it is traced, and compiled code runs a trace many times\n"
        "  hint: draw the numbers outside, and pass them as an argument"
    )


def test_a_wrong_number_of_arguments_is_a_typing_error() -> None:
    @numba.njit
    def inside(w: Any) -> Any:
        return loss(w)

    with pytest.raises(TypingError, match="missing 1 required positional argument: 'x'"):
        inside(np.ones(3))


def test_a_static_argument_must_be_known() -> None:
    @tj.jit(static_argnames="n")
    def power(x: Any, n: Any) -> Any:
        return x**n

    @numba.njit
    def inside(x: Any) -> Any:
        return power(x, len(x))

    with pytest.raises(TypingError, match="Cannot request literal type"):
        inside(np.ones(3))


@pytest.mark.parametrize("backwards", [False, True])
def test_an_error_in_a_parallel_loop_reaches_the_caller(backwards: bool) -> None:
    @numba.njit(parallel=True)
    def inside(x: Any, index: Any) -> Any:
        result = np.zeros(len(index))
        for k in numba.prange(len(index)):
            result[k] = pick(x, index[k : k + 1])[0]
        return result

    x, index = np.arange(10.0), np.arange(20)
    if backwards:
        index = index[::-1].copy()
    for _ in range(3):
        with pytest.raises(tj.IndexOutOfBoundsError, match="outside an axis of size 10"):
            inside(x, index)
    np.testing.assert_array_equal(inside(x, np.arange(10)), 2 * x)


@tj.jit
def factor(a: Any) -> Any:
    return np.linalg.cholesky(a)


@numba.njit
def call_factor(a: Any) -> Any:
    return factor(a)


def test_a_matrix_without_a_factor_is_raised_with_the_line_of_the_function() -> None:
    good, bad = np.eye(3), -np.eye(3)
    with pytest.raises(tj.LinAlgError) as outside:
        factor(bad)
    for _ in range(3):
        with pytest.raises(tj.LinAlgError) as inside:
            call_factor(bad)
        assert str(inside.value) == str(outside.value)
    np.testing.assert_array_equal(call_factor(4 * good), 2 * good)
