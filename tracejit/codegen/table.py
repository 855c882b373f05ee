"""The tables of numbers that a program's code is called with, the same for every printer.

Enters: printed kernels. Leaves: which array, size, stride or constant stands where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tracejit.codegen.loops import Buffer, CheckIndex, Kernel
from tracejit.codegen.routines import RoutineCall
from tracejit.codegen.symbols import Symbols


@dataclass(frozen=True)
class KernelText:
    """A printed kernel: its function text and its arguments in order.

    strides: `(buffer, dimension)` pairs whose element strides are arguments
    symbols: names of sizes and constants
    """

    kernel: Kernel
    text: str
    strides: tuple[tuple[Buffer, int], ...]
    symbols: tuple[str, ...]


Slot = tuple[Any, ...]

# Slots that change from call to call stand first in the table, strides behind the others: a call packs them
# and appends the rest.
DYNAMIC = ("array", "workspace", "status", "stride")


@dataclass(frozen=True)
class ProgramText:
    """A printed program and the layout of its two argument tables.

    language: "llvm" or "numba"
    slots: what each entry of `ip` after the first (the segment) holds: ("array", buffer) the address of the
        array object, ("workspace",), ("status",), ("stride", buffer, dimension) in elements, and
        those that are the same at each call: ("size", value), ("temp", buffer) a byte offset in the
        workspace or in a worker's area of it, ("apart", buffer, dimension) a stride there in elements,
        ("region", number, name) a number of a region, ("slice", buffer) and ("copy", buffer) the bytes from
        one slice of a tile to the next and of a strand's copy
    dynamic: how many of them, from the front, change from call to call
    constants: what `fp` holds
    checks: what may fail, index checks and routines, in the order of the numbers left in the status word
    """

    language: Literal["llvm", "numba"]
    text: str
    slots: tuple[Slot, ...]
    dynamic: int
    constants: tuple[float, ...]
    checks: tuple[CheckIndex | RoutineCall, ...]


def arrange(
    texts: Iterable[KernelText], symbols: Symbols, resident: set[Buffer], more: Iterable[Slot] = ()
) -> tuple[list[Slot], int]:
    """The entries of the integer table that the kernels need, and how many of them change from call to call.

    `resident` buffers live in the workspace (slot kind "temp"), the others are array objects.
    """
    used: dict[Slot, None] = {}
    for text in texts:
        used.update(dict.fromkeys(_slots_of(text, symbols, resident)))
    used.update(dict.fromkeys(more))
    slots = sorted(used, key=lambda s: (s[0] not in DYNAMIC, s[0] == "stride"))
    return slots, sum(s[0] in DYNAMIC for s in slots)


def _slots_of(text: KernelText, symbols: Symbols, resident: set[Buffer]) -> Iterator[Slot]:
    """The table entries that a kernel's arguments need."""
    for buffer in text.kernel.buffers:
        yield from places_of(buffer, resident)
    yield from (stride_slot(*s, resident) for s in text.strides)
    yield from (("size", symbols.sizes[int(name[1:])]) for name in text.symbols if name[0] == "s")
    if text.kernel.checks_indices:
        yield ("status",)


def places_of(buffer: Buffer, resident: set[Buffer]) -> tuple[Slot, ...]:
    return (("workspace",), ("temp", buffer)) if buffer in resident else (("array", buffer),)


def stride_slot(buffer: Buffer, dimension: int, resident: set[Buffer]) -> Slot:
    """That of what the program has itself is the same at each call."""
    return ("apart" if buffer in resident else "stride", buffer, dimension)
