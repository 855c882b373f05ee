"""`donate=`: results in the memory of arguments, wherever the program shows that nothing is read too late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.served import needs_native, served
from tracejit.errors import ArgumentError

X = np.array([0.5, -1.0, 2.0, 3.0, -0.25])
M = np.arange(35.0).reshape(5, 7) / 10


TARGETS = pytest.mark.parametrize("target", ["cpu", "cuda-emu"])


def donates(f: Callable[..., Any], *args: Any, target: str = "cpu", repeat: int = 4) -> bool:
    """Is the first argument's memory used at every call? Results are checked against those without."""
    expected = tj.jit(f, target=target)(*args)
    g = tj.jit(f, donate=0, target=target)
    used: list[bool] = []
    for _ in range(repeat):
        first = args[0].copy(order="K")
        result = g(first, *args[1:])
        np.testing.assert_array_equal(result, expected)
        used.append(result is first)
        assert np.shares_memory(result, first) == (result is first)
    assert len(set(used)) == 1
    return used[0]


IN_PLACE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (lambda x: np.tanh(x) * 2 + x, (X,)),
    "two dimensions": (lambda x: np.exp(x) - x, (M,)),
    "with another array": (lambda x, y: x * y + y, (X, X + 1)),
    "with a row": (lambda x, y: x - y, (M, M[0].copy())),
    "float32": (lambda x: x * x, (X.astype("f4"),)),
    "integers": (lambda x: x + 1, (np.arange(9),)),
    "an argument that is not read": (lambda x, y: y * 2, (X, X + 1)),
    "a large array": (lambda x: np.sin(x) + x * x, (np.linspace(0, 9, 10_007),)),
    "0-d": (lambda x: np.stack([x, x])[0] * 2, (np.array(3.0),)),
}

FRESH: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "reversed": (lambda x: x[::-1] * 2, (X,)),
    "shifted": (lambda x: np.concatenate([x[1:], x[:1]]), (X,)),
    "a running sum": (lambda x: np.cumsum(x) + x[::-1], (X,)),
    "a sum first": (lambda x: x / x.sum(), (X,)),
    "a softmax": (lambda x: np.exp(x - x.max(axis=1, keepdims=True)), (M,)),
    "both halves": (lambda x: np.where(x > 0, x, x[::-1]), (X,)),
    "transposed": (lambda x: x.T + x, (np.arange(16.0).reshape(4, 4),)),
    "an index": (lambda x, i: x[i], (X, np.array([4, 3, 2, 1, 0]))),
    "another dtype": (lambda x: x > 0, (X,)),
    "another shape": (lambda x: x[:3] * 2, (X,)),
    "a product": (lambda x, y: x @ y, (np.ones((20, 20)), np.ones((20, 20)))),
}


@TARGETS
@pytest.mark.parametrize("name", IN_PLACE)
def test_memory_is_used_where_each_element_is_read_before_it_is_written(name: str, target: str) -> None:
    f, args = IN_PLACE[name]
    if name == "0-d":
        assert donates(f, *args, target=target) in (True, False)
    else:
        assert donates(f, *args, target=target)


@TARGETS
@pytest.mark.parametrize("name", FRESH)
def test_results_are_fresh_and_right_where_elements_are_read_later(name: str, target: str) -> None:
    f, args = FRESH[name]
    donates(f, *args, target=target)


@pytest.mark.parametrize(
    "name", ["reversed", "shifted", "both halves", "transposed", "an index", "another dtype"]
)
def test_arguments_stay_as_they_are_where_their_memory_is_not_used(name: str) -> None:
    f, args = FRESH[name]
    g = tj.jit(f, donate=0)
    for _ in range(3):
        first = args[0].copy()
        assert g(first, *args[1:]) is not first
        np.testing.assert_array_equal(first, args[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(10)[::2],
        lambda: np.asfortranarray(M),
        lambda: np.frombuffer(X.tobytes()),
        lambda: 3.0,
    ],
    ids=["strided", "Fortran order", "read-only", "a number"],
)
@TARGETS
def test_arguments_that_cannot_be_written_over_are_left_alone(make: Callable[[], Any], target: str) -> None:
    f = tj.jit(lambda x: x * 2 + 1, donate="x", target=target)
    for _ in range(4):
        x = make()
        before = np.array(x)
        np.testing.assert_array_equal(f(x), before * 2 + 1)
        np.testing.assert_array_equal(x, before)


def test_read_only_and_writeable_arrays_take_turns() -> None:
    f = tj.jit(lambda x: x * 2, donate=0)
    for _ in range(4):
        x, frozen = X.copy(), X.copy()
        frozen.flags.writeable = False
        assert f(x) is x
        assert f(frozen) is not frozen
        np.testing.assert_array_equal(frozen, X)


@TARGETS
def test_memory_that_another_argument_shows_is_left_alone(target: str) -> None:
    f = tj.jit(lambda x, y: x * 2 + y[::-1], donate=0, target=target)
    for _ in range(2):
        x = X.copy()
        assert f(x, X) is x
    for _ in range(4):
        x = X.copy()
        result = f(x, x)
        assert result is not x
        np.testing.assert_array_equal(result, X * 2 + X[::-1])
        np.testing.assert_array_equal(x, X)
        memory = np.concatenate([X, [0.0]])
        np.testing.assert_array_equal(f(memory[:5], memory[1:]), X * 2 + memory[1:][::-1])
        np.testing.assert_array_equal(memory[:5], X)


@TARGETS
def test_memory_of_a_captured_array_is_left_alone(target: str) -> None:
    weights = X.copy()
    f = tj.jit(lambda x: x * weights[::-1], donate=0, target=target)
    for _ in range(3):
        x = X.copy()
        assert f(x) is x
    for _ in range(3):
        np.testing.assert_array_equal(f(weights), X * X[::-1])
        np.testing.assert_array_equal(weights, X)


def test_a_gradient_takes_the_place_of_its_parameter() -> None:
    f = tj.grad_jit(donate="w")(lambda w, x: (np.tanh(w) * x).sum())
    for _ in range(4):
        w = X.copy()
        value, grad = f(w, X + 1)
        assert grad is w
        np.testing.assert_allclose(value, (np.tanh(X) * (X + 1)).sum())
        np.testing.assert_allclose(grad, (1 - np.tanh(X) ** 2) * (X + 1))


@TARGETS
def test_nested_parameters_are_donated_leaf_by_leaf(target: str) -> None:
    f = tj.grad(lambda p, x: (p["a"] * p["a"] * x).sum() + (p["b"][0] ** 3).sum(), donate=0, target=target)
    for _ in range(4):
        params = {"a": X.copy(), "b": [M.copy()]}
        grads = f(params, X)
        assert grads["a"] is params["a"]
        assert grads["b"][0] is params["b"][0]
        np.testing.assert_allclose(grads["a"], 2 * X * X)
        np.testing.assert_allclose(grads["b"][0], 3 * M**2)


def test_a_step_of_descent_needs_no_new_memory() -> None:
    step = tj.jit(lambda w, g, rate: w - rate * g, donate="w")
    w = X.copy()
    kept = w
    for _ in range(5):
        w = step(w, X, 0.1)
        assert w is kept
    np.testing.assert_allclose(w, X * 0.5)


def test_later_steps_write_over_what_no_step_reads_any_more() -> None:
    f = tj.jit(lambda x, y: np.tanh((x @ y) * 0.1), donate="x")
    x, y = np.ones((40, 40)), np.eye(40)
    for _ in range(4):
        given = x.copy()
        result = f(given, y)
        np.testing.assert_allclose(result, np.tanh(x * 0.1))


@needs_native
def test_machine_code_serves_calls_that_donate() -> None:
    f = tj.jit(lambda x: x * 2, donate=0)
    for _ in range(3):
        f(X.copy())
    x = X.copy()
    result, is_native = served(f, x)
    assert is_native
    assert result is x
    np.testing.assert_array_equal(x, X * 2)


@TARGETS
def test_out_has_precedence(target: str) -> None:
    f = tj.jit(lambda x: x * 2, donate=0, target=target)
    for step in (1, 1, 2, 1):
        x, out = X.copy(), np.empty(5 * step)[::step]
        assert f(x, out=out) is out
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(out, X * 2)


def test_inside_a_trace_nothing_is_donated() -> None:
    inner = tj.jit(lambda x: x * 2, donate=0)
    x = X.copy()
    np.testing.assert_array_equal(tj.jit(lambda x: inner(x) + x)(x), X * 3)
    np.testing.assert_array_equal(x, X)


def test_names_and_positions_that_are_no_parameters_are_refused() -> None:
    for donate in ("z", 2, -1):
        with pytest.raises(ArgumentError, match=r"donate has .*, which is not a parameter"):
            tj.jit(lambda x, y: x + y, donate=donate)
    with pytest.raises(ArgumentError, match="donate has 'n', which is a static argument"):
        tj.jit(lambda x, n: x * n, donate="n", static_argnames="n")


def test_keyword_only_parameters_can_be_donated() -> None:
    def f(x: Any, *, w: Any) -> Any:
        return x * w

    g = tj.jit(f, donate=("w",))
    for _ in range(4):
        w = X.copy()
        assert g(X, w=w) is w
        np.testing.assert_array_equal(w, X * X)


@TARGETS
def test_arrays_with_swapped_bytes_are_left_alone(target: str) -> None:
    x = X.astype(X.dtype.newbyteorder())
    f = tj.jit(lambda x: x * 2, donate=0, target=target)
    for _ in range(4):
        result = f(x)
        np.testing.assert_array_equal(result, X * 2)
        assert result.dtype == X.dtype
        np.testing.assert_array_equal(x, X)
