"""How arguments reach a trace: nesting, keywords, defaults, static arguments, and when a function is traced
again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.array([0.5, -1.0, 2.0])


class Layer(NamedTuple):
    w: Any
    b: Any


@dataclasses.dataclass
class Net:
    layers: list[Layer]
    scale: Any = None


def traces() -> int:
    return tj.cache_info().traces


def squares(tree: Any) -> Any:
    """The sum of the squares of everything in a nesting."""
    if tree is None:
        return 0.0
    if isinstance(tree, dict):
        return sum((squares(v) for v in tree.values()), 0.0)
    if isinstance(tree, (list, tuple)):
        return sum((squares(v) for v in tree), 0.0)
    if dataclasses.is_dataclass(tree):
        return squares([getattr(tree, f.name) for f in dataclasses.fields(tree)])
    return np.sum(tree * tree)


TREES: list[Any] = [
    {"b": X, "a": 2.0},
    [X, (X, [1.0])],
    (X, None, {"x": ()}),
    Layer(X, 2.0),
    Net([Layer(X, 1.0), Layer(2 * X, np.float32(2))]),
    OrderedDict(z=X, a=1.0),
    {},
    {"a": {"b": {"c": X}}, 1: X},
]


@pytest.mark.parametrize("tree", TREES[:6] + TREES[7:])
def test_gradients_are_nested_like_the_argument(tree: Any) -> None:
    value, grads = tj.grad_jit(squares)(tree)
    assert value == pytest.approx(squares(tree))
    assert type(grads) is type(tree)
    assert_doubled(grads, tree)


def assert_doubled(grads: Any, tree: Any) -> None:
    if isinstance(tree, dict):
        assert list(grads) == list(tree)
        grads, tree = list(grads.values()), list(tree.values())
    elif dataclasses.is_dataclass(tree):
        fields = [f.name for f in dataclasses.fields(tree)]
        grads, tree = [getattr(grads, n) for n in fields], [getattr(tree, n) for n in fields]
    if tree is None:
        assert grads is None
    elif isinstance(tree, (list, tuple)):
        assert len(grads) == len(tree)
        for g, t in zip(grads, tree, strict=True):
            assert_doubled(g, t)
    else:
        np.testing.assert_allclose(grads, 2 * np.asarray(tree))


def test_results_may_be_nested_too() -> None:
    net = tj.jit(lambda x: Net([Layer(x, x.sum())], None))(X)
    assert isinstance(net, Net)
    np.testing.assert_array_equal(net.layers[0].w, X)
    assert net.layers[0].b == X.sum()
    assert tj.jit(lambda x: {"a": [x, None], "b": (1, True)})(2.0) == {"a": [2, None], "b": (1, True)}


def test_an_empty_nesting_has_an_empty_gradient() -> None:
    assert tj.grad(lambda p, x: squares(p) + x)({}, 1.0) == {}


def loss(w: Any, x: Any, scale: Any = 2.0, *, shift: Any = 0.0) -> Any:
    return ((w * x) * scale).sum() + shift


def test_keywords_and_positions_mean_the_same() -> None:
    f = tj.grad_jit(loss, argnums=(0, 1))
    before = traces()
    first = f(2.0, X)
    again = f(2.0, x=X)
    both = f(x=X, w=2.0)
    assert traces() - before == 1
    assert first[0] == again[0] == both[0]
    for value, (dw, dx) in (first, again, both):
        assert value == (4 * X).sum()
        assert dw == (2 * X).sum()
        np.testing.assert_array_equal(dx, [4, 4, 4])


def test_argnums_reaches_defaults_and_keywords() -> None:
    f = tj.grad(loss, argnums=2)
    assert f(2.0, X) == (2 * X).sum()
    assert f(2.0, X, scale=3.0) == (2 * X).sum()
    assert f(2.0, X, shift=1.0) == (2 * X).sum()


def test_keyword_only_arguments_are_dynamic() -> None:
    f = tj.jit(loss)
    before = traces()
    assert f(2.0, X, shift=1.0) - f(2.0, X, shift=3.0) == -2
    assert traces() - before == 1


def test_variable_arguments_work() -> None:
    def f(*xs: Any, **named: Any) -> Any:
        return sum(x.sum() for x in xs) + named["k"] * named["m"]

    assert tj.jit(f)(X, 2 * X, k=2.0, m=3.0) == pytest.approx(3 * X.sum() + 6)
    np.testing.assert_array_equal(tj.grad(f, argnums=1)(X, 2 * X, k=1.0, m=1.0), [1, 1, 1])


def test_missing_and_surplus_arguments_fail_as_python_says() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        tj.jit(loss)(1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        tj.jit(loss)(1.0, X, y=2)
    with pytest.raises(TypeError, match="multiple values"):
        tj.jit(loss)(1.0, X, w=2)


def test_static_arguments_select_a_program() -> None:
    @tj.jit(static_argnames=("n", "mode"))
    def f(x: Any, n: int, *, mode: str = "up") -> Any:
        for _ in range(n):
            x = x * 2
        return x if mode == "up" else -x

    before = traces()
    np.testing.assert_array_equal(f(X, 2), 4 * X)
    np.testing.assert_array_equal(f(X, n=2), 4 * X)
    np.testing.assert_array_equal(f(X, 3), 8 * X)
    np.testing.assert_array_equal(f(X, 3, mode="down"), -8 * X)
    np.testing.assert_array_equal(f(2 * X, 3), 16 * X)
    assert traces() - before == 3
    assert f(X, 1)[0] == f(X, True)[0]
    assert traces() - before == 5


def test_a_static_argument_may_come_first() -> None:
    f = tj.grad(lambda n, x: (x**n).sum(), argnums=1, static_argnames="n")
    np.testing.assert_allclose(f(2, X), 2 * X)


def test_python_scalars_numpy_scalars_and_0d_arrays_are_differentiable() -> None:
    f = tj.value_and_grad(lambda x: x * x)
    for x in (3.0, np.float64(3), np.array(3.0), np.float32(3)):
        value, grad = f(x)
        assert (value, grad) == (9, 6)
        assert np.asarray(grad).dtype == np.asarray(x).dtype


def test_partials_and_callable_objects_can_be_transformed() -> None:
    class Scale:
        def __init__(self, k: float) -> None:
            self.k = k

        def __call__(self, x: Any) -> Any:
            return (x * self.k).sum()

    np.testing.assert_array_equal(tj.grad(Scale(3.0))(X), [3, 3, 3])
    np.testing.assert_array_equal(tj.grad(functools.partial(loss, 2.0))(X), [4, 4, 4])
    assert tj.jit(functools.partial(loss, x=X))(2.0) == (4 * X).sum()


# --- when a function is traced again ------------------------------------------------------------------------


def test_a_thousand_calls_trace_once() -> None:
    f = tj.grad_jit(lambda w, x: (w * x).sum())
    before = tj.cache_info()
    for k in range(1000):
        f(X * k, X)
    after = tj.cache_info()
    assert after.traces - before.traces == 1
    assert after.hits - before.hits == 999


@pytest.mark.parametrize(
    "other",
    [X.astype("f4"), X[:2], X[:, None], 2.0, np.float64(2), np.arange(3), [X], {"a": X}, None],
    ids=str,
)
def test_another_dtype_shape_kind_or_structure_traces_once_more(other: Any) -> None:
    f = tj.jit(lambda x, y: (x, y))
    f(1.0, X)
    before = traces()
    f(1.0, other)
    f(2.0, other)
    f(2.0, X)
    assert traces() - before == 1


def test_dicts_in_another_order_and_strided_arrays_trace_nothing_new() -> None:
    f = tj.jit(lambda p: p["a"] * 2 + p["b"])
    f({"a": X, "b": X})
    before = traces()
    f({"b": X, "a": X})
    f({"a": X[::-1], "b": np.asfortranarray(X)})
    assert traces() - before <= 1


def test_subclasses_and_foreign_byte_orders_are_taken_as_plain_arrays(tmp_path: Any) -> None:
    f = tj.jit(lambda x: x * 2)
    mapped = np.memmap(tmp_path / "data", dtype="f8", mode="w+", shape=(3,))
    mapped[:] = X
    for x in (mapped, X.astype(">f8")):
        for _ in range(2):
            result = f(x)
            assert type(result) is np.ndarray
            assert result.dtype == np.dtype("f8")
            np.testing.assert_array_equal(result, 2 * X)


def test_python_integers_and_bools_are_arguments_too() -> None:
    f = tj.jit(lambda x, n, b: np.where(b, x * n, x))
    np.testing.assert_array_equal(f(X, 3, True), 3 * X)
    np.testing.assert_array_equal(f(X, 3, False), X)


def test_the_cache_of_a_function_is_bounded() -> None:
    from tracejit.api.programs import MAX_PROGRAMS

    f = tj.jit(lambda x: x + 1)
    for n in range(MAX_PROGRAMS + 10):
        f(np.ones(n))
    assert len(f._programs.table) == MAX_PROGRAMS
    before = traces()
    f(np.ones(MAX_PROGRAMS + 9))
    assert traces() == before
    f(np.ones(0))
    assert traces() == before + 1
    f.clear()
    assert not f._programs.table


def test_transforms_written_anew_at_each_call_find_their_programs() -> None:
    def f(x: Any) -> Any:
        return (x**2).sum()

    before = traces()
    for _ in range(3):
        tj.grad(f)(X)
        tj.grad(lambda x: f(x))  # never called, never traced
        tj.grad(tj.grad(lambda y: y * y), 0)
    assert traces() - before == 1
