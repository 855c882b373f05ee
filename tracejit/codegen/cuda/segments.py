"""The text of the launches that add up sorted updates: by chunks of equal length, then what chunks share.

However many updates one place has, no thread adds up more than a chunk of them. The first place of a chunk
may be one that the chunk before has too: what it gets from this chunk waits in `leads` for the second launch.
Each place is written by one thread a launch, and the order of all sums follows from sizes alone.
"""

from __future__ import annotations

from tracejit.codegen.cuda.scalars import literal
from tracejit.codegen.cuda.scatter import Segments
from tracejit.codegen.cuda.source import LaunchPrinter
from tracejit.codegen.cuda.teams import BLOCK, WARP, WARPS
from tracejit.codegen.loops import Accumulator

AT_ONCE = 4  # updates whose loads are under way together


def segment_items(s: Segments) -> int:
    """What is shared out: first a value of a chunk to a thread, in the second launch some to a warp."""
    values = s.scatter.width
    return (s.chunks - 1) * -(-values // _lanes(s)) if s.is_second else s.chunks * values


def segment_workers(s: Segments) -> int:
    """Threads, or warps, of a block."""
    return WARPS if s.is_second else BLOCK


def print_segments(printer: LaunchPrinter, s: Segments) -> None:
    (_Second if s.is_second else _First)(printer, s).run()


def _lanes(s: Segments) -> int:
    """Lanes of a warp that take values side by side, in the second launch; the others take chunks."""
    return min(WARP, 1 << max(0, s.scatter.width - 1).bit_length())


class _Printed:
    def __init__(self, printer: LaunchPrinter, s: Segments) -> None:
        self.p, self.s, self.combine = printer, s, s.scatter.combine
        size = printer.symbols.size
        self.values = s.scatter.width
        self.bits, self.chunk = size(s.scatter.bits), size(s.scatter.chunk)
        self.width, self.updates = size(self.values), size(s.scatter.updates)
        self.zero = literal(0, self.combine.buffer.dtype)

    def put(self, text: str) -> None:
        self.p.put(0, text)

    def code(self, at: str) -> str:
        return f"np.int64({self.s.codes.name}[{at}])"

    def place(self, at: str) -> str:
        return f"{self.code(at)} >> {self.bits}"

    def target(self, place: str) -> str:
        return self.element(self.combine.buffer.name, place)

    def lead(self, chunk: str) -> str:
        return self.element(self.s.leads.name, chunk)

    def element(self, name: str, row: str) -> str:
        return f"{name}[{row}]" if self.values == 1 else f"{name}[{row} * {self.width} + value]"

    def added(self, old: str, value: str) -> str:
        return self.p.combined(self.combine.reducer, old, value, self.combine.buffer.dtype)


class _First(_Printed):
    """A thread takes a chunk's updates of one place after another."""

    def run(self) -> None:
        p = self.p
        items = p.symbols.size(segment_items(self.s))
        bounds = (f"block * {BLOCK} + thread", items, f"{BLOCK} * cuda.gridDim.x")
        p.counted("item", bounds, self.one_chunk)

    def one_chunk(self) -> None:
        p = self.p
        self.put("chunk = item" if self.values == 1 else f"chunk = {p.divided_by('item', self.values)}")
        if self.values > 1:
            self.put(f"value = item - chunk * {self.width}")
        self.put(f"first = chunk * {self.chunk}")
        self.put(f"stop = first + {self.chunk} if first + {self.chunk} < {self.updates} else {self.updates}")
        self.put(f"place = {self.place('first')}")
        self.put(f"is_lead = chunk > 0 and {self.place('first - 1')} == place")
        self.put(f"total = {self.zero}")
        positions = ["at", *(f"at + {k}" for k in range(1, AT_ONCE))]
        p.counted("at", ("first", f"stop - {AT_ONCE - 1}", AT_ONCE), lambda: self.updates_of(positions))
        p.counted("at", ("at", "stop", 1), lambda: self.updates_of(["at"]))
        self.leave()

    def leave(self) -> None:
        self.put("if is_lead:")
        self.p.put(1, f"{self.lead('chunk')} = total")
        self.put("else:")
        self.p.put(1, f"{self.target('place')} = total")

    def updates_of(self, positions: list[str]) -> None:
        """The loads of several updates, then their sums."""
        for k, at in enumerate(positions):
            self.put(f"code{k} = {self.code(at)}")
        for k in range(len(positions)):
            self.put(f"place{k} = code{k} >> {self.bits}")
        values = [self.value(k) for k in range(len(positions))]
        for k, value in enumerate(values):
            self.put(f"if place{k} != place:")
            self.p.depth += 1
            self.leave()
            self.put(f"place = place{k}")
            self.put("is_lead = False")
            self.put(f"total = {self.zero}")
            self.p.depth -= 1
            self.put(f"total = {self.added('total', value)}")

    def value(self, k: int) -> str:
        p, load = self.p, self.s.load
        if load is None:
            return p.value(self.combine.value)
        update = f"code{k} - (place{k} << {self.bits})"
        self.put(f"e{k} = {update if self.values == 1 else f'({update}) * {self.width} + value'}")
        p.stand_at(f"e{k}", self.s.scatter.axes, [load])
        self.put(f"value{k} = {p.memory(load.buffer, load.index)}")
        p.flat = None
        return f"value{k}"


class _Second(_Printed):
    """A warp takes the chunks that begin with one place, and adds what these found to the place."""

    def run(self) -> None:
        p, s = self.p, self.s
        items = p.symbols.size(segment_items(s))
        self.put(f"lane = thread % {WARP}")
        bounds = (f"block * {WARPS} + thread // {WARP}", items, f"{WARPS} * cuda.gridDim.x")
        p.counted("item", bounds, self.one_chunk)

    def one_chunk(self) -> None:
        p, lanes = self.p, _lanes(self.s)
        groups = -(-self.values // lanes)
        count = p.symbols.size(groups)
        self.put("chunk = item + 1" if groups == 1 else f"chunk = {p.divided_by('item', groups)} + 1")
        if self.values > 1:
            start = "" if groups == 1 else f"(item - (chunk - 1) * {count}) * {lanes} + "
            self.put(f"value = {start}lane % {lanes}")
        self.put(f"first = chunk * {self.chunk}")
        self.put(f"place = {self.place('first')}")
        before = self.place(f"first - {self.chunk} - 1")
        self.put(f"if {self.place('first - 1')} == place and (chunk == 1 or {before} != place):")
        p.depth += 1
        self.find_stop()
        self.add_up(lanes)
        p.depth -= 1

    def find_stop(self) -> None:
        """The chunk after the last one that begins with the place; mostly the next one."""
        chunks = self.p.symbols.size(self.s.chunks)
        self.put("low = chunk + 1")
        self.put(f"stop = {chunks}")
        self.put(f"if low < stop and {self.place(f'low * {self.chunk}')} != place:")
        self.p.put(1, "stop = low")
        self.put("while low < stop:")
        self.p.put(1, "middle = (low + stop) // 2")
        self.p.put(1, f"if {self.place(f'middle * {self.chunk}')} == place:")
        self.p.put(2, "low = middle + 1")
        self.p.put(1, "else:")
        self.p.put(2, "stop = middle")

    def add_up(self, lanes: int) -> None:
        p = self.p
        total = Accumulator(self.combine.reducer, self.combine.buffer.dtype)
        p.names[total] = "total"
        self.put(f"total = {self.zero}")
        is_some = f"value < {self.width}" if self.values % lanes else ""
        if is_some:
            self.put(f"if {is_some}:")
            p.depth += 1
        start = "chunk" if lanes == WARP else f"chunk + lane // {lanes}" if lanes > 1 else "chunk + lane"
        added = self.added("total", self.lead("k"))
        p.counted("k", (start, "stop", WARP // lanes), lambda: self.put(f"total = {added}"))
        p.depth -= bool(is_some)
        if lanes < WARP:
            p.over_warp([total], (WARP // lanes).bit_length() - 1)
        target = self.target("place")
        self.put(f"if lane < {lanes}{f' and {is_some}' if is_some else ''}:")
        p.put(1, f"{target} = {self.added(target, 'total')}")
