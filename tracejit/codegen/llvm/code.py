"""Text of one LLVM function under construction: typed registers, scalars or vectors of lanes, blocks, loops.

Pure instructions go to the outermost loop in which their operands exist and equal ones are emitted once, so
what is printed needs no further clean-up by LLVM: constants are broadcast, and addresses computed, outside.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from tracejit.codegen.llvm.module import Module

BOOL = np.dtype(np.bool_)
BYTE = np.dtype(np.uint8)
I64 = np.dtype(np.int64)
F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)

TYPES = {
    **{np.dtype(f"{sign}{n}"): f"i{8 * n}" for sign in "iu" for n in (1, 2, 4, 8)},
    BOOL: "i1",
    F32: "float",
    F64: "double",
}


T = TypeVar("T")


class Reg:
    """A value: `text` is a register or a literal, `lanes` 0 for a scalar, `region` the loops around it."""

    __slots__ = ("dtype", "lanes", "region", "text")

    def __init__(self, text: str, dtype: np.dtype[Any], lanes: int = 0, region: int = 0) -> None:
        self.text = text
        self.dtype = dtype
        self.lanes = lanes
        self.region = region

    @property
    def is_literal(self) -> bool:
        return self.text[0] != "%" and not self.lanes

    @property
    def type(self) -> str:
        return type_text(self.dtype, self.lanes)


def type_text(dtype: np.dtype[Any], lanes: int = 0) -> str:
    """LLVM's name of a scalar or vector type.

    >>> type_text(np.dtype("f4"), 16), type_text(np.dtype("u2"))
    ('<16 x float>', 'i16')
    """
    return f"<{lanes} x {TYPES[dtype]}>" if lanes else TYPES[dtype]


def stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What values of a type are in memory: truth values are bytes."""
    return BYTE if dtype == BOOL else dtype


def suffix(dtype: np.dtype[Any], lanes: int = 0) -> str:
    """What the names of intrinsics end in: `f64`, `v8f64`, `v8i1`."""
    kind = "f" if dtype.kind == "f" else "i"
    bits = 1 if dtype == BOOL else 8 * dtype.itemsize
    return f"v{lanes}{kind}{bits}" if lanes else f"{kind}{bits}"


def literal(value: Any, dtype: np.dtype[Any]) -> Reg:
    """A constant; floats are printed as the bits of a double, which is exact."""
    if dtype == BOOL:
        return Reg("true" if value else "false", dtype)
    if dtype.kind == "f":
        bits = struct.unpack("<Q", struct.pack("<d", float(dtype.type(value))))[0]
        return Reg(f"0x{bits:016X}", dtype)
    bits = 8 * dtype.itemsize
    number = int(value) & ((1 << bits) - 1)  # LLVM reads integers with a sign
    return Reg(str(number - (1 << bits) if number >> (bits - 1) else number), dtype)


class Region:
    """The body of an open loop: `before` is the place in front of it, `known` finds equal instructions."""

    __slots__ = ("before", "known")

    def __init__(self, before: list[Any]) -> None:
        self.before = before
        self.known: dict[str, Reg] = {}


class Code:
    """Instructions of one function of a module, which is told of every other function that is called."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.lines: list[Any] = []
        self.allocas: list[str] = []
        self.regions = [Region([])]
        self.label = "entry"
        self.count = 0

    # --- emitting -------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count - 1}"

    def put(self, line: str) -> None:
        self.lines.append(line)

    def effect(self, rhs: str, dtype: np.dtype[Any], lanes: int = 0) -> Reg:
        """An instruction that must stay where it is: a load, a call."""
        name = self.fresh()
        self.lines.append(f"{name} = {rhs}")
        return Reg(name, dtype, lanes, len(self.regions) - 1)

    def pure(self, rhs: str, dtype: np.dtype[Any], lanes: int, region: int) -> Reg:
        """An instruction of operands that exist in `region`: there, and once."""
        known = self.regions[region].known
        found = known.get(rhs)
        if found is None:
            name = self.fresh()
            inner = region + 1
            target = self.regions[inner].before if inner < len(self.regions) else self.lines
            target.append(f"{name} = {rhs}")
            found = known[rhs] = Reg(name, dtype, lanes, region)
        return found

    def in_region(self, region: int, emit: Callable[[], T]) -> T:
        """What `emit` makes of effects without branches, in front of the open loop inside `region`."""
        if region + 1 >= len(self.regions):
            return emit()
        lines, inner = self.lines, self.regions[region + 1 :]
        self.lines = inner[0].before
        del self.regions[region + 1 :]
        result = emit()
        self.regions += inner
        self.lines = lines
        return result

    def alloca(self, type_name: str) -> str:
        name = self.fresh()
        self.allocas.append(f"{name} = alloca {type_name}, align 64")
        return name

    def text(self) -> str:
        """The function's body, memory of variables first."""
        return "\n".join(["entry:", *_indented([*self.allocas, *self.lines])])

    # --- blocks ---------------------------------------------------------------------------------------------

    def new_label(self, name: str) -> str:
        self.count += 1
        return f"{name}{self.count}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def branch(self, target: str) -> None:
        self.lines.append(f"br label %{target}")

    def branch_if(self, condition: Reg, then: str, otherwise: str) -> None:
        self.lines.append(f"br i1 {condition.text}, label %{then}, label %{otherwise}")

    def enter(self) -> None:
        """Open a region whose code in front stands here."""
        before: list[Any] = []
        self.lines.append(before)
        self.regions.append(Region(before))

    def leave(self) -> None:
        self.regions.pop()

    def counted_loop(self, low: Reg, high: Reg, step: int | Reg, body: Callable[[Reg], None]) -> None:
        """`body(i)` for i = low, low + step, ... while i < high."""
        by = step.text if isinstance(step, Reg) else step
        self.enter()
        head, after = self.new_label("loop"), self.new_label("after")
        enters = self.compare("slt", low, high)
        source = self.label
        self.branch_if(enters, head, after)
        self.start(head)
        counter = Reg(self.fresh(), I64, 0, len(self.regions) - 1)
        following = self.fresh()
        place = len(self.lines)
        self.lines.append("")
        body(counter)
        self.lines[place] = (
            f"{counter.text} = phi i64 [ {low.text}, %{source} ], [ {following}, %{self.label} ]"
        )
        self.lines.append(f"{following} = add nsw i64 {counter.text}, {by}")
        again = self.fresh()
        self.lines.append(f"{again} = icmp slt i64 {following}, {high.text}")
        self.lines.append(f"br i1 {again}, label %{head}, label %{after}")
        self.leave()
        self.start(after)

    def block_if(self, condition: Reg, body: Callable[[], None]) -> None:
        """`body()` where a scalar condition holds."""
        self.enter()
        then, after = self.new_label("then"), self.new_label("after")
        self.branch_if(condition, then, after)
        self.start(then)
        body()
        self.leave()
        self.branch(after)
        self.start(after)

    # --- instructions ---------------------------------------------------------------------------------------

    def splat(self, x: Reg, lanes: int) -> Reg:
        """The same number in every lane."""
        if x.lanes or not lanes:
            return x
        kind = TYPES[x.dtype]
        if x.is_literal:
            return Reg(f"splat ({kind} {x.text})", x.dtype, lanes)
        first = self.pure(
            f"insertelement <{lanes} x {kind}> poison, {kind} {x.text}, i64 0", x.dtype, lanes, x.region
        )
        vector = f"<{lanes} x {kind}>"
        return self.pure(
            f"shufflevector {vector} {first.text}, {vector} poison, <{lanes} x i32> zeroinitializer",
            x.dtype,
            lanes,
            x.region,
        )

    def together(self, *operands: Reg) -> tuple[tuple[Reg, ...], int, int]:
        """The operands with equally many lanes, that number, and the region where all exist."""
        lanes = region = 0  # the most frequent call of all when a program is printed
        for x in operands:
            if x.lanes > lanes:
                lanes = x.lanes
        if lanes:
            operands = tuple([x if x.lanes else self.splat(x, lanes) for x in operands])
        for x in operands:
            if x.region > region:
                region = x.region
        return operands, lanes, region

    def binary(self, op: str, a: Reg, b: Reg) -> Reg:
        """`op` is LLVM's: fadd, mul, shl, ..."""
        (a, b), lanes, region = self.together(a, b)
        return self.pure(f"{op} {a.type} {a.text}, {b.text}", a.dtype, lanes, region)

    def divide(self, op: str, a: Reg, b: Reg) -> Reg:
        """An integer division, which must not run where the loop around it does not."""
        (a, b), lanes, _ = self.together(a, b)
        return self.effect(f"{op} {a.type} {a.text}, {b.text}", a.dtype, lanes)

    def compare(self, predicate: str, a: Reg, b: Reg) -> Reg:
        """`slt`, `ult`, `eq`, ... of integers, `olt`, `une`, ... of floats."""
        (a, b), lanes, region = self.together(a, b)
        op = "fcmp" if a.dtype.kind == "f" else "icmp"
        return self.pure(f"{op} {predicate} {a.type} {a.text}, {b.text}", BOOL, lanes, region)

    def select(self, condition: Reg, a: Reg, b: Reg) -> Reg:
        if condition.lanes or a.lanes or b.lanes:
            lanes = max(condition.lanes, a.lanes, b.lanes)
            a, b = self.splat(a, lanes), self.splat(b, lanes)
        region = max(condition.region, a.region, b.region)
        rhs = f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}"
        return self.pure(rhs, a.dtype, a.lanes, region)

    def negate(self, x: Reg) -> Reg:
        if x.dtype.kind == "f":
            return self.pure(f"fneg {x.type} {x.text}", x.dtype, x.lanes, x.region)
        return self.binary("sub", literal(0, x.dtype), x)

    def convert(self, op: str, x: Reg, dtype: np.dtype[Any]) -> Reg:
        """`op` is LLVM's: fpext, trunc, sitofp, bitcast, ..."""
        if TYPES[x.dtype] == TYPES[dtype] and op in ("bitcast", "trunc", "zext", "sext"):
            return Reg(x.text, dtype, x.lanes, x.region)
        return self.pure(f"{op} {x.type} {x.text} to {type_text(dtype, x.lanes)}", dtype, x.lanes, x.region)

    def to_memory(self, x: Reg) -> Reg:
        """A value as memory holds it."""
        return self.convert("zext", x, BYTE) if x.dtype == BOOL else x

    def from_memory(self, x: Reg, dtype: np.dtype[Any]) -> Reg:
        """What was loaded as a value of `dtype`."""
        return self.compare("ne", x, literal(0, BYTE)) if dtype == BOOL else x

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Reg:
        return literal(value, dtype)

    def intrinsic(self, name: str, *args: Reg) -> Reg:
        """`llvm.<name>` overloaded on the type of its arguments, which is that of its result."""
        operands, lanes, region = self.together(*args)
        dtype = operands[0].dtype
        return self.pure(
            self.call_text(f"llvm.{name}.{suffix(dtype, lanes)}", operands, dtype, lanes),
            dtype,
            lanes,
            region,
        )

    def call_text(self, symbol: str, args: tuple[Reg, ...], dtype: np.dtype[Any], lanes: int) -> str:
        result = type_text(dtype, lanes)
        self.module.declare(symbol, f"{result} @{symbol}({', '.join(a.type for a in args)})")
        return f"call {result} @{symbol}({', '.join(f'{a.type} {a.text}' for a in args)})"

    def iota(self, lanes: int) -> Reg:
        """0, 1, 2, ... in the lanes."""
        return Reg(f"<{', '.join(f'i64 {k}' for k in range(lanes))}>", I64, lanes)

    def lane(self, x: Reg, k: int) -> Reg:
        if not x.lanes:
            return x
        return self.pure(f"extractelement {x.type} {x.text}, i64 {k}", x.dtype, 0, x.region)

    def with_lane(self, x: Reg, k: int, value: Reg) -> Reg:
        region = max(x.region, value.region)
        return self.pure(
            f"insertelement {x.type} {x.text}, {value.type} {value.text}, i64 {k}", x.dtype, x.lanes, region
        )

    def part(self, x: Reg, first: int, count: int) -> Reg:
        """`count` lanes of a vector, from lane `first` on."""
        order = ", ".join(f"i32 {k}" for k in range(first, first + count))
        rhs = f"shufflevector {x.type} {x.text}, {x.type} poison, <{count} x i32> <{order}>"
        return self.pure(rhs, x.dtype, count, x.region)

    def libm(self, symbol: str, *args: Reg) -> Reg:
        """A function of the C library, lane by lane; float32 calls the name with an `f` behind it."""
        return self.module.call_libm(self, symbol, args)

    def rescue(self, value: Reg, condition: Reg, symbol: str, *args: Reg) -> Reg:
        """`value`, but the C function of `args` in lanes where `condition` holds; only then it is called."""
        before, then, after = self.label, self.new_label("rare"), self.new_label("usual")
        needed = self.reduce("or", condition) if condition.lanes else condition
        self.enter()
        self.branch_if(needed, then, after)
        self.start(then)
        other = self.select(condition, self.module.call_libm(self, symbol, args, rare=True), value)
        self.leave()
        source = self.label
        self.branch(after)
        self.start(after)
        rhs = f"phi {value.type} [ {value.text}, %{before} ], [ {other.text}, %{source} ]"
        return self.effect(rhs, value.dtype, value.lanes)

    def reduce(self, name: str, x: Reg, start: Reg | None = None, flags: str = "") -> Reg:
        """`llvm.vector.reduce.<name>` of the lanes."""
        symbol = f"llvm.vector.reduce.{name}.{suffix(x.dtype, x.lanes)}"
        first = [start] if start is not None else []
        args = (*first, x)
        kind = type_text(x.dtype)
        self.module.declare(symbol, f"{kind} @{symbol}({', '.join(a.type for a in args)})")
        values = ", ".join(f"{a.type} {a.text}" for a in args)
        return self.pure(f"call {flags}{kind} @{symbol}({values})", x.dtype, 0, x.region)


def _indented(lines: list[Any]) -> list[str]:
    found: list[str] = []
    for line in lines:
        if isinstance(line, list):
            found += _indented(line)
        elif line:
            found.append(line if line[-1] == ":" else f"  {line}")
    return found
