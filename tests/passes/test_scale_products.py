"""Factors of matrix products: no pass of their own, the user's rounding as it is, nan and 0 as in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.ir import Graph, evaluate, format_graph
from tracejit.ops.reading import read_graph
from tracejit.passes import optimize
from tracejit.passes.scale_products import scale_products
from tracejit.runtime import blas

DTYPES = ("f4", "f8")


def arrays(*shapes: tuple[int, ...], dtype: str = "f8") -> list[Any]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def graph_of(f: Callable[..., Any], *args: Any) -> Graph:
    return record_call(f, args, {}).graph


def scales(graph: Graph) -> list[float]:
    found = [e for e in optimize(graph, verify_each=True).eqns if e.primitive.name == "dot_general"]
    return [e.params.get("scale", 1.0) for e in found]


def kernels(graph: Graph) -> int:
    program = run_stages(graph).executable.program
    return len(program.kernels)


EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "twice": lambda x, w: 2 * (x @ w),
    "half": lambda x, w: (x @ w) / 2,
    "a chain": lambda x, w: (x @ w) * 0.5 * 0.5,
}
ROUNDED: dict[str, Callable[[Any, Any], Any]] = {
    "a third": lambda x, w: (x @ w) / 3,
    "a factor": lambda x, w: 0.3 * (x @ w),
    "a negative product, whose zero has a sign": lambda x, w: -(x @ w),
    "0, which BLAS does not multiply by": lambda x, w: 0.0 * (x @ w),
    "nan": lambda x, w: np.nan * (x @ w),
    "infinity": lambda x, w: np.inf * (x @ w),
    "more than 4, which may be a size": lambda x, w: 8.0 * (x @ w),
    "a number of the call": lambda x, w: w[0, 0] * (x @ w),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_a_factor_of_the_users_is_taken_up_where_that_changes_no_bit(name: str, dtype: str) -> None:
    f = {**EXACT, **ROUNDED}[name]
    x, w = arrays((40, 30), (30, 20), dtype=dtype)
    x[0], w[:, 0] = 0, np.inf
    x[3, 4], w[7, 9] = np.nan, 0
    graph = graph_of(tj.jit(f), x, w)
    (scale,) = scales(graph)
    assert (scale != 1) == (name in EXACT)
    if blas.is_available():
        assert kernels(graph) == (name in ROUNDED)
    with np.errstate(all="ignore"):
        product = tj.jit(np.matmul)(x, w)
        expected = f(Product(product), w) if name != "a number of the call" else w[0, 0] * product
        result = tj.jit(f)(x, w)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result[0]), np.signbit(expected[0]))


class Product:
    """Stands for the left operand of a product that is known."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __matmul__(self, other: Any) -> Any:
        return self.value


def squares(w: Any, x: Any, y: Any) -> Any:
    return np.mean((x @ w - y) ** 2)


def weighted(w: Any, x: Any, y: Any) -> Any:
    return np.sum(-0.3 * (x @ w) * 5 * y)


def shared(w: Any, x: Any, y: Any) -> Any:
    return np.sum((x @ w) ** 2) / len(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [squares, weighted, shared])
def test_gradients_take_up_every_factor(loss: Any, dtype: str) -> None:
    w, x, y = arrays((30, 20), (40, 30), (40, 20), dtype=dtype)
    graph = graph_of(tj.grad_jit(loss, argnums=(0, 1)), w, x, y)
    eqns = optimize(graph).eqns
    products = [e for e in eqns if e.primitive.name == "dot_general"]
    assert all("scale" in e.params for e in products if e.source is not None and e.source.is_derivative)
    value, grads = tj.grad_jit(loss, argnums=(0, 1))(w, x, y)
    expected = evaluate(graph, [w, x, y])
    for a, b in zip((value, *grads), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=np.abs(b).max() * 20 * np.finfo(dtype).eps)


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_a_kernel_less_reads_the_operand_of_a_gradient() -> None:
    """`x.T @ (2 r / n)` needs no array of `2 r / n`: the residual itself is the operand."""
    w, x, y = arrays((30, 20), (400, 30), (400, 20))
    graph = graph_of(tj.grad(lambda w, r, x: np.sum(x @ w * r) / len(r)), w, y, x)
    assert kernels(graph) == 0
    np.testing.assert_allclose(
        tj.grad(lambda w, r, x: np.sum(x @ w * r) / len(r))(w, y, x), x.T @ y / 400, rtol=1e-12, atol=1e-14
    )


def test_a_product_that_others_read_keeps_its_value() -> None:
    x, w = arrays((40, 30), (30, 20))
    graph = graph_of(tj.jit(lambda x, w: (x @ w, 2 * (x @ w))), x, w)
    assert scales(graph) == [1.0]


def test_factors_that_would_leave_the_range_stay_where_they_are() -> None:
    text = """
def f(v0: 'f64[30,40]', v1: 'f64[40,50]'):
    v2: 'f64[30,50]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)), scale=1e-200)
    v3: 'f64[30,50]' = broadcast(const(0.25, 'f64'), dims=(), shape=(30, 50))
    v4: 'f64[30,50]' = multiply(v2, v3)
    return (v4,)
"""
    graph = read_graph(text)
    assert "scale=2.5e-201" in format_graph(scale_products(graph))
    tiny = read_graph(text.replace("1e-200", "3e-308"))
    assert scale_products(tiny) is tiny


def test_products_with_a_factor_have_derivatives() -> None:
    text = """
def f(v0: 'f64[30,40]', v1: 'f64[40,50]'):
    v2: 'f64[30,50]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)), scale=-0.25)
    return (v2,)
"""
    graph = read_graph(text)
    a, b = arrays((30, 40), (40, 50))
    np.testing.assert_allclose(evaluate(graph, [a, b])[0], -0.25 * (a @ b), rtol=1e-12, atol=1e-14)
    out = np.empty((30, 50))
    (eqn,) = graph.eqns
    assert eqn.primitive.evaluate_into is not None
    eqn.primitive.evaluate_into(out, a, b, **eqn.params)
    np.testing.assert_array_equal(out, evaluate(graph, [a, b])[0])


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_the_same_code_serves_other_sizes() -> None:
    f = tj.grad_jit(squares)
    f(*arrays((30, 20), (40, 30), (40, 20)))
    compiles = tj.cache_info().compiles
    for n in (32, 64, 77):
        f(*arrays((30, 20), (n, 30), (n, 20)))
    assert tj.cache_info().compiles == compiles
