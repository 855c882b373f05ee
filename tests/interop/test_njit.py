"""Transformed functions called from the user's own `@njit` code give what they give outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import tracejit as tj
from tests.interop.losses import Pair, layouts
from tracejit.interop.records import BLOCK, Site
from tracejit.runtime import blocks

ROOT = Path(__file__).parents[2]


@tj.grad_jit(argnums=(0, 1))
def affine(w: Any, b: Any, x: Any, y: Any) -> Any:
    return ((x @ w + b - y) ** 2).mean()


@tj.jit
def spread(x: Any) -> Any:
    return x - x.mean(), x.sum(), np.tanh(x) * 2


@numba.njit
def call_affine(w: Any, b: Any, x: Any, y: Any) -> Any:
    return affine(w, b, x, y)


@numba.njit
def call_spread(x: Any) -> Any:
    return spread(x)


def agree(inside: Any, outside: Any) -> None:
    """Equal nesting, types and, to the last bit but for the way of summing, values."""
    if isinstance(outside, tuple):
        assert type(inside) is type(outside)
        assert len(inside) == len(outside)
        for a, b in zip(inside, outside, strict=True):
            agree(a, b)
    elif isinstance(outside, np.ndarray):
        assert isinstance(inside, np.ndarray)
        assert inside.dtype == outside.dtype
        assert inside.shape == outside.shape
        np.testing.assert_array_equal(inside, outside)
    elif outside is None:
        assert inside is None
    else:
        assert np.isscalar(inside)
        np.testing.assert_array_equal(inside, outside)


def data(rng: np.random.Generator, n: int, k: int) -> tuple[Any, ...]:
    return rng.normal(size=k), 0.5, rng.normal(size=(n, k)), rng.normal(size=n)


# --- values -------------------------------------------------------------------------------------------------


def test_value_and_gradients_are_those_of_an_ordinary_call(rng: np.random.Generator) -> None:
    arguments = data(rng, 50, 7)
    agree(call_affine(*arguments), affine(*arguments))


def test_other_sizes_need_no_new_compilation(rng: np.random.Generator) -> None:
    call_affine(*data(rng, 41, 11))
    before, overloads = tj.cache_info(), len(call_affine.signatures)
    for n, k in ((42, 11), (7, 6), (300, 20), (42, 11)):
        arguments = data(rng, n, k)
        agree(call_affine(*arguments), affine(*arguments))
    after = tj.cache_info()
    assert after.compiles == before.compiles
    assert after.traces == before.traces + 3
    assert len(call_affine.signatures) == overloads


def test_sizes_that_come_again_ask_nobody(rng: np.random.Generator) -> None:
    small, large = data(rng, 12, 5), data(rng, 13, 5)
    call_affine(*small), call_affine(*large)
    before = tj.cache_info()
    for _ in range(5):
        call_affine(*small), call_affine(*large)
    assert tj.cache_info() == before


def test_more_sizes_than_a_chain_holds_are_found_again(rng: np.random.Generator) -> None:
    inputs = [rng.normal(size=n) for n in range(5, 80)]
    for x in inputs + inputs:
        agree(call_spread(x), spread(x))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1", "?"])
def test_results_have_the_dtypes_of_an_ordinary_call(dtype: str, rng: np.random.Generator) -> None:
    @tj.jit
    def mixed(x: Any, scale: Any) -> Any:
        return x * scale, x.sum(), x > 0, np.exp(x * 0.5)

    @numba.njit
    def inside(x: Any, scale: Any) -> Any:
        return mixed(x, scale)

    x = rng.integers(0, 2, size=9).astype(dtype)
    for scale in (2.5, 3, True):
        agree(inside(x, scale), mixed(x, scale))


@pytest.mark.parametrize("name", list(layouts(np.zeros((4, 6)))))
def test_every_layout_is_read_where_it_is(name: str, rng: np.random.Generator) -> None:
    x = layouts(rng.normal(size=(8, 12)))[name]
    agree(call_spread(x), spread(x))


def test_layouts_of_one_numba_type_are_told_apart(rng: np.random.Generator) -> None:
    @numba.njit
    def rows(x: Any, start: int, step: int) -> Any:
        return spread(x[start::step])

    x = rng.normal(size=(24, 5))
    for start, step in ((0, 1), (0, 2), (23, -1), (5, 3)):
        agree(rows(x, start, step), spread(x[start::step]))


def test_arrays_that_are_not_aligned_are_read_right(rng: np.random.Generator) -> None:
    whole = rng.normal(size=12)
    memory = np.zeros(12 * 8 + 1, np.uint8)
    x = memory[1:].view(np.float64)
    x[:] = whole
    agree(call_spread(x), spread(whole))
    agree(call_spread(x[::2]), spread(whole[::2].copy()))
    agree(call_spread(np.zeros(3, "i1,f8")["f1"]), spread(np.zeros(3)))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3, 4)])
def test_any_number_of_axes_and_no_elements(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    @tj.jit
    def double(x: Any) -> Any:
        return 2 * x, x.sum()

    @numba.njit
    def inside(x: Any) -> Any:
        return double(x)

    x = rng.normal(size=shape)
    agree(inside(x), double(x))


def test_the_gradient_of_a_0d_array_is_one() -> None:
    cube = tj.grad_jit(lambda x: x**3)

    @numba.njit
    def inside(x: Any) -> Any:
        return cube(x)

    agree(inside(np.array(2.0)), cube(np.array(2.0)))
    agree(inside(2.0), cube(2.0))


def test_float32_scalars_keep_their_type_and_python_numbers_have_none() -> None:
    @tj.jit
    def scale(x: Any, a: Any) -> Any:
        return x * a

    @numba.njit
    def inside(x: Any, a: Any) -> Any:
        return scale(x, a)

    x = np.ones(5, np.float32)
    assert inside(x, 2.0).dtype == scale(x, 2.0).dtype == np.float32
    assert inside(x, np.float32(2)).dtype == np.float32
    assert inside(x.astype("f8"), np.float32(2)).dtype == np.float64


def test_tuples_and_named_tuples_go_in_and_come_out(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(params: Any, x: Any) -> Any:
        w, (b, pair) = params
        return ((x @ w + b) ** 2).sum() + (pair.first * pair.second).sum()

    @numba.njit
    def inside(params: Any, x: Any) -> Any:
        return loss(params, x)

    params = (rng.normal(size=3), (1.5, Pair(rng.normal(size=4), rng.normal(size=4))))
    x = rng.normal(size=(5, 3))
    agree(inside(params, x), loss(params, x))


def test_auxiliary_results_and_none() -> None:
    @tj.grad_jit(has_aux=True)
    def loss(w: Any) -> Any:
        return (w**2).sum(), (w + 1, None, w.max())

    @numba.njit
    def inside(w: Any) -> Any:
        return loss(w)

    agree(inside(np.arange(6.0)), loss(np.arange(6.0)))


def test_keywords_defaults_and_variants(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(w: Any, x: Any, scale: Any = 2.0) -> Any:
        return scale * ((x @ w) ** 2).sum()

    @numba.njit
    def inside(w: Any, x: Any) -> Any:
        return loss(w, x), loss(w, scale=3.0, x=x), loss.value(w, x), loss.grad(w, x=x)

    w, x = rng.normal(size=3), rng.normal(size=(4, 3))
    agree(inside(w, x), (loss(w, x), loss(w, scale=3.0, x=x), loss.value(w, x), loss.grad(w, x=x)))


def test_defaults_are_differentiated_where_they_are_selected(rng: np.random.Generator) -> None:
    @tj.grad_jit(argnums=(0, 1))
    def loss(w: Any, scale: Any = 2.0, power: Any = 3) -> Any:
        return (scale * w**power).sum()

    @numba.njit
    def inside(w: Any) -> Any:
        return loss(w), loss(w, power=2)

    w = rng.normal(size=5)
    agree(inside(w), (loss(w), loss(w, power=2)))


def test_none_is_an_argument(rng: np.random.Generator) -> None:
    @tj.jit
    def shifted(x: Any, pair: Any, bias: Any = None) -> Any:
        w, b = pair
        z = x * w if b is None else x * w + b
        return z if bias is None else z + bias

    @numba.njit
    def inside(x: Any, w: Any) -> Any:
        return shifted(x, (w, None)), shifted(x, (w, w), None), shifted(x, (w, None), bias=1.0)

    x, w = rng.normal(size=4), rng.normal(size=4)
    agree(inside(x, w), (shifted(x, (w, None)), shifted(x, (w, w)), shifted(x, (w, None), 1.0)))


def test_static_arguments_are_known_to_the_compiler() -> None:
    @tj.jit(static_argnames=("power", "mode"))
    def raised(x: Any, power: Any, mode: Any = "sum") -> Any:
        return getattr(x**power, mode)()

    @numba.njit
    def inside(x: Any, power: Any) -> Any:
        return raised(x, power), raised(x, 3, mode="max")

    x = np.arange(5.0)
    for power in (2, 5):
        agree(inside(x, power), (raised(x, power), raised(x, 3, mode="max")))


def test_a_function_may_be_an_argument(rng: np.random.Generator) -> None:
    @numba.njit
    def minimize(loss: Any, w: Any) -> Any:
        for _ in range(20):
            w = w - 0.1 * loss(w)[1]
        return w

    one, two = tj.grad_jit(lambda w: (w**2).sum()), tj.grad_jit(lambda w: ((w - 1) ** 2).sum())
    w = rng.normal(size=5)
    assert abs(minimize(one, w)).max() < 0.1
    assert abs(minimize(two, w) - 1).max() < 0.1


def test_functions_of_one_name_are_two() -> None:
    def make(scale: float) -> Any:
        def loss(w: Any) -> Any:
            return scale * (w**2).sum()

        return tj.grad_jit(loss)

    one, two = make(1.0), make(10.0)

    @numba.njit
    def both(w: Any) -> Any:
        return one(w)[0], two(w)[0]

    assert both(np.ones(3)) == (3.0, 30.0)


def test_matrix_products_of_any_size(rng: np.random.Generator) -> None:
    @tj.grad_jit(argnums=(0, 1))
    def loss(a: Any, b: Any) -> Any:
        return np.tanh(a @ b).sum()

    @numba.njit
    def inside(a: Any, b: Any) -> Any:
        return loss(a, b)

    for n in (3, 40):
        a, b = rng.normal(size=(n, 30)), rng.normal(size=(30, n))
        agree(inside(a, b), loss(a, b))
        agree(inside(a, np.asfortranarray(b)), loss(a, np.asfortranarray(b)))


def test_a_network_is_trained_without_python(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(params: Any, x: Any, y: Any) -> Any:
        w, b, v = params
        return ((np.tanh(x @ w + b) @ v - y) ** 2).mean()

    @numba.njit
    def descend(params: Any, x: Any, y: Any, steps: int) -> Any:
        value = 0.0
        for _ in range(steps):
            value, (dw, db, dv) = loss(params, x, y)
            w, b, v = params
            params = (w - 0.1 * dw, b - 0.1 * db, v - 0.1 * dv)
        return value, params

    params = rng.normal(size=(16, 32)), np.zeros(32), rng.normal(size=(32, 8))
    x, y = rng.normal(size=(64, 16)), rng.normal(size=(64, 8))
    agree(descend(params, x, y, 4), descend.py_func(params, x, y, 4))
    (site,) = loss.call_sites.values()
    assert [record.program for record in site.records.values()] == [None]


def test_steps_that_only_numpy_can_run_are_run_by_it(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(x: Any, y: Any) -> Any:
        return (np.cumprod(x) * y).sum() + np.cumsum(x * y).max()

    @numba.njit(parallel=True)
    def inside(x: Any, ys: Any) -> Any:
        values = np.empty(len(ys))
        slopes = np.empty((len(ys), len(x)))
        for k in numba.prange(len(ys)):
            values[k], slopes[k] = loss(x, ys[k])
        return values, slopes

    x, ys = rng.normal(size=9), rng.normal(size=(12, 9))
    rows = [loss(x, y) for y in ys]
    agree(inside(x, ys), (np.array([v for v, _ in rows]), np.array([g for _, g in rows])))


def test_workspaces_grow_and_are_used_again(rng: np.random.Generator) -> None:
    @tj.jit
    def twice(x: Any) -> Any:
        y = x - x.mean(axis=0)
        return (y / y.std(axis=0)).sum(axis=1)

    @numba.njit
    def inside(x: Any) -> Any:
        return twice(x)

    for n in (5, 400, 6, 3000):
        x = rng.normal(size=(n, 7))
        agree(inside(x), twice(x))


def standardized(x: Any) -> Any:
    y = x - x.mean(axis=0)
    return (y / y.std(axis=0)).sum(axis=1)


def test_memory_that_compiled_callers_keep_can_be_released(rng: np.random.Generator) -> None:
    standard = tj.jit(standardized)

    @numba.njit
    def inside(x: Any) -> Any:
        return standard(x)

    x = rng.normal(size=(400, 7))
    expected = standard(x)
    tj.release_memory()
    for _ in range(3):
        agree(inside(x), expected)
        assert tj.release_memory() > 0
        assert tj.release_memory() == 0


def test_the_word_of_a_site_that_is_gone_is_forgotten() -> None:
    site = Site()
    word = site.address + 8 * BLOCK
    assert word in blocks.WORDS
    del site
    assert word not in blocks.WORDS


def test_memory_is_released_while_compiled_callers_run(rng: np.random.Generator) -> None:
    standard = tj.jit(standardized)

    @numba.njit(nogil=True)
    def inside(x: Any, times: int) -> Any:
        total = 0.0
        for _ in range(times):
            total += standard(x)[0]
        return total

    x = rng.normal(size=(50, 7))
    expected = inside(x, 20_000)
    released = 0
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(inside, x, 20_000) for _ in range(3)]
        while not all(f.done() for f in running):
            released += tj.release_memory()
    assert released > 0 and all(f.result() == expected for f in running)


# --- captured values ----------------------------------------------------------------------------------------


def test_captured_arrays_are_read_at_each_call(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)

    @tj.grad_jit
    def loss(w: Any) -> Any:
        return ((x @ w - y) ** 2).sum()

    @numba.njit
    def inside(w: Any) -> Any:
        return loss(w)

    w = rng.normal(size=3)
    agree(inside(w), loss(w))
    y += 1
    agree(inside(w), loss(w))


def test_captured_numbers_are_those_of_the_first_call_until_clear() -> None:
    scale = 2.0

    @tj.jit
    def scaled(x: Any) -> Any:
        return scale * x

    @numba.njit
    def inside(x: Any) -> Any:
        return scaled(x)

    x = np.ones(5)
    agree(inside(x), scaled(x))
    scale = 3.0
    assert inside(x)[0] == 2.0
    scaled.clear()
    agree(inside(x), scaled(x))
    assert inside(x)[0] == 3.0


# --- threads ------------------------------------------------------------------------------------------------


def test_many_threads_each_have_a_workspace(rng: np.random.Generator) -> None:
    @tj.jit
    def scores(x: Any) -> Any:
        y = np.exp(x - x.max())
        return (y / y.sum()).std()

    @numba.njit(parallel=True)
    def inside(xs: Any) -> Any:
        result = np.empty(len(xs))
        for k in numba.prange(len(xs)):
            result[k] = scores(xs[k])
        return result

    xs = rng.normal(size=(500, 333))
    expected = np.array([scores(x) for x in xs])
    for _ in range(3):
        np.testing.assert_array_equal(inside(xs), expected)


@pytest.mark.parametrize("fuse", [True, False])
def test_unfused_functions_run_too(fuse: bool, rng: np.random.Generator) -> None:
    softmax = tj.jit(lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), fuse=fuse)

    @numba.njit
    def inside(x: Any) -> Any:
        return softmax(x)

    x = rng.normal(size=11)
    agree(inside(x), softmax(x))


def test_threads_that_call_at_once_for_the_first_time(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(w: Any, x: Any) -> Any:
        return (np.tanh(x @ w) ** 2).mean()

    @numba.njit(nogil=True)
    def inside(w: Any, x: Any) -> Any:
        return loss(w, x)

    w = rng.normal(size=5)
    xs = [rng.normal(size=(n, 5)) for n in range(5, 25)]
    inside(w, xs[0])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: inside(w, x), xs * 10))
    for x, result in zip(xs * 10, results, strict=True):
        agree(result, loss(w, x))


# --- other callers ------------------------------------------------------------------------------------------


def test_numpy_ufuncs_made_by_numba() -> None:
    slope = tj.grad(lambda x: x**3)

    @numba.vectorize(["f8(f8)"])
    def slopes(x: Any) -> Any:
        return slope(x)

    np.testing.assert_array_equal(slopes(np.arange(4.0)), [0.0, 3.0, 12.0, 27.0])


def test_options_of_the_caller_leave_the_call_as_it_is(rng: np.random.Generator) -> None:
    x = rng.normal(size=9)
    for options in ({"fastmath": True}, {"boundscheck": True}, {"error_model": "numpy"}, {"debug": True}):
        inside = numba.njit(**options)(call_spread.py_func)
        agree(inside(x), spread(x))


def test_callers_of_callers_and_inlined_ones(rng: np.random.Generator) -> None:
    @numba.njit(inline="always")
    def inlined(x: Any) -> Any:
        return spread(x)

    @numba.njit
    def outer(x: Any) -> Any:
        return call_spread(x), inlined(x)

    x = rng.normal(size=6)
    agree(outer(x), (spread(x), spread(x)))


def test_an_array_in_two_roles_and_one_that_is_written_between_calls() -> None:
    @tj.grad_jit
    def loss(a: Any, b: Any) -> Any:
        return (a * b).sum()

    @numba.njit
    def inside(x: Any) -> Any:
        total = 0.0
        for _ in range(3):
            value, g = loss(x, x)
            x += g
            total += value
        return total

    assert inside(np.ones(2)) == 2 + 8 + 32
