"""Code that calls kernels and matrix products with what the two argument tables hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tracejit.codegen.llvm import routines
from tracejit.codegen.llvm.products import function_name
from tracejit.codegen.loops import Buffer, Kernel
from tracejit.codegen.products import MatrixProduct
from tracejit.codegen.ranges import extras
from tracejit.codegen.routines import RoutineCall
from tracejit.codegen.symbols import Symbols
from tracejit.codegen.table import KernelText, Slot, stride_slot


class Steps:
    """The body of one function, where `%ip` and `%fp` are the tables.

    places: pointers to arrays that are not where the table says: of a strand, of a worker, of a tile
    """

    def __init__(
        self,
        symbols: Symbols,
        resident: set[Buffer],
        place: Mapping[Slot, int],
        data_offset: int,
        texts: Mapping[Kernel, KernelText],
    ) -> None:
        self.symbols = symbols
        self.resident = resident
        self.place = place
        self.data_offset = data_offset
        self.texts = texts
        self.places: dict[Buffer, str] = {}
        self.lines: list[str] = []
        self.count = 0

    def text(self, header: str) -> str:
        return "\n".join([header, "entry:", *self.lines, "}"])

    # --- calls ----------------------------------------------------------------------------------------------

    def call_kernel(self, kernel: Kernel, more: Mapping[str, str] | None = None) -> None:
        """Call a kernel; `more` holds its `extras`, with their types."""
        arguments = list(self.arguments(self.texts[kernel]))
        arguments += [(more or {})[name] for name in extras(kernel)]
        self.put(f"call void @{kernel.name}({', '.join(arguments)})")

    def multiply(self, product: MatrixProduct) -> None:
        """The whole product."""
        left, right = product.left.buffer, product.right.buffer
        m, n, k = (self.integer(("size", x)) for x in (product.m, product.n, product.k))
        self.call_product(
            product, (self.address(product.out), self.address(left), self.address(right)), m, n, k
        )

    def call_product(
        self,
        product: MatrixProduct,
        places: tuple[str, str, str],
        m: str,
        n: str,
        k: str,
        adds: str = "false",
        batches: str | None = None,
    ) -> None:
        """Matrices of these sizes, in arrays at these places; `adds`: to what is there.

        batches: how many, if not all that there are
        """
        out, *sides = places
        arguments = [f"ptr {out}"]
        for side, place in zip((product.left, product.right), sides):
            offset = self.integer(("size", side.offset))
            arguments.append(f"ptr {self.new(f'getelementptr i8, ptr {place}, i64 {offset}')}")
        arguments += [f"i64 {int(side.is_turned)}" for side in (product.left, product.right)]
        arguments += [f"i64 {x}" for x in (m, n, k)]
        *leading, all_batches = [self.integer(("size", x)) for x in product.sizes[3:6]]
        arguments += [f"i64 {x}" for x in (*leading, batches or all_batches)]
        arguments += [f"i64 {self.integer(('size', x))}" for x in product.sizes[6:]]
        arguments += [f"double {self.number(product.scale)}", f"i1 {adds}"]
        self.put(f"call void @{function_name(product)}({', '.join(arguments)})")

    def call_routine(self, call: RoutineCall, places: Sequence[str] = (), batches: str | None = None) -> None:
        """All matrices; or `batches` of them, in arrays at these places."""
        arguments = [f"ptr {x}" for x in places or map(self.address, call.touched)]
        sizes = [self.integer(("size", n)) for n in call.sizes]
        arguments += [f"i64 {n}" for n in (batches or sizes[0], *sizes[1:])]
        if call.failure is not None:
            arguments += [f"ptr {self.data_of(('status',))}", f"i64 {self.symbols.check(call)}"]
        self.put(f"call void @{routines.function_name(call)}({', '.join(arguments)})")

    def arguments(self, text: KernelText) -> Iterator[str]:
        for buffer in text.kernel.buffers:
            yield f"ptr {self.address(buffer)}"
        for stride in text.strides:
            yield f"i64 {self.integer(stride_slot(*stride, self.resident))}"
        for name in text.symbols:
            number = int(name[1:])
            if name[0] == "s":
                yield f"i64 {self.integer(('size', self.symbols.sizes[number]))}"
            else:
                yield f"double {self.constant(number)}"
        if text.kernel.checks_indices:
            yield f"ptr {self.data_of(('status',))}"

    def number(self, value: float) -> str:
        """A double: 1 and -1 in the text, others in the table."""
        if abs(value) == 1:
            return repr(value)
        return self.constant(int(self.symbols.float_name(np.float64(value))[1:]))

    def constant(self, number: int) -> str:
        return self.load("double", self.step("double", "%fp", number))

    # --- places ---------------------------------------------------------------------------------------------

    def address(self, buffer: Buffer) -> str:
        if buffer in self.places:
            return self.places[buffer]
        if buffer not in self.resident:
            return self.data_of(("array", buffer))
        return self.moved(self.data_of(("workspace",)), self.integer(("temp", buffer)))

    def data_of(self, slot: Slot) -> str:
        """What an array object points to."""
        thing = self.load("ptr", self.step("i64", "%ip", self.place[slot]))
        return self.load("ptr", self.step("i8", thing, self.data_offset))

    def integer(self, slot: Slot) -> str:
        return self.load("i64", self.step("i64", "%ip", self.place[slot]))

    def moved(self, pointer: str, count: str, kind: str = "i8") -> str:
        return self.new(f"getelementptr {kind}, ptr {pointer}, i64 {count}")

    def step(self, kind: str, pointer: str, count: int) -> str:
        return self.moved(pointer, str(count), kind)

    # --- instructions ---------------------------------------------------------------------------------------

    def load(self, kind: str, pointer: str) -> str:
        return self.new(f"load {kind}, ptr {pointer}, align 8")

    def binary(self, op: str, a: str, b: str) -> str:
        return self.new(f"{op} i64 {a}, {b}")

    def smaller(self, a: str, b: str) -> str:
        return self.new(f"select i1 {self.binary('icmp slt', a, b)}, i64 {a}, i64 {b}")

    def new(self, rhs: str) -> str:
        self.count += 1
        self.put(f"%v{self.count} = {rhs}")
        return f"%v{self.count}"

    def put(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
