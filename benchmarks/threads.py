"""What it costs to start a job on threads and to wait for it: tracejit's pool, Numba's layers, executors.

    python -m benchmarks.threads [--threads 2] [--rounds 15]

A job has one task a thread. The systems take turns, round by round; nanoseconds of a job are printed, the
median of all jobs and in brackets the fastest tenth: where others use the machine, the median is about them.
"warm" is right after the last job, "cold" after a sleep of a millisecond. Tasks are empty, or they meet: each
waits until all have begun, so that every thread must have come. The pool's caller does not wait for threads
that come too late for an empty task; the other systems wait for every thread, and are shown as meeting.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.table import align

COLUMNS = ("empty, warm", "empty, cold", "meeting, warm", "meeting, cold")
WARM_JOBS, COLD_JOBS = 2000, 30
SLEEP_MICROSECONDS = 1000

# `words`: task, threads, jobs, microseconds of sleep, where each job's nanoseconds go, tasks that have begun.
POOL = """
declare void @tj_parallel(ptr, ptr, i64, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @usleep(i32)

define internal void @empty(ptr %context, i64 %number, i64 %worker) {
  ret void
}

; Gives up after a while, should the caller have to run both.
define internal void @meet(ptr %context, i64 %number, i64 %worker) {
entry:
  %threads_at = getelementptr i64, ptr %context, i64 1
  %threads = load i64, ptr %threads_at
  %begun = getelementptr i64, ptr %context, i64 5
  %old = atomicrmw add ptr %begun, i64 1 seq_cst
  br label %look
look:
  %count = phi i64 [ 0, %entry ], [ %next, %again ]
  %now = load atomic i64, ptr %begun acquire, align 8
  %met = icmp sge i64 %now, %threads
  %late = icmp sgt i64 %count, 1000000
  %stop = or i1 %met, %late
  br i1 %stop, label %done, label %again
again:
  %next = add i64 %count, 1
  br label %look
done:
  ret void
}

define internal i64 @now() {
  %time = alloca [2 x i64], align 8
  call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %rest_at = getelementptr i8, ptr %time, i64 8
  %rest = load i64, ptr %rest_at
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %rest
  ret i64 %sum
}

define void @program(ptr %words, ptr %unused) {
entry:
  %kind = load i64, ptr %words
  %meets = icmp ne i64 %kind, 0
  %task = select i1 %meets, ptr @meet, ptr @empty
  %threads_at = getelementptr i64, ptr %words, i64 1
  %threads = load i64, ptr %threads_at
  %jobs_at = getelementptr i64, ptr %words, i64 2
  %jobs = load i64, ptr %jobs_at
  %sleep_at = getelementptr i64, ptr %words, i64 3
  %sleep = load i64, ptr %sleep_at
  %microseconds = trunc i64 %sleep to i32
  %sleeps = icmp ne i64 %sleep, 0
  %times_at = getelementptr i64, ptr %words, i64 4
  %times = load ptr, ptr %times_at
  %begun = getelementptr i64, ptr %words, i64 5
  br label %job
job:
  %k = phi i64 [ 0, %entry ], [ %next, %run ]
  %more = icmp slt i64 %k, %jobs
  br i1 %more, label %begin, label %done
begin:
  store atomic i64 0, ptr %begun monotonic, align 8
  br i1 %sleeps, label %rest, label %run
rest:
  call i32 @usleep(i32 %microseconds)
  br label %run
run:
  %started = call i64 @now()
  call void @tj_parallel(ptr %task, ptr %words, i64 %threads, i64 %threads)
  %ended = call i64 @now()
  %spent = sub i64 %ended, %started
  %time_at = getelementptr i64, ptr %times, i64 %k
  store i64 %spent, ptr %time_at
  %next = add i64 %k, 1
  br label %job
done:
  ret void
}
"""

Measure = Callable[[str], list[int]]  # the nanoseconds of some jobs, for a column; none where it has none


def pool(threads: int) -> Measure:
    from tracejit.config import Config
    from tracejit.runtime.cache import get_program
    from tracejit.runtime.threads import SYMBOL, available_threads, provide

    config = Config.from_environment()
    provide((SYMBOL,), config)
    program, _ = get_program(POOL.replace("CLOCK", str(time.CLOCK_MONOTONIC)), config, "llvm")

    def measure(column: str) -> list[int]:
        if "meeting" in column and threads > available_threads():
            return []  # without a processor each, tasks would wait for those that cannot begin
        jobs = WARM_JOBS if "warm" in column else COLD_JOBS
        sleep = 0 if "warm" in column else SLEEP_MICROSECONDS
        times = (ctypes.c_int64 * jobs)()
        kind, place = int("meeting" in column), ctypes.addressof(times)
        words = (ctypes.c_int64 * 16)(kind, threads, jobs, sleep, place)
        program(ctypes.addressof(words), 0)
        return list(times)

    return measure


def executor(threads: int) -> Measure:
    """One `submit` a thread but the caller's, and their results."""
    workers = ThreadPoolExecutor(threads - 1)
    nothing = len

    def job() -> None:
        futures = [workers.submit(nothing, ()) for _ in range(threads - 1)]
        for future in futures:
            future.result()

    return python_measure(job)


def python_measure(job: Callable[[], object]) -> Measure:
    """Of a job that Python starts: the time of an empty call is part of it, and small beside it."""
    for _ in range(3):
        job()

    def measure(column: str) -> list[int]:
        if column.startswith("empty"):
            return []
        is_warm = "warm" in column
        times: list[int] = []
        for _ in range(WARM_JOBS // 20 if is_warm else COLD_JOBS):
            if not is_warm:
                time.sleep(SLEEP_MICROSECONDS * 1e-6)
            started = time.perf_counter_ns()
            job()
            times.append(time.perf_counter_ns() - started)
        return times

    return measure


def numba_job(threads: int) -> Callable[[], object]:
    import numba
    import numpy as np

    def run(out: np.ndarray) -> None:
        for k in numba.prange(out.size):
            out[k] = k

    numba.set_num_threads(threads)
    parallel = numba.njit(run, parallel=True)
    out = np.zeros(threads * 16)
    return lambda: parallel(out)


def serve_numba(threads: int) -> None:
    """A process of its own, for a process has one of Numba's layers: answers each line with lists."""
    measure = python_measure(numba_job(threads))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(line.strip())), flush=True)


def numba_layer(name: str, threads: int) -> Measure | None:
    command = [sys.executable, "-m", "benchmarks.threads", "--serve-numba", "--threads", str(threads)]
    variables = {"NUMBA_THREADING_LAYER": name, "NUMBA_NUM_THREADS": str(max(threads, os.cpu_count() or 1))}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout
    if answers.readline().strip() != "ready":
        process.wait()
        return None

    def measure(column: str) -> list[int]:
        questions.write(column + "\n")
        questions.flush()
        return json.loads(answers.readline())

    return measure


def systems(threads: int) -> dict[str, Measure]:
    found: dict[str, Measure | None] = {
        "tracejit": pool(threads),
        "Numba, omp": numba_layer("omp", threads),
        "Numba, workqueue": numba_layer("workqueue", threads),
        "concurrent.futures": executor(threads),
    }
    return {name: measure for name, measure in found.items() if measure is not None}


def table(measures: dict[str, Measure], rounds: int) -> str:
    times: dict[tuple[str, str], list[int]] = {}
    for _ in range(rounds):
        for column in COLUMNS:
            for name, measure in measures.items():
                times.setdefault((name, column), []).extend(measure(column))
    lines = [["ns a job", *COLUMNS]]
    lines += [[name, *[cell(times[name, column]) for column in COLUMNS]] for name in measures]
    return align(lines)


def cell(times: list[int]) -> str:
    """The median, and what the fastest tenth stays below.

    >>> cell(list(range(1000, 2000)))
    '1,500 (1,100)'
    """
    ordered = sorted(times)
    return f"{ordered[len(times) // 2]:,} ({ordered[len(times) // 10]:,})" if times else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve-numba", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_numba:
        serve_numba(options.threads)
        return
    print(f"{options.threads} threads")
    print(table(systems(options.threads), options.rounds))


if __name__ == "__main__":
    main()
