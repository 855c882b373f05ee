"""`grad`, `value_and_grad`, `grad_jit`, `jit`: derivatives against closed forms, nested in every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.array([0.5, -1.0, 2.0])


def cubes(x: Any) -> Any:
    return (x**3).sum()


def test_grad_jit_gives_value_and_gradients_and_each_alone() -> None:
    loss = tj.grad_jit(cubes)
    value, grads = loss(X)
    assert isinstance(value, np.float64)
    assert value == cubes(X)
    np.testing.assert_allclose(grads, 3 * X**2)
    assert loss.value(X) == value
    np.testing.assert_array_equal(loss.grad(X), grads)


def test_grad_jit_takes_options_as_a_decorator() -> None:
    @tj.grad_jit(argnums=(0, 1), has_aux=True, fuse=False, target="cpu", static_argnames="n")
    def loss(a: Any, b: Any, n: int) -> Any:
        return (a * b**n).sum(), {"sum": a + b}

    (value, aux), (da, db) = loss(X, 2.0, 3)
    assert value == (X * 8).sum()
    np.testing.assert_array_equal(aux["sum"], X + 2)
    np.testing.assert_array_equal(da, [8, 8, 8])
    assert db == (X * 12).sum()
    assert loss.value(X, 2.0, n=3)[0] == value
    assert loss.grad(X, 2.0, n=3)[0][1] == db


def test_the_decorated_function_keeps_its_name_and_documentation() -> None:
    @tj.grad_jit
    def loss(w: Any) -> Any:
        """Doc."""
        return w

    assert (loss.__name__, loss.__doc__, repr(loss)) == ("loss", "Doc.", "<grad_jit of loss>")


def test_grad_and_value_and_grad_follow_jax() -> None:
    assert tj.grad(lambda x, y: x * y**2, argnums=1)(2.0, 3.0) == 12
    assert tj.grad(lambda x, y: x * y**2, (0, 1))(2.0, 3.0) == (9, 12)
    assert tj.grad(lambda x, y: x * y**2, [1])(2.0, 3.0) == (12,)
    assert tj.grad(lambda x, y: x * y**2, -1)(2.0, 3.0) == 12
    assert tj.value_and_grad(lambda x: x**2)(3.0) == (9, 6)
    assert tj.grad(lambda x: (x**2, x + 1), has_aux=True)(3.0) == (6, 4)
    assert tj.value_and_grad(lambda x: (x**2, {"y": x}), has_aux=True)(3.0) == ((9, {"y": 3}), 6)


def test_gradients_have_the_kind_and_dtype_of_the_arguments() -> None:
    def f(a: Any, b: Any, c: Any, d: Any) -> Any:
        return a * b * c * d.sum()

    grads = tj.grad(f, (0, 1, 2, 3))(2.0, np.float32(3), np.array(4.0), np.ones((1, 2), "f4"))
    assert [type(g) for g in grads] == [np.float64, np.float32, np.ndarray, np.ndarray]
    assert [g.dtype for g in grads] == ["f8", "f4", "f8", "f4"]
    assert [g.shape for g in grads] == [(), (), (), (1, 2)]


def test_gradients_are_fresh_arrays() -> None:
    g = tj.grad(lambda x: (x * 2).sum())
    first, second = g(X), g(X)
    first[:] = 0
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(second, [2, 2, 2])


def test_an_argument_that_does_not_matter_has_gradient_zero() -> None:
    grads = tj.grad(lambda x, y: (y * 2).sum(), (0, 1))(X, X)
    np.testing.assert_array_equal(grads, [[0, 0, 0], [2, 2, 2]])
    assert tj.grad(lambda x: 3.5)(1.0) == 0


def test_numpy_functions_themselves_can_be_transformed() -> None:
    assert tj.grad(np.sin)(0.0) == 1
    assert tj.jit(np.add)(1, 2) == 3


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (lambda f: tj.grad(f), 3 * 2.0**2),
        (lambda f: tj.grad(tj.grad(f)), 6 * 2.0),
        (lambda f: tj.grad(tj.grad(tj.grad(f))), 6.0),
        (lambda f: tj.jit(tj.grad(f)), 12.0),
        (lambda f: tj.grad(tj.jit(f)), 12.0),
        (lambda f: tj.jit(tj.grad(tj.jit(tj.grad(tj.jit(f))))), 12.0),
        (lambda f: tj.grad(lambda x: tj.grad_jit(f)(x)[1]), 12.0),
        (lambda f: tj.grad(lambda x: tj.grad_jit(f)(x)[0]), 12.0),
        (lambda f: tj.grad(lambda x: tj.value_and_grad(f)(x)[1]), 12.0),
        (lambda f: lambda x: tj.jvp(f, (x,), (1.0,))[1], 12.0),
        (lambda f: lambda x: tj.jvp(tj.grad(f), (x,), (1.0,))[1], 12.0),
        (lambda f: tj.grad(lambda x: tj.jvp(f, (x,), (1.0,))[1]), 12.0),
        (lambda f: lambda x: tj.vjp(f, x)[1](1.0)[0], 12.0),
        (lambda f: tj.grad(lambda x: tj.vjp(f, x)[1](1.0)[0]), 12.0),
        (lambda f: lambda x: tj.vjp(tj.grad(f), x)[1](1.0)[0], 12.0),
        (lambda f: lambda x: tj.jvp(lambda y: tj.jvp(f, (y,), (1.0,))[1], (x,), (1.0,))[1], 12.0),
        (lambda f: lambda x: tj.jvp(lambda y: tj.vjp(f, y)[1](1.0)[0], (x,), (1.0,))[1], 12.0),
        (lambda f: tj.jit(lambda x: tj.vjp(f, x)[1](1.0)[0]), 12.0),
        (lambda f: tj.jit(lambda x: tj.jvp(f, (x,), (1.0,))[1]), 12.0),
    ],
)
def test_transformations_nest_in_any_order(transform: Callable[..., Any], expected: float) -> None:
    assert transform(lambda x: x**3)(2.0) == pytest.approx(expected, rel=1e-14)


def test_perturbations_are_not_confused() -> None:
    # Siskind and Pearlmutter's examples: the inner derivative must not see the outer variable move.
    assert tj.grad(lambda x: x * tj.grad(lambda y: x + y)(1.0))(1.0) == 1
    assert tj.grad(lambda x: x * tj.grad(lambda y: x * y)(2.0))(3.0) == 6
    assert tj.jvp(lambda x: x * tj.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1] == 1
    assert tj.grad(lambda x: tj.jvp(lambda y: x * y * y, (3.0,), (1.0,))[1])(5.0) == 6
    assert tj.grad(lambda x: tj.grad(lambda y: tj.grad(lambda z: x * y * z)(1.0))(1.0))(1.0) == 1


def test_inner_derivatives_see_outer_traced_values_and_captured_arrays() -> None:
    data = np.arange(3.0)

    def outer(x: Any) -> Any:
        inner = tj.grad(lambda y: (data * y * x**2).sum())
        return inner(X * x).sum()

    assert tj.grad(outer)(3.0) == pytest.approx(2 * 3.0 * data.sum())


def test_a_hessian_vector_product_is_the_jvp_of_a_gradient() -> None:
    def rosenbrock(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    v = np.array([1.0, -2.0, 0.5])
    value, product = tj.jvp(tj.grad(rosenbrock), (X,), (v,))
    step = 1e-5
    difference = (tj.grad(rosenbrock)(X + step * v) - tj.grad(rosenbrock)(X - step * v)) / (2 * step)
    np.testing.assert_allclose(product, difference, rtol=1e-6)
    np.testing.assert_allclose(value, tj.grad(rosenbrock)(X))


def test_gradients_inside_a_trace_keep_what_is_not_differentiated_concrete() -> None:
    def power(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * x
        return x

    assert tj.jit(lambda x: tj.grad(power)(x, 2))(3.0) == 4 * 27


def test_auxiliary_results_and_structures_pass_through_nested_gradients() -> None:
    def f(p: Any) -> Any:
        return (p["a"] * p["b"]).sum(), {"a": p["a"], "none": None}

    def outer(p: Any) -> Any:
        grads, aux = tj.grad(f, has_aux=True)(p)
        return (grads["a"] * aux["a"]).sum()

    grads = tj.grad(outer)({"a": X, "b": 2 * X})
    np.testing.assert_allclose(grads["a"], 2 * X)
    np.testing.assert_allclose(grads["b"], X)


def test_stop_gradient_makes_constants_of_any_order() -> None:
    def f(x: Any) -> Any:
        stopped = tj.stop_gradient({"x": x, "n": 2})
        return (x * stopped["x"] * stopped["n"]).sum()

    np.testing.assert_array_equal(tj.grad(f)(X), 2 * X)
    assert tj.grad(tj.grad(lambda x: x * tj.stop_gradient(x)))(3.0) == 0
    assert tj.jvp(lambda x: x * tj.stop_gradient(x), (3.0,), (1.0,)) == (9, 3)
    assert tj.stop_gradient(X) is X


def test_recursion_that_ends_works() -> None:
    @tj.jit
    def factorial(x: Any, n: int) -> Any:
        return x if n == 0 else x * n * factorial(x, n - 1)

    assert tj.jit(lambda x: factorial(x, 5))(1.0) == 120

    def fibonacci(x: Any, n: int) -> Any:
        return x if n < 2 else fibonacci(x, n - 1) + fibonacci(x, n - 2)

    assert tj.grad_jit(fibonacci, static_argnames="n")(1.0, 10) == (89, 89)


def test_a_function_that_raises_while_traced_leaves_no_trace_behind() -> None:
    fail = [True]

    @tj.grad_jit
    def loss(x: Any) -> Any:
        if fail[0]:
            raise KeyError("mine")
        return x * 2

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            loss(1.0)
    fail[0] = False
    assert loss(1.0) == (2, 2)
