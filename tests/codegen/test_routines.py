"""Factorisations and solves in compiled code: values at many sizes, operands as they lie, memory, errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl

import tracejit as tj
from tests.codegen.test_products import bound_of
from tests.ops.cases.factorization import positive, triangular
from tracejit.codegen.routines import RoutineCall
from tracejit.runtime import blas
from tracejit.runtime.executable import Executable

pytestmark = pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def executable_of(f: Any) -> Executable:
    ((program,),) = f._programs.table.values()
    return program.run


A, G, B, V = positive(6, 6), triangular(6, 6)[::-1].copy(), normal(6, 3), normal(6)

NATIVE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "cholesky": (np.linalg.cholesky, (A,)),
    "cholesky of a batch": (np.linalg.cholesky, (positive(3, 4, 4),)),
    "an upper factor": (lambda a: np.linalg.cholesky(a, upper=True), (A,)),
    "cholesky of a view": (lambda a: np.linalg.cholesky(a[::-1, ::-1]), (A,)),
    "cholesky of float32": (np.linalg.cholesky, (A.astype("f4"),)),
    "a solve with both triangles": (lambda a, b: sl.cho_solve(sl.cho_factor(a), b), (A, B)),
    "a solve with one column": (lambda a, b: np.linalg.solve(a, b), (G, V)),
    "a solve with columns": (lambda a, b: np.linalg.solve(a, b), (G, B)),
    "a solve with turned columns": (lambda a, b: np.linalg.solve(a, b.T), (G, B.T.copy())),
    "a solve of float32": (lambda a, b: np.linalg.solve(a, b), (G.astype("f4"), B.astype("f4"))),
    "a batch of inverses": (np.linalg.inv, (triangular(3, 4, 4)[:, ::-1].copy(),)),
    "a turned inverse": (lambda a: np.linalg.inv(a.T), (G,)),
    "determinants": (np.linalg.det, (triangular(3, 4, 4)[:, ::-1].copy(),)),
    "a determinant of float32": (np.linalg.det, (G.astype("f4"),)),
    "between kernels and products": (
        lambda a, b: np.tanh(np.linalg.inv(np.tanh(a) + 3 * np.eye(40)) @ b),
        (normal(40, 40), normal(40, 40, seed=1)),
    ),
    "a strided argument": (np.linalg.cholesky, (np.asfortranarray(A + np.triu(A, 1)),)),
    "triangular": (lambda a, b: sl.solve_triangular(a, b, unit_diagonal=True), (G[::-1].copy(), B)),
}

# What no element leaves to NumPy.
STEPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "no column": (np.linalg.solve, (G, np.zeros((6, 0)))),
}


@pytest.mark.parametrize("name", [*NATIVE, *STEPS])
def test_results_are_those_of_numpy(name: str) -> None:
    f, args = {**NATIVE, **STEPS}[name]
    g = tj.jit(f)
    expected = f(*args)
    for _ in range(3):
        result = g(*args)
        assert result.dtype == expected.dtype
        tolerance = 2000 * np.finfo(result.dtype).eps
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    assert (bound_of(g).whole is not None) == (name in NATIVE)


def by_products(factor: Any, ct: Any) -> Any:
    """The cotangent of the lower triangle, by the formula with inverses."""
    inverse = np.linalg.inv(factor)
    p = np.tril(factor.T @ np.tril(ct))
    both = inverse.T @ (p + p.T - np.diag(np.diag(p))) @ inverse
    return np.tril(both) - np.diag(np.diag(both)) / 2


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17, 33, 70, 150, 301])
def test_the_adjoint_of_a_factor_by_blocks_is_the_one_by_products(n: int) -> None:
    a = positive(n, n, seed=n)
    ct = normal(n, n, seed=1)
    factor, pullback = tj.vjp(np.linalg.cholesky, a)
    expected = by_products(factor, ct)
    for _ in range(2):
        (found,) = pullback(ct)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


def test_float32_adjoints_are_near_those_of_float64() -> None:
    a, ct = positive(90, 90), normal(90, 90, seed=1)
    (expected,) = tj.vjp(np.linalg.cholesky, a)[1](ct)
    (found,) = tj.vjp(np.linalg.cholesky, a.astype("f4"))[1](ct.astype("f4"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def likelihood(scale: Any, x: Any, y: Any) -> Any:
    k = np.exp(-scale * (x[:, None] - x) ** 2) + 0.1 * np.eye(len(x))
    z = sl.solve_triangular(np.linalg.cholesky(k), y, lower=True)
    return 0.5 * z @ z + np.sum(np.log(np.diag(np.linalg.cholesky(k))))


def test_one_native_call_serves_a_likelihood_of_any_size_and_its_gradient() -> None:
    f = tj.grad_jit(likelihood)
    rng = np.random.default_rng(3)
    f(2.0, rng.standard_normal(20), rng.standard_normal(20))
    compiles = tj.cache_info().compiles
    for n in (31, 64):
        x, y = rng.standard_normal((2, n))
        value, gradient = f(2.0, x, y)
        assert value == pytest.approx(likelihood(2.0, x, y), rel=1e-10)
        h = 1e-5
        slope = (likelihood(2 + h, x, y) - likelihood(2 - h, x, y)) / (2 * h)
        assert gradient == pytest.approx(slope, rel=1e-5)
    assert tj.cache_info().compiles == compiles


def test_a_routine_works_in_the_memory_of_its_operand_and_no_temporary_has_three_axes() -> None:
    f = tj.grad_jit(likelihood)
    x, y = normal(2, 50)
    f(2.0, x, y)
    program = executable_of(f).program
    routines = {c.name: c for c in program.library_calls if isinstance(c, RoutineCall)}
    assert routines.keys() == {"cholesky", "triangular_solve", "cholesky_adjoint"}
    factor, adjoint = routines["cholesky"].touched, routines["cholesky_adjoint"].touched
    assert program.offsets[factor[0]] == program.offsets[factor[1]]
    assert program.offsets[adjoint[0]] == program.offsets[adjoint[2]] != program.offsets[factor[0]]
    assert program.workspace <= 5 * 50 * 50 * 8
    assert program.is_native


def test_an_operand_that_is_read_later_keeps_its_memory() -> None:
    def f(a: Any) -> Any:
        k = a @ a.T + np.eye(40)
        return np.linalg.cholesky(k) + k

    a = normal(40, 40)
    np.testing.assert_allclose(tj.jit(f)(a), f(a), rtol=1e-9, atol=1e-9)


BAD = -np.eye(3)
SINGULAR = np.ones((3, 3))
ERRORS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "cholesky": (lambda a: np.linalg.cholesky(a), BAD, "Matrix is not positive definite"),
    "cho_factor": (lambda a: sl.cho_factor(a)[0], BAD, "Matrix is not positive definite"),
    "solve": (lambda a: np.linalg.solve(a, np.arange(3.0)), SINGULAR, "Singular matrix"),
    "inv": (lambda a: np.linalg.inv(a), SINGULAR, "Singular matrix"),
    "triangular": (lambda a: sl.solve_triangular(a, a), np.triu(np.ones((3, 3)), 1), "Singular matrix"),
    "a batch": (
        lambda a: np.linalg.cholesky(np.stack([np.eye(3), a])),
        BAD,
        "Matrix is not positive definite",
    ),
}


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("name", ERRORS)
def test_data_without_a_result_raise_numpys_error_with_the_users_line(name: str, layout: str) -> None:
    f, bad, message = ERRORS[name]
    g = tj.jit(f)
    good = np.eye(3)
    turn = np.asfortranarray if layout == "columns" else np.ascontiguousarray
    for _ in range(3):
        g(turn(good))
        with pytest.raises(np.linalg.LinAlgError) as caught:
            g(turn(bad))
        assert type(caught.value) is tj.LinAlgError
        text = re.sub(r"\.py:\d+", ".py:N", str(caught.value))
        assert text.startswith(f"{message}\n  in <lambda>, test_routines.py:N:  "), text
    np.testing.assert_allclose(g(turn(good)), f(good))


def test_a_gradient_raises_too_and_a_singular_determinant_does_not() -> None:
    with pytest.raises(tj.LinAlgError, match="Matrix is not positive definite"):
        tj.grad(lambda a: np.sum(np.linalg.cholesky(a)))(BAD)
    assert tj.jit(np.linalg.det)(SINGULAR) == 0
    with pytest.raises(tj.LinAlgError, match="Singular matrix"):
        tj.grad(lambda a: np.linalg.det(a))(SINGULAR)
