"""The tables of numbers that a program's code is called with, the same for every printer.

Enters: printed kernels. Leaves: which array, size, stride or constant stands where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tracejit.codegen.loops import Buffer, CheckIndex, Kernel
from tracejit.codegen.products import MatrixProduct
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
        those that are the same at each call: ("temp", buffer) a byte offset in the workspace, ("size", value)
    dynamic: how many of them, from the front, change from call to call
    constants: what `fp` holds
    checks: the index checks, in the order of the numbers that they leave in the status word
    whole: the number of the segment that runs all steps, where there is one
    """

    language: Literal["llvm", "numba"]
    text: str
    slots: tuple[Slot, ...]
    dynamic: int
    constants: tuple[float, ...]
    checks: tuple[CheckIndex, ...]
    whole: int | None = None


def arrange(
    segments: Sequence[Sequence[KernelText]],
    symbols: Symbols,
    resident: set[Buffer],
    products: Sequence[MatrixProduct] = (),
) -> tuple[list[Slot], int]:
    """The entries of the integer table that the kernels need, and how many of them change from call to call.

    `resident` buffers live in the workspace (slot kind "temp"), the others are array objects.
    """
    used: dict[Slot, None] = {}
    for text in (t for segment in segments for t in segment):
        used.update(dict.fromkeys(_slots_of(text, symbols, resident)))
    for product in products:
        for buffer in (product.out, product.left.buffer, product.right.buffer):
            used.update(dict.fromkeys(_places_of(buffer, resident)))
        numbers = (product.left.offset, product.right.offset, *product.sizes)
        used.update(dict.fromkeys(("size", n) for n in numbers))
    slots = sorted(used, key=lambda s: (s[0] not in DYNAMIC, s[0] == "stride"))
    return slots, sum(s[0] in DYNAMIC for s in slots)


def _slots_of(text: KernelText, symbols: Symbols, resident: set[Buffer]) -> Iterator[Slot]:
    """The table entries that a kernel's arguments need."""
    for buffer in text.kernel.buffers:
        yield from _places_of(buffer, resident)
    yield from (("stride", *s) for s in text.strides)
    yield from (("size", symbols.sizes[int(name[1:])]) for name in text.symbols if name[0] == "s")
    if text.kernel.checks_indices:
        yield ("status",)


def _places_of(buffer: Buffer, resident: set[Buffer]) -> tuple[Slot, ...]:
    return (("workspace",), ("temp", buffer)) if buffer in resident else (("array", buffer),)
