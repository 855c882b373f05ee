"""Arrays that a function makes while it is traced: what is no input, and what stays one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.frontend import argument_of, trace

X = np.arange(12.0).reshape(3, 4)
HELD = np.ones(4)

MADE: dict[str, Callable[[Any], Any]] = {
    "ones": lambda x: x * np.ones(4),
    "a number everywhere": lambda x: x + np.full((3, 1), 2.5),
    "zeros": lambda x: x + np.zeros((3, 4)),
    "nan": lambda x: np.where(x > 1, x, np.full(4, np.nan)),
    "integers": lambda x: x * np.full(4, 3),
    "one element": lambda x: x * np.array([2.0]),
    "an identity": lambda x: x + np.eye(3, 4),
    "a tall identity": lambda x: x.T + np.eye(4, 3),
    "above the diagonal": lambda x: x + np.eye(3, 4, k=2),
    "below the diagonal": lambda x: x + np.eye(3, 4, k=-1),
    "a diagonal": lambda x: x[:, :3] + np.diag(np.full(3, 2.0)),
}


def captured(f: Callable[[Any], Any]) -> int:
    return len(trace(f, [argument_of(X)], "f").captures)


@pytest.mark.parametrize("name", MADE)
def test_an_array_that_one_number_describes_is_no_input(name: str) -> None:
    f = MADE[name]
    assert captured(f) == 0
    result = tj.jit(f)(X)
    np.testing.assert_array_equal(result, f(X))
    assert result.dtype == f(X).dtype
    np.testing.assert_array_equal(tj.grad(lambda x: np.sum(f(x) * X.size))(X).shape, X.shape)


KEPT: list[Any] = []


def kept(x: Any) -> Any:
    KEPT[:] = [np.ones(4)]
    return x * KEPT[0]


def test_what_somebody_else_holds_stays_an_input() -> None:
    assert captured(lambda x: x * HELD) == 1
    assert captured(kept) == 1
    assert captured(lambda x: (x * (y := np.ones(4)), y)) == 1
    view = np.ones((2, 4))
    assert captured(lambda x: x * view[0]) == 1


def test_what_takes_more_than_one_number_stays_an_input() -> None:
    for f in (
        lambda x: x * np.arange(4.0),
        lambda x: x * np.diag(np.arange(1.0, 5.0))[:3],
        lambda x: x * -np.eye(3, 4),  # its zeros are negative
        lambda x: x * np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]),
        lambda x: x * np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
    ):
        assert captured(f) == 1
        np.testing.assert_array_equal(tj.jit(f)(X), f(X))


def test_an_array_that_was_computed_from_a_held_one_follows_it() -> None:
    data = np.zeros(4)
    f = tj.jit(lambda x: np.where(data > 1, x, -x))
    inner = tj.jit(lambda x: tj.grad(lambda y: np.sum(y * (data + 1)))(x))
    for content in ([0, 0, 0, 0], [2, 2, 2, 2], [0, 2, 0, 2]):
        data[:] = content
        for _ in range(2):
            np.testing.assert_array_equal(f(X), np.where(data > 1, X, -X))
            np.testing.assert_array_equal(inner(X), np.broadcast_to(data + 1, X.shape))


def test_a_held_array_is_still_read_at_each_call() -> None:
    scale = np.ones(4)
    f = tj.jit(lambda x: x * scale)
    np.testing.assert_array_equal(f(X), X)
    scale[:] = 2
    np.testing.assert_array_equal(f(X), 2 * X)
