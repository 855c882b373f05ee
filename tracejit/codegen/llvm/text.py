"""Text of LLVM functions with loops and branches over matrices, written as Python blocks.

For code around library calls, where a handful of scalar instructions stand between long ones; kernels have a
printer of their own, which is after speed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

Word = str  # a register or a literal of type i64
Place = str  # a register of type ptr


class Text:
    """One function; `real` is the type of its numbers, "double" or "float".

    >>> f = Text("double", "void", "@twice", "ptr %x", "i64 %n")
    >>> with f.loop("0", "%n") as i:
    ...     place = f.at("%x", i)
    ...     f.store(f.real_op("fmul", f.load(place), "2.0"), place)
    >>> print(f.finish())
    define internal void @twice(ptr %x, i64 %n) {
    entry:
      %i0 = alloca i64, align 8
      store i64 0, ptr %i0, align 8
      br label %head1
    head1:
      %v2 = load i64, ptr %i0, align 8
      %v3 = icmp slt i64 %v2, %n
      br i1 %v3, label %body1, label %after1
    body1:
      %v4 = getelementptr double, ptr %x, i64 %v2
      %v5 = load double, ptr %v4, align 8
      %v6 = fmul double %v5, 2.0
      store double %v6, ptr %v4, align 8
      %v7 = add i64 %v2, 1
      store i64 %v7, ptr %i0, align 8
      br label %head1
    after1:
      ret void
    }
    """

    def __init__(self, real: str, result: str, name: str, *parameters: str) -> None:
        self.real = real
        self.bytes = 8 if real == "double" else 4
        self.head = f"define internal {result} {name}({', '.join(parameters)}) {{"
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    def finish(self, result: str = "void") -> str:
        return "\n".join([self.head, "entry:", *self.allocas, *self.lines, f"  ret {result}", "}"])

    def number(self) -> int:
        self.count += 1
        return self.count - 1

    def put(self, rhs: str) -> str:
        name = f"%v{self.number()}"
        self.lines.append(f"  {name} = {rhs}")
        return name

    def effect(self, line: str) -> None:
        self.lines.append(f"  {line}")

    # --- words and numbers ----------------------------------------------------------------------------------

    def word_op(self, op: str, a: Word, b: Word | int) -> Word:
        return self.put(f"{op} i64 {a}, {b}")

    def real_op(self, op: str, a: str, b: str) -> str:
        return self.put(f"{op} {self.real} {a}, {b}")

    def size_in_bytes(self, count: Word) -> Word:
        return self.word_op("mul", count, self.bytes)

    # --- memory ---------------------------------------------------------------------------------------------

    def at(self, base: Place, index: Word) -> Place:
        return self.put(f"getelementptr {self.real}, ptr {base}, i64 {index}")

    def element(self, base: Place, row: Word, column: Word, leading: Word) -> Place:
        """The place of an element of a row-major matrix whose rows lie `leading` elements apart."""
        return self.at(base, self.word_op("add", self.word_op("mul", row, leading), column))

    def load(self, place: Place) -> str:
        return self.put(f"load {self.real}, ptr {place}, align {self.bytes}")

    def store(self, value: str, place: Place) -> None:
        self.effect(f"store {self.real} {value}, ptr {place}, align {self.bytes}")

    def copy(self, target: Place, source: Place, count: Word) -> None:
        size = self.size_in_bytes(count)
        self.effect(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def clear(self, target: Place, count: Word) -> None:
        size = self.size_in_bytes(count)
        self.effect(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, i64 {size}, i1 false)")

    def variable(self, value: Word) -> Place:
        """A word in memory that LLVM puts into a register."""
        place = f"%i{self.number()}"
        self.allocas.append(f"  {place} = alloca i64, align 8")
        self.effect(f"store i64 {value}, ptr {place}, align 8")
        return place

    # --- control --------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Word, stop: Word, step: Word | int = 1) -> Generator[Word]:
        """A loop over words from `start` up to before `stop`."""
        place = self.variable(start)
        label = self.number()
        self.effect(f"br label %head{label}")
        self.lines.append(f"head{label}:")
        now = self.put(f"load i64, ptr {place}, align 8")
        flag = self.put(f"icmp slt i64 {now}, {stop}")
        self.effect(f"br i1 {flag}, label %body{label}, label %after{label}")
        self.lines.append(f"body{label}:")
        yield now
        self.effect(f"store i64 {self.word_op('add', now, step)}, ptr {place}, align 8")
        self.effect(f"br label %head{label}")
        self.lines.append(f"after{label}:")

    @contextmanager
    def when(self, condition: str) -> Generator[None]:
        """What is done only where a comparison such as "icmp eq i64 %a, 0" holds."""
        label = self.number()
        flag = self.put(condition)
        self.effect(f"br i1 {flag}, label %then{label}, label %after{label}")
        self.lines.append(f"then{label}:")
        yield
        self.effect(f"br label %after{label}")
        self.lines.append(f"after{label}:")

    @contextmanager
    def leaving_when(self, condition: str, result: str = "void") -> Generator[None]:
        """What is done before the function returns early."""
        label = self.number()
        flag = self.put(condition)
        self.effect(f"br i1 {flag}, label %then{label}, label %after{label}")
        self.lines.append(f"then{label}:")
        yield
        self.effect(f"ret {result}")
        self.lines.append(f"after{label}:")
