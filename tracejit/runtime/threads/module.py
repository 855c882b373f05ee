"""The code of the thread pool, as LLVM text: POSIX threads, or the same functions that run tasks one by one.

Enters what differs between platforms; leaves a module whose `program(table, unused)` writes four addresses
into a table: `tj_parallel`, `tj_await`, `reset`, and the pool's `state`. README.md explains the protocol.
"""

from __future__ import annotations

import re
from string import Template
from typing import NamedTuple

MOST_WORKERS = 256

# Offsets in bytes: what different threads write lies on lines of its own (128: lines are fetched in pairs).
LOCK, CREATED = 0, 4
TASK, CONTEXT, TASKS, MODE, SPIN, PROCESSORS, LIMIT = 128, 136, 144, 152, 160, 168, 176
CLAIMED = 256
SLOTS = 384  # of worker 1, 2, ...: the mailbox; 128 bytes on what is touched only to sleep
SLOT_BYTES, MUTEX, CONDITION = 256, 128, 192
STATE_BYTES = SLOTS + MOST_WORKERS * SLOT_BYTES

# What a mailbox says.
ABSENT, IDLE, ASLEEP, POSTED, TAKEN, AWAITED = range(6)

STACK_BYTES = 8 << 20  # as a main thread has, for a task may run in either
NAP_NANOSECONDS = 20_000  # between two looks of a task that has waited long for another one


class Platform(NamedTuple):
    """What the text must know: the processor, and numbers that C headers define."""

    machine: str  # as platform.machine() says
    clock: int  # CLOCK_MONOTONIC
    set_mask: int  # SIG_SETMASK
    faults: tuple[int, ...]  # signals of the thread's own mistakes, which blocking would hide


def module_text(platform: Platform) -> str:
    """The module with the pool."""
    unblock = "\n".join(f"  call i32 @sigdelset(ptr %all, i32 {number})" for number in platform.faults)
    names = {name: value for name, value in globals().items() if isinstance(value, int)}
    text = "\n".join([_STATE, _ENTRY, _JOB, _WORKER, _WAITING, _HIRING, _TABLE, _pause_and_mode(platform)])
    values = {**names, "CLOCK": platform.clock, "SET_MASK": platform.set_mask, "UNBLOCK": unblock}
    return _with_places(Template(text).substitute(values))


def _with_places(text: str) -> str:
    """Addresses for the names of the state's members: the linker finds that aliases reach beyond its end."""
    for name in ("created", "task", "context", "tasks", "mode", "spin", "processors", "limit", "claimed"):
        place = f"getelementptr (i8, ptr @state, i64 {globals()[name.upper()]})"
        text = re.sub(rf"@{name}\b", place, text)
    return re.sub(r"@lock\b", "@state", text)


def serial_text() -> str:
    """The module for where there are no such threads."""
    return _SERIAL + _SERIAL_TABLE


# --- the state ----------------------------------------------------------------------------------------------

_STATE = """\
@state = internal global [$STATE_BYTES x i8] zeroinitializer, align 128

define internal ptr @slot(i64 %worker) alwaysinline {
  %past = mul i64 %worker, $SLOT_BYTES
  %at = add i64 %past, ${SLOTS}
  %before = sub i64 %at, $SLOT_BYTES
  %slot = getelementptr i8, ptr @state, i64 %before
  ret ptr %slot
}
"""

# --- one after the other ------------------------------------------------------------------------------------

_SERIAL = """\
define internal void @run_serially(ptr %task, ptr %context, i64 %tasks) {
entry:
  %some = icmp sgt i64 %tasks, 0
  br i1 %some, label %body, label %done
body:
  %number = phi i64 [ 0, %entry ], [ %next, %body ]
  call void %task(ptr %context, i64 %number, i64 0)
  %next = add i64 %number, 1
  %more = icmp slt i64 %next, %tasks
  br i1 %more, label %body, label %done
done:
  ret void
}
"""

_SERIAL_TABLE = """
define internal void @parallel(ptr %task, ptr %context, i64 %tasks, i64 %threads) {
  call void @run_serially(ptr %task, ptr %context, i64 %tasks)
  ret void
}

; Tasks before this one are done.
define internal void @await(ptr %word, i32 %value) {
  ret void
}

define void @program(ptr %table, ptr %unused) {
  store ptr @parallel, ptr %table, align 8
  %second = getelementptr i8, ptr %table, i64 8
  store ptr @await, ptr %second, align 8
  ret void
}
"""

# --- a job --------------------------------------------------------------------------------------------------

_ENTRY = (
    _SERIAL
    + """
define internal void @parallel(ptr %task, ptr %context, i64 %tasks, i64 %threads) {
  %is_open = icmp slt i64 %threads, 0
  %opposite = sub i64 0, %threads
  %limit = load i64, ptr @limit, align 8
  %limited = call i64 @llvm.smin.i64(i64 %opposite, i64 %limit)
  %asked = select i1 %is_open, i64 %limited, i64 %threads
  %useful = call i64 @llvm.smin.i64(i64 %asked, i64 %tasks)
  %most = add i64 $MOST_WORKERS, 1
  %wanted = call i64 @llvm.smin.i64(i64 %useful, i64 %most)
  %several = icmp sgt i64 %wanted, 1
  br i1 %several, label %enter, label %serial
enter:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %is_ours = extractvalue { i32, i1 } %pair, 1
  br i1 %is_ours, label %prepare, label %serial
prepare:
  store ptr %task, ptr @task, align 8
  store ptr %context, ptr @context, align 8
  store i64 %tasks, ptr @tasks, align 8
  %mode = call i64 @get_mode()
  store i64 %mode, ptr @mode, align 8
  store atomic i64 0, ptr @claimed monotonic, align 8
  %team = call i64 @hire(i64 %wanted)
  %asleep = call i64 @post(i64 %team)
  %is_sleepy = icmp sgt i64 %asleep, 0
  br i1 %is_sleepy, label %rouse, label %work
rouse:
  call void @wake_team(i64 %team, i64 %tasks)
  br label %work
work:
  call void @work(i64 0)
  call void @join(i64 %team)
  store atomic i32 0, ptr @lock release, align 4
  ret void
serial:
  call void @run_serially(ptr %task, ptr %context, i64 %tasks)
  ret void
}
"""
)

_JOB = """\
; Claim tasks until none is left.
define internal void @work(i64 %worker) {
entry:
  %task = load ptr, ptr @task, align 8
  %context = load ptr, ptr @context, align 8
  %tasks = load i64, ptr @tasks, align 8
  br label %claim
claim:
  %number = atomicrmw add ptr @claimed, i64 1 monotonic
  %some = icmp slt i64 %number, %tasks
  br i1 %some, label %run, label %done
run:
  call void %task(ptr %context, i64 %number, i64 %worker)
  br label %claim
done:
  ret void
}

; Offer the job to workers that are awake; gives how many sleep.
define internal i64 @post(i64 %team) {
entry:
  br label %head
head:
  %worker = phi i64 [ 1, %entry ], [ %next, %body ]
  %asleep = phi i64 [ 0, %entry ], [ %sum, %body ]
  %more = icmp slt i64 %worker, %team
  br i1 %more, label %body, label %done
body:
  %slot = call ptr @slot(i64 %worker)
  %pair = cmpxchg ptr %slot, i32 $IDLE, i32 $POSTED release monotonic
  %was_idle = extractvalue { i32, i1 } %pair, 1
  %one = select i1 %was_idle, i64 0, i64 1
  %sum = add i64 %asleep, %one
  %next = add i64 %worker, 1
  br label %head
done:
  ret i64 %asleep
}

; Offer it to those that sleep, while tasks are left.
define internal void @wake_team(i64 %team, i64 %tasks) {
entry:
  br label %head
head:
  %worker = phi i64 [ 1, %entry ], [ %next, %after ]
  %claimed = load atomic i64, ptr @claimed monotonic, align 8
  %some = icmp slt i64 %claimed, %tasks
  %in_team = icmp slt i64 %worker, %team
  %more = and i1 %some, %in_team
  br i1 %more, label %body, label %done
body:
  %slot = call ptr @slot(i64 %worker)
  %pair = cmpxchg ptr %slot, i32 $ASLEEP, i32 $POSTED acq_rel monotonic
  %was_asleep = extractvalue { i32, i1 } %pair, 1
  br i1 %was_asleep, label %rouse, label %after
rouse:
  call void @wake(ptr %slot)
  br label %after
after:
  %next = add i64 %worker, 1
  br label %head
done:
  ret void
}

; Take back what nobody took; wait for who is at work.
define internal void @join(i64 %team) {
entry:
  %processors = load atomic i64, ptr @processors monotonic, align 8
  %spin = load atomic i64, ptr @spin monotonic, align 8
  %fits = icmp sle i64 %team, %processors
  %patience = select i1 %fits, i64 %spin, i64 0
  br label %head
head:
  %worker = phi i64 [ 1, %entry ], [ %next, %after ]
  %more = icmp slt i64 %worker, %team
  br i1 %more, label %body, label %done
body:
  %slot = call ptr @slot(i64 %worker)
  %pair = cmpxchg ptr %slot, i32 $POSTED, i32 $IDLE acq_rel acquire
  %old = extractvalue { i32, i1 } %pair, 0
  %at_work = icmp eq i32 %old, $TAKEN
  br i1 %at_work, label %wait, label %after
wait:
  %now = call i32 @spin_while(ptr %slot, i32 $TAKEN, i64 %patience)
  %still = icmp eq i32 %now, $TAKEN
  br i1 %still, label %announce, label %after
announce:
  %second = cmpxchg ptr %slot, i32 $TAKEN, i32 $AWAITED acq_rel acquire
  %announced = extractvalue { i32, i1 } %second, 1
  br i1 %announced, label %sleep, label %after
sleep:
  call void @sleep_while(ptr %slot, i32 $AWAITED)
  br label %after
after:
  %next = add i64 %worker, 1
  br label %head
done:
  ret void
}
"""

_WORKER = """\
define internal ptr @live(ptr %self) {
entry:
  %worker = ptrtoint ptr %self to i64
  %slot = call ptr @slot(i64 %worker)
  br label %idle
idle:
  %processors = load atomic i64, ptr @processors monotonic, align 8
  %spin = load atomic i64, ptr @spin monotonic, align 8
  %fits = icmp slt i64 %worker, %processors
  %patience = select i1 %fits, i64 %spin, i64 0
  %seen = call i32 @spin_while(ptr %slot, i32 $IDLE, i64 %patience)
  %is_idle = icmp eq i32 %seen, $IDLE
  br i1 %is_idle, label %tire, label %take
tire:
  %first = cmpxchg ptr %slot, i32 $IDLE, i32 $ASLEEP acq_rel acquire
  %is_tired = extractvalue { i32, i1 } %first, 1
  br i1 %is_tired, label %sleep, label %take
sleep:
  call void @sleep_while(ptr %slot, i32 $ASLEEP)
  br label %take
take:
  ; Fails where the caller has taken the offer back.
  %second = cmpxchg ptr %slot, i32 $POSTED, i32 $TAKEN acq_rel acquire
  %is_taken = extractvalue { i32, i1 } %second, 1
  br i1 %is_taken, label %work, label %idle
work:
  %mode = load i64, ptr @mode, align 8
  call void @set_mode(i64 %mode)
  call void @work(i64 %worker)
  %old = atomicrmw xchg ptr %slot, i32 $IDLE acq_rel
  %is_awaited = icmp eq i32 %old, $AWAITED
  br i1 %is_awaited, label %tell, label %idle
tell:
  call void @wake(ptr %slot)
  br label %idle
}
"""

# --- waiting ------------------------------------------------------------------------------------------------

_WAITING = """\
define internal i64 @now() {
  %time = alloca [2 x i64], align 8
  call i32 @clock_gettime(i32 $CLOCK, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %rest_at = getelementptr i8, ptr %time, i64 8
  %rest = load i64, ptr %rest_at, align 8
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %rest
  ret i64 %sum
}

; What the word is when it is no longer `value`, or `value` after so many nanoseconds.
define internal i32 @spin_while(ptr %word, i32 %value, i64 %patience) {
entry:
  %first = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %first, %value
  %is_patient = icmp sgt i64 %patience, 0
  %waits = and i1 %same, %is_patient
  br i1 %waits, label %begin, label %early
early:
  ret i32 %first
begin:
  %begun = call i64 @now()
  br label %round
round:
  br label %look
look:
  %count = phi i64 [ 0, %round ], [ %next, %again ]
  %seen = load atomic i32, ptr %word acquire, align 4
  %holds = icmp eq i32 %seen, %value
  br i1 %holds, label %again, label %done
again:
  call void @pause()
  %next = add i64 %count, 1
  %more = icmp slt i64 %next, 32
  br i1 %more, label %look, label %judge
judge:
  ; Who waits for may want this processor.
  call i32 @sched_yield()
  %time = call i64 @now()
  %passed = sub i64 %time, %begun
  %in_time = icmp slt i64 %passed, %patience
  br i1 %in_time, label %round, label %done
done:
  ret i32 %seen
}

; Until the word is `value`: a task waits for what one with a lower number does.
define internal void @await(ptr %word, i32 %value) {
entry:
  %time = alloca [2 x i64], align 8
  %spin = load atomic i64, ptr @spin monotonic, align 8
  br label %look
look:
  %patience = phi i64 [ %spin, %entry ], [ %patience, %wait ], [ 0, %nap ]
  %seen = load atomic i32, ptr %word acquire, align 4
  %is_there = icmp eq i32 %seen, %value
  br i1 %is_there, label %done, label %wait
wait:
  %now = call i32 @spin_while(ptr %word, i32 %seen, i64 %patience)
  %same = icmp eq i32 %now, %seen
  br i1 %same, label %nap, label %look
nap:
  store [2 x i64] [ i64 0, i64 $NAP_NANOSECONDS ], ptr %time, align 8
  call i32 @nanosleep(ptr %time, ptr null)
  br label %look
done:
  ret void
}

define internal void @sleep_while(ptr %slot, i32 %value) {
entry:
  %mutex = getelementptr i8, ptr %slot, i64 $MUTEX
  %condition = getelementptr i8, ptr %slot, i64 $CONDITION
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %seen = load atomic i32, ptr %slot acquire, align 4
  %holds = icmp eq i32 %seen, %value
  br i1 %holds, label %wait, label %done
wait:
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
done:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; After the word was changed: who has looked at it under the mutex waits already.
define internal void @wake(ptr %slot) {
  %mutex = getelementptr i8, ptr %slot, i64 $MUTEX
  %condition = getelementptr i8, ptr %slot, i64 $CONDITION
  call i32 @pthread_mutex_lock(ptr %mutex)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  call i32 @pthread_cond_signal(ptr %condition)
  ret void
}
"""

# --- threads ------------------------------------------------------------------------------------------------

_HIRING = """\
; Have workers for a team; gives how large it can be.
define internal i64 @hire(i64 %wanted) {
  %workers = load atomic i32, ptr @created monotonic, align 4
  %wide = zext i32 %workers to i64
  %present = add i64 %wide, 1
  %enough = icmp sge i64 %present, %wanted
  br i1 %enough, label %done, label %grow
grow:
  %grown = call i64 @grow(i64 %present, i64 %wanted)
  ret i64 %grown
done:
  ret i64 %wanted
}

define internal i64 @grow(i64 %present, i64 %wanted) {
entry:
  %attributes = alloca [256 x i8], align 16
  %all = alloca [256 x i8], align 16
  %before = alloca [256 x i8], align 16
  %thread = alloca i64, align 8
  call i32 @sigfillset(ptr %all)
$UNBLOCK
  call i32 @pthread_sigmask(i32 $SET_MASK, ptr %all, ptr %before)
  call i32 @pthread_attr_init(ptr %attributes)
  call i32 @pthread_attr_setstacksize(ptr %attributes, i64 $STACK_BYTES)
  br label %head
head:
  %worker = phi i64 [ %present, %entry ], [ %next, %added ]
  %more = icmp slt i64 %worker, %wanted
  br i1 %more, label %make, label %done
make:
  %slot = call ptr @slot(i64 %worker)
  %mutex = getelementptr i8, ptr %slot, i64 $MUTEX
  %condition = getelementptr i8, ptr %slot, i64 $CONDITION
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  call i32 @pthread_cond_init(ptr %condition, ptr null)
  store atomic i32 $IDLE, ptr %slot release, align 4
  %argument = inttoptr i64 %worker to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @live, ptr %argument)
  %is_made = icmp eq i32 %failed, 0
  br i1 %is_made, label %added, label %done
added:
  %made = load i64, ptr %thread, align 8
  call i32 @pthread_detach(i64 %made)
  %number = trunc i64 %worker to i32
  store atomic i32 %number, ptr @created monotonic, align 4
  %next = add i64 %worker, 1
  br label %head
done:
  call i32 @pthread_attr_destroy(ptr %attributes)
  call i32 @pthread_sigmask(i32 $SET_MASK, ptr %before, ptr null)
  ret i64 %worker
}

; In the child of a fork, which has none of the threads: as if there had never been any.
define internal void @reset() {
entry:
  %workers = load atomic i32, ptr @created monotonic, align 4
  %last = zext i32 %workers to i64
  store atomic i32 0, ptr @created monotonic, align 4
  br label %head
head:
  %worker = phi i64 [ 1, %entry ], [ %next, %body ]
  %more = icmp sle i64 %worker, %last
  br i1 %more, label %body, label %done
body:
  %slot = call ptr @slot(i64 %worker)
  store atomic i32 $ABSENT, ptr %slot monotonic, align 4
  %next = add i64 %worker, 1
  br label %head
done:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}
"""

_TABLE = """\
define void @program(ptr %table, ptr %unused) {
  store ptr @parallel, ptr %table, align 8
  %second = getelementptr i8, ptr %table, i64 8
  store ptr @await, ptr %second, align 8
  %third = getelementptr i8, ptr %table, i64 16
  store ptr @reset, ptr %third, align 8
  %fourth = getelementptr i8, ptr %table, i64 24
  store ptr @state, ptr %fourth, align 8
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i32 @nanosleep(ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
"""

# --- processors ---------------------------------------------------------------------------------------------


def _pause_and_mode(platform: Platform) -> str:
    """A pause in a loop, and the mode of floating point: rounding and tiny numbers as in the caller."""
    machine = platform.machine.lower()
    if machine in ("x86_64", "amd64"):
        return _X86
    return _ARM if machine in ("aarch64", "arm64") else _ANY_PROCESSOR


_X86 = """\
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}

; Without the six flags that say what has happened.
define internal i64 @get_mode() {
  %place = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %word = load i32, ptr %place, align 4
  %mode = and i32 %word, -64
  %wide = zext i32 %mode to i64
  ret i64 %wide
}

define internal void @set_mode(i64 %wanted) {
  %mode = call i64 @get_mode()
  %same = icmp eq i64 %mode, %wanted
  br i1 %same, label %done, label %set
set:
  %place = alloca i32, align 4
  %word = trunc i64 %wanted to i32
  store i32 %word, ptr %place, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
done:
  ret void
}
"""

_ARM = """\
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)

define internal void @pause() alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}

define internal i64 @get_mode() {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %mode
}

define internal void @set_mode(i64 %wanted) {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  %same = icmp eq i64 %mode, %wanted
  br i1 %same, label %done, label %set
set:
  call void @llvm.aarch64.set.fpcr(i64 %wanted)
  ret void
done:
  ret void
}
"""

_ANY_PROCESSOR = """\
define internal void @pause() alwaysinline {
  ret void
}

define internal i64 @get_mode() {
  ret i64 0
}

define internal void @set_mode(i64 %wanted) {
  ret void
}
"""
