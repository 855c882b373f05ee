"""Reductions: one step of each, all lanes in one number, and the variables that they run in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.codegen import formulas
from tracejit.codegen.llvm.code import BOOL, I64, Code, Reg, literal
from tracejit.codegen.loops import Accumulator, neutral

if TYPE_CHECKING:
    from tracejit.codegen.llvm.kernel import KernelPrinter


def predicate(op: str, dtype: np.dtype[Any]) -> str:
    """LLVM's name of a comparison."""
    if dtype.kind == "f":
        return "une" if op == "ne" else f"o{op}"
    if op in ("eq", "ne"):
        return op
    return ("s" if dtype.kind == "i" else "u") + op


def combined(code: Code, reducer: str, old: Reg, value: Reg) -> Reg:
    """One step of a reduction."""
    if reducer in ("any", "all"):
        return code.binary("or" if reducer == "any" else "and", old, formulas.truth(code, value))
    names = {"sum": "sum_step", "prod": "prod_step", "max": "maximum", "min": "minimum"}
    return formulas.EXPRESSIONS[names[reducer]](code, old, value)


def reduced(code: Code, reducer: str, value: Reg, start: Reg) -> Reg:
    """All lanes of `value` in one number; `start` is the neutral element."""
    dtype = value.dtype
    if dtype == BOOL or reducer in ("any", "all"):
        return code.reduce("or" if reducer in ("any", "sum", "max") else "and", value)
    if reducer in ("sum", "prod"):
        name = {"sum": "add", "prod": "mul"}[reducer]
        if dtype.kind == "f":
            return code.reduce(f"f{name}", value, start, "reassoc ")
        return code.reduce(name, value)
    if dtype.kind == "f":
        return code.reduce("fmaximum" if reducer == "max" else "fminimum", value)
    return code.reduce(("s" if dtype.kind == "i" else "u") + reducer, value)


def starts(accumulator: Accumulator) -> dict[str, Reg]:
    """What a reduction consists of, as it is before the first element."""
    reducer, dtype = accumulator.reducer, accumulator.dtype
    found = {"value": literal(neutral(reducer, dtype), dtype)}
    if reducer.startswith("arg"):
        found |= {"at": literal(0, I64), "first": literal(True, BOOL)}
    return found


def chosen(code: Code, reducer: str, old: Mapping[str, Reg], new: Mapping[str, Reg]) -> dict[str, Reg]:
    """One step of argmax or argmin on values with their places, `new` being behind `old`.

    The first of the largest; a nan is larger than every number. `first`: there is none yet.
    """
    a, b = old["value"], new["value"]
    better = code.compare(predicate("gt" if reducer == "argmax" else "lt", b.dtype), b, a)
    if b.dtype.kind == "f":
        better = code.binary("or", better, code.compare("uno", b, b))
        better = code.binary("and", better, code.compare("ord", a, a))
    better = code.binary("or", old["first"], better)
    if not new["first"].is_literal:
        better = code.binary("and", better, code.binary("xor", new["first"], literal(True, BOOL)))
    kept = {name: code.select(better, new[name], old[name]) for name in ("value", "at")}
    is_first = new["first"] if new["first"].is_literal else code.binary("and", old["first"], new["first"])
    return {**kept, "first": is_first}


class Variable:
    """What a reduction runs in: memory of the function that LLVM turns into registers.

    across: the lanes are partial results of one number. Otherwise each lane, or the scalar, is a result.
    """

    def __init__(self, printer: KernelPrinter, accumulator: Accumulator, lanes: int, across: bool) -> None:
        self.accumulator = accumulator
        self.reducer = accumulator.reducer
        self.dtype = accumulator.dtype
        self.lanes = lanes
        self.across = across
        self.region = len(printer.code.regions) - 1
        # A maximum over floats is one instruction where nans are looked for apart.
        self.watches_nan = across and self.reducer in ("max", "min") and self.dtype.kind == "f"
        found = {**starts(accumulator), **({"nan": literal(False, BOOL)} if self.watches_nan else {})}
        self.parts = {name: self._part(printer.code, start) for name, start in found.items()}

    def _part(self, code: Code, start: Reg) -> tuple[str, Reg]:
        first = code.splat(start, self.lanes)
        return code.alloca(first.type), first

    def reset(self, code: Code) -> None:
        for name, (_, start) in self.parts.items():
            self.set(code, name, start)

    def get(self, code: Code, name: str) -> Reg:
        address, start = self.parts[name]
        return code.effect(f"load {start.type}, ptr {address}, align 64", start.dtype, start.lanes)

    def set(self, code: Code, name: str, value: Reg) -> None:
        address, start = self.parts[name]
        code.put(f"store {start.type} {code.splat(value, self.lanes).text}, ptr {address}, align 64")

    def first_lane(self, code: Code, value: Reg) -> Reg:
        """A single value, for lanes that are partial results of one number."""
        rest = literal(neutral(self.reducer, self.dtype), self.dtype)
        return code.with_lane(code.splat(rest, self.lanes), 0, value)

    def add(self, code: Code, value: Reg, position: Reg | None, mask: Reg | None) -> None:
        value = code.splat(value, self.lanes)
        if position is not None:
            self._add_position(code, value, position)
            return
        old = self.get(code, "value")
        mask = mask if self.across else None
        if self.watches_nan:
            order = "ogt" if self.reducer == "max" else "olt"
            new = code.select(code.compare(order, value, old), value, old)
            unordered = code.compare("uno", value, value)
            flags = self.get(code, "nan")
            unordered = code.binary("and", unordered, mask) if mask is not None else unordered
            self.set(code, "nan", code.binary("or", flags, unordered))
        else:
            new = combined(code, self.reducer, old, value)
        self.set(code, "value", code.select(mask, new, old) if mask is not None else new)

    def _add_position(self, code: Code, value: Reg, position: Reg) -> None:
        found = {"value": value, "at": position, "first": literal(False, BOOL)}
        for name, new in chosen(code, self.reducer, self.all(code), found).items():
            self.set(code, name, new)

    def all(self, code: Code) -> dict[str, Reg]:
        """What the variable holds, by the names of its parts."""
        return {name: self.get(code, name) for name in self.parts}

    def result(self, code: Code) -> Reg:
        """The reduction's value, where the loops that feed it are done."""
        return code.in_region(self.region, lambda: self.over_lanes(code))

    def over_lanes(self, code: Code) -> Reg:
        """The value from what the lanes hold now."""
        if self.reducer.startswith("arg"):
            return self.get(code, "at")
        value = self.get(code, "value")
        if not self.across:
            return value
        if self.watches_nan:
            largest = reduced_ordered(code, self.reducer, value)
            return code.select(code.reduce("or", self.get(code, "nan")), literal(np.nan, self.dtype), largest)
        return reduced(code, self.reducer, value, literal(neutral(self.reducer, self.dtype), self.dtype))


class Held:
    """What a serial loop carries, in memory as a variable: a number, or one in each lane."""

    def __init__(self, code: Code, dtype: np.dtype[Any], lanes: int) -> None:
        self.type = code.splat(literal(0, dtype), lanes)
        self.lanes = lanes
        self.address = code.alloca(self.type.type)

    def get(self, code: Code) -> Reg:
        return code.effect(
            f"load {self.type.type}, ptr {self.address}, align 64", self.type.dtype, self.lanes
        )

    def set(self, code: Code, value: Reg) -> None:
        code.put(f"store {self.type.type} {code.splat(value, self.lanes).text}, ptr {self.address}, align 64")


def reduced_ordered(code: Code, reducer: str, value: Reg) -> Reg:
    """The largest or least of lanes that hold no nan, by halves."""
    order = "ogt" if reducer == "max" else "olt"
    while value.lanes > 1:
        half = value.lanes // 2
        low = code.part(value, 0, half)
        high = code.part(value, half, half)
        value = code.select(code.compare(order, low, high), low, high)
    return code.lane(value, 0)
