"""SciPy's functions on tracers: however they were imported, on one thread only, and untouched otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from scipy import linalg
from scipy.linalg import cho_factor, cho_solve, solve_triangular

import tracejit as tj
from tracejit.frontend import scipy_calls
from tracejit.ops.tables import SCIPY_FUNCTIONS

A = np.array([[4.0, 1.0, 0.5], [1.0, 5.0, 0.25], [0.5, 0.25, 6.0]])
B = np.array([1.0, -2.0, 3.0])


def codes() -> list[Any]:
    return [getattr(scipy.linalg, name.rpartition(".")[2]).__code__ for name in sorted(SCIPY_FUNCTIONS)]


BEFORE = codes()


def test_a_function_is_known_however_it_was_imported() -> None:
    for solve in (scipy.linalg.solve_triangular, linalg.solve_triangular, solve_triangular):
        result = tj.jit(lambda a, b, solve=solve: solve(a, b, lower=True))(A, B)
        np.testing.assert_allclose(result, solve_triangular(A, B, lower=True), rtol=1e-13)


def test_functions_are_as_before_once_a_trace_has_ended() -> None:
    seen: list[bool] = []

    def f(a: Any) -> Any:
        seen.append(codes() != BEFORE)
        return linalg.cholesky(a, lower=True)

    function = linalg.cholesky
    tj.jit(f)(A)
    assert seen == [True] and codes() == BEFORE and linalg.cholesky is function


def test_functions_are_as_before_after_an_error_and_after_nested_traces() -> None:
    def f(a: Any) -> Any:
        tj.grad(lambda x: linalg.cholesky(x).sum())(a)
        assert codes() != BEFORE
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tj.jit(f)(A)
    assert codes() == BEFORE
    assert not scipy_calls._own_codes


def test_concrete_arrays_take_the_functions_own_code_during_a_trace() -> None:
    def f(x: Any) -> Any:
        inside = solve_triangular(A, B, lower=True)
        assert type(inside) is np.ndarray
        with pytest.raises(ValueError, match="expected square matrix"):
            solve_triangular(A[:2], B)
        return x * inside

    np.testing.assert_allclose(tj.jit(f)(B), B * solve_triangular(A, B, lower=True))


def test_a_tracer_may_stand_in_any_argument_and_in_a_tuple() -> None:
    expected = cho_solve(cho_factor(A), B)
    np.testing.assert_allclose(tj.jit(lambda b: cho_solve(cho_factor(A), b))(B), expected, rtol=1e-13)
    np.testing.assert_allclose(tj.jit(lambda a: cho_solve(cho_factor(a), B))(A), expected, rtol=1e-13)
    np.testing.assert_allclose(tj.jit(lambda b: solve_triangular(a=A, b=b))(B), solve_triangular(A, B))


def test_other_threads_see_no_difference_while_one_traces() -> None:
    inside, done = threading.Event(), threading.Event()

    def f(a: Any) -> Any:
        inside.set()
        assert done.wait(60)
        return linalg.cholesky(a)

    result: list[Any] = []
    tracing = threading.Thread(target=lambda: result.append(tj.jit(f)(A)))
    tracing.start()
    assert inside.wait(60)
    np.testing.assert_array_equal(linalg.cholesky(A), np.linalg.cholesky(A).T)
    np.testing.assert_allclose(tj.jit(lambda a: linalg.cholesky(a, lower=True))(A), np.linalg.cholesky(A))
    assert codes() != BEFORE
    done.set()
    tracing.join(60)
    assert codes() == BEFORE
    np.testing.assert_allclose(result[0], linalg.cholesky(A))


def test_a_second_call_does_not_trace_again() -> None:
    f = tj.jit(lambda a, b: linalg.solve_triangular(linalg.cholesky(a, lower=True), b, lower=True))
    f(A, B)
    before = tj.cache_info().traces
    f(A, B)
    f(2 * A, B)
    assert tj.cache_info().traces == before


def test_a_function_may_import_scipy_itself() -> None:
    program = """
import sys
import numpy as np, tracejit as tj
def f(a):
    from scipy.linalg import cholesky
    return cholesky(a, lower=True)
assert "scipy.linalg" not in sys.modules
assert (tj.jit(f)(4 * np.eye(3)) == 2 * np.eye(3)).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_is_forked_during_another_threads_trace_has_plain_functions() -> None:
    program = """
import os, threading, warnings
import numpy as np, scipy.linalg, tracejit as tj
warnings.simplefilter("ignore")
own, inside, done = scipy.linalg.cholesky.__code__, threading.Event(), threading.Event()
def f(a):
    inside.set()
    done.wait(60)
    return scipy.linalg.cholesky(a)
thread = threading.Thread(target=lambda: tj.jit(f)(np.eye(3)))
thread.start()
inside.wait(60)
child = os.fork()
if not child:
    os._exit(0 if scipy.linalg.cholesky.__code__ is own else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
thread.join(60)
assert code == 0 and scipy.linalg.cholesky.__code__ is own
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_function_without_a_meaning_here_is_refused_at_the_users_line() -> None:
    with pytest.raises(tj.TracerError) as refused:
        tj.jit(lambda a: scipy.linalg.expm(a))(A)
    assert "test_scipy_calls.py" in str(refused.value) and "scipy.linalg.expm(a)" in str(refused.value)
