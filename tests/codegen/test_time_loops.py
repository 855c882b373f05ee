"""Loops over time run tile by tile of elements: the same results, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.test_api_scan import arguments, assert_same, oscillate, oscillate_in_python
from tracejit.api.record import record_call
from tracejit.codegen import work
from tracejit.compile import run_stages
from tracejit.pytree import flatten

TILES = (None, "1", "3", "16", "40")


@pytest.fixture(params=TILES)
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tiles of so many elements, and strands of few tiles."""
    monkeypatch.setattr(work, "STRAND_NS", 50.0)
    if request.param is not None:
        monkeypatch.setenv("TRACEJIT_TILE", request.param)
    return request.param


def step_by_step(f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *args: Any, **choices: Any) -> Any:
    """Value and gradients of `f` where each kernel runs by itself, over whole arrays."""
    with monkeypatch.context() as patch:
        patch.setenv("TRACEJIT_TILE", "0")
        return tj.grad_jit(f, **choices)(*args)


def same_bits(a: Any, b: Any) -> bool:
    pairs = zip(flatten(a)[0], flatten(b)[0], strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def regions_of(f: Callable[..., Any], *args: Any, **choices: Any) -> Any:
    record = record_call(tj.grad_jit(f, **choices), args, {})
    return list(run_stages(record.graph, record.fuse).executable.program.regions.values())


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("n", [0, 1, 5, 16, 33, 100])
def test_value_and_gradients_are_those_of_the_unrolled_loop(n: int) -> None:
    args = arguments(n, 4)
    got = tj.grad_jit(oscillate, argnums=(0, 1, 2, 3, 4))(*args)
    assert_same(got, tj.grad_jit(oscillate_in_python, argnums=(0, 1, 2, 3, 4))(*args))


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_threads_change_no_bit(dtype: str) -> None:
    args = arguments(203, 6, dtype)
    one, two, three = (tj.grad_jit(oscillate, argnums=(0, 1, 2, 3, 4), threads=k)(*args) for k in (1, 2, 3))
    assert same_bits(one, two) and same_bits(one, three)
    assert one[0].dtype == dtype
    apart = tj.grad_jit(oscillate, argnums=(0, 1, 2, 3, 4), fuse=False)(*args)
    assert_same(one, apart, {"f8": 1e-12, "f4": 2e-5}[dtype])


def mixed(a: Any, b: Any, rates: Any, xs: Any) -> Any:
    """Numbers of two types, counts and truth values are carried; rows of all of them are results."""

    def step(state: Any, x: Any) -> Any:
        a, b, count, seen = state
        seen = seen | (b > 0.5)
        a = a * np.float32(0.5) + np.where(seen, x, -x)
        b = b * rates + np.sin(a.astype("f8")) * count
        return (a, b, count + seen, seen), {"a": a, "b": b * b, "seen": seen}

    start = a, b, np.zeros(a.shape, np.int64), np.zeros(a.shape, bool)
    (a, b, count, _), rows = tj.scan(step, start, xs)
    loss = (a.astype("f8") * b).sum() + rows["b"].mean() + (rows["a"] * rows["a"]).sum()
    return loss, (rows, count)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("n", [7, 65])
def test_carries_of_several_types_and_rows_that_are_results(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    args = rng.normal(size=n).astype("f4"), rng.normal(size=n), rng.uniform(size=n), rng.normal(size=(9, n))
    args = *args[:3], args[3].astype("f4")
    choices: dict[str, Any] = {"argnums": (0, 1, 2, 3), "has_aux": True}
    got = tj.grad_jit(mixed, **choices)(*args)
    want = step_by_step(mixed, monkeypatch, *args, **choices)
    assert_same(got, want, 1e-6)
    (_, (rows, count)), grads = got
    assert [g.dtype for g in grads] == [np.float32, np.float64, np.float64, np.float32]
    _, (plain, plain_count) = mixed(*args)
    np.testing.assert_array_equal(count, plain_count)
    np.testing.assert_array_equal(rows["seen"], plain["seen"])
    np.testing.assert_allclose(rows["b"], plain["b"], rtol=1e-6, atol=1e-6)


def sums_in_time(q: Any, weights: Any, xs: Any) -> Any:
    """Sums over the elements of each step, and over the steps of each element; a start in two parts."""
    start = np.concatenate([q[:3] * 2, q[3:]])

    def step(q: Any, x: Any) -> Any:
        q = q * 0.9 + x
        return q, q

    last, path = tj.scan(step, start, xs)
    series = path.sum(axis=1)
    return (series * weights).sum() + np.tanh(path.mean(axis=0)).sum() + (last * last).sum()


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("n", [6, 50])
def test_sums_over_steps_and_over_elements(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    args = rng.normal(size=n), rng.normal(size=8), rng.normal(size=(8, n))
    got = tj.grad_jit(sums_in_time, argnums=(0, 1, 2))(*args)
    assert_same(got, step_by_step(sums_in_time, monkeypatch, *args, argnums=(0, 1, 2)), 1e-12)
    tj.check_grads(sums_in_time, args)


def two_loops(x: Any, rates: Any) -> Any:
    """A loop over the rows that another one leaves, on elements with two axes."""
    _, path = tj.scan(lambda x, _: (np.cos(x) + 0.1 * rates, x), x, length=5)
    last, after = tj.scan(lambda y, row: (y * 0.5 + row, (y + row).T), x, path * path)
    return (last * last).sum() + (after * 0.1).sum()


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("shape", [(33, 3), (6, 40)])
def test_a_loop_over_the_rows_of_another_one(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    args = rng.normal(size=shape), rng.normal(size=shape)
    got = tj.grad_jit(two_loops, argnums=(0, 1))(*args)
    assert_same(got, step_by_step(two_loops, monkeypatch, *args, argnums=(0, 1)), 1e-12)
    tj.check_grads(two_loops, args)


def with_rows_between(q: Any, noise: Any, w: Any) -> Any:
    """Rows that are made before a loop, sums over an axis that it has not, and places of maxima between."""
    xs = np.exp(-noise) * 0.1
    _, path = tj.scan(lambda q, x: (np.cos(q) + x, q), q, xs)
    wide = np.tanh(path[:, :, None] * w).sum(axis=2)
    first = np.take_along_axis(path, np.argmax(np.round(path, 1), axis=1)[:, None], axis=1)
    last, _ = tj.scan(lambda q, x: (q * 0.5 + x, None), q, wide * wide)
    return (last * last).sum() + (wide * path).sum() + first.sum()


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("n", [6, 37])
def test_rows_that_others_make_and_reduce(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    args = rng.normal(size=n), rng.normal(size=(7, n)), rng.normal(size=5)
    got = tj.grad_jit(with_rows_between, argnums=(0, 1, 2), threads=3)(*args)
    assert_same(got, step_by_step(with_rows_between, monkeypatch, *args, argnums=(0, 1, 2)), 1e-12)
    tj.check_grads(with_rows_between, args)


def test_rows_that_are_made_before_a_loop_are_a_tile_of_it() -> None:
    def end(q: Any, noise: Any) -> Any:
        xs = np.exp(-noise) * 0.1
        return tj.scan(lambda q, x: (q * x, None), q, xs)[0].sum() + xs.sum()

    (region,) = regions_of(end, np.ones(300), np.ones((70, 300)), argnums=0)
    assert len(region.steps) > 1 and (70, region.tile) in {region.shape_of(b) for b in region.tiles}


def fit(rate: Any, q: Any, p: Any, data: Any) -> Any:
    """How far the paths of springs are from measured ones."""

    def step(state: Any, _: Any) -> Any:
        q, p = state
        p = p - 0.01 * rate * q
        q = q + 0.01 * p
        return (q, p), q

    _, path = tj.scan(step, (q, p), length=data.shape[0])
    return ((path - data) ** 2).mean()


def fit_arguments(n: int, steps: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return (*rng.uniform(0.5, 2.0, (3, n)), rng.normal(size=(steps, n)))


def test_the_loops_and_what_lies_between_are_one_region_whose_rows_are_tiles() -> None:
    (region,) = regions_of(fit, *fit_arguments(1000, 500), argnums=(0, 1, 2))
    assert len(region.steps) == 3
    assert {b.shape for b in region.tiles} == {(500, 1000)}
    assert {region.shape_of(b) for b in region.tiles} == {(500, region.tile)}
    assert region.tile < 100


def test_memory_does_not_grow_with_the_number_of_elements() -> None:
    sizes = set()
    for n in (2000, 20_000):
        record = record_call(tj.grad_jit(fit, argnums=(0, 1, 2), threads=1), fit_arguments(n, 100), {})
        program = run_stages(record.graph, record.fuse).executable.program
        sizes.add(next(iter(program.regions.values())).area_bytes)
    assert len(sizes) == 1 and sizes.pop() <= work.TILE_BYTES


def test_a_loss_of_all_elements_keeps_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward loop cannot start before the sum is known."""

    def loss(rate: Any, q: Any, p: Any, data: Any) -> Any:
        return np.log(fit(rate, q, p, data))

    args = fit_arguments(300, 40)
    regions = regions_of(loss, *args, argnums=(0, 1, 2))
    assert len(regions) > 1
    got = tj.grad_jit(loss, argnums=(0, 1, 2))(*args)
    assert_same(got, step_by_step(loss, monkeypatch, *args, argnums=(0, 1, 2)), 1e-12)
    tj.check_grads(loss, fit_arguments(5, 6))
