"""What every printer of loop nests does alike: guards that pieces of a loop decide, and how loops are cut.

Enters: a `Kernel`. Leaves, statement by statement, calls of the subclass, which knows its language; `V` is
what it makes of a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Layouts,
    Load,
    Loop,
    Register,
    Reset,
    Scalar,
    SetRegister,
    Stage,
    Statement,
    Store,
    guards_of,
)
from tracejit.codegen.pieces import Piece, choices, cut_loop, guards_around
from tracejit.codegen.symbols import Symbols
from tracejit.ir import Source
from tracejit.schedule.index import Guard, strongest

V = TypeVar("V")


@dataclass(frozen=True)
class Cut:
    """How a loop is printed: in `pieces`; or, where `around` has guards on outer loops, in three ranges.

    The middle one is then `longest`, and is empty unless these guards hold.
    """

    pieces: list[Piece]
    around: tuple[Guard, ...]

    @property
    def longest(self) -> Piece:
        return max(self.pieces, key=lambda p: p.high - p.low)

    @property
    def tested(self) -> tuple[Guard, ...]:
        """Those of the guards around from which the others follow."""
        return strongest(self.around)

    @property
    def known(self) -> dict[Guard, bool]:
        """What holds in the middle range."""
        return {**self.longest.known, **dict.fromkeys(self.around, True)}


class NestPrinter(Generic[V]):
    """Prints one kernel. `strided` holds the buffers that are not contiguous in row-major order."""

    def __init__(self, kernel: Kernel, symbols: Symbols, strided: Layouts) -> None:
        self.kernel = kernel
        self.symbols = symbols
        self.strided = strided
        self.names: dict[Scalar | Accumulator | Register, V] = {}
        self.strides: dict[tuple[Buffer, int], str] = {}
        self.known: Mapping[Guard, bool] = {}  # what the pieces of the loops around tell
        self.settled: dict[Scalar, bool] = {}  # conditions that follow from it
        self.source: Source | None = None

    # --- the language ---------------------------------------------------------------------------------------

    def value(self, scalar: Scalar) -> V:
        raise NotImplementedError

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """What prints each kind of statement."""
        raise NotImplementedError

    # --- statements -----------------------------------------------------------------------------------------

    def block(self, body: Sequence[Statement]) -> None:
        handlers = self.handlers()
        for statement in body:
            handlers[type(statement)](statement)

    def settle(self, scalar: Scalar) -> bool:
        """Is the scalar a condition that is decided here, or a selection by one, that needs no line?"""
        if scalar.op == "guard" and (self.fails(scalar.args) or not self.undecided(scalar.args)):
            self.settled[scalar] = not self.fails(scalar.args)
            return True
        if scalar.op != "select" or scalar.args[0] not in self.settled:
            return False
        chosen = scalar.args[1 if self.settled[scalar.args[0]] else 2]
        if chosen.op == "const" and chosen.dtype.kind == "b":
            self.settled[scalar] = bool(chosen.args[0])
        self.names[scalar] = self.value(chosen)
        return True

    def undecided(self, guards: Iterable[Guard]) -> list[Guard]:
        return [g for g in guards if g not in self.known]

    def fails(self, guards: Iterable[Guard]) -> bool:
        return any(self.known.get(g) is False for g in guards)

    # --- loops ----------------------------------------------------------------------------------------------

    def cut(self, s: Loop) -> Cut:
        """The pieces in which the loop's guards are decided, and the guards on outer loops before it."""
        is_outer = any(isinstance(x, (Loop, Stage)) for x in s.body)
        guards = self.undecided(choices(s) if is_outer else dict.fromkeys(guards_of(s.body)))
        around = [] if is_outer else guards_around(s, guards)
        return Cut(cut_loop(s, guards), tuple(around))

    def with_known(self, known: Mapping[Guard, bool], print_it: Callable[[], None]) -> None:
        """Run `print_it` with more guards decided."""
        outside = self.known, self.settled
        self.known, self.settled = {**self.known, **known}, dict(self.settled)
        print_it()
        self.known, self.settled = outside

    def stride(self, buffer: Buffer, dimension: int) -> str | None:
        """The name of a stride in elements; None where it is 1."""
        if self.strided[buffer] == dimension:
            return None
        return self.strides.setdefault((buffer, dimension), f"{buffer.name}_s{dimension}")


def handled(printer: Any) -> Mapping[type, Callable[[Any], None]]:
    """The methods of a printer that are called after the statements that they print."""
    return cast(
        "Mapping[type, Callable[[Any], None]]",
        {
            Compute: printer.compute,
            Load: printer.load,
            CheckIndex: printer.check_index,
            Store: printer.store,
            Reset: printer.reset,
            Accumulate: printer.accumulate,
            SetRegister: printer.set_register,
            Fill: printer.fill,
            Combine: printer.combine,
            Loop: printer.loop,
            Stage: printer.stage,
        },
    )
