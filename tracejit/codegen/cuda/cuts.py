"""Kernels with several outermost loops, cut into kernels with one each, that run one after another.

What a loop finds and a later one needs passes through memory: scalars, one element each, and scratch rows,
which become arrays like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    JoinCopy,
    Kernel,
    Load,
    Loop,
    Reset,
    Scalar,
    SetRegister,
    Stage,
    Statement,
    Store,
    operands,
    walk,
)


def cut(kernel: Kernel) -> list[Kernel]:
    """Kernels that do the same one after another; the kernel itself where it has one loop, or cannot be cut.

    Each has what stands before its loop, the loop, and what can be computed once it is over.
    """
    loops = [s for s in kernel.body if isinstance(s, Loop)]
    if len(loops) < 2 or any(isinstance(s, Stage) for s in walk(kernel.body)):
        return [kernel]
    if any(isinstance(s, SetRegister) for s in kernel.body):  # which one loop leaves, and another may read
        return [kernel]
    parts = _parts(kernel.body, loops)
    if parts is None:
        return [kernel]
    kept = _Carried(parts)
    local = [b for b in kernel.scratch if sum(b in _touched(p) for p in parts) == 1]
    return [part_of(kernel, f"{kernel.name}.{k}", body, local) for k, body in enumerate(kept.bodies())]


def _parts(body: Sequence[Statement], loops: Sequence[Loop]) -> list[list[Statement]] | None:
    """The statements by loop: starts of sums go with the loop that sums, all else with the loop before."""
    parts: list[list[Statement]] = [[] for _ in loops]
    summed = [{x.accumulator for x in walk(s.body) if isinstance(x, Accumulate)} for s in loops]
    touched = [_touched(s.body) for s in loops]
    at = 0
    for s in body:
        if isinstance(s, Loop):
            parts[loops.index(s)].append(s)
            at = min(loops.index(s) + 1, len(loops))
        elif isinstance(s, Reset):
            using = [k for k, found in enumerate(summed) if s.accumulator in found]
            if len(using) != 1:
                return None
            parts[using[0]].append(s)
        elif isinstance(s, Fill):
            using = [k for k, found in enumerate(touched) if s.buffer in found]
            parts[min(using, default=max(at - 1, 0))].append(s)
        elif isinstance(s, (Accumulate, Combine)):
            return None
        else:
            parts[max(at - 1, 0)].append(s)
    return parts


def _touched(body: Iterable[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(list(body)) if isinstance(s, (Load, Store, Combine, Fill, JoinCopy))}


class _Carried:
    """Scalars that pass from one part to later ones, each by an element of memory."""

    def __init__(self, parts: Sequence[list[Statement]]) -> None:
        self.parts = parts
        self.made: dict[Scalar, int] = {}
        self.summed: dict[Accumulator, int] = {}
        self.cells: dict[Scalar, Buffer] = {}
        for k, part in enumerate(parts):
            for s in part:
                if isinstance(s, (Compute, Load, CheckIndex)):
                    self.made[s.scalar] = k
                elif isinstance(s, Reset):
                    self.summed[s.accumulator] = k

    def bodies(self) -> list[list[Statement]]:
        taken = [self.taken(k, part) for k, part in enumerate(self.parts)]
        bodies: list[list[Statement]] = []
        for k, part in enumerate(self.parts):
            loads: list[Statement] = [Load(s, self.cells[s], (), ()) for s in taken[k]]
            stores: list[Statement] = [
                Store(cell, (), s) for s, cell in self.cells.items() if self.maker(s) == k
            ]
            bodies.append([*loads, *part, *stores])
        return bodies

    def maker(self, s: Scalar) -> int | None:
        """The part that computes a scalar; None where it is computed inside of a loop, or a constant."""
        return self.summed.get(s.args[0]) if s.op == "acc" else self.made.get(s)

    def taken(self, k: int, part: Sequence[Statement]) -> list[Scalar]:
        """What a part needs of earlier ones."""
        found: list[Scalar] = []
        for s in dict.fromkeys(x for statement in walk(part) for x in operands(statement)):
            maker = self.maker(s)
            if maker is not None and maker < k:
                if s not in self.cells:
                    self.cells[s] = Buffer(None, (), s.dtype, f"carried{len(self.cells)}_of")
                found.append(s)
        return found


def part_of(
    kernel: Kernel, name: str, body: Sequence[Statement], scratch: Sequence[Buffer] | None = None
) -> Kernel:
    """A kernel that runs some of the statements of another, and has what arrays these need.

    scratch: the scratch rows that stay such, instead of all
    """
    touched = _touched(body)
    known = set(kernel.buffers)
    written = {s.buffer for s in walk(body) if isinstance(s, (Store, Combine, Fill, JoinCopy))}
    more = sorted((b for b in touched if b not in known), key=lambda b: b.name)
    return Kernel(
        name,
        list(body),
        [*[b for b in kernel.buffers if b in touched], *more],
        written,
        [b for b in (kernel.scratch if scratch is None else scratch) if b in touched],
        any(isinstance(s, CheckIndex) for s in walk(body)),
        kernel.shared,
    )
