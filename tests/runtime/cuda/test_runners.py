"""Graphs of several launches: when they are made, what they run, and what happens when they fail."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.fakes import Driver, on_stream, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.steps import plans_of
from tracejit.runtime.cuda.compiler import Node
from tracejit.runtime.cuda.runners import GRAPHED, KEPT, MADE, SIGHTS, Graphs


def standard(x):
    """Three passes over memory: each needs what the one before totals."""
    z = (x - x.mean()) / x.std()
    return np.exp(z - z.max()).sum()


class Loop:
    """Calls that are given the same memory again, as pools do."""

    def __init__(self, function: Any, *arguments: Any, transform: Any = tj.grad_jit) -> None:
        self.f = transform(function, target="cuda")
        self.arguments = [wrap(x) for x in arguments]
        self.first = self.f(*self.arguments)  # kept, so that no later call has its memory
        (self.plan,) = plans_of(self.f)
        self.places: dict[Any, list[Any]] = {}
        self.turn = 0
        self.turns = 1
        self.plan.makers = [self.again(m) for m in self.plan.makers]
        self.plan.make_workspace = self.again(self.plan.make_workspace)

    def again(self, make: Any) -> Any:
        def maker() -> Any:
            kept = self.places.setdefault(make, [])
            while len(kept) < self.turns:
                kept.append(make())
            return kept[self.turn % self.turns]

        return maker

    def __call__(self) -> Any:
        found = self.f(*self.arguments)
        self.turn += 1
        return [x.host.copy() for x in (found if isinstance(found, tuple) else (found,))]


def launches(loop: Loop) -> int:
    count = len(loop.plan.device_program.launches)
    assert count >= GRAPHED
    return count


@pytest.fixture
def loop(fake_device: Driver, rng) -> Loop:
    return Loop(standard, rng.normal(size=2200))


def test_addresses_that_come_back_are_served_by_a_graph_with_the_same_results(
    loop: Loop, fake_device: Driver
) -> None:
    expected = tj.grad_jit(standard)(loop.arguments[0].host)
    fake_device.calls.clear()
    for k in range(SIGHTS + 2):
        fake_device.launched.clear()
        value, gradient = loop()
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-12)
        order = [name for name, *_ in fake_device.launched]
        first = order if k == 0 else first  # noqa: F821
        assert order == first and len(order) == launches(loop)
    assert fake_device.calls == {"launch": (SIGHTS - 1) * launches(loop), "graph": 1, "replay": 3}


def test_a_graph_reads_what_lies_there_now(loop: Loop, fake_device: Driver, rng) -> None:
    for _ in range(SIGHTS):
        loop()
    loop.arguments[0].host[:] = rng.normal(size=2200)
    value, _ = loop()
    assert fake_device.calls["replay"] == 2
    np.testing.assert_allclose(value, standard(loop.arguments[0].host), rtol=1e-12)


@pytest.fixture
def idle(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Loop:
    """The same, where launches do nothing."""
    monkeypatch.setattr(Driver, "_run", lambda self, *given: 0)
    return loop


def test_another_stream_and_other_memory_have_graphs_of_their_own(idle: Loop, fake_device: Driver) -> None:
    loop = idle
    for stream in (7, 8, 7):
        with on_stream(stream):
            for _ in range(SIGHTS):
                loop()
    assert fake_device.calls["graph"] == 2
    before, loop.places = loop.places, {}
    fake_device.calls.clear()
    loop()
    assert before
    assert fake_device.calls == {"launch": launches(loop)}


def test_a_few_graphs_are_kept_and_addresses_without_end_make_none(idle: Loop, fake_device: Driver) -> None:
    loop = idle
    loop.turns = KEPT
    for _ in range(KEPT * (SIGHTS + 1)):
        loop()
    assert fake_device.calls["graph"] == KEPT == len(fake_device.graphs)
    loop.turns = KEPT + 3
    for _ in range(20 * (KEPT + 3)):
        loop()
    assert fake_device.calls["graph"] <= MADE and len(fake_device.graphs) == KEPT
    made = fake_device.calls["graph"]
    loop.turns = 40
    for _ in range(40):
        loop()
    assert fake_device.calls["graph"] == made


def test_where_no_graph_can_be_made_or_started_the_launches_run(loop: Loop, fake_device: Driver) -> None:
    expected = loop()
    fake_device.makes_graphs = False
    for _ in range(SIGHTS + 2):
        np.testing.assert_array_equal(loop()[1], expected[1])
    assert fake_device.calls["graph"] == 1 and not fake_device.calls["replay"]


def test_a_graph_that_fails_is_given_up_for_launches(loop: Loop, fake_device: Driver) -> None:
    for _ in range(SIGHTS):
        expected = loop()
    fake_device.refused.append(999)
    fake_device.calls.clear()
    for _ in range(SIGHTS + 2):
        np.testing.assert_array_equal(loop()[1], expected[1])
    assert fake_device.calls["replay"] == 1 and not fake_device.calls["graph"] and not fake_device.graphs


def test_steps_of_two_launches_and_those_around_library_calls_are_launched(fake_device: Driver, rng) -> None:
    two = Loop(lambda x: ((x - x.mean()) ** 2).sum(), rng.normal(size=2200), transform=tj.jit)
    assert len(two.plan.device_program.launches) < GRAPHED

    def product(x):
        return (np.tanh(x @ x.T) @ x).sum()

    outside = Loop(product, rng.normal(size=(40, 40)))
    for _ in range(SIGHTS + 1):
        two()
        outside()
    assert not fake_device.calls["graph"]


def test_graphs_go_with_the_function(loop: Loop, fake_device: Driver) -> None:
    for _ in range(SIGHTS):
        loop()
    assert len(fake_device.graphs) == 1
    loop.f.clear()
    loop.plan = loop.f = None
    gc.collect()
    assert not fake_device.graphs


def test_a_short_part_between_long_ones_has_no_graph(fake_device: Driver) -> None:
    node = Node(None, 1, 1, 0)
    made: list[int] = []
    fake_device.graph = lambda nodes: made.append(len(nodes)) or object()  # type: ignore[method-assign]
    graphs = Graphs(fake_device, [[node] * 4, [node], [node] * 3])
    for _ in range(SIGHTS):
        found = graphs.find((1, 2))
    assert found is not None and found[1] is None and made == [4, 3]
    graphs.kept.clear()
