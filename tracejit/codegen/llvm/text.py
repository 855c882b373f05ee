"""Text of LLVM functions, loops and branches as Python blocks: `Writer`, and `Text` for matrices.

For code around library calls, where a handful of scalar instructions stand between long ones, and for code
that walks over tables (`runtime/calls/assembler.py`); kernels have a printer of their own, which is after
speed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

Word = str  # a register or a literal of type i64
Place = str  # a register of type ptr
Flag = str  # a register of type i1


class Writer:
    """One function under construction: instructions in blocks, and words in memory that they may change."""

    def __init__(self, head: str) -> None:
        self.head = head
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.is_open = True  # the current block has no end yet

    def text(self) -> str:
        assert not self.is_open, "a function ends with a return"
        return "\n".join([self.head, "entry:", *self.allocas, *self.lines, "}"])

    def put(self, rhs: str) -> str:
        """The register that an instruction sets."""
        self.count += 1
        self.lines.append(f"  %v{self.count - 1} = {rhs}")
        return f"%v{self.count - 1}"

    def effect(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def end(self, line: str) -> None:
        """The last instruction of a block."""
        self.effect(line)
        self.is_open = False

    def begin(self, label: str) -> None:
        if self.is_open:
            self.end(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.is_open = True

    def label(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count - 1}"

    def word(self, value: Word | int) -> Place:
        """A word in memory that LLVM puts into a register."""
        self.count += 1
        place = f"%v{self.count - 1}"
        self.allocas.append(f"  {place} = alloca i64, align 8")
        self.set_word(place, value)
        return place

    def get_word(self, place: Place) -> Word:
        return self.put(f"load i64, ptr {place}, align 8")

    def set_word(self, place: Place, value: Word | int) -> None:
        self.effect(f"store i64 {value}, ptr {place}, align 8")

    @contextmanager
    def when(self, flag: Flag) -> Generator[None]:
        """What is done only where `flag` holds."""
        inside, after = self.label("then"), self.label("after")
        self.end(f"br i1 {flag}, label %{inside}, label %{after}")
        self.begin(inside)
        yield
        self.begin(after)

    @contextmanager
    def repeat(self, place: Place, less: str, stop: Word, step: Word | int) -> Generator[Word]:
        """A loop while the word at `place`, which grows by `step`, is `less` ("slt", "ult") than `stop`."""
        head, body, after = (self.label(w) for w in ("head", "body", "after"))
        self.begin(head)
        now = self.get_word(place)
        self.end(f"br i1 {self.put(f'icmp {less} i64 {now}, {stop}')}, label %{body}, label %{after}")
        self.begin(body)
        yield now
        if self.is_open:
            self.set_word(place, self.put(f"add i64 {now}, {step}"))
            self.end(f"br label %{head}")
        self.begin(after)


class Text(Writer):
    """One function over matrices; `real` is the type of its numbers, "double" or "float".

    >>> f = Text("double", "void", "@twice", "ptr %x", "i64 %n")
    >>> with f.loop("0", "%n") as i:
    ...     place = f.at("%x", i)
    ...     f.store(f.real_op("fmul", f.load(place), "2.0"), place)
    >>> print(f.finish())
    define internal void @twice(ptr %x, i64 %n) {
    entry:
      %v0 = alloca i64, align 8
      store i64 0, ptr %v0, align 8
      br label %head1
    head1:
      %v4 = load i64, ptr %v0, align 8
      %v5 = icmp slt i64 %v4, %n
      br i1 %v5, label %body2, label %after3
    body2:
      %v6 = getelementptr double, ptr %x, i64 %v4
      %v7 = load double, ptr %v6, align 8
      %v8 = fmul double %v7, 2.0
      store double %v8, ptr %v6, align 8
      %v9 = add i64 %v4, 1
      store i64 %v9, ptr %v0, align 8
      br label %head1
    after3:
      ret void
    }
    """

    def __init__(self, real: str, result: str, name: str, *parameters: str) -> None:
        self.real = real
        self.bytes = 8 if real == "double" else 4
        super().__init__(f"define internal {result} {name}({', '.join(parameters)}) {{")

    def finish(self, result: str = "void") -> str:
        self.end(f"ret {result}")
        return self.text()

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

    # --- control --------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Word, stop: Word, step: Word | int = 1) -> Generator[Word]:
        """A loop over words from `start` up to before `stop`."""
        with self.repeat(self.word(start), "slt", stop, step) as now:
            yield now

    @contextmanager
    def leaving_when(self, flag: Flag, result: str = "void") -> Generator[None]:
        """What is done before the function returns early."""
        with self.when(flag):
            yield
            self.end(f"ret {result}")
