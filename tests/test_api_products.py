"""`jvp` and `vjp`: products with the Jacobian, their structures, and the pullback as a value."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
X = np.array([0.5, -1.0, 2.0])


def model(p: Any, x: Any) -> Any:
    hidden = np.tanh(p["w"] @ x)
    return {"out": (hidden, hidden.sum()), "size": x.size}


PARAMS = {"w": A, "unused": 1.0}


def test_vjp_is_adjoint_to_jvp(rng: np.random.Generator) -> None:
    move = {"w": rng.standard_normal(A.shape), "unused": 0.5}
    dx = rng.standard_normal(3)
    value, tangent = tj.jvp(model, (PARAMS, X), (move, dx))
    assert tangent["size"] is None
    again, pullback = tj.vjp(model, PARAMS, X)
    np.testing.assert_array_equal(value["out"][0], again["out"][0])
    ct = {"out": (rng.standard_normal(2), rng.standard_normal()), "size": None}
    dp, cx = pullback(ct)
    forward = (ct["out"][0] * tangent["out"][0]).sum() + ct["out"][1] * tangent["out"][1]
    backward = (dp["w"] * move["w"]).sum() + dp["unused"] * move["unused"] + (cx * dx).sum()
    assert forward == pytest.approx(backward)


def test_jvp_is_the_directional_derivative() -> None:
    value, tangent = tj.jvp(np.sin, (X,), (np.ones(3),))
    np.testing.assert_allclose(value, np.sin(X))
    np.testing.assert_allclose(tangent, np.cos(X))
    assert tj.jvp(lambda x, y: x * y, [2.0, 3.0], [1, 0]) == (6, 3)


def test_a_pullback_can_be_called_again_and_keeps_the_primals() -> None:
    x = X.copy()
    _, pullback = tj.vjp(lambda x: x**2, x)
    x[:] = 0
    np.testing.assert_allclose(pullback(np.ones(3))[0], 2 * X)
    np.testing.assert_allclose(pullback(np.full(3, 2.0))[0], 4 * X)
    assert repr(pullback) == "<pullback of <lambda>>"


def test_the_forward_part_is_not_traced_again_by_another_call() -> None:
    def square(x: Any) -> Any:
        return x**2

    before = tj.cache_info().traces
    for k in range(5):
        _, pullback = tj.vjp(square, X + k)
        pullback(X)
        tj.jvp(square, (X,), (X * k,))
    assert tj.cache_info().traces - before == 2


def test_integer_arguments_have_no_cotangent_and_do_not_move() -> None:
    labels = np.array([0, 2])
    value, pullback = tj.vjp(lambda x, n: x[n], X, labels)
    np.testing.assert_array_equal(value, [0.5, 2.0])
    cx, cn = pullback(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(cx, [1, 0, 10])
    assert cn is None
    for tangent in (None, np.zeros(2, int)):
        _, moved = tj.jvp(lambda x, n: x[n], (X, labels), (X, tangent))
        np.testing.assert_array_equal(moved, value)


def test_auxiliary_results_are_given_back_as_they_are() -> None:
    def f(x: Any) -> Any:
        return x * 2, {"x": x, "sum": x.sum()}

    value, pullback, aux = tj.vjp(f, X, has_aux=True)
    np.testing.assert_array_equal(pullback(X)[0], 2 * X)
    np.testing.assert_array_equal(aux["x"], X)
    value, tangent, aux = tj.jvp(f, (X,), (X,), has_aux=True)
    np.testing.assert_array_equal(tangent, value)
    assert aux["sum"] == X.sum()


def test_cotangents_are_converted_to_the_dtype_of_the_value() -> None:
    value, pullback = tj.vjp(lambda x: x * 2, X.astype("f4"))
    assert value.dtype == "f4"
    (ct,) = pullback([1, 2, 3] * np.ones(3, int))
    assert ct.dtype == "f4"


def test_cotangents_have_the_kind_of_the_primals() -> None:
    _, pullback = tj.vjp(lambda a, b, c: a * b * c, 2.0, np.array(3.0), np.float32(4))
    assert [type(c) for c in pullback(1.0)] == [np.float64, np.ndarray, np.float32]


def test_a_pullback_works_inside_a_trace_even_if_it_was_made_outside() -> None:
    _, pullback = tj.vjp(np.sin, X)
    np.testing.assert_allclose(tj.jit(lambda ct: pullback(ct)[0])(X), X * np.cos(X))
    np.testing.assert_allclose(tj.grad(lambda ct: pullback(ct)[0].sum())(X), np.cos(X))


def test_the_jacobian_by_rows_and_columns_agree() -> None:
    def f(x: Any) -> Any:
        return np.stack([x[0] * x[1], np.exp(x[2]), x.sum()])

    _, pullback = tj.vjp(f, X)
    rows = np.stack([pullback(e)[0] for e in np.eye(3)])
    columns = np.stack([tj.jvp(f, (X,), (e,))[1] for e in np.eye(3)], axis=1)
    np.testing.assert_allclose(rows, columns)


def test_programs_of_a_function_go_with_it() -> None:
    def make() -> Any:
        data = np.ones(3)
        f = lambda x: (x * data).sum()  # noqa: E731
        tj.grad(f)(X)
        tj.vjp(f, X)
        return weakref.ref(data), weakref.ref(f)

    references = make()
    gc.collect()
    assert [r() for r in references] == [None, None]
