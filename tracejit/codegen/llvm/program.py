"""A program as one LLVM module: elementary functions, kernels, and the entry that runs a segment of them.

Enters: segments and the layout of their buffers. Leaves: the text of `void @program(ptr ip, ptr fp)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from tracejit.codegen.llvm import routines
from tracejit.codegen.llvm.kernel import KernelPrinter
from tracejit.codegen.llvm.module import VECTOR_BYTES, Module
from tracejit.codegen.llvm.products import declaration, function_text
from tracejit.codegen.llvm.steps import Steps
from tracejit.codegen.loops import Buffer, Kernel, Layouts
from tracejit.codegen.program import Segment
from tracejit.codegen.ranges import SLOT_BYTES, Ranged, copy_name
from tracejit.codegen.regions import RangedBatch, RangedProduct, RangedStep, Region
from tracejit.codegen.routines import RoutineCall
from tracejit.codegen.symbols import Symbols
from tracejit.codegen.table import KernelText, ProgramText, Slot, arrange, places_of

PARALLEL = "tj_parallel"  # `void (ptr task, ptr context, i64 tasks, i64 threads)` of the runtime
AWAIT = "tj_await"  # `void (ptr word, i32 value)`: waits until the word is that
TURN_BYTES = 64  # from the tables to the word that says whose turn it is to join: on a line of its own
HOLD, RELEASE = "tj_hold_blas", "tj_release_blas"  # `void ()`: between them BLAS has one thread


def print_program(
    segments: Sequence[Segment],
    strided: Layouts,
    resident: set[Buffer],
    data_offset: int,
    literal_limit: int = 4,
    vector_bytes: int = VECTOR_BYTES,
    register_bytes: int = VECTOR_BYTES,
) -> ProgramText:
    """The module of all kernels; the arguments are those of `codegen.numba_source.print_program`.

    vector_bytes: of the lanes of one value at most; register_bytes: of a vector register of the processor
    """
    symbols = Symbols(literal_limit)
    module = Module(vector_bytes, register_bytes)
    strided = {**strided, **{b: kind for segment in segments for b, kind in _tiles_in_time(segment)}}
    texts: dict[Kernel, KernelText] = {}
    for step in (s for segment in segments for s in _functions(segment)):
        if isinstance(step, Kernel):
            texts[step] = _print_kernel(step, symbols, strided, module)
        elif step.failure is not None:
            symbols.check(step)  # numbers of checks are in the order of the program
    slots, dynamic = arrange(texts.values(), symbols, resident, _other_slots(segments, resident))
    place = {slot: k for k, slot in enumerate(slots, start=1)}
    printer = _Printer(partial(Steps, symbols, resident, place, data_offset, texts))
    functions = [text.text for text in texts.values()]
    products = [p for segment in segments for p in segment.products]
    calls = [c for segment in segments for c in segment.routines]
    functions += [
        *dict.fromkeys(map(function_text, products)),
        *routines.function_texts(calls, module.declare, module.report),
    ]
    for product in products:
        module.declare(*declaration(product))
    entry = printer.text(segments)
    if any(segment.regions for segment in segments):
        module.declare(PARALLEL, f"void @{PARALLEL}(ptr, ptr, i64, i64)")
    if any(region.copies for segment in segments for region in segment.regions):
        module.declare(AWAIT, f"void @{AWAIT}(ptr, i32)")
    if products or calls:
        module.declare(HOLD, f"void @{HOLD}()")
        module.declare(RELEASE, f"void @{RELEASE}()")
    text = module.text(functions, entry)
    return ProgramText("llvm", text, tuple(slots), dynamic, tuple(symbols.constants), tuple(symbols.checks))


def _tiles_in_time(segment: Segment) -> Iterator[tuple[Buffer, int]]:
    """Tiles of what loops over time leave: a row of them is as long as the range, the last axis as it was."""
    for region in segment.regions:
        yield from ((b, len(b.shape) - 1) for b, dimension in region.tiles.items() if dimension)


def _functions(segment: Segment) -> Iterator[Kernel | RoutineCall]:
    """What is printed for the segment, and the calls that may fail."""
    for step in segment.steps:
        if isinstance(step, Region):
            for inner in step.steps:
                yield from inner.functions
                if isinstance(inner.single, RoutineCall):
                    yield inner.single
        elif isinstance(step, (Kernel, RoutineCall)):
            yield step


def _print_kernel(kernel: Kernel, symbols: Symbols, strided: Layouts, module: Module) -> KernelText:
    printer = KernelPrinter(kernel, symbols, strided, module)
    text = printer.run()
    return KernelText(kernel, text, tuple(printer.strides), tuple(symbols.used))


def _other_slots(segments: Sequence[Segment], resident: set[Buffer]) -> Iterator[Slot]:
    """The table entries of library calls and regions."""
    for segment in segments:
        for call in segment.routines:
            yield from _slots_of_routine(call, resident)
        for product in segment.products:
            for buffer in product.touched:
                yield from places_of(buffer, resident)
            yield from (("size", n) for n in (product.left.offset, product.right.offset, *product.sizes))
        for region in segment.regions:
            yield from (
                ("region", region.number, n) for n in ("strands", "chunk", "extent", "tile", "workers")
            )
            yield from (
                ("region", region.number, f"block {k}") for k, s in enumerate(region.steps) if s.slots
            )
            if region.area is not None:
                yield ("region", region.number, "area_bytes")
            yield from (("slice", b) for b in region.tiles)
            yield from (("temp", b) for b in region.inside)
            yield from (("copy", b) for b in region.copies)
            for buffer in region.memory:
                yield from (("workspace",), ("temp", buffer))
            for step in region.steps:
                if not isinstance(step, Ranged):
                    yield from (("size", n) for n in step.numbers)


def _slots_of_routine(call: RoutineCall, resident: set[Buffer]) -> Iterator[Slot]:
    for buffer in call.touched:
        yield from places_of(buffer, resident)
    yield from (("size", n) for n in call.sizes)
    if call.failure is not None:
        yield ("status",)


class _Printer:
    """Prints a function for each region, and `program`, which runs the steps of the segment `ip[0]`."""

    def __init__(self, function: Callable[[], Steps]) -> None:
        self.function = function

    def text(self, segments: Sequence[Segment]) -> str:
        tasks = [self.task(region) for segment in segments for region in segment.regions]
        return "\n".join([*tasks, self.entry(segments)])

    # --- the entry ------------------------------------------------------------------------------------------

    def entry(self, segments: Sequence[Segment]) -> str:
        body = self.function()
        cases = " ".join(f"i64 {s.number}, label %segment{s.number}" for s in segments)
        if any(s.regions for s in segments):
            body.put(f"%tables = alloca [{2 * TURN_BYTES} x i8], align {TURN_BYTES}")
            body.put("store ptr %ip, ptr %tables, align 8")
            body.put(f"store ptr %fp, ptr {body.step('ptr', '%tables', 1)}, align 8")
        number = body.load("i64", "%ip")
        body.put(f"switch i64 {number}, label %done [ {cases} ]")
        for segment in segments:
            body.label(f"segment{segment.number}")
            if segment.calls:
                body.put(f"call void @{HOLD}()")
            for step in segment.steps:
                if isinstance(step, Region):
                    self.run_region(body, step)
                elif isinstance(step, Kernel):
                    body.call_kernel(step)
                elif isinstance(step, RoutineCall):
                    body.call_routine(step)
                else:
                    body.multiply(step)
            if segment.calls:
                body.put(f"call void @{RELEASE}()")
            body.put("br label %done")
        body.label("done")
        body.put("ret void")
        return body.text("define void @program(ptr %ip, ptr %fp) {")

    def run_region(self, body: Steps, region: Region) -> None:
        """Its strands, in this thread if it is one only, then what is left when all are done."""
        n = region.number
        strands, workers = (body.integer(("region", n, name)) for name in ("strands", "workers"))
        if region.copies:
            body.put(f"store i32 0, ptr {body.step('i8', '%tables', TURN_BYTES)}, align 8")
        several = body.binary("icmp sgt", strands, "1")
        body.put(f"br i1 {several}, label %many{n}, label %one{n}")
        body.label(f"many{n}")
        body.put(f"call void @{PARALLEL}(ptr @region_{n}, ptr %tables, i64 {strands}, i64 {workers})")
        body.put(f"br label %joined{n}")
        body.label(f"one{n}")
        body.put(f"call void @region_{n}(ptr %tables, i64 0, i64 0)")
        body.put(f"br label %joined{n}")
        body.label(f"joined{n}")
        for step in region.steps:
            if step.finish is None:
                continue
            more = {"strands": f"i64 {body.integer(('region', n, 'strands'))}"}
            if step in region.partials:
                more["partials"] = f"ptr {body.address(region.partials[step])}"
            body.call_kernel(step.finish, more)

    # --- one strand -----------------------------------------------------------------------------------------

    def task(self, region: Region) -> str:
        """`region_n`: a strand of the region, from its first range to its last."""
        body, n = self.function(), region.number
        body.put("%ip = load ptr, ptr %tables, align 8")
        body.put(f"%fp = load ptr, ptr {body.step('ptr', '%tables', 1)}, align 8")
        chunk, extent, tile = (body.integer(("region", n, name)) for name in ("chunk", "extent", "tile"))
        low = body.binary("mul", "%number", chunk)
        high = body.smaller(body.binary("add", low, chunk), extent)
        partials = self.enter_strand(body, region)
        for step in region.steps:
            if step.start is not None:
                body.call_kernel(step.start, {"low": f"i64 {low}", **partials.get(step, {})})
        first = "ranges"
        body.put(f"br label %{first}")
        body.label(first)
        body.put(f"%more = icmp slt i64 {low}, {high}")
        body.put("br i1 %more, label %range, label %done")
        body.label("range")
        body.put(f"%from = phi i64 [ {low}, %{first} ], [ %to, %range ]")
        body.put(f"%next = add i64 %from, {tile}")
        body.put(f"%is_last = icmp sge i64 %next, {high}")
        body.put(f"%to = select i1 %is_last, i64 {high}, i64 %next")
        body.put(f"%adds = icmp ne i64 %from, {low}")
        self.run_range(body, region, partials)
        body.put("br i1 %is_last, label %done, label %range")
        body.label("done")
        if region.copies:
            self.join_strand(body, region)
        body.put("ret void")
        return body.text(f"define internal void @region_{n}(ptr %tables, i64 %number, i64 %worker) {{")

    def enter_strand(self, body: Steps, region: Region) -> dict[RangedStep, dict[str, str]]:
        """Find the memory of the strand and of the worker; returns where partial results are."""
        n = region.number
        if region.area is not None:
            begin = body.binary("mul", "%worker", body.integer(("region", n, "area_bytes")))
            area = body.moved(body.address(region.area), begin)
            for buffer in region.inside:
                body.places[buffer] = body.moved(area, body.integer(("temp", buffer)))
        for buffer, copies in region.copies.items():
            offset = body.binary("mul", "%worker", body.integer(("copy", buffer)))
            copy, own = body.moved(body.address(copies), offset), body.address(buffer)
            is_first = body.binary("icmp eq", "%number", "0")
            body.places[buffer] = body.new(f"select i1 {is_first}, ptr {own}, ptr {copy}")
        partials: dict[RangedStep, dict[str, str]] = {}
        for step, memory in region.partials.items():
            offset = body.binary("mul", "%number", str(step.slots * SLOT_BYTES))
            partials[step] = {"partials": f"ptr {body.moved(body.address(memory), offset)}"}
        return partials

    def join_strand(self, body: Steps, region: Region) -> None:
        """Add what the strand has summed to what the strands before it have, when those are joined."""
        turn = body.step("i8", "%tables", TURN_BYTES)
        number = body.new("trunc i64 %number to i32")
        is_first = body.binary("icmp eq", "%number", "0")
        body.put(f"br i1 {is_first}, label %leave, label %join")
        body.label("join")
        body.put(f"call void @{AWAIT}(ptr {turn}, i32 {number})")
        inside = dict(body.places)
        copies = {copy_name(b): f"ptr {inside[b]}" for b in region.copies}
        for buffer in region.copies:
            del body.places[buffer]
        for step in region.steps:
            if step.join is not None:
                body.call_kernel(step.join, copies)
        body.put("br label %leave")
        body.label("leave")
        body.put(f"store atomic i32 {body.new(f'add i32 {number}, 1')}, ptr {turn} release, align 8")

    def run_range(
        self, body: Steps, region: Region, partials: Mapping[RangedStep, Mapping[str, str]]
    ) -> None:
        """All steps on the iterations from `%from` to `%to`."""
        outside = dict(body.places)
        for buffer in region.tiles:  # slice 0 would lie that far in front of the first one that there is
            before = body.binary("mul", "%from", body.integer(("slice", buffer)))
            body.places[buffer] = body.moved(body.places[buffer], body.binary("sub", "0", before))
        for number, step in enumerate(region.steps):
            if not isinstance(step, Ranged):
                self.call(body, step)
                continue
            more = {"low": "i64 %from", "high": "i64 %to", **partials.get(step, {})}
            if step.slots:
                more["block"] = f"i64 {body.integer(('region', region.number, f'block {number}'))}"
            body.call_kernel(step.part, more)
        body.places = outside

    def call(self, body: Steps, step: RangedProduct | RangedBatch) -> None:
        """A matrix product or routine on the iterations from `%from` to `%to`."""
        count = body.binary("mul", body.binary("sub", "%to", "%from"), body.integer(("size", step.per)))
        if isinstance(step, RangedProduct):
            self.multiply(body, step, count)
            return
        single = step.single
        places = [self.place(body, b, by) for b, by in zip(single.touched, step.steps)]
        if isinstance(single, RoutineCall):
            body.call_routine(single, places, count)
        else:
            left, right, out = places
            m, n, k = (body.integer(("size", x)) for x in (single.m, single.n, single.k))
            body.call_product(single, (out, left, right), m, n, k, batches=count)

    def place(self, body: Steps, buffer: Buffer, by: int) -> str:
        """Where the range starts in an array, whose iterations are `by` elements apart."""
        if not by:
            return body.address(buffer)
        elements = body.binary("mul", "%from", body.integer(("size", by)))
        return body.moved(body.address(buffer), body.binary("mul", elements, str(buffer.dtype.itemsize)))

    def multiply(self, body: Steps, step: RangedProduct, count: str) -> None:
        product = step.product
        places = (
            self.place(body, product.out, step.out_step),
            self.place(body, product.left.buffer, step.left_step),
            self.place(body, product.right.buffer, step.right_step),
        )
        m, n, k = (body.integer(("size", x)) for x in (product.m, product.n, product.k))
        if step.is_sum:
            body.call_product(product, places, m, n, count, "%adds")
        else:
            body.call_product(product, places, count, n, k)
