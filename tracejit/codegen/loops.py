"""Loop nests: the target-free form of a kernel. Statements over scalars, loads and stores in nested loops.

Enters: what `codegen.lower` builds from a group. Leaves: a `Kernel` that every printer can print.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import Source, Var, is_half
from tracejit.schedule.index import Guard, Index

_serial = itertools.count()
_BITS = np.dtype(np.uint16)


@dataclass(frozen=True, eq=False)
class Scalar:
    """One scalar value of a kernel in SSA form: `op(*args)`.

    op: "const" (args: value), "index" (args: Index), "load", "acc" (an accumulator's final value), "register"
        (what a register holds now), "guard" (args: Guards, all of which must hold), "checked" (a wrapped
        index), or a function name
    level: number of loops around its definition
    """

    op: str
    args: tuple[Any, ...]
    dtype: np.dtype[Any]
    level: int
    serial: int = field(default_factory=lambda: next(_serial))


@dataclass(eq=False)
class Buffer:
    """An array in memory as the kernel sees it.

    var: the variable it holds, None for a scratch row; shape: its extents; name: given by the program
    rows_of: for a ring of rows the variable of which it holds the latest
    """

    var: Var | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""
    rows_of: Var | None = None


def held_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What a kernel holds of an array's elements: of float16 and bfloat16 their 16 bits."""
    return _BITS if is_half(dtype) else dtype


def nbytes(buffer: Buffer) -> int:
    return math.prod(buffer.shape) * buffer.dtype.itemsize


@dataclass(eq=False)
class Compute:
    scalar: Scalar
    source: Source | None = None


@dataclass(eq=False)
class Load:
    scalar: Scalar
    buffer: Buffer
    index: tuple[Index, ...]
    guards: tuple[Guard, ...]
    source: Source | None = None


@dataclass(eq=False)
class CheckIndex:
    """`scalar` = operand wrapped into [0, extent); out of range sets the status and gives 0."""

    scalar: Scalar
    operand: Scalar
    extent: int
    source: Source | None = None

    def error(self) -> IndexOutOfBoundsError:
        """What is raised where the check left its number in the status word."""
        return IndexOutOfBoundsError(
            f"index: an index array reaches outside an axis of size {self.extent}",
            where=self.source.describe() if self.source else None,
            hint="indices must lie in [-size, size)",
        )


@dataclass(eq=False)
class Store:
    buffer: Buffer
    index: tuple[Index, ...]
    value: Scalar


@dataclass(eq=False)
class Accumulator:
    """A register that a reduction runs in; `index` is the second register of argmax and argmin."""

    reducer: str
    dtype: np.dtype[Any]
    serial: int = field(default_factory=lambda: next(_serial))

    @property
    def result_dtype(self) -> np.dtype[Any]:
        """Of its final value: the position, for argmax and argmin."""
        return np.dtype(np.int64) if self.reducer.startswith("arg") else self.dtype


@dataclass(eq=False)
class Reset:
    accumulator: Accumulator


@dataclass(eq=False)
class Accumulate:
    accumulator: Accumulator
    value: Scalar
    position: Index | None = None
    source: Source | None = None


@dataclass(eq=False)
class Register:
    """What a serial loop carries from one iteration to the next."""

    dtype: np.dtype[Any]
    serial: int = field(default_factory=lambda: next(_serial))


@dataclass(eq=False)
class SetRegister:
    """A register holds `value` from here on. A scalar "register" that was computed before keeps its value."""

    register: Register
    value: Scalar


@dataclass(eq=False)
class Fill:
    """Set all of a buffer to a reduction's neutral element, before the loops."""

    buffer: Buffer
    reducer: str


@dataclass(eq=False)
class Combine:
    """`buffer[index] = reducer(buffer[index], value)`: a reduction over an outer loop."""

    buffer: Buffer
    index: tuple[Index, ...]
    reducer: str
    value: Scalar
    source: Source | None = None


@dataclass(eq=False)
class Loop:
    """`extent` iterations; where it is `ranged`, those of them that the function is called for.

    serial: each iteration needs what the one before has set
    """

    axis: int
    extent: int
    body: list[Statement]
    ranged: bool = False
    serial: bool = False


@dataclass(eq=False)
class Stage:
    """One row of a nest that runs `lag` rows behind: row `time - lag`, if there is one, of `extent`.

    axis: the counter of the rows, which the body knows; time: the axis of the loop around all stages
    zeros: what runs in its place after the last row, so that readers find zeros there
    """

    axis: int
    extent: int
    time: int
    lag: int
    body: list[Statement]
    zeros: list[Statement]


# Statements of kernels that run range by range (`codegen.ranges`). A strand is what runs in one go, from its
# first range to its last; it has its own partial results, and its own copies of arrays that it reduces into.


@dataclass(eq=False)
class Strip:
    """The range in blocks: resets, one ranged loop, merges. Sums of short sums are the more exact ones."""

    body: list[Statement]


@dataclass(eq=False)
class Lead:
    """The `count` iterations of a loop that come before the range, as far as they are any: rings get rows."""

    axis: int
    count: int
    body: list[Statement]


@dataclass(eq=False)
class StartPartial:
    """Set the strand's partial result to the neutral element."""

    accumulator: Accumulator
    slot: int


@dataclass(eq=False)
class MergePartial:
    """Add what the accumulator found in a block to the strand's partial result."""

    accumulator: Accumulator
    slot: int


@dataclass(eq=False)
class TotalPartial:
    """The accumulator's final value: the partial results of all strands, in order, `stride` slots apart."""

    accumulator: Accumulator
    slot: int
    stride: int


@dataclass(eq=False)
class FillRows:
    """Set those rows of a buffer that are in the range to the neutral element."""

    buffer: Buffer
    reducer: str


@dataclass(eq=False)
class JoinCopy:
    """Reduce a strand's copy into the buffer, which is the first strand's."""

    buffer: Buffer
    reducer: str


# How an input lies in memory: row-major without gaps; else the axis whose elements lie side by side, if any.
CONTIGUOUS, SCATTERED = -1, -2
Layouts = Mapping[Buffer, int]  # of those buffers that are not contiguous

Statement = (
    Compute
    | Load
    | CheckIndex
    | Store
    | Reset
    | Accumulate
    | SetRegister
    | Fill
    | Combine
    | Loop
    | Stage
    | Strip
    | Lead
    | StartPartial
    | MergePartial
    | TotalPartial
    | FillRows
    | JoinCopy
)


@dataclass(eq=False)
class Kernel:
    """One loop nest.

    buffers: in order of first use; written: those that it writes; depth: how deep the nest is
    shared: those of which a written one may lie where a read one lies
    """

    name: str
    body: list[Statement]
    buffers: list[Buffer]
    written: set[Buffer]
    scratch: list[Buffer]
    checks_indices: bool = False
    shared: set[Buffer] = field(default_factory=set[Buffer])


def walk(body: Sequence[Statement]) -> Iterator[Statement]:
    """Every statement, loops before what they hold."""
    for statement in body:
        yield statement
        if isinstance(statement, (Loop, Stage, Strip, Lead)):
            yield from walk(statement.body)
        if isinstance(statement, Stage):
            yield from walk(statement.zeros)


def guards_of(body: list[Statement]) -> list[Guard]:
    """Every guard in the body, of loads and of selections."""
    found: list[Guard] = []
    for statement in walk(body):
        if isinstance(statement, Load):
            found += statement.guards
        elif isinstance(statement, Compute) and statement.scalar.op == "guard":
            found += statement.scalar.args
    return found


def neutral(reducer: str, dtype: np.dtype[Any]) -> Any:
    """The value that a reduction starts from."""
    if reducer in ("sum", "any"):
        return dtype.type(0)
    if reducer in ("prod", "all"):
        return dtype.type(1)
    low = reducer in ("max", "argmax")
    if dtype.kind == "f":
        return dtype.type(-np.inf if low else np.inf)
    if dtype.kind == "b":
        return np.bool_(not low)
    info = np.iinfo(dtype)
    return dtype.type(info.min if low else info.max)


def remove_dead(body: list[Statement]) -> list[Statement]:
    """Without the scalars and loops that nothing stores; a later pass may have computed them again itself."""
    live: set[Scalar] = set()
    return _live_part(body, live)


def _live_part(body: list[Statement], live: set[Scalar]) -> list[Statement]:
    kept: list[Statement] = []
    for statement in reversed(body):
        if isinstance(statement, (Loop, Stage, Strip, Lead)):
            statement.body = _live_part(statement.body, live)
            if statement.body:
                kept.append(statement)
        elif isinstance(statement, (Compute, Load)):
            if statement.scalar in live:
                kept.append(statement)
                live.update(operands(statement))
        else:  # index checks report, the others write
            kept.append(statement)
            live.update(operands(statement))
    kept.reverse()
    return kept


def operands(statement: Statement) -> Iterator[Scalar]:
    """The scalars that a statement reads, in indices as well."""
    if isinstance(statement, Compute):
        for arg in statement.scalar.args:
            yield from _scalars_in(arg)
    elif isinstance(statement, Load):
        yield from _loaded(statement.index, statement.guards)
    elif isinstance(statement, CheckIndex):
        yield statement.operand
    elif isinstance(statement, Accumulate):
        yield statement.value
        yield from statement.position.loaded if statement.position is not None else ()
    elif isinstance(statement, SetRegister):
        yield statement.value
    elif isinstance(statement, (Store, Combine)):
        yield statement.value
        yield from _loaded(statement.index, ())


def _scalars_in(arg: Any) -> Iterator[Scalar]:
    if isinstance(arg, Scalar):
        yield arg
    elif isinstance(arg, Index):
        yield from arg.loaded
    elif isinstance(arg, Guard):
        yield from arg.index.loaded


def _loaded(index: tuple[Index, ...], guards: tuple[Guard, ...]) -> Iterator[Scalar]:
    for part in index:
        yield from part.loaded
    for guard in guards:
        yield from guard.index.loaded
