"""Sizes are data: another batch size has the same source, so it compiles nothing and is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.golden_programs import chain, five_points, layer_norm, rosenbrock, softmax_cross_entropy
from tests.test_fusion import softmax_of_layers
from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import evaluate
from tracejit.runtime.executable import layout_of

MEMORY = Config(cache_dir=None)


def source_of(function: Callable[..., Any], *arguments: Any, config: Config = MEMORY) -> str:
    """The kernels of a function for some arguments as both printers write them, without comments."""
    record = record_call(function, arguments, {})
    executable = run_stages(record.graph, record.fuse, config).executable
    layout = tuple(layout_of(np.asarray(a)) for a in record.arrays)
    return re.sub(r" *#.*", "", executable.print(layout).text) + executable.print(layout, "llvm").text


def classify(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return np.mean(np.logaddexp(0.0, z) - y * z)


def normalise(x: Any, scale: Any, shift: Any) -> Any:
    return np.sum(np.tanh(layer_norm(x, scale, shift)))


def join(x: Any, y: Any) -> Any:
    return np.sum(np.concatenate([x[1:], 2.0 * y[::-1]]) ** 2)


PROGRAMS: dict[str, tuple[Any, Callable[[int], tuple[Any, ...]]]] = {
    "chain": (tj.grad_jit(argnums=(0, 1, 2))(chain), lambda n: (np.ones(n), 0.7, 0.2)),
    "rosenbrock": (tj.grad_jit(rosenbrock), lambda n: (np.ones(n),)),
    "stencil": (tj.grad_jit(five_points), lambda n: (np.ones((n, 40)),)),
    "cross entropy": (
        tj.grad_jit(softmax_cross_entropy),
        lambda n: (np.ones((n, 11)), np.arange(n) % 11),
    ),
    "layer norm": (tj.grad_jit(normalise), lambda n: (np.ones((n, 31)), np.ones(31), np.ones(31))),
    "logistic": (
        tj.grad_jit(argnums=(0, 1))(classify),
        lambda n: (np.ones(31), 0.5, np.ones((n, 31)), np.ones(n)),
    ),
    "network": (
        tj.grad_jit(softmax_of_layers),
        lambda n: (
            [(np.ones((64, 32)), np.ones(32)), (np.ones((32, 15)), np.ones(15))],
            np.ones((n, 64)),
            np.arange(n) % 15,
        ),
    ),
    "joined": (tj.grad_jit(argnums=(0, 1))(join), lambda n: (np.ones(n), np.ones(41))),
    "columns": (tj.jit(lambda x: (x - x.mean(axis=0)) / x.std(axis=0)), lambda n: (np.ones((n, 41)),)),
    "rows": (tj.jit(lambda x: x.T @ x.sum(axis=1)), lambda n: (np.ones((n, 41)),)),
    "pick": (tj.grad_jit(lambda x, i: np.sum(x[i] ** 2)), lambda n: (np.ones((50, 9)), np.zeros(n, int))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_sizes_have_few_sources_where_the_cost_table_tells_them_apart(name: str) -> None:
    """Rows of up to 15 elements with scratch, and arrays beyond the caches, may have code of their own."""
    function, arguments = PROGRAMS[name]
    assert len({source_of(function, *arguments(n)) for n in (5, 12, 13, 14, 17, 200, 3000, 4000)}) <= 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_another_size_has_the_same_source(name: str) -> None:
    function, arguments = PROGRAMS[name]
    texts = {source_of(function, *arguments(n)) for n in (17, 18, 100, 128, 300)}
    assert len(texts) == 1


def test_other_numbers_of_the_user_have_the_same_source() -> None:
    def scaled(factor: float, offset: float) -> Any:
        return tj.grad_jit(lambda x: np.sum(np.tanh(factor * x + offset)))

    x = np.ones(100)
    assert source_of(scaled(0.3, 7.0), x) == source_of(scaled(2.5, -0.25), x)


def test_numbers_that_mean_something_are_code() -> None:
    texts = {source_of(tj.jit(lambda x, c=c: x * c), np.ones(9)) for c in (0.3, 0.4, -1.0, 0.0)}
    assert len(texts) > 1


def test_a_captured_array_of_another_length_has_the_same_source() -> None:
    def total(weights: Any) -> Any:
        return tj.grad_jit(lambda x: np.sum(x * weights))

    sources = {source_of(total(np.ones(n)), np.ones(n)) for n in (20, 30)}
    assert len(sources) == 1


def test_the_literal_limit_decides_which_sizes_are_data() -> None:
    function = tj.jit(lambda x: np.tanh(x).sum())

    def sources(limit: int, *sizes: int) -> set[str]:
        config = Config(cache_dir=None, literal_limit=limit)
        return {source_of(function, np.ones(n), config=config) for n in sizes}

    assert len(sources(4, 5, 6)) == 1
    assert len(sources(4, 3, 4)) == 2
    assert len(sources(10, 5, 6)) == 2


def test_sizes_that_are_equal_by_chance_are_another_program_and_right(rng: np.random.Generator) -> None:
    @tj.grad_jit(argnums=(0, 1))
    def loss(x: Any, y: Any) -> Any:
        return np.sum(np.tanh(x[:, None] * y)) + np.sum(y[::-1] * 2.0)

    shapes = [(17, 19), (18, 18), (19, 17), (19, 19)]
    sources = {source_of(loss, np.ones(n), np.ones(m)) for n, m in shapes}
    assert len(sources) == 2
    for n, m in shapes:
        x, y = rng.standard_normal(n), rng.standard_normal(m)
        record = record_call(loss, (x, y), {})
        expected = evaluate(record.graph, record.arrays)
        value, grads = loss(x, y)
        for result, wanted in zip((value, *grads), expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-10)


def test_another_size_compiles_nothing_and_is_found_in_memory(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(x: Any) -> Any:
        return np.sum(np.arctan(x) ** 2 * np.cos(0.37 * x))

    loss(np.ones(20))
    before = tj.cache_info()
    for n in (21, 50, 1000):
        x = rng.standard_normal(n)
        value, grad = loss(x)
        np.testing.assert_allclose(value, np.sum(np.arctan(x) ** 2 * np.cos(0.37 * x)), rtol=1e-10)
        slope = 2 * np.arctan(x) / (1 + x * x) * np.cos(0.37 * x) - 0.37 * np.arctan(x) ** 2 * np.sin(
            0.37 * x
        )
        np.testing.assert_allclose(grad, slope, rtol=1e-9, atol=1e-12)
    after = tj.cache_info()
    assert after.compiles == before.compiles
    assert after.disk_hits == before.disk_hits
    assert after.traces == before.traces + 3
    assert after.hits >= before.hits + 3


def test_a_thousand_calls_compile_once() -> None:
    @tj.grad_jit
    def loss(x: Any) -> Any:
        return np.sum(np.sinh(x) * 0.123)

    before = tj.cache_info()
    for _ in range(1000):
        loss(np.ones(10))
    after = tj.cache_info()
    assert after.traces == before.traces + 1
    assert after.compiles + after.disk_hits <= before.compiles + before.disk_hits + 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.ones(20), np.ones(20, np.float32)),
        (np.ones(20), np.ones((20, 20))),
        (np.ones((20, 20)), np.ones((20, 1))),
        (np.ones((20, 20)), np.asfortranarray(np.ones((20, 20)))),
    ],
)
def test_another_dtype_rank_pattern_or_layout_is_another_program(first: Any, second: Any) -> None:
    function = tj.jit(lambda x: np.tanh(x + np.ones(20, x.dtype)))
    assert source_of(function, first) != source_of(function, second)
