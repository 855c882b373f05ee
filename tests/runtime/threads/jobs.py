"""A program that runs jobs on the pool and checks them: each task ran once, each worker was one thread."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from functools import cache

from tracejit.config import Config
from tracejit.runtime.cache import get_program
from tracejit.runtime.native import NativeProgram
from tracejit.runtime.threads import SYMBOL, provide

# Words of the context: tasks, threads, jobs, steps of work in a task, inner tasks of each task (in a job of
# their own), and the addresses of: a count for each task, a flag for each worker (a line each), the mistakes,
# the sum over all inner tasks, which workers came, and the context of every other job.
TEXT = """
declare void @tj_parallel(ptr, ptr, i64, i64)

define internal i64 @word(ptr %context, i64 %at) alwaysinline {
  %place = getelementptr i64, ptr %context, i64 %at
  %word = load i64, ptr %place
  ret i64 %word
}

define internal ptr @address(ptr %context, i64 %at) alwaysinline {
  %word = call i64 @word(ptr %context, i64 %at)
  %address = inttoptr i64 %word to ptr
  ret ptr %address
}

define internal void @mistake(ptr %context) {
  %mistakes = call ptr @address(ptr %context, i64 7)
  %old = atomicrmw add ptr %mistakes, i64 1 monotonic
  ret void
}

define internal void @inner(ptr %context, i64 %number, i64 %worker) {
  %sum = call ptr @address(ptr %context, i64 8)
  %old = atomicrmw add ptr %sum, i64 %number monotonic
  ret void
}

; Counts without atomic instructions: wrong if a task runs twice at once, or a job does not see the last one.
define internal void @task(ptr %context, i64 %number, i64 %worker) {
entry:
  %flags = call ptr @address(ptr %context, i64 6)
  %line = mul i64 %worker, 8
  %flag = getelementptr i64, ptr %flags, i64 %line
  %busy = atomicrmw xchg ptr %flag, i64 1 acq_rel
  %is_shared = icmp ne i64 %busy, 0
  %team = call i64 @word(ptr %context, i64 1)
  %is_far = icmp sge i64 %worker, %team
  %is_worker = icmp ne i64 %worker, 0
  %is_foreign = and i1 %is_far, %is_worker
  %is_wrong = or i1 %is_shared, %is_foreign
  br i1 %is_wrong, label %wrong, label %count
wrong:
  call void @mistake(ptr %context)
  br label %count
count:
  %counts = call ptr @address(ptr %context, i64 5)
  %place = getelementptr i64, ptr %counts, i64 %number
  %before = load i64, ptr %place
  %after = add i64 %before, 1
  store i64 %after, ptr %place
  %came_at = call ptr @address(ptr %context, i64 9)
  %came = getelementptr i64, ptr %came_at, i64 %worker
  store i64 1, ptr %came
  %steps = call i64 @word(ptr %context, i64 3)
  br label %work
work:
  %k = phi i64 [ 0, %count ], [ %next, %work ]
  %next = add i64 %k, 1
  %seen = load volatile i64, ptr %place
  %more = icmp slt i64 %next, %steps
  br i1 %more, label %work, label %nest
nest:
  %inner = call i64 @word(ptr %context, i64 4)
  %threads = call i64 @word(ptr %context, i64 1)
  call void @tj_parallel(ptr @inner, ptr %context, i64 %inner, i64 %threads)
  store atomic i64 0, ptr %flag release, align 8
  ret void
}

define internal void @check(ptr %context, i64 %jobs) {
entry:
  %counts = call ptr @address(ptr %context, i64 5)
  %tasks = call i64 @word(ptr %context, i64 0)
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %after ]
  %more = icmp slt i64 %k, %tasks
  br i1 %more, label %body, label %done
body:
  %place = getelementptr i64, ptr %counts, i64 %k
  %count = load i64, ptr %place
  %right = icmp eq i64 %count, %jobs
  br i1 %right, label %after, label %wrong
wrong:
  call void @mistake(ptr %context)
  br label %after
after:
  %next = add i64 %k, 1
  br label %head
done:
  ret void
}

define internal void @job(ptr %context, i64 %count) {
  %is_none = icmp eq ptr %context, null
  br i1 %is_none, label %done, label %run
run:
  %tasks = call i64 @word(ptr %context, i64 0)
  %threads = call i64 @word(ptr %context, i64 1)
  call void @tj_parallel(ptr @task, ptr %context, i64 %tasks, i64 %threads)
  call void @check(ptr %context, i64 %count)
  ret void
done:
  ret void
}

define void @program(ptr %context, ptr %unused) {
entry:
  %other = call ptr @address(ptr %context, i64 10)
  %jobs = call i64 @word(ptr %context, i64 2)
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %k, %jobs
  br i1 %more, label %body, label %done
body:
  %next = add i64 %k, 1
  call void @job(ptr %context, i64 %next)
  call void @job(ptr %other, i64 %next)
  br label %head
done:
  ret void
}
"""

MOST = 300  # workers that the flags have room for


@dataclass(frozen=True)
class Outcome:
    """What a run found: `mistakes` must be 0, `inner` is the sum of all inner tasks' numbers."""

    mistakes: int
    inner: int
    workers: list[int]


@cache
def program() -> NativeProgram:
    provide((SYMBOL,), Config.from_environment())
    return get_program(TEXT, Config.from_environment(), "llvm")[0]


class Context:
    """The words of a context, and the memory that they point at."""

    def __init__(self, tasks: int, threads: int, jobs: int, steps: int, inner: int) -> None:
        self.counts = (ctypes.c_int64 * max(tasks, 1))()
        self.flags, self.came = (ctypes.c_int64 * (8 * MOST))(), (ctypes.c_int64 * MOST)()
        self.mistakes, self.sum = ctypes.c_int64(), ctypes.c_int64()
        things = (self.counts, self.flags, self.mistakes, self.sum, self.came)
        places = [ctypes.addressof(thing) for thing in things]
        self.words = (ctypes.c_int64 * 11)(tasks, threads, jobs, steps, inner, *places)

    def outcome(self) -> Outcome:
        workers = [k for k in range(MOST) if self.came[k]]
        return Outcome(self.mistakes.value, self.sum.value, workers)


def run(tasks: int, threads: int, jobs: int = 1, steps: int = 1, inner: int = 0) -> Outcome:
    """Run `jobs` jobs one after the other, without the GIL."""
    context = Context(tasks, threads, jobs, steps, inner)
    program()(ctypes.addressof(context.words), 0)
    return context.outcome()


def run_alternately(first: tuple[int, int], second: tuple[int, int], jobs: int, steps: int) -> int:
    """Mistakes in `jobs` pairs of jobs, of so many (tasks, threads) each, with memory of their own."""
    one, two = (Context(*sizes, jobs, steps, 0) for sizes in (first, second))
    one.words[10] = ctypes.addressof(two.words)
    program()(ctypes.addressof(one.words), 0)
    return one.mistakes.value + two.mistakes.value


def run_until_workers(tasks: int, threads: int, enough: int, seconds: float = 20.0) -> bool:
    """Did so many workers come to one job before the time was over? A busy machine may keep them away."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(run(tasks, threads, steps=200_000).workers) >= enough:
            return True
    return False
