"""Memory as the emulator's threads see it: each access inside of its array, and in an order with others.

All threads of a block run a statement at once, so an access is that of some lanes (threads by their
numbers) at some places. Time is counted by barriers: an access at a time before the block's last barrier,
or before the last one of the same warp, is over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.codegen.loops import held_dtype
from tracejit.errors import InternalError

WARP = 32
NOBODY = -1  # threads of several warps, in place of a thread's number; those of warp w are -2 - w

Array = np.ndarray[Any, Any]
Mask = Any  # the lanes that run a statement, as truth values; None for all


class Clock:
    """When it is: which block runs, how many barriers it and its warps have passed, which blocks are done.

    A block that takes a ticket, all of whose threads have fenced and met, gives what it did to blocks that
    take one later: to those of their threads that fence after that.
    """

    def __init__(self, blocks: int, threads: int) -> None:
        self.blocks, self.threads = blocks, threads
        self.lanes = np.arange(threads)
        self.warps = self.lanes // WARP
        self.time = self.block = self.started = self.met = 0
        self.warps_met = np.zeros(-(-threads // WARP), np.int64)  # when each warp last met
        self.is_late = False  # has the block taken its ticket?
        self.fenced = np.zeros(threads, np.int64)  # when each thread last fenced
        self.sees = np.zeros(threads, bool)  # threads that see what blocks with earlier tickets did
        self.starts: list[int] = []  # when each block so far started, which it was, when it took its ticket
        self.numbers: list[int] = []
        self.tickets: list[int] = []

    def start_block(self, block: int) -> None:
        self.pass_all()
        self.block, self.started, self.is_late = block, self.time, False
        self.fenced[:], self.sees[:] = 0, False
        self.starts.append(self.time)
        self.numbers.append(block)
        self.tickets.append(0)

    def pass_all(self) -> None:
        self.time += 1
        self.met = self.time
        self.warps_met[:] = self.time

    # --- what threads wait for ------------------------------------------------------------------------------

    def meet(self, mask: Mask, line: int) -> None:
        """A barrier of the block."""
        if mask is not None:
            self.whole_warps(mask, line)
            raise InternalError(f"block {self.block}: some warps do not reach the barrier in line {line}")
        self.pass_all()

    def meet_warp(self, mask: Mask, line: int) -> None:
        """A barrier of each warp that comes to it, or a shuffle."""
        self.time += 1
        if mask is None:
            self.warps_met[:] = self.time
        else:
            self.warps_met[self.whole_warps(mask, line)] = self.time

    def whole_warps(self, mask: Array, line: int) -> Array:
        """Which warps the lanes make up."""
        by_warps = mask.reshape(-1, WARP)
        some: Array = np.asarray(by_warps.any(axis=1))
        broken = np.flatnonzero(some != by_warps.all(axis=1))
        if broken.size:
            raise InternalError(
                f"block {self.block}: some threads of warp {broken[0]} do not reach "
                f"the barrier in line {line}"
            )
        return some

    def fence(self, mask: Mask) -> None:
        lanes = slice(None) if mask is None else mask
        self.fenced[lanes] = self.time
        if self.is_late:
            self.sees[lanes] = True

    def take_ticket(self, lanes: Array) -> None:
        if self.fenced.min() < self.started or self.fenced.max() >= self.met:
            raise InternalError(
                f"{self.of(lanes[0])} takes a ticket before all threads of its block have fenced and met"
            )
        self.time += 1
        self.is_late, self.tickets[-1] = True, self.time

    # --- order ----------------------------------------------------------------------------------------------

    def is_over(self, times: Array, threads: Array, lanes: Array) -> Array:
        """For each lane: is the access at this time, by this thread, known to be over?"""
        warps = self.warps[lanes]
        same_warp = _group(threads) == -2 - warps
        here = (threads == lanes) | (times < self.met) | (same_warp & (times < self.warps_met[warps]))
        if self.started == self.starts[0]:
            return here | (times == 0)
        number = np.searchsorted(self.starts, times, side="right") - 1
        is_seen = (times < np.asarray(self.tickets)[number]) & self.sees[lanes]
        return np.where(times >= self.started, here, is_seen | (times == 0))

    def of(self, lane: Any) -> str:
        return f"thread {lane} of block {self.block}"

    def who(self, time: Any, thread: Any) -> str:
        """Whose access it was."""
        block = self.numbers[np.searchsorted(self.starts, time, side="right") - 1]
        return f"{f'thread {thread}' if thread >= 0 else 'several threads'} of block {block}"


class ReadOnly:
    """An array that a launch only reads: elements behind an address, each access inside of it."""

    def __init__(self, array: Array, name: str, clock: Clock) -> None:
        self.flat, self.offset = _flat(array)
        self.size = self.flat.size
        self.name, self.clock = name, clock

    def load(self, mask: Mask, index: Any) -> Any:
        """The elements for the lanes of the mask, others 0; one number where all read the same."""
        if not isinstance(index, np.ndarray):
            return self.load_one(mask, int(index))
        if mask is None:
            places = self.places(index, self.clock.lanes)
            self.note_read(self.clock.lanes, places)
            return self.flat[places]
        lanes = np.flatnonzero(mask)
        places = self.places(index[lanes], lanes)
        self.note_read(lanes, places)
        found = np.zeros(mask.size, self.flat.dtype)
        found[lanes] = self.flat[places]
        return found

    def load_one(self, mask: Mask, index: int) -> Any:
        lanes = self.clock.lanes if mask is None else np.flatnonzero(mask)
        if not 0 <= index + self.offset < self.size:
            raise self.outside(lanes[0], index)
        if mask is not None or not self.is_noted_for_all(index + self.offset):
            self.note_read(lanes, np.full(lanes.size, index + self.offset))
        return self.flat[index + self.offset]

    def is_noted_for_all(self, place: int) -> bool:
        """A read by all threads of one place, noted in a short way; False where that says too little."""
        return True

    def places(self, index: Array, lanes: Array) -> Array:
        places = index + self.offset if self.offset else index
        if places.min() < 0 or places.max() >= self.size:
            at = int(np.argmax((places < 0) | (places >= self.size)))
            raise self.outside(lanes[at], index[at])
        return places

    def outside(self, lane: Any, index: Any) -> InternalError:
        return InternalError(f"{self.clock.of(lane)}: {self.name}[{index}] is outside of the array")

    def note_read(self, lanes: Array, places: Array) -> None:
        """Nothing else happens to an array that is only read."""


class Accesses:
    """When each element was last accessed in one way, and by whom."""

    def __init__(self, size: int, clock: Clock) -> None:
        self.times = np.zeros(size, np.int64)  # 0: never
        self.threads = np.zeros(size, np.int64)
        self.clock = clock

    def conflicts(self, lanes: Array, places: Array) -> Array | None:
        """Which of the places were accessed with nothing in between; None where none was."""
        times = self.times[places]
        last = times.max()
        if last == 0 or (last < self.clock.met and times.min() >= self.clock.started):
            return None
        threads = self.threads[places]
        if times.min() >= self.clock.started and (threads == lanes).all():
            return None
        is_over = self.clock.is_over(times, threads, lanes)
        return None if is_over.all() else ~is_over

    def note_one_each(self, lanes: Array, places: Array) -> None:
        self.times[places] = self.clock.time
        self.threads[places] = lanes

    def note(self, lanes: Array, places: Array) -> None:
        """Several threads may do it at one place; what is not over yet is kept in mind."""
        before = self.conflicts(lanes, places)
        at = places[:0] if before is None else places[before]
        times, groups = self.times[at], _group(self.threads[at])
        self.note_one_each(lanes, places)
        shared = self.threads[places] != lanes
        if shared.any():
            several = -2 - self.clock.warps[lanes]
            self.threads[places[shared]] = several[shared]
            found = self.threads[places]
            self.threads[places[(found < 0) & (found != several)]] = NOBODY
        if before is not None:
            is_other_block = times < self.clock.started
            is_same_warp = (_group(self.threads[at]) == groups) & ~is_other_block
            self.threads[at] = np.where(is_same_warp, groups, NOBODY)
            self.times[at[is_other_block]] = times[is_other_block]


def _group(threads: Array) -> Array:
    """Threads of a warp, in place of one of them."""
    return np.where(threads >= 0, -2 - threads // WARP, threads)


class Memory(ReadOnly):
    """An array that a launch writes to: two accesses at one place, one a write, must be in an order."""

    def __init__(self, array: Array, name: str, clock: Clock) -> None:
        super().__init__(array, name, clock)
        self.writes, self.reads = Accesses(self.size, clock), Accesses(self.size, clock)
        self.added: Accesses | None = None  # by atomic instructions, which need no order among themselves

    def note_read(self, lanes: Array, places: Array) -> None:
        self.follows(lanes, places, self.writes, "reads", "wrote")
        if self.added is not None:
            self.follows(lanes, places, self.added, "reads", "added to")
        self.reads.note(lanes, places)

    def is_noted_for_all(self, place: int) -> bool:
        wrote, read = self.writes.times[place], self.reads.times[place]
        started, met = self.clock.started, self.clock.met
        if self.added is not None or not started <= wrote < met or 0 < read < started:
            return False
        self.reads.times[place], self.reads.threads[place] = self.clock.time, NOBODY
        return True

    def store(self, mask: Mask, index: Any, value: Any) -> None:
        lanes, places = self.targets(mask, index)
        self.follows(lanes, places, self.writes, "writes", "wrote")
        self.follows(lanes, places, self.reads, "writes", "read")
        if self.added is not None:
            self.follows(lanes, places, self.added, "writes", "added to")
        self.writes.note_one_each(lanes, places)
        if lanes.size > 1:
            self.written_once(lanes, places)
        self.flat[places] = value[lanes] if isinstance(value, np.ndarray) else value

    def targets(self, mask: Mask, index: Any) -> tuple[Array, Array]:
        lanes = self.clock.lanes if mask is None else np.flatnonzero(mask)
        at = index[lanes] if isinstance(index, np.ndarray) else np.full(lanes.size, int(index))
        return lanes, self.places(at, lanes)

    def written_once(self, lanes: Array, places: Array) -> None:
        lost = np.flatnonzero(self.writes.threads[places] != lanes)
        if lost.size:
            first, second = np.flatnonzero(places == places[lost[0]])[:2]
            raise self.race(lanes[second], places[second], self.clock.time, lanes[first], "writes", "wrote")

    def atomic_add(self, mask: Mask, index: Any, value: Any) -> Any:
        """More at a place, at once, thread by thread; returns what was there."""
        lanes, places = self.targets(mask, index)
        self.follows(lanes, places, self.writes, "adds to", "wrote")
        self.follows(lanes, places, self.reads, "adds to", "read")
        self.added = self.added or Accesses(self.size, self.clock)
        self.added.note(lanes, places)
        given = value[lanes] if isinstance(value, np.ndarray) else np.full(lanes.size, value)
        found = np.zeros(self.clock.threads, self.flat.dtype)
        for lane, place, x in zip(lanes, places, given, strict=True):
            found[lane] = self.flat[place]
            self.flat[place] += x
        return found

    def follows(self, lanes: Array, places: Array, others: Accesses, does: str, did: str) -> None:
        """Raise InternalError where an access has no order with one of others."""
        found = others.conflicts(lanes, places)
        if found is not None:
            k = int(np.argmax(found))
            place = places[k]
            raise self.race(lanes[k], place, others.times[place], others.threads[place], does, did)

    def race(self, lane: Any, place: Any, time: Any, thread: Any, does: str, did: str) -> InternalError:
        return InternalError(
            f"{self.clock.of(lane)} {does} {self.name}[{place - self.offset}], which "
            f"{self.clock.who(time, thread)} {did} with nothing in between that orders them"
        )


class Shared(Memory):
    """Shared memory of a block, which holds nothing until it is written."""

    def note_read(self, lanes: Array, places: Array) -> None:
        times = self.writes.times[places]
        if times.min() == 0:
            k = int(np.argmin(times))
            raise InternalError(
                f"{self.clock.of(lanes[k])}: {self.name}[{places[k]}] of shared memory was never written"
            )
        super().note_read(lanes, places)


class Ticket(Memory):
    """The counter from which each block takes a number when it is done."""

    def atomic_add(self, mask: Mask, index: Any, value: Any) -> Any:
        lanes, places = self.targets(mask, index)
        self.clock.take_ticket(lanes)
        found = self.flat[places[0]]
        self.flat[places[0]] += value
        return found


class Status(ReadOnly):
    """A word that any thread may write to: it tells of an error, whichever."""

    def store(self, mask: Mask, index: Any, value: Any) -> None:
        self.load_one(mask, int(index))
        self.flat[int(index)] = value


def _flat(x: Array) -> tuple[Array, int]:
    """All memory between the first and last element of an array, and where its element [0, ...] is in it."""
    x = x.view(np.uint8) if x.dtype.kind == "b" else x.view(held_dtype(x.dtype))
    if x.flags.c_contiguous:
        return x.reshape(-1), 0
    low = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if s < 0 and n)
    high = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if s > 0 and n)
    if 0 in x.shape:
        return np.empty(0, x.dtype), 0
    start = x[tuple(slice(-1, None) if s < 0 else slice(0, 1) for s in x.strides)]
    count = (high - low) // x.itemsize + 1
    return np.lib.stride_tricks.as_strided(start, (count,), (x.itemsize,)), -low // x.itemsize
