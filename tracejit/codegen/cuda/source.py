"""A kernel printed as the Python that Numba compiles for CUDA: what every thread of every block does.

A **team** of threads works on one iteration of the outermost loop together: 1 thread, a warp of 32, or a
block. Statements outside of inner loops are run by all threads of a team alike, stores among them by the
first one. The iterations of an inner loop are divided over the team; what a loop sums is summed over the team
after it, in the same order each time. Where one thread reads what another wrote, the team meets in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tracejit.codegen.cuda.elements import ElementPrinter
from tracejit.codegen.cuda.nests import (
    has_time,
    inner_loops,
    is_divisible,
    is_short,
    loaded_together,
    read,
    scatters,
    written,
)
from tracejit.codegen.cuda.scalars import literal
from tracejit.codegen.cuda.teams import BLOCK
from tracejit.codegen.loops import (
    Accumulate,
    Buffer,
    FillRows,
    JoinCopy,
    Kernel,
    Loop,
    MergePartial,
    Reset,
    Strip,
    TotalPartial,
    neutral,
    walk,
)
from tracejit.codegen.numba_source import describe_buffers


class LaunchPrinter(ElementPrinter):
    """Prints one function that a grid of blocks runs.

    Its lanes may be 0: each thread takes elements of a nest that is perfect, `UNROLLED` at a time.
    """

    finish: Kernel | None = None
    has_ticket = False

    def run_launch(
        self,
        blocks: int,
        finish: Kernel | None,
        joins: Sequence[JoinCopy],
        instead: Callable[[], None] | None = None,
    ) -> str:
        """The text of the function; its arguments are `self.arguments()`.

        finish: what the block that is done last does; joins: what all blocks do, each its share
        instead: prints what stands in place of the kernel's body
        """
        self.symbols.start_kernel()
        self.finish = finish
        self.has_ticket = finish is not None and blocks > 1
        self.joining = bool(joins)
        self.is_alone = blocks == 1 and finish is not None and not joins
        self.put(0, "thread = cuda.threadIdx.x")
        self.put(0, "block = cuda.blockIdx.x")
        if self.lanes > 1:
            self.put(0, "lane = thread" if self.lanes == BLOCK else f"lane = thread % {self.lanes}")
        if self.lanes or self.copies:
            self.put(0, f"team = {self.team_text()}")
        place = len(self.lines)
        self.in_row = not any(isinstance(s, Loop) and s.ranged for s in walk(self.kernel.body))
        if instead is not None:
            instead()
        elif joins:
            self.finishing = True
            for s in joins:
                self.join_copies(s, first_block=False)
        else:
            self.start_copies()
            self.block(self.kernel.body)
            self.leave_partials()
        if finish is not None:
            self.last_block(finish)
        shared = [
            f"{' ' * 4}{name} = cuda.shared.array({size}, np.{_CARRIERS[name[8:]]})"
            for name, size in self.exchange.items()
        ]
        self.lines[place:place] = shared
        header = f"def {self.kernel.name.replace('.', '_')}({', '.join(self.arguments())}):"
        described = [f"{' ' * 4}# {line}" for line in describe_buffers(self.kernel)]
        return "\n".join([header, *described, *self.lines]) + "\n"

    def arguments(self) -> list[str]:
        names = [b.name for b in self.buffers]
        names += [self.strides[s] for s in self.strides] + list(self.symbols.used)
        names += ["ticket"] if self.has_ticket else []
        return [*names, "status"] if self.checks_indices else names

    @property
    def checks_indices(self) -> bool:
        return self.kernel.checks_indices or (self.finish is not None and self.finish.checks_indices)

    @property
    def buffers(self) -> list[Buffer]:
        """Those that are passed, in order."""
        hidden = {*self.registers, *self.shared, *self.copies}
        own = [b for b in self.kernel.buffers if b not in hidden or self.joining]
        late = self.finish.buffers if self.finish is not None else []
        partials = [b for group in self.partials.values() for b in group]
        return list(dict.fromkeys([*own, *late, *partials, *self.copies.values()]))

    def team_text(self) -> str:
        if self.teams == 1:
            return "block"
        if self.lanes == 1:
            return f"block * {BLOCK} + thread"
        return f"block * {self.teams} + thread // {self.lanes}"

    def last_block(self, finish: Kernel) -> None:
        """What is left when all blocks are done, by the one that comes last: a ticket tells which it is."""
        if self.has_ticket:
            self.put(0, "number = cuda.shared.array(1, np.int32)")
            self.put(0, "cuda.threadfence()")
            self.put(0, "cuda.syncthreads()")
            self.put(0, "if thread == 0:")
            self.put(1, "number[0] = cuda.atomic.add(ticket, 0, np.int32(1))")
        self.put(0, "cuda.syncthreads()")
        if self.has_ticket:
            self.put(0, "if number[0] == cuda.gridDim.x - 1:")
            self.depth += 1
            self.put(0, "cuda.threadfence()")
        if self.lanes != BLOCK:
            self.put(0, "lane = thread")
        self.lanes, self.divided, self.in_row, self.finishing = BLOCK, False, True, True
        self.touched, self.flat = {}, None
        joins = [s for s in finish.body if isinstance(s, JoinCopy)]
        totals = [s for s in finish.body if isinstance(s, TotalPartial)]
        for s in joins:
            self.join_copies(s, first_block=True)
        self.total_partials(totals)
        self.block([s for s in finish.body if not isinstance(s, (JoinCopy, TotalPartial))])
        if self.has_ticket:
            self.put(0, "if thread == 0:")
            self.put(1, "ticket[0] = np.int32(0)")
            self.depth -= 1

    @cached_property
    def _handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return {
            **super()._handlers,
            Strip: lambda s: self.block(s.body),
            MergePartial: self.merge_partial,
            FillRows: lambda _: None,  # by the loop over rows, row by row
        }

    def reset(self, s: Reset) -> None:
        super().reset(s)
        if self.in_row and not self.divided:
            self.team_wide.add(s.accumulator)

    # --- loops ----------------------------------------------------------------------------------------------

    def loop(self, s: Loop) -> None:
        if s.serial:
            self.serial(s)
        elif s.ranged and self.lanes == 0:
            scattered = scatters(s, self.atomic)
            (self.scattered if scattered else self.timed if has_time(s.body) else self.elements)(s)
        elif s.ranged:
            self.rows(s)
        elif s.axis in self.unrolled:
            self.written_out(s)
        elif self.divided:
            self.serial(s)
        else:
            self.divided_loop(s)

    @cached_property
    def unrolled(self) -> frozenset[int]:
        """Axes of the loops that are written out: short ones inside rows that a thread has for itself."""
        if self.lanes != 1:
            return frozenset()
        ranged = [s for s in walk(self.kernel.body) if isinstance(s, Loop) and s.ranged and is_short(s.body)]
        return frozenset(x.axis for s in ranged for x in inner_loops(s))

    def serial(self, s: Loop) -> None:
        bounds = ("0", self.symbols.size(s.extent), 1)
        self.counted(self.name_axis(s.axis), bounds, lambda: self.block(s.body))

    def written_out(self, s: Loop) -> None:
        for k in range(s.extent):
            self.constants[s.axis] = k
            self.axis_names[s.axis] = str(k)
            self.block(s.body)
        self.constants.pop(s.axis, None)

    def divided_loop(self, s: Loop) -> None:
        self.meet_before(s.body)
        inside = dict.fromkeys(x.accumulator for x in walk(s.body) if isinstance(x, Accumulate))
        own = {x.accumulator for x in walk(s.body) if isinstance(x, Reset)}
        extent = self.symbols.size(s.extent)
        self.divided = True
        if is_divisible(s, self.atomic):
            self.shared_out(s, extent)
        else:
            self.put(0, "if lane == 0:")
            self.indented(lambda: self.serial(s))
        self.divided = False
        self.over_team([a for a in inside if a in self.team_wide and a not in own], self.lanes)

    def shared_out(self, s: Loop, extent: str) -> None:
        """Each thread takes iterations `lanes` apart, the loads of several at once."""
        name, lanes, together = self.name_axis(s.axis), self.lanes, loaded_together(s.body, self.in_memory)
        if together == 1:
            self.counted(name, ("lane", extent, lanes), lambda: self.block(s.body))
            return
        self.put(0, f"{name} = lane")
        self.put(0, f"while {name} + {lanes * (together - 1)} < {extent}:")
        self.depth += 1
        names = [name, *(f"{name}_{k}" for k in range(1, together))]
        for k in range(1, together):
            self.put(0, f"{names[k]} = {name} + {lanes * k}")
        self.side_by_side([(s.axis, s.extent)], s.body, names)
        self.axis_names[s.axis] = name
        self.put(0, f"{name} += {lanes * together}")
        self.depth -= 1
        self.counted(name, (name, extent, lanes), lambda: self.block(s.body))

    def in_memory(self, buffer: Buffer) -> bool:
        return buffer not in self.registers and (self.finishing or buffer not in self.shared)

    def rows(self, s: Loop) -> None:
        """The iterations of the outermost loop, a team each."""
        row, extent = self.name_axis(s.axis), self.symbols.size(s.extent)
        if self.touched:
            self.meet()
        step = "cuda.gridDim.x" if self.teams == 1 else f"{self.teams} * cuda.gridDim.x"
        self.counted(row, ("team", extent, step), lambda: self.one_row(s, row))

    def one_row(self, s: Loop, row: str) -> None:
        self.in_row = True
        before = self.exchanged
        place = len(self.lines)
        for fill in [x for x in self.kernel.body if isinstance(x, FillRows)]:
            self.fill_row(fill, row)
        self.block(s.body)
        if len(self.lines) == place:
            self.put(0, "pass")  # rows of no elements, written out
        both = read(s.body) & written(s.body)
        if (self.exchanged - before) % 2 or (
            not self.divided and any(b in both and b not in self.registers for b in self.touched)
        ):
            self.meet()
        self.touched = {}
        self.in_row = False

    def fill_row(self, s: FillRows, row: str) -> None:
        size = self.symbols.size(math.prod(s.buffer.shape[1:]))
        value = self.stored(literal(neutral(s.reducer, s.buffer.dtype), s.buffer.dtype), s.buffer)
        place = f"{s.buffer.name}[{row} * {size} + e]"
        self.counted("e", self.shares(size), lambda: self.put(0, f"{place} = {value}"))
        if not self.divided:
            self.touched[s.buffer] = "w"


_CARRIERS = {"i64": "int64", "f64": "float64", "f32": "float32", "f16": "float16"}
