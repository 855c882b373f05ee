"""Blocks of rows: where they are chosen, and every count of rows and columns around the number of lanes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import tracejit as tj
from tests.codegen.llvm.programs import Compiled, compiled
from tests.schedule.test_laws import SEEDS, check_fused_and_unfused, native_law, program_of
from tracejit.codegen.llvm import vectors
from tracejit.codegen.llvm.module import Module
from tracejit.codegen.llvm.vectors import plan_vectors
from tracejit.codegen.loops import Loop, walk


def logistic(w: Any, x: Any, y: Any) -> Any:
    return np.mean(np.logaddexp(0.0, -y * (x @ w)))


def squares(w: Any, x: Any, y: Any) -> Any:
    return np.mean((x @ w - y) ** 2)


def norms(w: Any, x: Any, y: Any) -> Any:
    """Two reductions of a row, results of rows that are stored, and a maximum over rows."""
    size = np.sqrt(np.sum(x * x * w, axis=1) ** 2 + 1.0)
    top = np.max(np.abs(x), axis=1)
    return np.sum(np.exp(-size) * top * y) + np.max(np.tanh(size * y))


def chosen(w: Any, x: Any, y: Any) -> Any:
    """A truth value and an index of a row, and a read at a place that is data."""
    k = np.argmax(x * w, axis=1)
    positive = np.all(x * w > -2.0, axis=1)
    return np.sum(np.where(positive, np.exp(y) * w[k], np.tanh(y)))


def shifted(w: Any, x: Any, y: Any) -> Any:
    """Guards on the row and on the column."""
    padded = np.concatenate([x[1:], x[:1]])
    return np.sum(np.log1p(np.exp(np.sum(padded * w, axis=1) * y)) * np.sum(x[:, :1] * w[:1], axis=1))


FUNCTIONS = [logistic, squares, norms, chosen, shifted]
SHAPES = [(1, 1), (3, 5), (7, 8), (8, 3), (9, 7), (16, 17), (17, 9), (40, 33), (0, 6), (6, 1)]


def data(n: int, m: int, dtype: str, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    return tuple(rng.standard_normal(s).astype(dtype) for s in ((m,), (n, m), (n,)))  # type: ignore[return-value]


def blocks_of(program: Compiled) -> int:
    executable = program.executable
    return sum(
        len(plan_vectors(k, {}, Module().lanes_of(k), executable.config.literal_limit).blocks)
        for k in executable.program.kernels
    )


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_any_number_of_rows_and_columns(
    function: Callable[..., Any], shape: tuple[int, int], dtype: str, rng: np.random.Generator
) -> None:
    if shape[0] == 0 and function is norms:
        pytest.skip("NumPy has no maximum of nothing")
    program = compiled(tj.grad_jit(function, argnums=(0, 1, 2)), *data(*shape, dtype, rng))
    program.check(rtol=2e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("turn", [lambda x: x[::-1], np.asfortranarray, lambda x: np.repeat(x, 2, 1)[:, ::2]])
def test_rows_of_matrices_that_lie_in_any_way(turn: Callable[[Any], Any], rng: np.random.Generator) -> None:
    w, x, y = data(19, 11, "f8", rng)
    compiled(tj.grad_jit(logistic, argnums=(0, 1)), w, turn(x), y[::-1]).check()


def test_rows_with_much_work_of_their_own_run_in_blocks(rng: np.random.Generator) -> None:
    arguments = data(100, 30, "f8", rng)
    assert blocks_of(compiled(tj.grad_jit(logistic), *arguments)) == 1
    assert blocks_of(compiled(lambda w, x, y: np.sum(x * w), *arguments)) == 0


def test_a_scratch_row_belongs_to_one_row_at_a_time(rng: np.random.Generator) -> None:
    def spread(x: Any) -> Any:
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return np.sum(np.tanh(e / np.sum(e, axis=1, keepdims=True)) ** 2)

    program = compiled(tj.grad_jit(spread), rng.standard_normal((50, 40)))
    rows = [k for k in program.executable.program.kernels if k.scratch]
    assert rows
    assert not any(plan_vectors(k, {}, 8, 4).blocks for k in rows)
    program.check()


def test_the_elementary_functions_of_a_block_run_on_vectors(rng: np.random.Generator) -> None:
    text = compiled(tj.grad_jit(logistic), *data(100, 30, "f8", rng)).text
    assert re.search(r"@(softplus|logaddexp|log1p)\.v[48]f64", text)
    assert "@log1p.f64" not in text


def test_blocks_hold_loops_that_are_not_blocks_themselves(rng: np.random.Generator) -> None:
    program = compiled(tj.grad_jit(norms, argnums=(0, 1)), *data(64, 30, "f8", rng))
    for kernel in program.executable.program.kernels:
        plan = plan_vectors(kernel, {}, 8, 4)
        for loop in walk(kernel.body):
            if id(loop) in plan.blocks:
                assert isinstance(loop, Loop)
                assert not plan.loops.isdisjoint(id(s) for s in walk(loop.body))


@native_law
@given(SEEDS)
def test_every_legal_block_does_what_the_evaluator_does(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "CROSSING_COST", -(10**6))
        check_fused_and_unfused(program_of(seed, gradient=True, steps=12))


# --- short rows in registers --------------------------------------------------------------------------------


def peaks(p: Any, x: Any, y: Any) -> Any:
    """Three columns of scratch a row, and sums of columns."""
    u = (x[:, None] - p[3:6]) / p[6:9]
    return np.mean((np.sum(p[:3] * np.exp(-0.5 * u * u), axis=1) - y) ** 2)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("n", [1, 3, 8, 9, 50])
def test_short_scratch_rows_have_a_copy_in_each_lane(n: int, dtype: str, rng: np.random.Generator) -> None:
    p = np.abs(rng.standard_normal(9)) + 0.5
    arguments = [a.astype(dtype) for a in (p, rng.standard_normal(n), rng.standard_normal(n))]
    program = compiled(tj.grad_jit(peaks, argnums=(0, 1)), *arguments)
    kernels = [k for k in program.executable.program.kernels if k.scratch]
    assert bool(kernels) == (n > 1)
    for kernel in kernels:
        assert plan_vectors(kernel, {}, Module().lanes_of(kernel), 4).expanded == frozenset(kernel.scratch)
    program.check(rtol=2e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("columns", [5, 9, 15, 16])
@pytest.mark.parametrize("n", [1, 7, 8, 37])
def test_rows_of_some_elements_run_side_by_side(
    n: int, columns: int, dtype: str, rng: np.random.Generator
) -> None:
    def cross_entropy(x: Any, y: Any) -> Any:
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return -np.mean(y * np.log(e / np.sum(e, axis=1, keepdims=True)))

    x, y = rng.standard_normal((n, columns)).astype(dtype), rng.random((n, columns)).astype(dtype)
    program = compiled(tj.grad_jit(cross_entropy), x, y)
    for kernel in program.executable.program.kernels:
        expanded = plan_vectors(kernel, {}, Module().lanes_of(kernel), 4).expanded
        assert expanded == frozenset(kernel.scratch if columns < 16 else ())
    program.check(rtol=2e-5 if dtype == "f4" else 1e-12)


def test_sizes_of_rows_that_run_side_by_side_are_data(rng: np.random.Generator) -> None:
    def softmax(x: Any) -> Any:
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return e / np.sum(e, axis=1, keepdims=True)

    texts = {compiled(softmax, rng.standard_normal((30, n))).text for n in (6, 10, 15)}
    longer = {compiled(softmax, rng.standard_normal((30, n))).text for n in (16, 40)}
    assert (len(texts), len(longer)) == (1, 1)
    assert texts != longer


def test_short_scratch_rows_of_truth_values(rng: np.random.Generator) -> None:
    def ranked(x: Any) -> Any:
        near = np.abs(x - np.mean(x, axis=1, keepdims=True)) < 0.5
        count = np.sum(near, axis=1, keepdims=True)
        return np.sum(np.where(near, np.exp(x) / count, x * count))

    compiled(tj.grad_jit(ranked), rng.standard_normal((21, 3))).check()


def test_sums_of_columns_stay_in_registers_until_the_loop_is_done(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(37), rng.standard_normal(4)
    compiled(lambda x, y: np.sum(np.exp(x)[:, None] * y, axis=0), x, y).check()
    compiled(lambda x, y: np.max(np.tanh(x)[:, None] * y, axis=0), x, y).check()
    compiled(lambda x, y: np.prod(np.tanh(x)[:, None] + y, axis=0), x[:9], y).check()


def test_a_product_that_is_used_at_once_runs_along_its_columns_and_not_in_blocks(
    rng: np.random.Generator,
) -> None:
    program = compiled(lambda x, w: np.tanh(x @ w), rng.standard_normal((30, 8)), rng.standard_normal((8, 8)))
    (kernel,) = program.executable.program.kernels
    plan = plan_vectors(kernel, {}, 8, 4)
    _, columns, products = (s for s in walk(kernel.body) if isinstance(s, Loop))
    assert (plan.blocks, plan.loops) == (frozenset(), {id(columns)})
    assert products in columns.body
    program.check()
