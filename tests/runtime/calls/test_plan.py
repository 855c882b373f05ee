"""What can be planned and what Python must serve; chains of plans."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.api.programs import MAX_PLANS
from tracejit.runtime.calls import entry
from tracejit.runtime.calls.layout import PLAN
from tracejit.runtime.calls.plan import Plan, link, work_of

pytestmark = pytest.mark.skipif(not entry.HAS_NATIVE_CALLS, reason="objects are laid out in another way")

X = np.array([0.5, -1.0, 2.0])


@dataclasses.dataclass
class Net:
    w: Any


def is_served(f: Any, *args: Any) -> bool:
    for _ in range(3):
        f(*args)
    before = entry.NATIVE_HITS.value
    f(*args)
    return entry.NATIVE_HITS.value == before + 1


def test_plain_containers_are_planned_and_classes_are_not() -> None:
    f = tj.jit(lambda p: p["w"] * 2)
    assert is_served(f, {"w": X})
    assert not is_served(f, OrderedDict(w=X))
    assert not is_served(f, defaultdict(list, w=X))
    assert not is_served(tj.jit(lambda net: net.w * 2), Net(X))


def test_every_layout_of_one_shape_gets_a_plan() -> None:
    f = tj.jit(lambda x: x * 2)
    block = np.arange(512.0).reshape(8, 8, 8)
    for x in (block[::2, ::2, :4], block[:4, ::2, ::2].T, block[::2, ::2, ::2]):
        assert is_served(f, x)
        np.testing.assert_array_equal(f(x), x * 2)


def test_results_in_classes_are_put_together_by_python() -> None:
    f = tj.jit(lambda x: Net(x * 2))
    assert is_served(f, X)
    np.testing.assert_array_equal(f(X).w, 2 * X)


def test_a_result_that_occurs_twice_is_two_arrays() -> None:
    f = tj.jit(lambda x: (lambda y: (y, y))(x + 1))
    assert is_served(f, X)
    first, second = f(X)
    assert not np.shares_memory(first, second)


def test_keys_that_are_neither_texts_nor_integers_are_not_planned() -> None:
    f = tj.jit(lambda p: p[(1, 2)] * 2)
    assert not is_served(f, {(1, 2): X})


def test_many_signatures_push_out_the_oldest_plan() -> None:
    f = tj.jit(lambda x: x * 2)
    for n in range(1, MAX_PLANS + 5):
        for _ in range(3):
            np.testing.assert_array_equal(f(np.ones(n)), np.full(n, 2.0))
    assert len(f._programs._plans) == MAX_PLANS
    assert is_served(f, np.ones(MAX_PLANS + 4))
    assert is_served(f, np.ones(1))


def test_a_chain_is_linked_in_order_and_keeps_its_members() -> None:
    a, b, c = (Plan({"nargs": k}, None) for k in range(3))
    first = link([a, b, c])
    assert first is not None
    found: list[int] = []
    plan: Plan | None = first
    while plan is not None:
        found.append(plan._words[PLAN.offset("nargs") // 8])
        following = plan._words[PLAN.offset("next") // 8]
        assert following == (plan.next.address if plan.next is not None else 0)
        assert plan._words[PLAN.offset("owner") // 8] == id(plan)
        plan = plan.next
    assert found == [0, 1, 2]
    assert link([]) is None


def test_work_counts_the_elements_that_equations_touch() -> None:
    small = tj.inspect(lambda x: x * 2)(np.ones(10))
    assert small is not None
    f = tj.jit(lambda x: np.exp(x) + 1)
    f(np.ones(1000))
    ((program,),) = f._programs.table.values()
    assert work_of(program.run.program.schedule.graph) >= 2000
