"""Where an element lies and how lanes get to it: one load, one vector, a reversed one, or a gather."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.codegen.llvm.code import BOOL, I64, Reg, literal, stored, suffix, type_text
from tracejit.codegen.loops import Buffer
from tracejit.costs import SHORT_SCRATCH
from tracejit.schedule.index import AxisRef, Index

if TYPE_CHECKING:
    from tracejit.codegen.llvm.kernel import KernelPrinter


@dataclass(frozen=True)
class Place:
    """Elements of a buffer: `pointer` to the first (or one in each lane, where `step` is 0 and it varies).

    step: 1 or -1 for lanes that lie side by side; 0 for one element, or pointers
    is_own: memory of the function in which each lane has an element of its own
    """

    buffer: Buffer
    pointer: Reg
    step: int
    is_own: bool = False

    @property
    def varies(self) -> bool:
        """Has each lane an element of its own?"""
        return self.step != 0 or self.pointer.lanes > 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of memory: truth values are bytes."""
        return stored(self.buffer.dtype)


class Memory:
    """Loads and stores of one kernel."""

    def __init__(self, printer: KernelPrinter) -> None:
        self.printer = printer
        self.code = printer.code
        self._nothing: str | None = None
        self._expanded: dict[Buffer, str] = {}
        self._flat: dict[tuple[Buffer, int], Index] = {}

    # --- places ---------------------------------------------------------------------------------------------

    def flat(self, buffer: Buffer, counter: Reg) -> Place:
        """Lanes from element `counter` of a contiguous buffer on."""
        return Place(buffer, self.pointer(buffer, [counter]), 1)

    def place(self, buffer: Buffer, index: tuple[Index, ...]) -> Place:
        if buffer in self.printer.vectors.expanded:
            return self.expanded(buffer, index)
        parts, moving = self.terms(buffer, index)
        lanes, axis = self.printer.lanes, self.printer.vector_axis
        varying = any(p.lanes for p in parts)
        if axis is None or (not moving and not varying):
            return Place(buffer, self.pointer(buffer, parts), 0)
        counter = self.printer.axes.get(axis)
        step = moving[0][1] if len(moving) == 1 and moving[0][0] is None else 0
        if not varying and step in (1, -1) and counter is not None:
            own = counter if step == 1 else self.code.negate(counter)
            return Place(buffer, self.pointer(buffer, [*parts, own]), step)
        for stride, n in moving:
            scale = self.printer.size(n)
            if stride is not None:
                scale = stride if n == 1 else self.code.binary("mul", scale, stride)
            parts.append(self.code.binary("mul", self.printer.counter(axis), self.code.splat(scale, lanes)))
        return Place(buffer, self.pointer(buffer, parts), 0)

    def expanded(self, buffer: Buffer, index: tuple[Index, ...]) -> Place:
        """A vector for each element, in registers where all indices are literal; else room for the most."""
        kind = type_text(stored(buffer.dtype), self.printer.vectors.lanes)
        if buffer not in self._expanded:
            is_literal = all(n <= self.printer.symbols.literal_limit for n in buffer.shape)
            count = prod(buffer.shape) if is_literal else SHORT_SCRATCH
            self._expanded[buffer] = self.code.alloca(f"[{count} x {kind}]")
        position = self.printer.index(self.flat_index(buffer, index))
        rhs = f"getelementptr {kind}, ptr {self._expanded[buffer]}, i64 {position.text}"
        return Place(buffer, self.code.pure(rhs, I64, 0, position.region), 1, is_own=True)

    def terms(
        self, buffer: Buffer, index: tuple[Index, ...]
    ) -> tuple[list[Reg], list[tuple[Reg | None, int]]]:
        """The parts of the position in elements, and what multiplies the counter of the vector's axis.

        The latter are pairs of a stride, None where it is one element, and a number.
        """
        if buffer in self.printer.strided and len(index) == len(buffer.shape):
            pieces = [(k, self.stride(buffer, d)) for d, k in enumerate(index) if k.terms or k.constant]
        else:
            pieces = [(self.flat_index(buffer, index), None)]
        parts: list[Reg] = []
        moving: list[tuple[Reg | None, int]] = []
        axis = self.printer.vector_axis
        for part, stride in pieces:
            for factor, n in part.terms:
                if isinstance(factor, AxisRef) and factor.axis == axis:
                    moving.append((stride, n))
                else:
                    parts.append(self.scaled(self.printer.term(factor, n), stride))
            if part.constant:
                parts.append(self.scaled(self.printer.size(part.constant), stride))
        return parts, moving

    def stride(self, buffer: Buffer, dimension: int) -> Reg | None:
        name = self.printer.stride(buffer, dimension)
        return None if name is None else Reg(f"%{name}", I64)

    def scaled(self, x: Reg, stride: Reg | None) -> Reg:
        return x if stride is None else self.code.binary("mul", x, stride)

    def flat_index(self, buffer: Buffer, index: tuple[Index, ...]) -> Index:
        if len(index) != len(buffer.shape):
            return index[0]  # a position in the flat array
        key = (buffer, id(index))  # the statement that holds the index outlives the printer
        if key not in self._flat:
            position = Index()
            for k, n in zip(index, buffer.shape, strict=True):
                position = position * n + k
            self._flat[key] = position
        return self._flat[key]

    def pointer(self, buffer: Buffer, parts: list[Reg]) -> Reg:
        """The address of an element; what is known farther outside is added there."""
        dtype = stored(buffer.dtype)
        kind = type_text(dtype)
        pointer = Reg(f"%{buffer.name}", I64)
        for region in sorted({p.region for p in parts if not p.lanes}):
            inner = self.printer.sum_of([p for p in parts if p.region == region and not p.lanes], 0)
            rhs = f"getelementptr {kind}, ptr {pointer.text}, i64 {inner.text}"
            pointer = self.code.pure(rhs, I64, 0, max(region, pointer.region))
        vectors = [p for p in parts if p.lanes]
        if vectors:
            inner = self.printer.sum_of(vectors, 0)
            rhs = f"getelementptr {kind}, ptr {pointer.text}, {inner.type} {inner.text}"
            pointer = self.code.pure(rhs, I64, inner.lanes, max(inner.region, pointer.region))
        return pointer

    # --- access ---------------------------------------------------------------------------------------------

    def load(self, place: Place, condition: Reg | None) -> Reg:
        """The element or lanes; zero where the condition does not hold."""
        if place.is_own:
            return self.code.from_memory(self.load_vector(place, None, 0), place.buffer.dtype)
        lanes = self.printer.lanes
        if not place.varies and (condition is None or not condition.lanes):
            return self.code.from_memory(self.load_scalar(place, condition), place.buffer.dtype)
        if condition is not None:
            condition = self.code.splat(condition, lanes)
            mask = condition if self.printer.repeats else self.printer.masked(condition)
        else:
            mask = self.printer.memory_mask
        if place.step == 0:
            return self.code.from_memory(self.gather(place, mask), place.buffer.dtype)
        if place.step == -1:
            return self.code.from_memory(
                self.reversed(self.load_vector(place, mask, -(lanes - 1))), place.buffer.dtype
            )
        return self.code.from_memory(self.load_vector(place, mask, 0), place.buffer.dtype)

    def load_scalar(self, place: Place, condition: Reg | None) -> Reg:
        dtype, pointer = place.dtype, place.pointer.text
        if condition is not None:
            if self._nothing is None:
                # A read that is not wanted goes here: no branch, no foreign memory.
                self._nothing = self.code.alloca("i64")
                self.code.allocas.append(f"store i64 0, ptr {self._nothing}, align 8")
            chosen = f"select i1 {condition.text}, ptr {pointer}, ptr {self._nothing}"
            pointer = self.code.effect(chosen, I64).text
        return self.code.effect(f"load {type_text(dtype)}, ptr {pointer}, align {dtype.itemsize}", dtype)

    def moved(self, place: Place, by: int) -> str:
        if not by:
            return place.pointer.text
        rhs = f"getelementptr {type_text(place.dtype)}, ptr {place.pointer.text}, i64 {by}"
        return self.code.pure(rhs, I64, 0, place.pointer.region).text

    def load_vector(self, place: Place, mask: Reg | None, by: int) -> Reg:
        dtype, lanes = place.dtype, self.printer.lanes
        kind = type_text(dtype, lanes)
        pointer, align = self.moved(place, by), dtype.itemsize
        if mask is None:
            return self.code.effect(f"load {kind}, ptr {pointer}, align {align}", dtype, lanes)
        if by:
            mask = self.reversed(mask)
        symbol = f"llvm.masked.load.{suffix(dtype, lanes)}.p0"
        self.code.module.declare(symbol, f"{kind} @{symbol}(ptr, {mask.type}, {kind})")
        values = f"ptr align {align} {pointer}, {mask.type} {mask.text}, {kind} zeroinitializer"
        return self.code.effect(f"call {kind} @{symbol}({values})", dtype, lanes)

    def reversed(self, x: Reg) -> Reg:
        order = ", ".join(f"i32 {k}" for k in reversed(range(x.lanes)))
        rhs = f"shufflevector {x.type} {x.text}, {x.type} poison, <{x.lanes} x i32> <{order}>"
        return self.code.pure(rhs, x.dtype, x.lanes, x.region)

    def gather(self, place: Place, mask: Reg | None) -> Reg:
        dtype, lanes = place.dtype, self.printer.lanes
        kind = type_text(dtype, lanes)
        mask = mask or self.code.splat(literal(True, BOOL), lanes)
        pointers = self.pointers(place)
        symbol = f"llvm.masked.gather.{suffix(dtype, lanes)}.v{lanes}p0"
        self.code.module.declare(symbol, f"{kind} @{symbol}(<{lanes} x ptr>, {mask.type}, {kind})")
        call = (
            f"call {kind} @{symbol}(<{lanes} x ptr> align {dtype.itemsize} {pointers}, "
            f"{mask.type} {mask.text}, {kind} zeroinitializer)"
        )
        return self.code.effect(call, dtype, lanes)

    def pointers(self, place: Place) -> str:
        """A pointer in each lane."""
        if place.pointer.lanes:
            return place.pointer.text
        lanes, region = self.printer.lanes, place.pointer.region
        first = self.code.pure(
            f"insertelement <{lanes} x ptr> poison, ptr {place.pointer.text}, i64 0", I64, lanes, region
        )
        kind = f"<{lanes} x ptr>"
        rhs = f"shufflevector {kind} {first.text}, {kind} poison, <{lanes} x i32> zeroinitializer"
        return self.code.pure(rhs, I64, lanes, region).text

    def store(self, place: Place, value: Reg) -> None:
        value = self.code.to_memory(value)
        align = place.dtype.itemsize
        if not place.varies:
            kind = type_text(place.dtype)
            self.code.put(f"store {kind} {value.text}, ptr {place.pointer.text}, align {align}")
            return
        lanes = self.printer.lanes
        mask = None if place.is_own else self.printer.memory_mask
        value = self.code.splat(value, lanes)
        if place.step == 0:
            mask = mask or self.code.splat(literal(True, BOOL), lanes)
            self.masked_store("scatter", place.pointer.text, f"<{lanes} x ptr>", value, mask, align)
            return
        pointer = place.pointer.text
        if place.step == -1:
            value, pointer = self.reversed(value), self.moved(place, -(lanes - 1))
            mask = self.reversed(mask) if mask is not None else None
        if mask is None:
            self.code.put(f"store {value.type} {value.text}, ptr {pointer}, align {align}")
        else:
            self.masked_store("store", pointer, "ptr", value, mask, align)

    def masked_store(self, name: str, pointer: str, kind: str, value: Reg, mask: Reg, align: int) -> None:
        place = f"v{value.lanes}p0" if name == "scatter" else "p0"
        symbol = f"llvm.masked.{name}.{suffix(value.dtype, value.lanes)}.{place}"
        self.code.module.declare(symbol, f"void @{symbol}({value.type}, {kind}, {mask.type})")
        self.code.put(
            f"call void @{symbol}({value.type} {value.text}, {kind} align {align} {pointer}, "
            f"{mask.type} {mask.text})"
        )
