"""Which results of launches may be written over which inputs: as on the processor, thread by thread.

A thread that has an element for itself loads it before it stores there. What a team runs together is another
matter: its first thread may store while others have not loaded yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracejit.codegen.cuda.launches import DeviceProgram, Plain
from tracejit.codegen.donation import Turn, buffers_read, choose, runs_in_place, turn_of_call
from tracejit.codegen.loops import Buffer, Loop, Statement, Store, Strip, walk
from tracejit.codegen.program import LibraryCall


def donate(device_program: DeviceProgram, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the (input, output) numbers that may share memory, each number once."""
    return choose(device_program.program, list(_turns(device_program)), pairs)


def _turns(device_program: DeviceProgram) -> Iterator[Turn]:
    """Every step; sorts have neither inputs nor outputs."""
    for number, step in enumerate(device_program.steps):
        if isinstance(step, Plain):
            yield _turn_of_launch(number, step)
        elif isinstance(step, LibraryCall):
            yield turn_of_call(number, step, device_program.program)


def _turn_of_launch(number: int, plain: Plain) -> Turn:
    kernels = [plain.kernel, *([plain.finish] if plain.finish is not None else [])]
    read = set[Buffer]().union(*map(buffers_read, kernels))
    written = set[Buffer]().union(*(k.written for k in kernels))

    def in_place(source: Buffer, target: Buffer) -> bool:
        late = set(plain.finish.buffers) if plain.finish is not None else set[Buffer]()
        if plain.segments is not None or plain.joins or not late.isdisjoint({source, target}):
            return False
        return runs_in_place(plain.kernel, source, target) and _is_by_one_thread(plain, target)

    return Turn(number, read, written, in_place)


def _is_by_one_thread(plain: Plain, target: Buffer) -> bool:
    """Has each thread of the launch iterations of its own where it stores to an array?"""
    store = next(s for s in walk(plain.kernel.body) if isinstance(s, Store) and s.buffer is target)
    around = list(_loops_around(store, plain.kernel.body))
    if plain.lanes <= 1:
        return any(loop.ranged for loop in around)
    return any(not loop.ranged and not loop.serial for loop in around)


def _loops_around(statement: Statement, body: Sequence[Statement]) -> Iterator[Loop]:
    for candidate in body:
        if isinstance(candidate, (Loop, Strip)) and any(s is statement for s in walk(candidate.body)):
            if isinstance(candidate, Loop):
                yield candidate
            yield from _loops_around(statement, candidate.body)
