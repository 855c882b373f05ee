"""Workspaces: aligned, shared by programs, bounded in all, released on request, whoever serves the call."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.served import served
from tracejit.runtime import workspace
from tracejit.runtime.calls.entry import HAS_NATIVE_CALLS
from tracejit.runtime.workspace import ALIGNMENT, FREE, KEPT_BYTES, give, take


@pytest.fixture(autouse=True)
def empty_pool() -> Iterator[None]:
    tj.release_memory()
    yield
    workspace.LIMIT.value = KEPT_BYTES
    tj.release_memory()


def are_kept(*expected: Any) -> bool:
    """Are these the workspaces that no call uses, the least recently used first?"""
    return [id(w) for w in FREE] == [id(w) for w in expected]


def set_limit(size: int) -> None:
    workspace.LIMIT.value = size


@pytest.fixture(params=["native", "python"])
def function(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function with one temporary array of its argument's size, served by compiled code or by Python."""
    monkeypatch.setenv("TRACEJIT_ENTRY", request.param)

    @tj.jit(fuse=False)
    def f(x: Any) -> Any:
        return np.sqrt(x + 3.0)

    for n in (1000, 2000):
        for _ in range(3):
            f(np.ones(n))
    if request.param == "native":
        assert served(f, np.ones(1000))[1] or not HAS_NATIVE_CALLS
    tj.release_memory()
    return f


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 100_000, 5_000_000])
def test_a_workspace_starts_on_a_cache_line(size: int) -> None:
    taken = [take(size) for _ in range(5)]
    assert all(w.ctypes.data % ALIGNMENT == 0 and w.nbytes == size and w.dtype == np.uint8 for w in taken)
    assert len({w.ctypes.data for w in taken}) == 5


def test_calls_use_one_aligned_workspace_again_and_again(function: Any) -> None:
    for _ in range(4):
        np.testing.assert_array_equal(function(np.ones(1000)), np.sqrt(np.ones(1000) + 3.0))
        (kept,) = FREE
        assert kept.nbytes == 8000
        assert kept.ctypes.data % ALIGNMENT == 0


def test_programs_share_the_largest_workspace(function: Any) -> None:
    function(np.ones(1000))
    function(np.ones(2000))
    (large,) = FREE
    assert large.nbytes == 16_000
    for _ in range(3):
        function(np.ones(1000))
    assert are_kept(large)


def test_a_workspace_above_the_limit_is_not_kept_and_pushes_nothing_out(function: Any) -> None:
    set_limit(10_000)
    function(np.ones(1000))
    (small,) = FREE
    for _ in range(2):
        np.testing.assert_array_equal(function(np.ones(2000)), np.sqrt(np.ones(2000) + 3.0))
        assert are_kept(small)


def test_the_least_recently_used_workspaces_go_above_the_limit(function: Any) -> None:
    oldest, older, newest = (take(8000) for _ in range(3))
    for w in (oldest, older, newest):
        give(w)
    set_limit(20_000)
    function(np.ones(1000))
    assert are_kept(older, newest)
    set_limit(8000)
    function(np.ones(1000))
    assert are_kept(newest)


def test_releasing_says_how_many_bytes_and_leaves_calls_right(function: Any) -> None:
    function(np.ones(1000))
    assert tj.release_memory() == 8000
    assert tj.release_memory() == 0
    np.testing.assert_array_equal(function(np.ones(1000)), np.sqrt(np.ones(1000) + 3.0))
    assert tj.release_memory() == 8000


def test_releasing_while_threads_call_disturbs_none(function: Any) -> None:
    x = np.linspace(-1, 1, 1000)
    expected = np.sqrt(x + 3.0)
    wrong: list[int] = []

    def call(k: int) -> None:
        for _ in range(200):
            if not np.array_equal(function(x * 1.0), expected):
                wrong.append(k)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        tj.release_memory()
        assert workspace.kept_bytes() <= KEPT_BYTES
    for t in threads:
        t.join()
    assert not wrong
    assert len({w.ctypes.data for w in FREE}) == len(FREE) <= 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_has_workspaces_of_its_own(function: Any) -> None:
    x = np.ones(1000)
    function(x)
    (kept,) = FREE
    child = os.fork()
    if not child:
        is_right = np.array_equal(function(x), np.sqrt(x + 3.0)) and tj.release_memory() == 8000
        os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert are_kept(kept)
