"""Text of LLVM functions on 64-bit words: what `codegen.llvm.text` writes, with tables and C functions.

For code that walks over tables and calls C functions; kernels have a printer of their own.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from tracejit.codegen.llvm.text import Flag, Word, Writer


class Struct:
    """Names of the 64-bit words of a table's row.

    >>> POINT = Struct("x", "y")
    >>> POINT.offset("y"), POINT.size, POINT.pack(y=2, x=1)
    (8, 16, [1, 2])
    """

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.size = 8 * len(fields)
        self._offsets = {name: 8 * k for k, name in enumerate(fields)}

    def offset(self, field: str) -> int:
        return self._offsets[field]

    def pack(self, **values: int) -> list[int]:
        """The words of a row; fields that are not given are 0."""
        unknown = values.keys() - self._offsets.keys()
        assert not unknown, f"no such fields: {unknown}"
        return [int(values.get(name, 0)) for name in self.fields]


class Row(NamedTuple):
    """The address of a row in code that is being written."""

    code: Function
    struct: Struct
    address: Word

    def __call__(self, field: str) -> Word:
        """The value of a field."""
        return self.code.load(self.address, self.struct.offset(field))

    def at(self, field: str) -> Word:
        """The address of a field."""
        return self.code.add(self.address, self.struct.offset(field))


class Function(Writer):
    """One function of words that gives a word; what it calls is another function or `call_address`.

    >>> f = Function("twice", "x")
    >>> f.exit(f.add("%x", "%x"))
    >>> print(f.text())
    define internal i64 @twice(i64 %x) {
    entry:
      %v0 = add i64 %x, %x
      ret i64 %v0
    }
    """

    def __init__(self, name: str, *parameters: str, linkage: str = "internal ") -> None:
        listed = ", ".join(f"i64 %{p}" for p in parameters)
        super().__init__(f"define {linkage}i64 @{name}({listed}) {{")

    # --- words ----------------------------------------------------------------------------------------------

    def pointer(self, address: Word) -> str:
        return self.put(f"inttoptr i64 {address} to ptr")

    def load(self, address: Word, offset: int = 0, kind: str = "i64") -> Word:
        """The word at `address + offset`; a narrower `kind` is extended with its sign."""
        place = self.pointer(self.add(address, offset) if offset else address)
        found = self.put(f"load {kind}, ptr {place}, align {int(kind[1:]) // 8}")
        return found if kind == "i64" else self.put(f"sext {kind} {found} to i64")

    def store(self, address: Word, value: Word | int) -> None:
        self.set_word(self.pointer(address), value)

    def add(self, a: Word, b: Word | int) -> Word:
        return self.put(f"add i64 {a}, {b}")

    def sub(self, a: Word, b: Word | int) -> Word:
        return self.put(f"sub i64 {a}, {b}")

    def shift(self, a: Word, bits: int) -> Word:
        return self.put(f"shl i64 {a}, {bits}")

    def either(self, a: Word, b: Word) -> Word:
        return self.put(f"or i64 {a}, {b}")

    def mask(self, a: Word, bits: Word | int) -> Word:
        return self.put(f"and i64 {a}, {bits}")

    def divide(self, a: Word, b: Word) -> Word:
        return self.put(f"sdiv i64 {a}, {b}")

    def remainder(self, a: Word, b: Word) -> Word:
        return self.put(f"srem i64 {a}, {b}")

    def equal(self, a: Word, b: Word | int) -> Flag:
        return self.put(f"icmp eq i64 {a}, {b}")

    def differ(self, a: Word, b: Word | int) -> Flag:
        return self.put(f"icmp ne i64 {a}, {b}")

    def less(self, a: Word, b: Word | int) -> Flag:
        return self.put(f"icmp slt i64 {a}, {b}")

    def as_word(self, flag: Flag) -> Word:
        return self.put(f"zext i1 {flag} to i64")

    # --- memory of the call ---------------------------------------------------------------------------------

    def variable(self, value: Word | int = 0) -> Variable:
        """A word that branches and loops may change."""
        return Variable(self, self.word(value))

    def room(self, size: Word) -> Word:
        """Memory of `size` bytes that lives until the function returns; outside of loops only."""
        return self.put(f"ptrtoint ptr {self.put(f'alloca i8, i64 {size}, align 16')} to i64")

    # --- calls ----------------------------------------------------------------------------------------------

    def call(self, name: str, *arguments: Word | int) -> Word:
        """A function of the same module."""
        return self.put(f"call i64 @{name}({', '.join(f'i64 {a}' for a in arguments)})")

    def call_address(self, address: Word, signature: str, *arguments: Word | int) -> Word:
        """A C function; `signature` names result and arguments: l words, i ints, v nothing.

        >>> f = Function("f", "g")
        >>> f.exit(f.call_address("%g", "li", "%g"))
        >>> f.lines[-2]
        '  %v2 = call i64 %v0(i32 %v1)'
        """
        target = self.pointer(address)
        typed: list[str] = []
        for kind, argument in zip(signature[1:], arguments, strict=True):
            is_literal = isinstance(argument, int) or argument[0] != "%"
            if kind == "i" and not is_literal:
                argument = self.put(f"trunc i64 {argument} to i32")
            typed.append(f"{'i32' if kind == 'i' else 'i64'} {argument}")
        listed = ", ".join(typed)
        if signature[0] == "v":
            self.effect(f"call void {target}({listed})")
            return "0"
        if signature[0] == "i":
            return self.put(f"sext i32 {self.put(f'call i32 {target}({listed})')} to i64")
        return self.put(f"call i64 {target}({listed})")

    # --- control --------------------------------------------------------------------------------------------

    def exit(self, value: Word | int) -> None:
        self.end(f"ret i64 {value}")

    @contextmanager
    def rows(self, begin: Word, end: Word, struct: Struct) -> Generator[Row]:
        """A loop over the rows of a table between two addresses."""
        with self.repeat(self.word(begin), "ult", end, struct.size) as address:
            yield Row(self, struct, address)


class Variable(NamedTuple):
    """A word in memory that LLVM puts into a register."""

    code: Function
    place: str

    def get(self) -> Word:
        return self.code.get_word(self.place)

    def set(self, value: Word | int) -> None:
        self.code.set_word(self.place, value)
