"""Contractions as calls of BLAS from compiled code: every arrangement gives what NumPy gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime import blas
from tracejit.runtime.executable import Executable

pytestmark = pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")


def arrays(*shapes: tuple[int, ...], dtype: str = "f8") -> tuple[Any, ...]:
    rng = np.random.default_rng(7)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


A, B = arrays((30, 40), (40, 50))

NATIVE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "rows by columns": (lambda a, b: a @ b, (A, B)),
    "both turned": (lambda a, b: b.T @ a.T, (A, B)),
    "the left one turned": (lambda a, b: a.T @ b, arrays((40, 30), (40, 50))),
    "the right one turned": (lambda a, b: a @ b.T, arrays((30, 40), (50, 40))),
    "slices of rows and columns": (lambda a, b: a[3:20] @ b[:, 5:25], (A, B)),
    "every second row": (lambda a, b: a[::2] @ b, (A, B)),
    "every second column": (lambda a, b: a[:, ::2] @ b[:20], (A, B)),
    "every second column of the right one": (lambda a, b: a @ b[:, ::2], (A, B)),
    "reversed rows": (lambda a, b: a[::-1] @ b, (A, B)),
    "reversed columns": (lambda a, b: a[:, ::-1] @ b, (A, B)),
    "an operand both as it lies and turned around": (lambda a, b: (a @ b)[:30, :30] @ a[::-1], (A, B)),
    "a batch that is the middle axis": (
        lambda a, b: np.einsum("ibj,bjk->bik", a, b),
        arrays((30, 7, 40), (7, 40, 50)),
    ),
    "a batch between merged axes": (
        lambda a, b: np.einsum("ibjc,bck->ijbk", a, b),
        arrays((5, 7, 6, 40), (7, 40, 50)),
    ),
    "float32": (lambda a, b: a @ b, arrays((30, 40), (40, 50), dtype="f4")),
    "a batch": (lambda a, b: a @ b, arrays((7, 30, 40), (7, 40, 50))),
    "a batch by one matrix": (lambda a, b: a @ b, arrays((7, 30, 40), (40, 50))),
    "einsum": (lambda a, b: np.einsum("bij,bkj->bik", a, b), arrays((7, 30, 40), (7, 20, 40))),
    "two summed axes": (lambda a, b: np.tensordot(a, b, 2), arrays((9, 30, 40), (30, 40, 8))),
    "between kernels": (lambda a, b: np.tanh(np.exp(-a * a) @ b) @ b.T, (A, B)),
    "a strided argument": (lambda a, b: a @ b, (np.asfortranarray(A), B)),
    "a reshaped operand": (lambda a, b: a.reshape(30, 40) @ b, arrays((1200,), (40, 50))),
}

STEPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a library call of another kind": (lambda a, b: np.cumprod(a @ b, axis=1), (A, B)),
}


def bound_of(f: Any) -> Any:
    ((program,),) = f._programs.table.values()
    assert isinstance(program.run, Executable)
    used = [e for e in (program.run, *program.run.packing.values()) if e is not None and e.bound]
    ((bound),) = used[0].bound.values()
    return bound


@pytest.mark.parametrize("name", [*NATIVE, *STEPS])
def test_products_are_those_of_numpy(name: str) -> None:
    f, args = {**NATIVE, **STEPS}[name]
    g = tj.jit(f)
    expected = f(*args)
    scale = np.abs(expected).max()
    for _ in range(3):
        result = g(*args)
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=0, atol=scale * 30 * np.finfo(result.dtype).eps)
    assert (bound_of(g).whole is not None) == (name in NATIVE)


def test_the_same_code_serves_other_sizes() -> None:
    f = tj.jit(lambda a, b: np.tanh(a @ b))
    f(*arrays((30, 40), (40, 50)))
    compiles = tj.cache_info().compiles
    for shapes in (((31, 41), (41, 51)), ((60, 20), (20, 90))):
        a, b = arrays(*shapes)
        np.testing.assert_allclose(f(a, b), np.tanh(a @ b), rtol=1e-9, atol=1e-12)
    assert tj.cache_info().compiles == compiles


def test_a_network_and_its_gradient_are_one_native_call() -> None:
    def loss(params: Any, x: Any, y: Any) -> Any:
        (w1, b1), (w2, b2) = params
        return np.mean((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2)

    w1, b1, w2, b2, x, y = arrays((30, 40), (40,), (40, 20), (20,), (64, 30), (64, 20))
    f = tj.grad_jit(loss)
    value, grads = f([(w1, b1), (w2, b2)], x, y)
    bound = bound_of(f)
    program = next(iter(f._programs.table.values()))[0].run.program
    assert len(program.library_calls) >= 4 and program.is_native
    assert bound.whole is not None
    h = np.tanh(x @ w1 + b1)
    error = 2 * (h @ w2 + b2 - y) / y.size
    np.testing.assert_allclose(value, np.mean((h @ w2 + b2 - y) ** 2))
    np.testing.assert_allclose(grads[1][0], h.T @ error, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads[0][0], x.T @ (error @ w2.T * (1 - h * h)), rtol=1e-9, atol=1e-12)


def test_nothing_of_the_result_memory_is_read() -> None:
    f = tj.jit(lambda a, b: a @ b)
    out = np.full((30, 50), np.nan)
    for _ in range(3):
        f(A, B, out=out)
        np.testing.assert_allclose(out, A @ B, rtol=1e-9, atol=1e-12)
        out[...] = np.nan
