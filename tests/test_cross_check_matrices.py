"""Programs of factorisations and solves: derivatives agree with autograd, with JAX and with differences.

Where a matrix is built symmetric, it does not matter which of its halves a system reads.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest

from tests.evaluated import evaluated as evaluated
from tests.test_cross_check import (
    ROUNDING,
    Program,
    agrees_with_autograd,
    agrees_with_differences,
    agrees_with_jax,
    hessian_product_agrees,
    normal,
    positive,
)


def linalg(np: Any) -> ModuleType:
    """The module `scipy.linalg` of the system that `np` belongs to."""
    return importlib.import_module(
        {"numpy": "scipy"}.get(np.__name__, np.__name__[:-6] + ".scipy") + ".linalg"
    )


def covariance(np: Any, p: Any, x: Any) -> Any:
    squares = np.sum(x * x, axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * np.dot(x, x.T)
    return np.exp(2 * p[1] - 0.5 * distances * np.exp(-2 * p[0])) + np.exp(2 * p[2]) * np.eye(len(x))


def gaussian_process(np: Any, p: Any, x: Any, y: Any) -> Any:
    factor = np.linalg.cholesky(covariance(np, p, x))
    z = linalg(np).solve_triangular(factor, y, lower=True)
    return 0.5 * np.sum(z * z) + np.sum(np.log(np.diag(factor)))


def gaussian_process_by_determinant(np: Any, p: Any, x: Any, y: Any) -> Any:
    k = covariance(np, p, x)
    return 0.5 * np.dot(y, np.linalg.solve(k, y)) + 0.5 * np.linalg.slogdet(k)[1]


def ridge_prediction(np: Any, log_penalty: Any, x: Any, y: Any) -> Any:
    inverse = np.linalg.inv(np.dot(x.T, x) + np.exp(log_penalty) * np.eye(3))
    return np.sum(np.tanh(np.dot(x, np.dot(inverse, np.dot(x.T, y)))))


def volume(np: Any, a: Any, b: Any) -> Any:
    return np.linalg.det(a) * np.sum(np.linalg.solve(a, b) ** 2)


def whitening(np: Any, x: Any) -> Any:
    factor = np.linalg.cholesky(np.dot(x.T, x) / len(x) + np.eye(3))
    return np.sum(np.abs(linalg(np).solve_triangular(factor, x.T, trans="T", lower=True)) ** 1.5)


def precision(np: Any, x: Any, y: Any) -> Any:
    lib = linalg(np)
    matrix = np.dot(x.T, x) + 2 * np.eye(3)
    return np.sum(np.sin(lib.cho_solve(lib.cho_factor(matrix), np.dot(x.T, y))))


PROGRAMS = [
    Program(gaussian_process, (normal(3), normal(9, 3), normal(9)), 3),
    Program(gaussian_process_by_determinant, (normal(3), normal(9, 3), normal(9)), 3),
    Program(ridge_prediction, (normal(), normal(7, 3), normal(7)), 3),
    Program(volume, (normal(4, 4), normal(4, 2)), 2),
    Program(whitening, (normal(7, 3),), 1),
    Program(precision, (positive(7, 3), normal(7)), 2, has_peers=False),
]

# Rounding grows with the condition of a matrix, here at most some hundred.
TOLERANCE = 100 * ROUNDING

everywhere = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.loss.__name__)


@everywhere
def test_the_value_is_numpys_and_the_gradient_that_of_differences(program: Program) -> None:
    for fuse in (True, False):
        agrees_with_differences(program, TOLERANCE, fuse)


@everywhere
def test_value_and_gradient_are_those_of_autograd(program: Program) -> None:
    pytest.importorskip("autograd.scipy.linalg")
    agrees_with_autograd(program, TOLERANCE)


@everywhere
def test_value_and_gradient_are_those_of_jax(program: Program) -> None:
    agrees_with_jax(program, TOLERANCE)


@everywhere
@pytest.mark.usefixtures("evaluated")
def test_second_derivatives_are_those_of_differences_of_the_gradient(program: Program) -> None:
    hessian_product_agrees(program)


@pytest.mark.parametrize("program", PROGRAMS[:1], ids=lambda p: p.loss.__name__)
def test_compiled_second_derivatives_are_too(program: Program) -> None:
    hessian_product_agrees(program)
