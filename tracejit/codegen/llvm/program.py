"""A program as one LLVM module: elementary functions, kernels, and the entry that runs a segment of them.

Enters: kernels and the layout of their buffers. Leaves: the text of `void @program(ptr ip, ptr fp)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracejit.codegen.llvm.kernel import KernelPrinter
from tracejit.codegen.llvm.module import VECTOR_BYTES, Module
from tracejit.codegen.llvm.products import function_name, function_text
from tracejit.codegen.loops import Buffer, Kernel, Layouts
from tracejit.codegen.products import MatrixProduct
from tracejit.codegen.symbols import Symbols
from tracejit.codegen.table import KernelText, ProgramText, Slot, arrange


def print_program(
    segments: Sequence[Sequence[Kernel]],
    strided: Layouts,
    resident: set[Buffer],
    data_offset: int,
    literal_limit: int = 4,
    vector_bytes: int = VECTOR_BYTES,
    whole: Sequence[int | MatrixProduct] = (),
) -> ProgramText:
    """The module of all kernels; the arguments are those of `codegen.numba_source.print_program`.

    whole: all steps of the program, segments by number; the entry then runs them at one call too
    """
    symbols = Symbols(literal_limit)
    module = Module(vector_bytes)
    texts = [[_print_kernel(k, symbols, strided, module) for k in segment] for segment in segments]
    products = [step for step in whole if isinstance(step, MatrixProduct)]
    slots, dynamic = arrange(texts, symbols, resident, products)
    entry = _Entry(symbols, resident, {slot: k for k, slot in enumerate(slots, start=1)}, data_offset)
    functions = [text.text for segment in texts for text in segment]
    functions += dict.fromkeys(map(function_text, products))
    text = module.text(functions, entry.text(texts, whole))
    checks = tuple(symbols.checks)
    number = len(texts) if whole else None
    return ProgramText("llvm", text, tuple(slots), dynamic, tuple(symbols.constants), checks, number)


def _print_kernel(kernel: Kernel, symbols: Symbols, strided: Layouts, module: Module) -> KernelText:
    printer = KernelPrinter(kernel, symbols, strided, module)
    text = printer.run()
    return KernelText(kernel, text, tuple(printer.strides), tuple(symbols.used))


class _Entry:
    """Prints `program`, which reads the tables and calls the kernels of the segment `ip[0]`."""

    def __init__(
        self, symbols: Symbols, resident: set[Buffer], place: Mapping[Slot, int], data_offset: int
    ) -> None:
        self.symbols = symbols
        self.resident = resident
        self.place = place
        self.data_offset = data_offset
        self.lines: list[str] = []
        self.count = 0

    def text(self, segments: Sequence[Sequence[KernelText]], whole: Sequence[int | MatrixProduct]) -> str:
        count = len(segments) + bool(whole)
        cases = " ".join(f"i64 {n}, label %segment{n}" for n in range(count))
        self.lines = ["entry:"]
        number = self.load("i64", "%ip")
        self.lines.append(f"  switch i64 {number}, label %done [ {cases} ]")
        for n, segment in enumerate(segments):
            self.lines.append(f"segment{n}:")
            self.run_segment(segment)
            self.lines.append("  br label %done")
        if whole:
            self.lines.append(f"segment{len(segments)}:")
            for step in whole:
                if isinstance(step, MatrixProduct):
                    self.multiply(step)
                else:
                    self.run_segment(segments[step])
            self.lines.append("  br label %done")
        self.lines += ["done:", "  ret void"]
        return "\n".join(["define void @program(ptr %ip, ptr %fp) {", *self.lines, "}"])

    def run_segment(self, segment: Sequence[KernelText]) -> None:
        for text in segment:
            arguments = ", ".join(list(self.arguments(text)))
            self.lines.append(f"  call void @{text.kernel.name}({arguments})")

    def multiply(self, product: MatrixProduct) -> None:
        places = [self.address(product.out)]
        for side in (product.left, product.right):
            offset = self.integer(("size", side.offset))
            places.append(self.new(f"getelementptr i8, ptr {self.address(side.buffer)}, i64 {offset}"))
        arguments = [f"ptr {place}" for place in places]
        arguments += [f"i64 {int(side.is_turned)}" for side in (product.left, product.right)]
        arguments += [f"i64 {self.integer(('size', n))}" for n in product.sizes]
        self.lines.append(f"  call void @{function_name(product)}({', '.join(arguments)})")

    def arguments(self, text: KernelText) -> Iterator[str]:
        for buffer in text.kernel.buffers:
            yield f"ptr {self.address(buffer)}"
        for stride in text.strides:
            yield f"i64 {self.integer(('stride', *stride))}"
        for name in text.symbols:
            number = int(name[1:])
            if name[0] == "s":
                yield f"i64 {self.integer(('size', self.symbols.sizes[number]))}"
            else:
                yield f"double {self.load('double', self.step('double', '%fp', number))}"
        if text.kernel.checks_indices:
            yield f"ptr {self.data_of(('status',))}"

    def address(self, buffer: Buffer) -> str:
        if buffer not in self.resident:
            return self.data_of(("array", buffer))
        base, offset = self.data_of(("workspace",)), self.integer(("temp", buffer))
        return self.new(f"getelementptr i8, ptr {base}, i64 {offset}")

    def data_of(self, slot: Slot) -> str:
        """What an array object points to."""
        thing = self.load("ptr", self.step("i64", "%ip", self.place[slot]))
        return self.load("ptr", self.step("i8", thing, self.data_offset))

    def integer(self, slot: Slot) -> str:
        return self.load("i64", self.step("i64", "%ip", self.place[slot]))

    def step(self, kind: str, pointer: str, count: int) -> str:
        return self.new(f"getelementptr {kind}, ptr {pointer}, i64 {count}")

    def load(self, kind: str, pointer: str) -> str:
        return self.new(f"load {kind}, ptr {pointer}, align 8")

    def new(self, rhs: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {rhs}")
        return f"%v{self.count}"
