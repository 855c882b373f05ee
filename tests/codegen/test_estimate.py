"""Estimates of whole programs: they order programs of one graph."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.codegen.estimate import program_ns
from tracejit.compile import run_stages
from tracejit.config import AUTO, Choices, Config


def estimate(function: Any, *arguments: Any, choices: Choices = AUTO, fuse: bool = True) -> float:
    graph = record_call(tj.jit(function), arguments, {}).graph
    stages = run_stages(graph, fuse, Config(cache_dir=None), choices=choices)
    return program_ns(stages.program, 4)


def chain(x: Any) -> Any:
    return np.sum(np.tanh(2.0 * x + 0.5) * np.exp(-x * x))


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def test_fused_work_is_cheaper_than_unfused() -> None:
    for n in (100, 10**4, 10**6):
        assert estimate(chain, np.ones(n)) < estimate(chain, np.ones(n), fuse=False)


def test_more_elements_cost_more_and_ten_times_as_many_about_ten_times() -> None:
    small, large = (estimate(chain, np.ones(n)) for n in (10**4, 10**5))
    assert 8 < large / small < 13


def test_an_exponential_that_is_repeated_costs_more_than_a_scratch_row() -> None:
    x = np.ones((50, 40))
    again = estimate(softmax, x, choices=Choices(repeat="recompute"))
    assert again > 1.3 * estimate(softmax, x, choices=Choices(repeat="store"))


def test_calls_are_part_of_it() -> None:
    x, w = np.ones((300, 200)), np.ones((200, 100))
    called = estimate(lambda x, w: x @ w, x, w)
    assert called > 300 * 200 * 100 * 0.04
    assert estimate(lambda x: np.cumsum(x), x) > 1000
