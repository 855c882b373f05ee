"""What the printer of CUDA kernels asks of a nest: is it perfect, may loops be divided, what is touched?"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tracejit.codegen.loops import (
    Accumulate,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    FillRows,
    Kernel,
    Layouts,
    Load,
    Loop,
    Reset,
    Scalar,
    Statement,
    Store,
    guards_of,
    operands,
    walk,
)
from tracejit.schedule.index import AxisRef, Guard, Index, Quotient, Remainder

UNROLLED = 4  # elements of a thread whose loads are under way together
MOST_LOADS = 16  # of all those elements
IN_REGISTERS = 32  # elements of arrays that every thread keeps a copy of
SHORT = 32  # iterations of a loop that is written out
NARROWEST = 64  # columns of rows that threads take one below the other: a warp is beside an edge less often
FEWEST_ROWS = 8  # of them: few are left over
UNKNOWN = 2**200  # a bound of an index; no quotient of it is small
BODIES = 64  # copies of a loop's body that writing out may make

Axes = list[tuple[int, int]]  # axis and extent, from the outermost


def inner_loops(loop: Loop) -> list[Loop]:
    return [s for s in walk(loop.body) if isinstance(s, Loop)]


def is_divisible(s: Loop, atomic: Collection[Buffer] = ()) -> bool:
    """Can threads run the iterations in any order? Each must write, or add to, elements of its own.

    atomic: arrays that any thread may add to
    """
    return not s.serial and all(
        _has_axis(x.index, s.axis)
        for x in walk(s.body)
        if isinstance(x, (Store, Combine)) and x.buffer not in atomic
    )


def _has_axis(index: Sequence[Index], axis: int) -> bool:
    return any(isinstance(f, AxisRef) and f.axis == axis for part in index for f, _ in part.terms)


def perfect_nest(s: Loop) -> tuple[Axes, list[Statement]]:
    """The axes and extents of the loops, and all that is computed for an element, through time as well."""
    axes, body = [(s.axis, s.extent)], list(s.body)
    while len(inner := _parallel(body)) == 1:
        outside = [x for x in body if x is not inner[0]]
        axes.append((inner[0].axis, inner[0].extent))
        body = [*outside, *inner[0].body]
    return axes, body


def is_perfect(s: Loop, added_to: Iterable[Buffer] = ()) -> bool:
    """Is nothing but pure work done outside of the innermost loop, and no sum started inside?

    added_to: arrays that it may add to
    """
    if s.serial:
        return False
    body: Sequence[Statement] = s.body
    while inner := _parallel(body):
        if len(inner) > 1 or not all(
            x is inner[0] or isinstance(x, (Compute, Load, CheckIndex)) for x in body
        ):
            return False
        body = inner[0].body
    allowed = set(added_to)
    return not any(
        isinstance(x, (Reset, Fill)) or (isinstance(x, Combine) and x.buffer not in allowed) for x in body
    )


def _parallel(body: Iterable[Statement]) -> list[Loop]:
    return [x for x in body if isinstance(x, Loop) and not x.serial]


def has_time(body: Sequence[Statement]) -> bool:
    """Is there a loop in it whose iterations need one another?"""
    return any(isinstance(x, Loop) and x.serial for x in walk(body))


def scatters(s: Loop, atomic: Collection[Buffer] = ()) -> bool:
    """Does it add to elements that are known only when it runs, other than of arrays that any thread may?"""
    added = [x for x in walk(s.body) if isinstance(x, Combine) and x.buffer not in atomic]
    return any(part.loaded for x in added for part in x.index)


def fits_registers(loop: Loop, arrays: Sequence[Buffer]) -> bool:
    """Can every thread keep these arrays in registers, and have its inner loops written out?"""
    if sum(math.prod(b.shape) for b in arrays) > IN_REGISTERS or not is_short(loop.body):
        return False
    inner = {s.axis for s in inner_loops(loop)}
    for s in walk(loop.body):
        if isinstance(s, (Load, Store, Combine)) and s.buffer in arrays:
            factors = [f for part in s.index for f, _ in part.terms]
            if len(s.index) != len(s.buffer.shape):
                return False
            if not all(isinstance(f, AxisRef) and f.axis in inner for f in factors):
                return False
    return True


def is_short(body: Sequence[Statement], bodies: int = BODIES) -> bool:
    """May all loops in here be written out?"""
    return all(
        s.extent <= min(SHORT, bodies) and is_short(s.body, bodies // max(1, s.extent))
        for s in body
        if isinstance(s, Loop)
    )


def in_order(body: Sequence[Statement]) -> Iterator[list[Statement]]:
    """Loads that need nothing first, then those at loaded indices, stores last.

    Where an element is read back, all is left as it stands.
    """
    stores = [x for x in body if isinstance(x, (Store, Combine))]
    stored = {x.buffer for x in stores}
    if any(x.buffer in stored for x in body if isinstance(x, Load)):
        yield list(body)
        return
    first = [x for x in body if isinstance(x, Load) and not list(operands(x))]
    needed = _needed_by_loads(body)
    second = [x for x in body if id(x) in needed and x not in first]
    known = set(map(id, [*stores, *first, *second]))
    yield list(first)
    yield second
    yield [x for x in body if id(x) not in known]
    yield list(stores)


def loaded_together(body: Sequence[Statement], in_memory: Callable[[Buffer], bool]) -> int:
    """Iterations whose loads should all be printed in front of their first store.

    Only stores to memory keep the compiler from moving loads up itself.
    """
    loads = sum(isinstance(x, Load) and in_memory(x.buffer) for x in body)
    stores = any(isinstance(x, Store) and in_memory(x.buffer) for x in body)
    if not loads or not stores or any(isinstance(x, (Loop, Combine, Reset, CheckIndex)) for x in body):
        return 1
    return max(1, min(UNROLLED, MOST_LOADS // loads))


def _needed_by_loads(body: Sequence[Statement]) -> set[int]:
    """The loads of a body and what is computed for their indices."""
    wanted: set[Scalar] = set()
    found: set[int] = set()
    for x in reversed(body):
        is_wanted = isinstance(x, (Compute, CheckIndex)) and x.scalar in wanted
        if isinstance(x, Load) or is_wanted:
            found.add(id(x))
            wanted.update(operands(x))
    return found


def axes_needed(body: Sequence[Statement], nest: Axes, strided: Layouts) -> set[int]:
    """Axes whose counters appear other than in the number of the element."""
    axes, extents = tuple(a for a, _ in nest), tuple(n for _, n in nest)
    found: set[int] = set()
    for x in walk(body):
        if isinstance(x, (Load, Store, Combine)):
            if isinstance(x, Load):
                found.update(a for g in x.guards for a in g.index.axes)
            if x.buffer in strided or not is_flat(x.buffer, x.index, axes, extents):
                found.update(a for part in x.index for a in part.axes)
        elif isinstance(x, Compute) and x.scalar.op in ("index", "guard"):
            for arg in x.scalar.args:
                found.update((arg.index if isinstance(arg, Guard) else arg).axes)
        elif isinstance(x, Accumulate) and x.position is not None:
            found.update(x.position.axes)
    return found


def goes_down(nest: Axes, body: Sequence[Statement]) -> bool:
    """May a thread take `UNROLLED` rows of a column one below the other, and is it of use?"""
    if len(nest) < 2 or nest[-1][1] < NARROWEST or nest[-2][1] < FEWEST_ROWS or has_time(body):
        return False
    moving = [x for x in body if isinstance(x, (Load, Store, Combine))]
    stored = {x.buffer for x in moving if not isinstance(x, Load)}
    guards = set(guards_of(list(body)))
    return (
        all(g.op == ">=" and g.negated() not in guards for g in guards)
        and not any(isinstance(x, (Combine, CheckIndex)) for x in body)
        and not any(part.loaded for x in moving for part in x.index)
        and not any(isinstance(x, Load) and x.buffer in stored for x in moving)
        and bool(axes_needed(body, nest, {}))
    )


def moved(index: Index, axis: int, by: int) -> Index:
    """The index so many iterations of a loop further on."""
    total = Index((), index.constant)
    for factor, coefficient in index.terms:
        if isinstance(factor, AxisRef) and factor.axis == axis:
            total = total + coefficient * (Index.factor(factor) + by)
        elif isinstance(factor, Quotient):
            total = total + coefficient * (moved(factor.numerator, axis, by) // factor.divisor)
        elif isinstance(factor, Remainder):
            total = total + coefficient * (moved(factor.numerator, axis, by) % factor.divisor)
        else:
            total = total + coefficient * Index.factor(factor)
    return total


def is_flat(
    buffer: Buffer, index: tuple[Index, ...], axes: tuple[int, ...], extents: tuple[int, ...]
) -> bool:
    """Is it the element whose number is the number of the iteration?"""
    return (
        buffer.shape == extents
        and len(index) == len(axes)
        and all(bool(k == Index.factor(AxisRef(a))) for k, a in zip(index, axes, strict=True))
    )


def number(index: Index, constants: Mapping[int, int]) -> int:
    """The value of an index all of whose counters are known."""
    total = index.constant
    for factor, coefficient in index.terms:
        assert isinstance(factor, AxisRef)
        total += coefficient * constants[factor.axis]
    return total


def bounds(index: Index, extents: Mapping[int, int]) -> tuple[int, int]:
    """The least and the greatest that an index can be, by its axes' extents; beyond 2**63 if unknown."""
    low = high = index.constant
    for factor, coefficient in index.terms:
        ends = [coefficient * x for x in _bounds_of(factor, extents)]
        low, high = low + min(ends), high + max(ends)
    return low, high


def _bounds_of(factor: Any, extents: Mapping[int, int]) -> tuple[int, int]:
    if isinstance(factor, AxisRef) and factor.axis in extents:
        return 0, max(extents[factor.axis] - 1, 0)
    if isinstance(factor, Quotient):
        low, high = bounds(factor.numerator, extents)
        return low // factor.divisor, high // factor.divisor
    if isinstance(factor, Remainder):
        return 0, factor.divisor - 1
    return -UNKNOWN, UNKNOWN


def reciprocal(n: int) -> int:
    """What divides numbers of 31 bits by `n`: a factor, in the low 32 bits, and a shift above them.

    `x * factor >> shift` is `x // n`: the factor is 2**shift / n rounded up, by less than one part in 2**31
    (Granlund and Montgomery, 1994). As one number it is as different from others as `n` is.

    >>> both = reciprocal(7)
    >>> (2**31 - 1) * (both & 0xFFFFFFFF) >> (both >> 32) == (2**31 - 1) // 7
    True
    """
    n = max(n, 1)  # of an empty axis, nothing is asked
    shift = 31 + (n - 1).bit_length()
    return 2**shift // n + 1 | shift << 32


def products_in_sums(kernel: Kernel) -> set[Scalar]:
    """Products that a sum or difference takes, which the compiler would contract."""
    return {
        a
        for s in walk(kernel.body)
        for sum_ in _sums(s)
        for a in sum_
        if a.op == "mul" and a.dtype.kind == "f"
    }


def _sums(s: Statement) -> Iterator[tuple[Scalar, ...]]:
    if isinstance(s, Compute) and s.scalar.op in ("add", "sub"):
        yield s.scalar.args


def read(statements: Iterable[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(list(statements)) if isinstance(s, (Load, Combine))}


def written(statements: Iterable[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(list(statements)) if isinstance(s, (Store, Combine, Fill, FillRows))}
