"""Operators, methods and attributes of traced values give what NumPy gives: values, shapes and dtypes."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluate_graph
from tracejit.frontend import Tracer, argument_of, trace

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
BITWISE = ["and_", "or_", "xor", "lshift", "rshift"]
COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]

X = np.array([[1.5, -2.0, 3.25], [0.5, 4.0, -1.0]])
N = np.array([[3, -2, 5], [7, 1, 4]])


def run(function: Callable[..., Any], *args: Any) -> Any:
    traced = trace(function, [argument_of(a) for a in args], "f")
    outputs = evaluate_graph(traced.graph)([*args, *traced.captures])
    return traced.result.unflatten(outputs)


def agree(function: Callable[..., Any], *args: Any) -> None:
    with np.errstate(all="ignore"):
        expected = function(*args)
    found = run(function, *args)
    many = isinstance(expected, (list, tuple))
    for a, b in zip(found if many else [found], expected if many else [expected], strict=True):
        assert a.shape == np.shape(b)
        assert a.dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS)
@pytest.mark.parametrize("other", [2, 2.5, np.float32(2), X[0], X + 3, np.array(2)], ids=str)
def test_operators_and_their_reflected_forms_agree_with_numpy(name: str, other: Any) -> None:
    operate = getattr(operator, name)
    agree(lambda x: operate(x, other), np.abs(X))
    agree(lambda x: operate(other, x), np.abs(X))


@pytest.mark.parametrize("name", BITWISE)
def test_bitwise_operators_agree_with_numpy(name: str) -> None:
    operate = getattr(operator, name)
    agree(lambda x: operate(x, 2), N)
    agree(lambda x: operate(N, x), np.abs(N) % 5)


def test_matmul_agrees_from_both_sides() -> None:
    agree(lambda x: x @ X.T, X)
    agree(lambda x: X.T @ x, X)


@pytest.mark.parametrize("operate", [operator.neg, operator.pos, abs], ids=["neg", "pos", "abs"])
def test_unary_operators_agree_with_numpy(operate: Callable[..., Any]) -> None:
    agree(operate, X)


def test_invert_and_divmod_agree_with_numpy() -> None:
    agree(operator.invert, N)
    agree(lambda x: divmod(x, 3), N)
    agree(lambda x: divmod(7.5, x), np.abs(X))


METHODS: list[Callable[[Any], Any]] = [
    lambda x: x.sum(),
    lambda x: x.sum(axis=0, keepdims=True),
    lambda x: x.sum(1),
    lambda x: x.mean(axis=-1),
    lambda x: x.prod(),
    lambda x: x.max(axis=0),
    lambda x: x.min(),
    lambda x: x.var(ddof=1),
    lambda x: x.std(axis=1),
    lambda x: x.argmax(axis=1),
    lambda x: x.argmin(),
    lambda x: (x > 0).any(axis=0),
    lambda x: (x > 0).all(),
    lambda x: x.cumsum(axis=1),
    lambda x: x.cumprod(),
    lambda x: x.reshape(3, 2),
    lambda x: x.reshape((-1, 2)),
    lambda x: x.reshape(-1),
    lambda x: x.ravel(),
    lambda x: x.flatten(),
    lambda x: x.flatten("F"),
    lambda x: x.transpose(),
    lambda x: x.transpose(1, 0),
    lambda x: x.transpose((1, 0)),
    lambda x: x.T,
    lambda x: x.mT,
    lambda x: x.swapaxes(0, 1),
    lambda x: x[None].squeeze(),
    lambda x: x.repeat(2, axis=0),
    lambda x: x.take([1, 0], axis=1),
    lambda x: x.dot(X.T),
    lambda x: x.astype("f4"),
    lambda x: x.astype(int),
    lambda x: x.copy(),
    lambda x: x.clip(-1, 1),
    lambda x: x.clip(max=0.5),
    lambda x: x.round(1),
    lambda x: x.conj(),
    lambda x: x.conjugate(),
    lambda x: x.real,
    lambda x: x.imag,
    lambda x: x.trace(),
    lambda x: x.diagonal(),
    lambda x: x[0],
    lambda x: x[:, ::-1],
    lambda x: x[-1, 1],
    lambda x: x[..., None, 0],
    lambda x: list(x),
]


@pytest.mark.parametrize("method", METHODS)
def test_methods_agree_with_those_of_arrays(method: Callable[[Any], Any]) -> None:
    agree(method, X)


def test_every_method_of_arrays_is_there_or_says_why_not() -> None:
    names = [n for n in dir(np.ndarray) if not n.startswith("_")]
    silent: list[str] = []

    def look(x: Any) -> Any:
        for name in names:
            try:
                getattr(x, name)
            except tj.TracejitError:
                pass
            except AttributeError:
                silent.append(name)
        return x

    run(look, X)
    assert not silent


def test_attributes_are_known_while_tracing() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.extend([x.shape, x.dtype, x.ndim, x.size, x.itemsize, x.nbytes, len(x)])
        return x

    run(f, X)
    assert seen == [(2, 3), np.dtype("f8"), 2, 6, 8, 48, 2]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.add.reduce(x),
        lambda x: np.add.reduce(x, axis=1, keepdims=True),
        lambda x: np.maximum.reduce(x, axis=None),
        lambda x: np.multiply.accumulate(x, axis=1),
        lambda x: np.subtract.outer(x[0], x[1]),
        lambda x: np.add(x, x, dtype="f4"),
        lambda x: np.where(x > 0, [x[0], x[1]], 0),
        lambda x: np.stack([x[0], x[1], np.zeros(3)]),
    ],
)
def test_methods_of_ufuncs_and_lists_of_traced_values_work(function: Callable[[Any], Any]) -> None:
    agree(function, X)


def test_ufuncs_of_scipy_work() -> None:
    special = pytest.importorskip("scipy.special")
    agree(lambda x: special.expit(x) + special.erf(x) * special.gammaln(abs(x)), X)


def test_python_numbers_promote_as_python_numbers() -> None:
    single = X.astype("f4")
    for function in (
        lambda a, x: x * a,
        lambda a, x: x * (2 * a + 1),
        lambda a, x: np.sin(a) * x,
        lambda a, x: -a / 2 + x,
    ):
        agree(function, 0.5, single)
    agree(lambda n, x: x * n, 3, single)
    agree(lambda n, x: x // (n * 2), 3, np.array([7, 8], "i2"))


def test_0d_arrays_promote_as_arrays() -> None:
    agree(lambda a, x: x * a, np.array(0.5), X.astype("f4"))
    agree(lambda a, x: x * a, np.float64(0.5), X.astype("f4"))


def test_in_place_operators_rebind_what_numpy_holds_as_a_scalar() -> None:
    def f(a: Any, x: Any) -> Any:
        before = a
        a += 1
        total = x.sum()
        total *= 2
        element = x[0, 1]
        element -= 1
        return before, a, total, element

    agree(f, 1.5, X)


@pytest.mark.parametrize(
    "make", [lambda x: x, lambda x: x[0], lambda x: x.sum().reshape(()), lambda x: x[0, 0, ...]]
)
def test_in_place_operators_on_arrays_are_refused(make: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        y = make(x)
        y += 1
        return y

    with pytest.raises(tj.UnsupportedError, match="in place"):
        run(f, X)


def test_a_0d_array_argument_is_not_changed_in_place() -> None:
    def f(x: Any) -> Any:
        x += 1
        return x

    with pytest.raises(tj.UnsupportedError, match="in place"):
        run(f, np.array(1.0))


def test_tracers_can_be_copied_and_printed_but_not_hashed() -> None:
    def f(x: Any) -> Any:
        assert repr(x) == "Tracer(f64[2,3])"
        assert f"{x:.3f} {x.sum()}" == "Tracer(f64[2,3]) Tracer(f64)"
        with pytest.raises(TypeError):
            hash(x)
        return copy.copy(x) + copy.deepcopy(x)

    assert np.array_equal(run(f, X), 2 * X)


def test_unknown_operands_are_left_to_their_own_operators() -> None:
    class Scaled:
        def __radd__(self, other: Any) -> Any:
            return other * 10

    agree(lambda x: x + Scaled(), np.float64(2.0))
    with pytest.raises(TypeError, match="unsupported operand"):
        run(lambda x: x + None, X)


def test_iterating_a_scalar_fails_as_in_numpy() -> None:
    for function in (len, iter):
        with pytest.raises(TypeError, match=r"0-d array|unsized"):
            run(function, 1.0)


def test_isinstance_tells_tracers_from_arrays() -> None:
    seen: list[bool] = []
    run(lambda x: seen.append(isinstance(x, np.ndarray)) or seen.append(isinstance(x, Tracer)) or x, X)
    assert seen == [False, True]
