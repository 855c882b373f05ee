"""`out=`: results in the caller's memory, of any layout, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, UnsupportedError
from tracejit.runtime.calls import entry

X = np.array([0.5, -1.0, 2.0])
W = np.arange(12.0).reshape(3, 4)


def loss(w: Any, x: Any) -> Any:
    return (np.tanh(w) * x[:, None]).sum()


EXPECTED_VALUE, EXPECTED = tj.grad_jit(loss)(W, X)

LAYOUTS: dict[str, Callable[[], Any]] = {
    "contiguous": lambda: np.empty((3, 4)),
    "strided": lambda: np.empty((6, 8))[::2, ::2],
    "reversed": lambda: np.empty((3, 4))[::-1, ::-1],
    "Fortran": lambda: np.empty((3, 4), order="F"),
    "unaligned": lambda: np.zeros(97, np.uint8)[1:].view("f8").reshape(3, 4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_written_to_arrays_of_any_layout(layout: str) -> None:
    f = tj.grad_jit(loss)
    for _ in range(4):
        out = LAYOUTS[layout]()
        out[...] = np.nan
        value, grad = f(W, X, out=out)
        assert grad is out
        assert value == EXPECTED_VALUE
        np.testing.assert_array_equal(out, EXPECTED)


@pytest.mark.skipif(not entry.HAS_NATIVE_CALLS, reason="objects are laid out in another way")
def test_machine_code_writes_to_contiguous_arrays() -> None:
    f = tj.grad_jit(argnums=(0, 1))(loss)
    out = (np.empty((3, 4)), np.empty(3))
    for _ in range(3):
        f(W, X, out=out)
    hits = entry.NATIVE_HITS.value
    for array in out:
        array[...] = np.nan
    _, grads = f(W, X, out=out)
    assert entry.NATIVE_HITS.value == hits + 1
    assert all(a is b for a, b in zip(grads, out))
    np.testing.assert_array_equal(out[0], EXPECTED)
    assert f(W, X)[1][0] is not out[0]


@pytest.mark.parametrize("transform", [tj.grad, tj.value_and_grad, tj.grad_jit], ids=lambda t: t.__name__)
def test_every_gradient_takes_out(transform: Any) -> None:
    out = np.empty((3, 4))
    f = transform(loss)
    for _ in range(3):
        result = f(W, X, out=out)
        assert (result if transform is tj.grad else result[1]) is out
        np.testing.assert_array_equal(out, EXPECTED)


def test_jit_writes_all_its_results() -> None:
    f = tj.jit(lambda x: {"twice": 2 * x, "sum": x.sum(), "rest": [x > 0, None]})
    out = {"twice": np.empty(3), "sum": np.empty(()), "rest": [np.empty(3, bool), None]}
    for _ in range(3):
        result = f(X, out=out)
        assert result["twice"] is out["twice"]
        assert result["sum"] is out["sum"]
        assert result["sum"] == 1.5
        assert result["rest"][0] is out["rest"][0]
        np.testing.assert_array_equal(result["twice"], 2 * X)


def test_auxiliary_results_are_fresh() -> None:
    f = tj.grad_jit(has_aux=True)(lambda x: ((x * x).sum(), x + 1))
    out = np.empty(3)
    for _ in range(3):
        (value, aux), grad = f(X, out=out)
        assert grad is out
        assert value == (X * X).sum()
        np.testing.assert_array_equal(aux, X + 1)


def test_nested_parameters_have_nested_outs() -> None:
    f = tj.grad_jit(lambda p: (p["w"] * p["b"][0]).sum())
    params = {"w": X, "b": (2.0 * X,)}
    out = {"b": (np.empty(3),), "w": np.empty(3)}
    for _ in range(3):
        _, grads = f(params, out=out)
        assert grads["w"] is out["w"]
        assert grads["b"][0] is out["b"][0]
        np.testing.assert_array_equal(out["w"], 2 * X)
        np.testing.assert_array_equal(out["b"][0], X)


@pytest.mark.parametrize(
    ("x", "out"),
    [
        (np.float32([1, 2]), np.empty(2, "f4")),
        (np.array(3.0), np.empty(())),
        (np.float64(3.0), np.empty(())),
        (3.0, np.empty(())),
        (np.empty((0, 2)), np.empty((0, 2))),
    ],
    ids=["float32", "0-d", "NumPy scalar", "Python number", "empty"],
)
def test_other_dtypes_and_ranks(x: Any, out: Any) -> None:
    f = tj.grad(lambda x: (x * x).sum() if np.ndim(x) else x * x)
    for _ in range(3):
        assert f(x, out=out) is out
        np.testing.assert_array_equal(out, 2 * x)


def test_none_means_fresh_arrays() -> None:
    f = tj.grad(loss)
    for _ in range(3):
        np.testing.assert_array_equal(f(W, X, out=None), EXPECTED)
    out = np.empty((3, 4))
    assert f(W, X, out=out) is out


def test_out_may_be_reused_and_read_back_between_calls() -> None:
    f = tj.grad(lambda x: (x * x).sum())
    x, out = X.copy(), np.empty(3)
    for _ in range(5):
        x -= 0.25 * f(x, out=out)
    np.testing.assert_allclose(x, X / 32)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ArgumentError) as raised:
        call()
    return str(raised.value)


def test_a_wrong_shape_dtype_or_kind_is_refused_with_the_users_line() -> None:
    f = tj.grad(loss)
    text = refused(lambda: f(W, X, out=np.empty((4, 3))))
    assert text.splitlines()[0] == "loss: out is float64[4, 3], but the gradient there is float64[3, 4]"
    assert "test_api_out.py" in text.splitlines()[1]
    assert text.splitlines()[2] == "  hint: give an array of that type: np.empty((3, 4), np.float64)"
    assert "out is float32[3, 4]" in refused(lambda: f(W, X, out=np.empty((3, 4), "f4")))
    assert "out is >f8[3, 4]" in refused(lambda: f(W, X, out=np.empty((3, 4), ">f8")))
    assert "out is a float, which no gradient can be written to" in refused(lambda: f(W, X, out=1.0))


def test_a_wrong_nesting_is_refused() -> None:
    f = tj.grad(lambda p: p["a"].sum() + p["b"].sum())
    text = refused(lambda: f({"a": X, "b": X}, out={"a": np.empty(3)}))
    assert text.startswith(
        "<lambda>: out must be nested like the gradients, they differ at the top: dict of 2"
    )


def test_memory_that_cannot_be_written_to_is_refused() -> None:
    f = tj.grad(loss)
    frozen = np.empty((3, 4))
    frozen.flags.writeable = False
    assert "out is read-only" in refused(lambda: f(W, X, out=frozen))
    spread = np.lib.stride_tricks.as_strided(np.empty(4), (3, 4), (0, 8))
    assert "out has elements that share memory" in refused(lambda: f(W, X, out=spread))


def test_memory_that_is_still_read_is_refused_on_every_call() -> None:
    f = tj.grad(lambda x: (x * x).sum())
    x, other = X.copy(), np.empty(3)
    for _ in range(3):
        f(x, out=other)
    for _ in range(3):
        text = refused(lambda: f(x, out=x))
        assert text.splitlines()[0] == "<lambda>: out shares memory with an argument or a captured array"
    np.testing.assert_array_equal(x, X)
    memory = np.zeros(7)
    for _ in range(3):
        assert "shares memory" in refused(lambda: f(memory[:3], out=memory[2:5]))


def test_interleaved_memory_is_no_overlap() -> None:
    f = tj.grad(lambda x: (x * x).sum())
    memory = np.arange(6.0)
    for _ in range(3):
        memory[1::2] = 0
        f(memory[::2], out=memory[1::2])
        np.testing.assert_array_equal(memory, [0, 0, 2, 4, 4, 8])


def test_one_array_twice_is_refused_on_every_call() -> None:
    f = tj.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))
    out = np.empty(3)
    for _ in range(3):
        f(X, 2 * X, out=(np.empty(3), np.empty(3)))
    for _ in range(3):
        assert "out[1] shares memory with out[0]" in refused(lambda: f(X, 2 * X, out=(out, out)))


def test_memory_of_a_captured_array_is_refused() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    f = tj.grad(lambda x: (x * weights).sum())
    for _ in range(3):
        f(X, out=np.empty(3))
    for _ in range(3):
        assert "shares memory" in refused(lambda: f(X, out=weights))


def test_a_parameter_called_out_is_the_functions_own() -> None:
    f = tj.grad(lambda x, out: (x * out).sum())
    for _ in range(3):
        np.testing.assert_array_equal(f(X, out=2.0), np.full(3, 2.0))
    g = tj.grad(lambda x, **options: (x * options["out"]).sum())
    np.testing.assert_array_equal(g(X, out=2.0), np.full(3, 2.0))


def test_inside_a_trace_out_is_refused() -> None:
    inner = tj.grad(lambda x: (x * x).sum())
    out = np.empty(3)
    with pytest.raises(UnsupportedError, match="out= cannot be used while another function is traced"):
        tj.grad(lambda x: inner(x, out=out).sum())(X)


def test_methods_and_static_arguments_take_out() -> None:
    class Model:
        @tj.grad_jit(argnums=0, static_argnames="power")
        def loss(self, x: Any, power: int = 2) -> Any:
            return (x**power).sum()

    out, model = np.empty(3), Model()
    for _ in range(3):
        assert model.loss(X, power=3, out=out)[1] is out
        np.testing.assert_allclose(out, 3 * X**2)
