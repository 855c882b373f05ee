"""`checkpoint_loops`: fewer rows of states, the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests import pendulums
from tests.pendulums import swing
from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.config import Choices, Config
from tracejit.ir import Graph
from tracejit.ops.loop import scan
from tracejit.passes import pipeline

TARGETS = ("cpu", "cuda-emu")


def orbit(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
    """The end of many paths."""
    (q, p), _ = swing(k, q, p, dt, pushes)
    return (q * q + p).sum()


arguments = partial(pendulums.arguments, push=0.1)


def stages(f: Callable[..., Any], args: tuple[Any, ...], states: str, **settings: Any) -> Any:
    record = record_call(f, args, {})
    config = Config(cache_dir=None, choices=Choices(states=states), **settings)  # type: ignore[arg-type]
    made = run_stages(record.graph, record.fuse, config)
    return made, made.executable([np.asarray(a) for a in record.arrays])


def steps_of(graph: Graph) -> set[int]:
    return {e.params["steps"] for e in graph.eqns if e.primitive is scan}


def assert_same_bits(f: Callable[..., Any], args: tuple[Any, ...], target: str, fewer: int) -> None:
    """Stored or run again, the results are the same, and the loops have so many steps."""
    _, want = stages(f, args, "store", target=target)
    made, got = stages(f, args, "recompute", target=target)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert steps_of(made.optimized) == {fewer}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("steps", "fewer"), [(2, 1), (4, 1), (8, 2), (9, 3), (10, 5), (7, 7), (1, 1)])
def test_the_steps_between_are_run_again_to_the_same_bits(steps: int, fewer: int, target: str) -> None:
    f = tj.grad_jit(orbit, argnums=(0, 1, 2, 3))
    assert_same_bits(f, arguments(11, steps), target, fewer)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n", [1, 33])
def test_float32_is_run_again_to_the_same_bits(n: int, target: str) -> None:
    assert_same_bits(tj.grad_jit(orbit, argnums=(0, 3)), arguments(n, 8, "f4"), target, 2)


def mixed(a: Any, rates: Any, xs: Any) -> Any:
    """Carries of several types, one of which the adjoint needs no state of; a step that chooses."""

    def step(state: Any, x: Any) -> Any:
        a, total, count, seen = state
        seen = seen | (a > 0.5)
        a = np.where(seen, a * rates, a + x) * np.cos(total)
        return (a, total + 0.1 * count, count + seen, seen), None

    start = a, np.zeros(a.shape), np.zeros(a.shape, np.int64), np.zeros(a.shape, bool)
    (a, total, _, _), _ = tj.scan(step, start, xs)
    return (a * a + total).sum()


@pytest.mark.parametrize("target", TARGETS)
def test_counts_and_truth_values_are_run_again_as_well(target: str) -> None:
    rng = np.random.default_rng(0)
    args = rng.normal(size=19), rng.uniform(size=19), rng.normal(size=(8, 19))
    assert_same_bits(tj.grad_jit(mixed, argnums=(0, 1)), args, target, 2)
    tj.check_grads(mixed, args)


@pytest.mark.parametrize("target", TARGETS)
def test_a_loop_from_the_last_row_to_the_first_is_run_again_too(target: str) -> None:
    """A gradient is one; taken again, it is the loop whose states are needed."""

    def slope(q: Any, rates: Any) -> Any:
        def end(q: Any) -> Any:
            return (tj.scan(lambda q, _: (np.sin(q) * rates, None), q, length=8)[0] ** 2).sum()

        return (tj.grad(end)(q) ** 2).sum()

    rng = np.random.default_rng(0)
    f = tj.grad_jit(slope, argnums=(0, 1))
    args = rng.normal(size=9), rng.uniform(size=9)
    _, want = stages(f, args, "store", target=target)
    _, got = stages(f, args, "recompute", target=target)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def squares(q: Any) -> Any:
    return (tj.scan(lambda q, _: (np.sin(q), q), q, length=8)[1] ** 2).sum()


def test_a_loop_whose_rows_others_read_stays_as_it_is() -> None:
    made, _ = stages(tj.grad_jit(squares), (np.ones(5),), "recompute")
    assert steps_of(made.optimized) == {8}


def test_an_adjoint_that_gives_rows_stays_as_it_is() -> None:
    """Here one for each push."""
    made, _ = stages(tj.grad_jit(orbit, argnums=(0, 4)), arguments(5, 8), "recompute")
    assert steps_of(made.optimized) == {8}


@pytest.mark.parametrize(("steps", "fewer"), [(2, 2), (4, 1)])
def test_an_adjoint_that_reads_one_state_of_two_keeps_it_unless_far_fewer_are_stored(
    steps: int, fewer: int
) -> None:
    def end(k: Any, q: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            q, p = state
            p = p - 0.1 * k * np.sin(q)
            return (q + 0.1 * p, p), None

        return tj.scan(step, (q, q), length=steps)[0][0].sum()

    assert_same_bits(tj.grad_jit(end), arguments(9, 1)[:2], "cpu", fewer)


def root(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
    return np.sqrt(orbit(k, q, p, dt, pushes) ** 2)


@pytest.mark.parametrize(("f", "n", "fewer"), [(root, 5000, 5), (root, 500, 20), (orbit, 5000, 20)])
def test_rows_are_fewer_where_they_are_large_and_a_number_of_all_elements_stands_between(
    f: Callable[..., Any], n: int, fewer: int
) -> None:
    args = arguments(n, 20)
    auto, got = stages(tj.grad_jit(f, argnums=(0, 3)), args, "auto")
    stored, want = stages(tj.grad_jit(f, argnums=(0, 3)), args, "store")
    assert steps_of(auto.optimized) == {fewer}
    assert (auto.program.workspace < stored.program.workspace / 2) == (fewer == 5)
    for a, b in zip(got, want, strict=True):  # sums of other parts: how a loop is cut follows from its steps
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_device_stores_few_states_by_itself() -> None:
    record = record_call(tj.grad_jit(orbit, argnums=0), arguments(9, 8), {})
    made = run_stages(record.graph, record.fuse, Config(cache_dir=None, target="cuda-emu"))
    assert steps_of(made.optimized) == {2}


def test_a_graph_without_loops_is_the_same_graph() -> None:
    record = record_call(tj.grad_jit(lambda x: np.sin(x).sum()), (np.ones(3),), {})
    assert pipeline.checkpoint_loops(record.graph, "recompute") is record.graph
