"""The pool of threads: every task runs once, whoever else calls, forks or ends."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.runtime.threads import jobs
from tracejit.config import Config
from tracejit.errors import InternalError
from tracejit.runtime.cache import get_program
from tracejit.runtime.native import MissingSymbolError
from tracejit.runtime.threads import SYMBOL, module, pool, pool_size, provide

ROOT = Path(__file__).parents[3]

needs_threads = pytest.mark.skipif(not pool.has_posix_threads(), reason="tasks run serially here")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FORKING = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.mark.parametrize("threads", [-1, 0, 1, 2, 3, 8, 64, 1000])
@pytest.mark.parametrize("tasks", [-1, 0, 1, 2, 3, 7, 64, 1000])
def test_every_task_runs_exactly_once(tasks: int, threads: int) -> None:
    outcome = jobs.run(tasks, threads, jobs=20)
    assert outcome.mistakes == 0
    assert all(worker < max(threads, 1) for worker in outcome.workers)


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("spin", [None, 0], ids=["spinning", "sleeping"])
def test_many_small_jobs_never_lose_a_task(threads: int, spin: int | None) -> None:
    jobs.program()
    made = pool.the_pool(Config())
    if made.state and spin is not None:
        ctypes.c_int64.from_address(made.state + module.SPIN).value = spin
    try:
        count = 40_000 if spin is None else 4_000
        assert jobs.run(threads * 2, threads, jobs=count).mistakes == 0
        assert jobs.run(threads, threads, jobs=count).mistakes == 0
    finally:
        if made.state:
            ctypes.c_int64.from_address(made.state + module.SPIN).value = pool.SPIN_NANOSECONDS


@pytest.mark.parametrize("steps", [1, 300])
def test_a_worker_that_comes_late_does_not_touch_the_next_job(steps: int) -> None:
    for first, second in (((9, 4), (2, 2)), ((4, 4), (3, 3)), ((3, 3), (50, 2))):
        assert jobs.run_alternately(first, second, jobs=8_000 // steps + 2_000, steps=steps) == 0


@needs_threads
def test_several_threads_share_the_work() -> None:
    assert jobs.run_until_workers(tasks=40, threads=4, enough=3)
    assert pool_size() >= 3


@needs_threads
def test_workers_are_made_when_first_asked_for_and_no_more_than_that() -> None:
    run_python("""
sizes = []
for tasks, threads in ((100, 1), (1, 100), (100, 3), (100, 2), (4, 100), (100, 6)):
    jobs.run(tasks, threads)
    sizes.append(pool_size())
assert sizes == [0, 0, 2, 2, 3, 5], sizes
""")


@needs_threads
def test_more_threads_than_the_pool_may_have_are_as_many_as_it_may_have() -> None:
    done = run_python("jobs.run(2000, 5000, jobs=3).mistakes == 0 or exit(1); print(pool_size())")
    assert int(done.stdout) <= module.MOST_WORKERS


def test_jobs_of_many_threads_at_once() -> None:
    barrier = threading.Barrier(8)

    def work(k: int) -> int:
        barrier.wait(30)
        return sum(jobs.run(5 + k, 3, steps=50).mistakes for _ in range(1000))

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(work, range(8))) == [0] * 8


def test_jobs_inside_of_tasks() -> None:
    outcome = jobs.run(50, 3, jobs=20, inner=10)
    assert outcome.mistakes == 0
    assert outcome.inner == 50 * 20 * sum(range(10))


def test_tasks_may_be_python_functions() -> None:
    jobs.program()
    task_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    signature = ctypes.CFUNCTYPE(None, task_type, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    parallel = signature(pool.the_pool(Config()).parallel)
    numbers: list[int] = []
    parallel(task_type(lambda context, number, worker: numbers.append(number)), None, 30, 4)
    assert sorted(numbers) == list(range(30))


@needs_threads
@pytest.mark.skipif("x86" not in pool.this_platform().machine.lower(), reason="reads MXCSR")
def test_tasks_round_as_their_caller_does() -> None:
    # The mode of a thread is set by libraries for the thread that loads them: results must not depend on it.
    jobs.program()
    program, _ = get_program(MODE_TEXT, Config.from_environment(), "llvm")
    seen = (ctypes.c_int64 * 66)(64, 4)
    program(ctypes.addressof(seen), 0)
    assert set(seen[2:]) == {0x9FC0}


MODE_TEXT = """
declare void @tj_parallel(ptr, ptr, i64, i64)
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal void @task(ptr %seen, i64 %number, i64 %worker) {
entry:
  %word = alloca i32
  br label %work
work:
  %k = phi i64 [ 0, %entry ], [ %next, %work ]
  %next = add i64 %k, 1
  call void @llvm.x86.sse.stmxcsr(ptr %word)
  %more = icmp slt i64 %next, 20000
  br i1 %more, label %work, label %done
done:
  %mode = load i32, ptr %word
  %bits = and i32 %mode, -64
  %wide = zext i32 %bits to i64
  %at = add i64 %number, 2
  %place = getelementptr i64, ptr %seen, i64 %at
  store i64 %wide, ptr %place
  ret void
}

define void @program(ptr %seen, ptr %unused) {
  %before = alloca i32
  %flushing = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %before)
  store i32 40896, ptr %flushing
  call void @llvm.x86.sse.ldmxcsr(ptr %flushing)
  call void @tj_parallel(ptr @task, ptr %seen, i64 64, i64 4)
  call void @llvm.x86.sse.ldmxcsr(ptr %before)
  ret void
}
"""


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("steps", [0, 60_000], ids=["short", "longer than the patience"])
def test_tasks_that_wait_for_their_turn_go_on_in_order(threads: int, steps: int) -> None:
    jobs.program()
    program, _ = get_program(TURN_TEXT, Config.from_environment(), "llvm")
    for _ in range(20):
        words = (ctypes.c_int64 * 68)(0, threads, steps, 0)
        program(ctypes.addressof(words), 0)
        assert words[0] == 64
        assert list(words[4:]) == list(range(64))


# Words: the turn, threads, steps of work of every fifth task, how many went on, and their numbers.
TURN_TEXT = """
declare void @tj_parallel(ptr, ptr, i64, i64)
declare void @tj_await(ptr, i32)

define internal void @task(ptr %words, i64 %number, i64 %worker) {
entry:
  %seen = alloca i64
  %steps_at = getelementptr i64, ptr %words, i64 2
  %steps = load i64, ptr %steps_at
  %fifth = urem i64 %number, 5
  %is_long = icmp eq i64 %fifth, 0
  %count = select i1 %is_long, i64 %steps, i64 0
  br label %work
work:
  %k = phi i64 [ 0, %entry ], [ %next, %work ]
  store volatile i64 %k, ptr %seen
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %work, label %wait
wait:
  %turn = trunc i64 %number to i32
  call void @tj_await(ptr %words, i32 %turn)
  %length_at = getelementptr i64, ptr %words, i64 3
  %length = load i64, ptr %length_at
  %past = add i64 %length, 4
  %place = getelementptr i64, ptr %words, i64 %past
  store i64 %number, ptr %place
  %longer = add i64 %length, 1
  store i64 %longer, ptr %length_at
  %after = add i32 %turn, 1
  store atomic i32 %after, ptr %words release, align 8
  ret void
}

define void @program(ptr %words, ptr %unused) {
  %threads_at = getelementptr i64, ptr %words, i64 1
  %threads = load i64, ptr %threads_at
  call void @tj_parallel(ptr @task, ptr %words, i64 64, i64 %threads)
  ret void
}
"""


# --- forks and the end --------------------------------------------------------------------------------------

HEAD = """
import os, sys, threading, time
from tests.runtime.threads import jobs
from tracejit.runtime.threads import pool_size

def in_child(check):
    child = os.fork()
    if child == 0:
        os._exit(0 if check() else 1)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"

def works():
    return jobs.run(50, 4, jobs=100).mistakes == 0
"""


def run_python(text: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + text]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done


@needs_fork
@needs_threads
def test_the_child_of_a_fork_makes_threads_of_its_own() -> None:
    run_python("""
assert in_child(works) == 0  # before the pool exists
assert works() and pool_size() == 3
assert in_child(lambda: pool_size() == 0 and works() and pool_size() == 3) == 0
assert in_child(lambda: works() and in_child(works) == 0) == 0
assert works() and pool_size() == 3
""")


@needs_fork
def test_a_fork_while_other_threads_run_jobs_does_not_block_the_child() -> None:
    run_python("""
jobs.program()
leave = threading.Event()
wrong = []

def loop():
    while not leave.is_set():
        wrong.append(jobs.run(20, 3, jobs=20, steps=100).mistakes)

threads = [threading.Thread(target=loop) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    assert [in_child(works) for _ in range(40)] == [0] * 40
finally:
    leave.set()
    for thread in threads:
        thread.join()
assert wrong and not any(wrong)
""")


def test_a_process_ends_at_once_though_workers_are_parked_or_spinning() -> None:
    for ending in ("works()", "time.sleep(0.05)", "works(); sys.exit(0)"):
        done = run_python(f"""
assert works()
print(time.time(), flush=True)
{ending}
""")
        assert time.time() - float(done.stdout) < 10


def test_a_process_ends_at_once_though_a_thread_runs_jobs() -> None:
    done = run_python("""
def loop():
    while True:
        jobs.run(20, 3, jobs=20)

jobs.program()
threading.Thread(target=loop, daemon=True).start()
time.sleep(0.05)
print(time.time(), flush=True)
""")
    assert time.time() - float(done.stdout) < 10


# --- without threads ----------------------------------------------------------------------------------------


def missing(*_: object) -> None:
    raise MissingSymbolError("pthread_create")


@pytest.mark.parametrize(
    ("name", "value"), [("has_posix_threads", lambda: False), ("this_platform", missing)]
)
def test_tasks_run_one_after_the_other_where_there_are_no_threads(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Callable[[], object]
) -> None:
    monkeypatch.setattr(pool, name, value)
    made = pool.make_pool(Config.from_environment())
    assert made.reset == made.state == 0
    task_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    signature = ctypes.CFUNCTYPE(None, task_type, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    calls: list[tuple[int, int]] = []
    task = task_type(lambda context, number, worker: calls.append((number, worker)))
    for tasks in (-1, 0, 3):
        signature(made.parallel)(task, None, tasks, 8)
    assert calls == [(0, 0), (1, 0), (2, 0)]


def test_a_whole_program_runs_without_threads_too() -> None:
    run_python("""
from tracejit.runtime.threads import pool
pool.has_posix_threads = lambda: False
assert works() and jobs.run(9, 3, inner=4).inner == 54
assert pool_size() == 0
""")


def test_only_a_program_that_asks_for_it_makes_a_pool() -> None:
    run_python("""
from tracejit.config import Config
from tracejit.runtime.threads import pool, provide
provide(("exp",), Config())
assert "llvmlite" not in sys.modules and not pool._pools
""")


def test_mistakes_in_the_text_are_not_taken_for_missing_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_X86", "nonsense")
    monkeypatch.setattr(module, "_ARM", "nonsense")
    monkeypatch.setattr(module, "_ANY_PROCESSOR", "nonsense")
    with pytest.raises(InternalError):
        pool.make_pool(Config(cache_dir=None))


def test_the_symbols_are_known_to_llvm_once_they_are_provided() -> None:
    import llvmlite.binding as llvm

    provide((SYMBOL,), Config.from_environment())
    made = pool.the_pool(Config())
    assert llvm.address_of_symbol(SYMBOL) == made.parallel
    assert llvm.address_of_symbol(pool.AWAIT) == made.wait
