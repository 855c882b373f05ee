"""Which results may be written over which inputs, by the order of steps and the statements of a kernel.

Enters a program; leaves pairs of an input and an output, and kernels that know that both may be one memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tracejit.codegen.loops import (
    Buffer,
    Combine,
    Fill,
    Kernel,
    Load,
    Loop,
    Stage,
    Statement,
    Store,
    Strip,
    walk,
)
from tracejit.codegen.program import Call, LibraryCall, Program, Segment
from tracejit.codegen.regions import Region
from tracejit.ir import Var
from tracejit.schedule.access import reaches
from tracejit.schedule.index import AxisRef, Index


@dataclass(frozen=True)
class Turn:
    """What a step does to arrays. The steps of a region run by turns and have one `number`.

    in_place: may a result be written over an input that the step reads? It is told so where they are.
    """

    number: int
    read: set[Buffer]
    written: set[Buffer]
    in_place: Callable[[Buffer, Buffer], bool]


def donate(program: Program, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the (input, output) numbers that may share memory, each number once; marks the kernels.

    An output may take an input's memory if nothing reads the input once the output is written to; or if one
    kernel reads each element of the input and then writes the same element of the output.
    """
    return choose(program, list(_turns(program)), pairs)


def choose(
    program: Program, turns: Sequence[Turn], pairs: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """`donate`, for what runs a program in these steps."""
    chosen: list[tuple[int, int]] = []
    for source, target in pairs:
        if any(source == s or target == t for s, t in chosen):
            continue
        if _may_share(program.buffers, turns, program.inputs[source], program.outputs[target]):
            chosen.append((source, target))
    return chosen


def _may_share(buffers: Mapping[Var, Buffer], turns: Sequence[Turn], source: Var, target: Var) -> bool:
    if source not in buffers or target not in buffers:
        return source not in buffers
    read, written = buffers[source], buffers[target]
    first = next(n for n, turn in enumerate(turns) if written in turn.written)
    others = [t.number for n, t in enumerate(turns) if read in t.read and n != first]
    if any(number >= turns[first].number for number in others):
        return False
    return read not in turns[first].read or turns[first].in_place(read, written)


def _turns(program: Program) -> Iterator[Turn]:
    """Every step of native code."""
    number = 0
    for call in program.calls:
        for step in call.steps if isinstance(call, Segment) else [call]:
            number += 1
            for single in Segment(0, (step,)).singles if isinstance(step, Region) else [step]:
                if isinstance(single, Kernel):
                    yield turn_of_kernel(number, single)
                else:
                    yield turn_of_call(number, single, program)


def turn_of_kernel(number: int, kernel: Kernel) -> Turn:
    def in_place(read: Buffer, written: Buffer) -> bool:
        if not runs_in_place(kernel, read, written):
            return False
        kernel.shared |= {read, written}
        return True

    return Turn(number, buffers_read(kernel), kernel.written, in_place)


def turn_of_call(number: int, call: Call | LibraryCall, program: Program) -> Turn:
    below = [r.base for a in call.eqn.inputs for r in reaches(a, program.schedule.definitions)]
    read = {program.buffers[v] for v in below if isinstance(v, Var)}
    return Turn(number, read, {program.buffers[call.eqn.out]}, lambda *_: False)


def buffers_read(kernel: Kernel) -> set[Buffer]:
    return {s.buffer for s in walk(kernel.body) if isinstance(s, (Load, Combine))}


def runs_in_place(kernel: Kernel, read: Buffer, written: Buffer) -> bool:
    """Is every element of `read` loaded just before the same element of `written` is stored, for good?"""
    found = [_place_of(s, kernel.body, ()) for s in walk(kernel.body) if _touches(s, read, written)]
    stores = [place for place in found if isinstance(place[0], Store)]
    if read.shape != written.shape or len(stores) != 1 or any(_is_partial(s) for s, *_ in found):
        return False
    store, body, loops, position = stores[0]
    assert isinstance(store, Store)
    if sorted(_axis_of(index) for index in store.index if index != Index()) != sorted(loops):
        return False
    return all(
        s is store or (other is body and at < position and isinstance(s, Load) and s.index == store.index)
        for s, other, _, at in found
    )


def _touches(statement: Statement, read: Buffer, written: Buffer) -> bool:
    if isinstance(statement, Load):
        return statement.buffer in (read, written)
    return isinstance(statement, (Store, Fill, Combine)) and statement.buffer in (read, written)


def _is_partial(statement: Statement) -> bool:
    """Does it read under a condition, or write more than one element, or more than once?"""
    return isinstance(statement, (Fill, Combine)) or (isinstance(statement, Load) and bool(statement.guards))


Place = tuple[Statement, Sequence[Statement], tuple[int, ...], int]


def _place_of(statement: Statement, body: Sequence[Statement], loops: tuple[int, ...]) -> Place:
    """The statement, the body that it is in, the axes of the loops around it, and its place in the body."""
    for position, candidate in enumerate(body):
        if candidate is statement:
            return statement, body, loops, position
        if isinstance(candidate, Loop) and any(inner is statement for inner in walk(candidate.body)):
            return _place_of(statement, candidate.body, (*loops, candidate.axis))
        if isinstance(candidate, Strip) and any(inner is statement for inner in walk(candidate.body)):
            return _place_of(statement, candidate.body, loops)
        if isinstance(candidate, Stage) and any(inner is statement for inner in walk([candidate])):
            return _place_of(statement, candidate.body, (*loops[:-1], candidate.axis))
    raise AssertionError("a statement is in its kernel")


def _axis_of(index: Index) -> int:
    """The loop axis that an index is, -1 where it is anything else."""
    if len(index.terms) != 1 or index.constant:
        return -1
    factor, coefficient = index.terms[0]
    return factor.axis if isinstance(factor, AxisRef) and coefficient == 1 else -1
