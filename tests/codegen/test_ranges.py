"""What is cut into strands: single vectors, places of maxima, batches of matrices, checked indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.codegen.regions import RangedBatch
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import evaluate
from tracejit.runtime import blas


def bits(results: list[Any]) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in results]


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


def log_sum_exp(x: Any) -> Any:
    highest = np.max(x)
    return highest + np.log(np.sum(np.exp(x - highest)))


def standardized(x: Any) -> Any:
    return (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5)


def attention(q: Any, k: Any, v: Any) -> Any:
    weights = np.exp(np.matmul(q, np.swapaxes(k, -1, -2)) / 4)
    return np.mean(np.matmul(weights / np.sum(weights, axis=-1, keepdims=True), v) ** 2)


def likelihood(s: Any, x: Any) -> Any:
    factor = np.linalg.cholesky(s)
    half = np.linalg.solve(s, x[..., None])[..., 0]
    return np.sum(x * half) + 2 * np.sum(np.log(np.diagonal(factor, axis1=-2, axis2=-1)))


def matrices(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, *shape: int) -> Any:
    a = rng.standard_normal(shape)
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


def cut_calls(rng: np.random.Generator) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Calls that are large enough to be cut."""
    vector = matrices(rng, 300_000)
    batch = [matrices(rng, 40, 30, 20) for _ in range(3)]
    return {
        "softmax": (tj.jit(softmax), (vector,)),
        "log-sum-exp": (tj.jit(log_sum_exp), (vector,)),
        "gradient of log-sum-exp": (tj.grad_jit(log_sum_exp), (vector,)),
        "standardized": (tj.jit(standardized), (vector,)),
        "argmax": (tj.jit(lambda x: (np.argmax(x), np.argmin(x), np.sum(x))), (vector,)),
        "argmax of float32": (tj.jit(lambda x: np.argmax(x)), (vector.astype("f4"),)),
        "argmin of integers": (tj.jit(lambda x: np.argmin(x)), ((1000 * vector).astype("i4"),)),
        "value at the maximum": (tj.grad_jit(lambda x: x[np.argmax(x)] ** 2), (vector,)),
        "product": (tj.jit(lambda a, b: a @ b), (matrices(rng, 60, 40, 30), matrices(rng, 60, 30, 20))),
        "two batch axes": (
            tj.jit(lambda a, b: a @ b),
            (matrices(rng, 3, 20, 40, 30), matrices(rng, 3, 20, 30, 20)),
        ),
        "einsum": (
            tj.jit(lambda a, b: np.einsum("ibj,bkj->bik", a, b)),
            (matrices(rng, 40, 60, 30), matrices(rng, 60, 20, 30)),
        ),
        "attention": (tj.grad_jit(attention, argnums=(0, 1, 2)), tuple(batch)),
        "cholesky": (tj.jit(lambda s: np.linalg.cholesky(s)), (positive(rng, 60, 40, 40),)),
        "solve": (
            tj.jit(lambda s, x: np.linalg.solve(s, x)),
            (positive(rng, 60, 40, 40), matrices(rng, 60, 40, 7)),
        ),
        "determinants": (tj.jit(lambda s: np.linalg.slogdet(s)), (positive(rng, 60, 40, 40),)),
        "likelihood": (
            tj.grad_jit(likelihood, argnums=(0, 1)),
            (positive(rng, 60, 40, 40), matrices(rng, 60, 40)),
        ),
    }


CUT_CALLS = tuple(cut_calls(np.random.default_rng(0)))


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("name", CUT_CALLS)
def test_large_calls_are_cut_and_the_same_bits_for_any_number_of_threads(
    name: str, rng: np.random.Generator
) -> None:
    function, arguments = cut_calls(rng)[name]
    record = record_call(function, arguments, {})
    arrays = [np.asarray(a) for a in record.arrays]
    expected = evaluate(record.graph, arrays)
    found: set[tuple[bytes, ...]] = set()
    for threads in (1, 2, 3, 8):
        stages = run_stages(record.graph, record.fuse, threads=threads)
        regions = stages.program.regions.values()
        assert max(r.strands for r in regions) > 1
        assert all(r.strands > 1 for r in regions if any(isinstance(s, RangedBatch) for s in r.steps))
        results = [stages.executable(arrays) for _ in range(3)]
        found |= {tuple(bits(r)) for r in results}
        for ours, theirs in zip(results[0], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
@pytest.mark.parametrize("places", [(5,), (250_000, 70_000), (299_999, 0), (100_000, 100_001, 200_000)])
def test_the_first_of_equal_maxima_wins_whatever_strand_it_is_in(dtype: str, places: Any) -> None:
    x = np.zeros(300_000, dtype)
    x[list(places)] = 7
    for threads in (1, 3):
        highest = tj.jit(lambda x: np.argmax(x), threads=threads)
        lowest = tj.jit(lambda x: np.argmin(x), threads=threads)
        assert highest(x) == min(places) and lowest(-x) == min(places)
        assert highest(np.zeros_like(x)) == 0 and lowest(np.full_like(x, 3)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_nan_is_the_maximum_and_infinities_are_numbers(value: float) -> None:
    both = tj.jit(lambda x: (np.argmax(x), np.argmin(x), np.max(x), np.min(x)), threads=2)
    for places in ((299_000,), (3, 200_000), (150_000, 150_001, 290_000)):
        x = np.linspace(-1, 1, 300_000)
        x[list(places)] = value
        np.testing.assert_array_equal(both(x), (np.argmax(x), np.argmin(x), np.max(x), np.min(x)))
    full = np.full(300_000, value)
    np.testing.assert_array_equal(both(full), (0, 0, value, value))


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_small_batches_are_one_strand(rng: np.random.Generator) -> None:
    record = record_call(tj.jit(lambda a, b: a @ b), (matrices(rng, 6, 20, 20), matrices(rng, 6, 20, 20)), {})
    (region,) = run_stages(record.graph).program.regions.values()
    assert isinstance(region.steps[0], RangedBatch) and region.strands == 1


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_a_batch_runs_tile_by_tile_with_the_loops_around_it(rng: np.random.Generator) -> None:
    a, b = matrices(rng, 200, 50, 40), matrices(rng, 200, 40, 50)
    record = record_call(tj.grad_jit(lambda a, b: np.sum(np.tanh(a @ b)), argnums=(0, 1)), (a, b), {})
    (region,) = run_stages(record.graph).program.regions.values()
    assert [type(s) for s in region.steps].count(RangedBatch) == 3
    assert region.tiles and region.tile < 200 and region.area_bytes < 200 * 50 * 50 * 8


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("wrong", [0, 31, 59])
def test_a_matrix_without_a_factor_is_reported_from_any_strand(wrong: int, rng: np.random.Generator) -> None:
    s = positive(rng, 60, 40, 40)
    s[wrong] = -np.eye(40)
    factor = tj.jit(lambda s: np.linalg.cholesky(s) * 2, threads=2)
    for _ in range(20):
        with pytest.raises(tj.LinAlgError, match="not positive definite"):
            factor(s)


def test_an_index_out_of_range_is_reported_from_any_strand(rng: np.random.Generator) -> None:
    """Strands that find nothing wrong must not write over what another one has found."""
    x, picked = rng.standard_normal(100), rng.integers(0, 100, 500_000)
    total = tj.jit(lambda x, k: np.sum(x[k]), threads=3)
    assert total(x, picked) == pytest.approx(np.sum(x[picked]))
    for place in range(5, 500_000, 10_000):
        outside = picked.copy()
        outside[place] = 100
        with pytest.raises(IndexError, match="outside an axis of size 100"):
            total(x, outside)


def test_which_of_several_errors_is_raised_does_not_depend_on_threads(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(100), rng.standard_normal(200)
    first, second = rng.integers(0, 100, 500_000), rng.integers(0, 200, 500_000)
    first[-1], second[0] = 100, 200
    for threads in (1, 3):
        total = tj.jit(lambda x, y, k, m: np.sum(x[k] * y[m]), threads=threads)
        for _ in range(20):
            with pytest.raises(IndexError, match="outside an axis of size 100"):
                total(x, y, first, second)


def adjusted(s: Any, x: Any) -> Any:
    return np.sum(np.linalg.solve(np.linalg.cholesky(s * 2) + 3 * np.eye(5), np.exp(x)))


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("tile", [0, 1, 3, None])
def test_a_batch_of_routines_in_place_is_the_same_in_tiles_of_any_size(
    tile: int | None, rng: np.random.Generator
) -> None:
    record = record_call(
        tj.grad_jit(adjusted, argnums=(0, 1)), (positive(rng, 30, 5, 5), rng.random((30, 5, 2))), {}
    )
    arrays = [np.asarray(a) for a in record.arrays]
    stages = run_stages(record.graph, config=Config(cache_dir=None, tile=tile))
    for ours, theirs in zip(stages.executable(arrays), evaluate(record.graph, arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    if tile == 0:
        offsets = stages.program.offsets
        (factor,) = [c for c in stages.program.library_calls if c.eqn.primitive.name == "cholesky"]
        assert offsets[factor.touched[0]] == offsets[factor.touched[1]]
