"""One transformed function called from many threads at once, and in a forked process."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")


def test_threads_that_need_the_same_program_make_it_once() -> None:
    count = 8
    barrier = threading.Barrier(count)

    @tj.grad_jit
    def loss(x: Any) -> Any:
        return (x**2).sum()

    before = tj.cache_info().traces

    def work(k: int) -> Any:
        barrier.wait(30)
        return [loss(np.full(3, float(k)))[1][0] for _ in range(20)]

    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(work, range(count)))
    assert results == [[2.0 * k] * 20 for k in range(count)]
    assert tj.cache_info().traces - before == 1


def test_threads_may_trace_different_functions_at_once() -> None:
    def work(k: int) -> float:
        f = tj.grad(lambda x: tj.grad(lambda y: (y**3).sum() * k)(x).sum())
        return float(f(np.full(2, float(k)))[0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == [6.0 * k * k for k in range(16)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_lock_that_a_thread_holds_during_a_fork_does_not_block_the_child() -> None:
    inside, leave = threading.Event(), threading.Event()
    slow = [True]

    @tj.jit
    def f(x: Any) -> Any:
        if slow[0]:
            inside.set()
            leave.wait(30)
        return x * 2

    worker = threading.Thread(target=f, args=(1.0,))
    worker.start()
    inside.wait(30)
    slow[0] = False
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if f(2.0) == 4 else 1
        finally:
            os._exit(code)
    leave.set()
    worker.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sys.platform != "win32"
