"""Calls that machine code serves: the same results, errors and counts as by Python, and nothing leaks."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracejit as tj
from tests.served import general, needs_native, same, served, warmed
from tracejit.errors import ArgumentError, CacheWarning, DTypeError, IndexOutOfBoundsError, InternalError
from tracejit.runtime.calls import entry

ROOT = Path(__file__).parents[3]

X = np.array([0.5, -1.0, 2.0, 3.0, -0.25])


class Pair(NamedTuple):
    a: Any
    b: Any


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "one array": (tj.jit(lambda x: x * 2), (X,)),
    "a scalar result": (tj.jit(lambda x: x.sum()), (X,)),
    "value and gradient": (tj.grad_jit(lambda x: (x * x).sum()), (X,)),
    "several gradients": (tj.grad_jit(argnums=(0, 1))(lambda x, y: (x * y).sum()), (X, X + 1)),
    "a Python float": (tj.grad_jit(lambda x: x * x), (3.0,)),
    "a Python int": (tj.jit(lambda x, n: x * n), (X, 3)),
    "a negative int": (tj.jit(lambda x, n: x * n), (X, -1)),
    "a Python bool": (tj.jit(lambda x, b: np.where(b, x, -x)), (X, True)),
    "a NumPy scalar": (tj.jit(lambda x, s: x * s), (X, np.float64(1.5))),
    "a small scalar": (tj.jit(lambda x, s: x * s), (X, np.int8(-3))),
    "a NumPy bool": (tj.jit(lambda x, b: np.where(b, x, -x)), (X, np.bool_(False))),
    "float32": (tj.grad_jit(lambda x: (x * x).sum()), (X.astype("f4"),)),
    "integers": (tj.jit(lambda x: x + 1), (np.arange(5),)),
    "bools": (tj.jit(lambda x: ~x), (X > 0,)),
    "a bool result": (tj.jit(lambda x: (x > 0).any()), (X,)),
    "a 0-d array": (tj.grad_jit(lambda x: x * x), (np.array(2.0),)),
    "an empty array": (tj.grad_jit(lambda x: (x * x).sum()), (np.zeros((0, 3)),)),
    "two dimensions": (tj.jit(lambda x, w: x @ w), (np.ones((4, 3)), np.arange(6.0).reshape(3, 2))),
    "a dict": (tj.grad_jit(lambda p, x: (p["w"] * x + p["b"]).sum()), ({"w": X, "b": 0.5}, X)),
    "a dict in another order": (tj.jit(lambda p: {"z": p["b"], "a": p["w"] * 2}), ({"w": X, "b": X},)),
    "integer keys": (tj.jit(lambda p: p[1] - p[0]), ({1: X, 0: X + 1},)),
    "nested": (
        tj.grad_jit(lambda p: (p["l"][0][0] * p["l"][1][1] + p["s"][0]).sum()),
        ({"l": [(X, X), (X, X + 2)], "s": (X,)},),
    ),
    "lists": (tj.grad_jit(lambda p: (p[0] * p[1]).sum()), ([X, X + 1],)),
    "None among the arguments": (tj.grad_jit(lambda p: (p[0] * 2).sum()), ((X, None),)),
    "a named tuple": (tj.grad_jit(lambda p: (p.a * p.b).sum()), (Pair(X, X + 1),)),
    "None among the results": (tj.jit(lambda x: (x + 1, None, [x * 2])), (X,)),
    "an empty tuple among the results": (tj.jit(lambda x: (x + 1, (), {})), (X,)),
    "one input twice": (tj.jit(lambda x, y: x - y), (X, X)),
    "an argument that is returned": (tj.jit(lambda x: x), (X,)),
    "a reshaped result": (tj.jit(lambda x: (x + 1).reshape(5, 1)), (X,)),
    "temporaries": (tj.jit(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)), (np.ones((9, 40)),)),
    "has_aux": (tj.grad_jit(has_aux=True)(lambda x: ((x * x).sum(), {"y": x + 1})), (X,)),
    "unfused": (tj.grad_jit(fuse=False)(lambda x: np.tanh(x * x).sum()), (X,)),
    "an index": (tj.jit(lambda x, i: x[i]), (X, np.array([0, -1, 3]))),
    "strided": (tj.grad_jit(lambda x: (x * x).sum()), (np.arange(10.0)[::2],)),
    "reversed": (tj.grad_jit(lambda x: (x * np.arange(5)).sum()), (X[::-1],)),
    "Fortran order": (tj.grad_jit(lambda x: (x * x).sum()), (np.asfortranarray(np.ones((3, 4))),)),
    "a transposed view": (
        tj.grad_jit(lambda x: (x * x).sum()),
        (np.ones((4, 3, 2)).transpose(1, 0, 2)[:, :2],),
    ),
    "no axis of unit stride": (tj.jit(lambda x: x * 2), (np.ones((6, 8))[::2, ::2],)),
    "read-only": (tj.grad_jit(lambda x: (x * x).sum()), (np.broadcast_to(2.0, (3, 2)),)),
}


@needs_native
@pytest.mark.parametrize("name", CASES)
def test_a_call_by_machine_code_gives_what_the_general_path_gives(name: str) -> None:
    f, args = CASES[name]
    warmed(f, *args)
    result, is_native = served(f, *args)
    assert is_native
    same(result, general(f, *args))


@needs_native
def test_results_are_fresh_at_each_call() -> None:
    f = warmed(tj.jit(lambda x: x + 1), X)
    first, second = f(X), f(X)
    assert not np.shares_memory(first, second)
    first[:] = 0
    np.testing.assert_array_equal(second, X + 1)


@needs_native
def test_other_shapes_dtypes_and_layouts_reach_their_own_programs() -> None:
    f = tj.jit(lambda x: x * 2)
    arrays = [
        X,
        X[:3],
        X[:, None],
        X.astype("f4"),
        np.arange(8.0)[::2],
        np.arange(4),
        2.0,
        np.float32(2),
        3,
        X[:0],
    ]
    for _ in range(4):
        for x in arrays:
            expected = np.multiply(x, 2)
            np.testing.assert_array_equal(f(x), expected)
            assert f(x).dtype == expected.dtype
    for x in arrays[-4:]:
        assert served(f, x)[1]


class Tagged(np.ndarray):
    pass


@needs_native
@pytest.mark.parametrize(
    "make",
    [
        lambda: X.view(Tagged),
        lambda: X.astype(">f8"),
        lambda: np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view("f8"),
        lambda: np.zeros(5, [("a", "f8"), ("b", "i4")])["a"],
    ],
    ids=["subclass", "byte order", "unaligned", "field"],
)
def test_unusual_arrays_take_the_general_path(make: Callable[[], Any]) -> None:
    f = warmed(tj.jit(lambda x: x * 2), X)
    x = make()
    for _ in range(4):
        try:
            expected = general(f, x)
        except DTypeError as error:
            with pytest.raises(DTypeError) as raised:
                f(x)
            assert str(raised.value) == str(error)
        else:
            same(f(x), expected)


@needs_native
@pytest.mark.parametrize("bad", [X.astype(complex), "text", None, {1, 2}, np.ma.masked_array(X), object()])
def test_wrong_arguments_raise_what_they_raised_before(bad: Any) -> None:
    f = warmed(tj.grad_jit(lambda x, y: (x * y).sum()), X, X)
    with pytest.raises(Exception) as before:
        general(f, X, bad)
    with pytest.raises(type(before.value)) as raised:
        f(X, bad)
    assert str(raised.value) == str(before.value)


@needs_native
def test_too_few_and_too_many_arguments_raise_what_they_raised_before() -> None:
    f = warmed(tj.grad_jit(lambda x, y: (x * y).sum()), X, X)
    for args in ((), (X,), (X, X, X)):
        with pytest.raises(TypeError) as before:
            general(f, *args)
        with pytest.raises(TypeError) as raised:
            f(*args)
        assert str(raised.value) == str(before.value)


@needs_native
def test_an_index_outside_raises_with_the_users_line() -> None:
    f = warmed(tj.jit(lambda x, i: x[i] * 2), X, np.array([0, 1]))
    assert served(f, X, np.array([1, 2]))[1]
    for _ in range(3):
        with pytest.raises(IndexOutOfBoundsError, match="outside an axis of size 5") as raised:
            f(X, np.array([0, 5]))
    assert "test_entry.py" in str(raised.value)
    np.testing.assert_array_equal(f(X, np.array([0, 1])), X[:2] * 2)


@needs_native
def test_a_huge_int_raises_as_before() -> None:
    f = warmed(tj.jit(lambda x, n: x * n), X, 3)
    with pytest.raises(OverflowError) as before:
        general(f, X, 2**70)
    with pytest.raises(OverflowError) as raised:
        f(X, 2**70)
    assert str(raised.value) == str(before.value)


# --- traces -------------------------------------------------------------------------------------------------


@needs_native
def test_a_call_with_arrays_inside_a_trace_becomes_part_of_it() -> None:
    inner = warmed(tj.jit(lambda x: x * x), X)
    hits = entry.NATIVE_HITS.value
    outer = tj.grad(lambda x: (x * inner(X)).sum())
    np.testing.assert_array_equal(outer(X), X * X)
    assert entry.NATIVE_HITS.value == hits
    assert "multiply" in str(tj.inspect(lambda x: (x * inner(X)).sum())(X))
    assert served(inner, X)[1]


@needs_native
def test_a_trace_that_fails_is_not_counted_as_under_way() -> None:
    f = warmed(tj.jit(lambda x: x + 1), X)

    def fails(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tj.jit(fails)(X)
    assert entry.TRACES_UNDER_WAY.value == 0
    assert served(f, X)[1]


@needs_native
def test_a_function_that_calls_itself_through_its_transform_is_traced() -> None:
    @tj.jit
    def power(x: Any, n: int) -> Any:
        return x

    def f(x: Any) -> Any:
        return g_inner(x) * x

    g_inner = tj.jit(lambda x: x + 1)
    g = warmed(tj.grad_jit(lambda x: f(x).sum()), X)
    np.testing.assert_allclose(g(X)[1], 2 * X + 1)
    assert power(X, 2) is not X


# --- what a transformed function is -------------------------------------------------------------------------


@needs_native
def test_it_stays_an_ordinary_object() -> None:
    def loss(w: Any, x: Any = 1.0) -> Any:
        """The loss."""
        return (w * x).sum()

    f = warmed(tj.grad_jit(loss), X, X)
    assert callable(f)
    assert isinstance(f, type(tj.jit(loss)))
    assert f.__wrapped__ is loss
    assert (f.__name__, f.__doc__) == ("loss", "The loss.")
    assert str(inspect.signature(f)) == "(w: 'Any', x: 'Any' = 1.0) -> 'Any'"
    assert repr(f) == "<grad_jit of loss>"
    np.testing.assert_array_equal(f.grad(X, X), X)
    assert f.value(X, X) == (X * X).sum()
    assert next(map(f, [X], [X]))[0] == (X * X).sum()
    assert f(*(X, X))[0] == f.__call__(X, X)[0]


def module_loss(x: Any) -> Any:
    return (x * x).sum()


module_loss_jit = tj.jit(module_loss)


@needs_native
def test_copies_and_pickles_are_called_as_the_original() -> None:
    f = warmed(tj.grad_jit(module_loss), X)
    for other in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        for _ in range(3):
            same(other(X), f(X))


# --- counts, references, memory -----------------------------------------------------------------------------


@needs_native
def test_calls_by_machine_code_count_as_hits() -> None:
    f = warmed(tj.jit(lambda x: x + 1), X)
    before = tj.cache_info()
    for _ in range(10):
        f(X)
    after = tj.cache_info()
    assert after.hits - before.hits == 10
    assert after.traces == before.traces


@needs_native
@pytest.mark.parametrize("name", ["value and gradient", "nested", "temporaries", "has_aux", "a Python int"])
def test_ten_thousand_calls_leak_nothing(name: str) -> None:
    f, args = CASES[name]
    warmed(f, *args)

    def leaves(tree: Any) -> list[Any]:
        if isinstance(tree, dict):
            return [x for item in tree.values() for x in leaves(item)]
        return [x for item in tree for x in leaves(item)] if isinstance(tree, (list, tuple)) else [tree]

    watched = [*leaves(args), *args, None, X.dtype, np.dtype("u1"), f, f._programs._first]
    for _ in range(100):
        f(*args)
    gc.collect()
    counts = [sys.getrefcount(x) for x in watched]
    tracemalloc.start()
    f(*args)
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(10_000):
        f(*args)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert [sys.getrefcount(x) for x in watched] == counts
    assert grown < 10_000


@needs_native
def test_calls_that_miss_or_fail_leak_nothing() -> None:
    f = warmed(tj.jit(lambda p, i: p["x"][i]), {"x": X}, np.array([0, 1]))
    bad, wrong = np.array([0, 9]), {"x": X, "y": X}
    x = X.copy()

    def fail() -> None:
        with pytest.raises(IndexOutOfBoundsError):
            f({"x": x}, bad)
        with pytest.raises(ArgumentError):
            f(wrong, object())

    fail()
    gc.collect()
    counts = [sys.getrefcount(thing) for thing in (x, bad, wrong)]
    for _ in range(50):
        fail()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in (x, bad, wrong)] == counts


@needs_native
def test_an_array_taken_out_of_its_container_by_another_thread_stays_alive() -> None:
    f = tj.grad_jit(lambda p: np.tanh(p["x"] * 0.5).sum())
    params = {"x": np.ones(200_000)}
    expected = warmed(f, params)(params)[0]
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            params["x"] = np.ones(200_000)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(100):
            assert f(params)[0] == expected
    finally:
        stop.set()
        thread.join()


@needs_native
def test_threads_call_replace_and_clear_at_once() -> None:
    f = tj.jit(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))
    arrays = [np.random.default_rng(k).standard_normal((40, 5 + k)) for k in range(12)]
    expected = [general(f, x) for x in arrays]

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for n in range(150):
            k = int(random.integers(12))
            np.testing.assert_array_equal(f(arrays[k]), expected[k])
            if n % 50 == 49:
                f.clear()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_served_too() -> None:
    f = warmed(tj.grad_jit(lambda x: (x * x).sum()), X)
    child = os.fork()
    if child == 0:
        is_right = served(f, X)[1] and bool((f(X)[1] == 2 * X).all()) and tj.jit(lambda x: x + 3)(X)[0] == 3.5
        os._exit(0 if is_right else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- the fallback -------------------------------------------------------------------------------------------


def test_python_serves_all_calls_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEJIT_ENTRY", "python")
    f = tj.grad_jit(lambda p, x: (p["w"] * x).sum())
    params = {"w": X}
    for _ in range(5):
        value, grads = f(params, X)
        assert value == (X * X).sum()
        np.testing.assert_array_equal(grads["w"], X)
    assert f._programs._first is None
    assert not served(f, params, X)[1]


@needs_native
def test_python_serves_all_calls_where_the_code_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, config: Any) -> Any:
        raise InternalError("no such target")

    monkeypatch.setattr("tracejit.runtime.cache.get_machinery", fail)
    monkeypatch.setattr(entry, "_loaded", [])
    monkeypatch.setattr(entry, "_failures", [])
    f = tj.jit(lambda x: x + 1)
    f(X)
    with pytest.warns(CacheWarning, match="calls are served by Python, which is slower: no such target"):
        f(X)
    for _ in range(3):
        np.testing.assert_array_equal(f(X), X + 1)
    assert not served(f, X)[1]


@needs_native
def test_a_subclass_with_a_call_of_its_own_is_called_by_it() -> None:
    class Loud(type(tj.jit(module_loss))):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "mine", super().__call__(*args, **kwargs)

    f = Loud(module_loss, module_loss_jit._options)
    for _ in range(4):
        assert f(X) == ("mine", (X * X).sum())


@needs_native
def test_methods_that_were_served_do_not_keep_their_instance_alive() -> None:
    class Model:
        @tj.grad_jit
        def loss(self, x: Any) -> Any:
            return (x * x).sum()

    model = Model()
    for _ in range(4):
        model.loss(X)
    assert served(model.loss, X)[1]
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_python_serves_all_calls_where_objects_are_laid_out_in_another_way() -> None:
    program = """
import sys, sysconfig
sysconfig.get_config_vars()["Py_GIL_DISABLED"] = 1
import numpy as np, tracejit as tj
from tracejit.runtime.calls import entry
assert not entry.HAS_NATIVE_CALLS
f = tj.grad_jit(lambda x: (x * x).sum())
x = np.arange(3.0)
for _ in range(5):
    value, grad = f(x)
    assert value == 5 and (grad == 2 * x).all(), (value, grad)
out = np.empty(3)
assert f(x, out=out)[1] is out and (out == 2 * x).all()
assert tj.cache_info().hits == 5, tj.cache_info()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
