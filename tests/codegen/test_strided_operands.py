"""Operands of BLAS and LAPACK that lie anyhow: NumPy's values, and still one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl
from numba import njit

import tracejit as tj
from tests.codegen.test_products import bound_of
from tests.codegen.test_regions import bits
from tests.runtime.test_executable import misaligned, odd_strides
from tests.served import served
from tracejit.runtime import blas
from tracejit.runtime.calls import entry

pytestmark = pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")


def read_only(x: Any) -> Any:
    x = np.asfortranarray(x)
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "read only": read_only,
    "a turned view": lambda x: np.ascontiguousarray(x.T).T,
    "inside another": lambda x: np.pad(x, 3)[3:-3, 3:-3],
    "inside another, in columns": lambda x: np.asfortranarray(np.pad(x, 3))[3:-3, 3:-3],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every second of both": lambda x: np.repeat(np.repeat(x, 2, axis=1), 2, axis=0)[::2, ::2],
    "rows from the last": lambda x: x[::-1].copy()[::-1],
    "columns from the last": lambda x: x[:, ::-1].copy()[:, ::-1],
    "columns from the last, in columns": lambda x: np.asfortranarray(x[:, ::-1])[:, ::-1],
    "one row again and again": lambda x: np.broadcast_to(x[:1], x.shape),
    "one column again and again": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "overlapping rows": lambda x: np.lib.stride_tricks.sliding_window_view(x.ravel(), x.shape[1])[: len(x)],
}
COPIED = {"misaligned": misaligned, "odd strides": odd_strides}


def normal(*shape: int, dtype: str = "f8") -> Any:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(dtype)


def assert_near(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    atol = 50 * np.finfo(expected.dtype).eps * np.nanmax(np.abs(expected), initial=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("second", ["rows", "columns", "every second column"])
@pytest.mark.parametrize("first", LAYOUTS)
def test_a_product_of_strided_arguments_is_one_native_call(first: str, second: str, dtype: str) -> None:
    f = tj.jit(lambda x, w: np.tanh(x @ w))
    x, w = LAYOUTS[first](normal(70, 30, dtype=dtype)), LAYOUTS[second](normal(30, 20, dtype=dtype))
    for _ in range(3):
        assert_near(f(x, w), np.tanh(x @ w))
    assert bound_of(f).whole is not None
    assert not entry.HAS_NATIVE_CALLS or served(f, x, w)[1]


@pytest.mark.parametrize("layout", [*LAYOUTS, *COPIED])
def test_gradients_of_strided_arguments_are_those_of_rows(layout: str) -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return np.mean((np.tanh(x @ w) - y) ** 2) + np.sum(x * x)

    w, x, y = normal(30, 20), {**LAYOUTS, **COPIED}[layout](normal(70, 30)), normal(70, 20)
    f = tj.grad_jit(loss, argnums=(0, 1))
    value, grads = f(w, np.ascontiguousarray(x), y)
    for _ in range(2):
        found, found_grads = f(w, x, y)
        assert found == pytest.approx(value, rel=1e-12)
        for a, b in zip(found_grads, grads, strict=True):
            assert_near(a, b)


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, w = LAYOUTS["every second column"](normal(5000, 60)), np.asfortranarray(normal(60, 50))
    found = {bits([tj.jit(lambda x, w: x @ w, threads=t)(x, w)])[0] for t in (1, 2, 5)}
    assert len(found) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nan_and_infinity_stay_in_their_rows_and_gaps_are_never_read(layout: str) -> None:
    x, w = LAYOUTS[layout](normal(70, 30)).copy(), normal(30, 20)
    x[4, 7], x[9, 0] = np.nan, np.inf
    whole = np.full((143, 63), np.nan)
    whole[1:141:2, 2:62:2] = x
    found = tj.jit(lambda x, w: x @ w)(whole[1:141:2, 2:62:2], w)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(x @ w))


@pytest.mark.parametrize("shapes", [((0, 30), (30, 20)), ((70, 0), (0, 20)), ((70, 30), (30, 0))])
def test_empty_operands(shapes: Any) -> None:
    x, w = (np.asfortranarray(np.zeros(s)) for s in shapes)
    np.testing.assert_array_equal(tj.jit(lambda x, w: x @ w)(x, w), x @ w)


@pytest.mark.parametrize("shapes", [((1, 30), (30, 20)), ((70, 30), (30, 1)), ((70, 1), (1, 20))])
@pytest.mark.parametrize("layout", ["columns", "every second of both", "rows from the last"])
def test_one_row_or_column(shapes: Any, layout: str) -> None:
    x, w = (LAYOUTS[layout](normal(*s)) for s in shapes)
    assert_near(tj.jit(lambda x, w: x @ w)(x, w), x @ w)


SYMMETRIC = np.cov(normal(9, 50)) + np.eye(9)
ROUTINES: dict[str, Callable[[Any], Any]] = {
    "cholesky": np.linalg.cholesky,
    "solve": lambda a: np.linalg.solve(a, a[:, :3]),
    "a strided right side": lambda a: np.linalg.solve(a, a[::-1, ::2]),
    "inv": np.linalg.inv,
    "triangular": lambda a: sl.solve_triangular(a, a[0], lower=True),
    "a factor of a slice": lambda a: np.linalg.cholesky(a[2:7, 2:7]),
    "a factor of a reversed slice": lambda a: np.linalg.cholesky(a[::-2, ::-2]),
}


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if "again" not in k and "overlapping" not in k])
@pytest.mark.parametrize("name", ROUTINES)
def test_factorisations_of_strided_arguments_are_one_native_call(name: str, layout: str) -> None:
    f = tj.jit(ROUTINES[name])
    a = LAYOUTS[layout](SYMMETRIC)
    for _ in range(2):
        np.testing.assert_allclose(f(a), ROUTINES[name](a), rtol=1e-9, atol=1e-10)
    assert bound_of(f).whole is not None


def test_an_argument_that_may_take_the_result_is_right_beside_a_strided_one() -> None:
    f = tj.jit(lambda c, x, w: c + x @ w, donate=("c",))
    x, w = np.asfortranarray(normal(70, 30)), normal(30, 20)
    for arranged in (x, np.ascontiguousarray(x), LAYOUTS["every second column"](x)):
        c = normal(70, 20)
        expected = c + x @ w
        assert_near(f(c, arranged, w), expected)


def test_compiled_callers_pass_strided_operands_too() -> None:
    f = tj.jit(lambda x, w: x @ w)

    @njit
    def call(x: Any, w: Any) -> Any:
        return f(x[::2, 1:], w)

    x, w = normal(70, 31), np.asfortranarray(normal(30, 20))
    assert_near(call(x, w), x[::2, 1:] @ w)
