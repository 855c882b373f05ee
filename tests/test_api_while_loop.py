"""`tj.while_loop`: elements stop by conditions of their own, and are differentiated through their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.error_rows import Row, text_of
from tracejit.pytree import flatten

SIZES = [0, 1, 8, 31, 33, 257]


def root(a: Any) -> Any:
    """Newton's method for the square root, and how many elements it was ended for."""
    first = (a, np.full_like(a, np.inf))
    (x, _), ended = tj.while_loop(
        lambda s: np.abs(s[0] - s[1]) > 1e-5 * s[0], lambda s: ((s[0] + a / s[0]) / 2, s[0]), first, 40
    )
    return x.sum(), ended.sum()


def collatz(n: Any) -> Any:
    def step(state: Any) -> Any:
        n, steps = state
        return np.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

    (_, steps), ended = tj.while_loop(lambda s: s[0] != 1, step, (n, np.zeros_like(n)), 120)
    return steps, ended


def collatz_in_python(n: int) -> int:
    steps = 0
    while n != 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    return steps


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("n", SIZES)
def test_elements_end_by_themselves_and_are_differentiated(
    n: int, dtype: str, target: str, rng: np.random.Generator
) -> None:
    a = rng.uniform(0.5, 50, n).astype(dtype)
    (value, ended), gradient = tj.value_and_grad(root, has_aux=True, target=target)(a)
    tolerance = 1e-8 if dtype == "f8" else 1e-4
    np.testing.assert_allclose(value, np.sqrt(a).sum(), rtol=tolerance)
    np.testing.assert_allclose(gradient, 0.5 / np.sqrt(a), rtol=tolerance)
    assert ended == n and gradient.dtype == a.dtype


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
def test_integers_count_the_steps_that_plain_loops_take(target: str) -> None:
    n = np.arange(1, 40)
    steps, ended = tj.jit(collatz, target=target)(n)
    np.testing.assert_array_equal(steps, list(map(collatz_in_python, n.tolist())))
    assert ended.all()


def test_outside_of_a_trace_it_is_the_same_loop() -> None:
    for got, want in zip(collatz(np.arange(1, 40)), tj.jit(collatz)(np.arange(1, 40)), strict=True):
        np.testing.assert_array_equal(got, want)
    a = np.array([2.0, 3.0])
    np.testing.assert_allclose(root(a), tj.jit(root)(a))


def test_it_is_one_kernel() -> None:
    text = str(tj.inspect(tj.jit(collatz))(np.arange(1, 40)))
    assert "120 steps of time" in text and "kernel_1" not in text


def test_too_few_steps_show() -> None:
    def halve(x: Any, most: int) -> Any:
        return tj.while_loop(lambda x: x > 1, lambda x: x / 2, x, most)

    x = np.array([0.5, 3.0, 100.0])
    state, ended = tj.jit(lambda x: halve(x, 3))(x)
    np.testing.assert_array_equal(state, [0.5, 0.75, 12.5])
    np.testing.assert_array_equal(ended, [True, True, False])
    for f in (lambda x: halve(x, 0), tj.jit(lambda x: halve(x, 0))):
        state, ended = f(x)
        np.testing.assert_array_equal(state, x)
        np.testing.assert_array_equal(ended, [True, False, False])


def test_a_step_without_a_value_behind_the_end_spoils_nothing() -> None:
    def loss(x: Any) -> Any:  # the logarithm of what the last step gives has no value
        return tj.while_loop(lambda x: x > 0, lambda x: np.log(x) - 1, x, 10)[0].sum()

    x = np.array([3.0, -2.0, 40.0, 0.5])
    gradient = tj.grad(loss)(x)
    assert np.isfinite(gradient).all() and gradient[1] == 1
    with np.errstate(invalid="ignore"):  # what is not used of a step that NumPy computes
        tj.check_grads(loss, (x,))


def test_one_condition_for_one_state_and_for_the_rows_of_another() -> None:
    def count(limit: Any) -> Any:
        (total, steps), ended = tj.while_loop(
            lambda s: s[0] < limit,
            lambda s: (s[0] + s[1], s[1] + 1),
            (np.zeros_like(limit), 1.0 + 0 * limit),
            50,
        )
        return total, steps, ended

    for got, want in zip(tj.jit(count)(np.float64(10.5)), (15.0, 6.0, True), strict=True):
        assert got == want

    def rows(x: Any) -> Any:
        return tj.while_loop(lambda x: np.abs(x[:, :1]) < 8, lambda x: x * 2, x, 50)

    x = np.array([[1.0, 3.0], [5.0, 1.0], [9.0, 1.0]])
    for f in (rows, tj.jit(rows)):
        state, ended = f(x)
        np.testing.assert_array_equal(state, [[8.0, 24.0], [10.0, 2.0], [9.0, 1.0]])
        assert ended.shape == (3, 1) and ended.all()


@pytest.mark.parametrize("most", [0, 1, 9])
def test_numbers_of_python_go_in_and_numbers_of_numpy_come_out(most: int) -> None:
    def run(x: Any) -> Any:
        return tj.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1] * x), (0, 1.0), most)

    x = np.float32(1.5)
    for got, want in zip(flatten(run(x))[0], flatten(tj.jit(run)(x))[0], strict=True):
        assert type(got) is type(want)
        assert got == want


# --- errors -------------------------------------------------------------------------------------------------

X = np.ones(4)


def run(cond: Callable[..., Any], body: Callable[..., Any], init: Any = X, most: Any = 3) -> Any:
    return tj.jit(lambda: tj.while_loop(cond, body, init, most))()


WHERE = (
    "  in <lambda>, test_api_while_loop.py:N:  return tj.jit(lambda: tj.while_loop(cond, body, init, most))()"
)

ROWS: dict[str, Row] = {
    "a number of steps": Row(
        tj.ArgumentError,
        lambda: run(lambda s: s > 0, lambda s: s, most=3.0),
        f"while_loop: max_steps must be an integer from 0 on, got 3.0\n{WHERE}",
    ),
    "a condition that is a number": Row(
        tj.DTypeError,
        lambda: run(lambda s: s, lambda s: s),
        f"while_loop: cond must return booleans, got f64[4]\n{WHERE}\n  hint: compare: lambda s: s > limit",
    ),
    "two conditions": Row(
        tj.ArgumentError,
        lambda: run(lambda s: (s > 0, s > 1), lambda s: s),
        f"while_loop: cond must return one array of booleans, not a tuple\n{WHERE}",
    ),
    "more conditions than elements": Row(
        tj.ShapeError,
        lambda: run(lambda s: s[0] > 0, lambda s: s, (X, 1.0)),
        f"while_loop: cond gives bool[4], which is more than the state[1] has, f64\n{WHERE}\n"
        "  hint: let each array of the state have an element for every condition: np.zeros_like(x)",
    ),
    "another nesting": Row(
        tj.ArgumentError,
        lambda: run(lambda s: s[0] > 0, lambda s: (s[0],), (X, X)),
        "while_loop: the state changes its nesting, at the top: tuple of 2 against tuple of 1\n" + WHERE,
    ),
    "another dtype": Row(
        tj.DTypeError,
        lambda: run(lambda s: s > 0, lambda s: s.astype("f4")),
        f"while_loop: the state goes into a step as f64[4] and comes out as f32[4]\n{WHERE}\n"
        "  hint: start with that dtype, or convert what the step gives with .astype(...)",
    ),
    "another shape": Row(
        tj.ShapeError,
        lambda: run(lambda s: s > 0, lambda s: s[:2]),
        f"while_loop: the state goes into a step as f64[4] and comes out as f64[2]\n{WHERE}\n"
        "  hint: start with an array of the shape that the step gives",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_an_error_says_what_is_wrong_where_and_what_to_do(row: Row) -> None:
    assert text_of(row.call, row.kind) == row.expected
