"""Schedules as text: each kernel with its loops and the equations in it, each library call."""

from __future__ import annotations

from collections.abc import Set

from tracejit.ir import Eqn, Kind, Names, Var, computation_key, format_eqn, name_vars
from tracejit.schedule.access import is_virtual
from tracejit.schedule.steps import KernelStep, LibraryStep, Schedule, Step, StreamStep

AXIS_NAMES = "ijklmnpq"


def format_schedule(schedule: Schedule) -> str:
    """The steps in order, with the equations of each; views that a step reads through are listed with it.

    >>> from tracejit.ops.reading import read_graph
    >>> from tracejit.schedule.fusion import schedule_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5]'):
    ...     v1: 'f64[5]' = tanh(v0)
    ...     v2: 'f64' = reduce_sum(v1, axes=(0,))
    ...     return (v2,)
    ... ''')
    >>> print(format_schedule(schedule_graph(graph)))
    kernel_0 over i[5]
        v1: 'f64[5]' = tanh(v0)
        v2: 'f64' = reduce_sum(v1, axes=(0,))  # stored
    """
    names = name_vars(schedule.graph)
    blocks: list[str] = []
    kernels = 0
    for step in schedule.steps:
        if not isinstance(step, LibraryStep):
            title, stored = f"kernel_{kernels} {describe_axes(step)}", step.stored
            kernels += 1
        else:
            title, stored = f"library call: {step.eqn.primitive.name}", frozenset[Var]()
        lines = [
            _equation_line(eqn, names, _fate(eqn.out, step, stored)) for eqn in equations_of(step, schedule)
        ]
        blocks.append("\n".join([title, *lines]))
    return "\n".join(blocks) or "nothing to run"


def _fate(var: Var, step: Step, stored: Set[Var]) -> str:
    """What becomes of a result: nothing is said of those that stay in registers."""
    if isinstance(step, StreamStep) and var in step.rings:
        rows = step.rings[var]
        return f"a ring of {rows} rows" if rows > 1 else "one row at a time"
    return "stored" if var in stored else ""


def describe_axes(step: KernelStep | StreamStep) -> str:
    """`over i[5], j[3]`: the axes of the nest with their sizes, the outermost first, then loops over time.

    Of a stream each part, and how many rows behind the first it runs.
    """
    if isinstance(step, StreamStep):
        parts = [
            describe_axes(part) + (f" ({lag} rows behind)" if lag > 1 else " (a row behind)" if lag else "")
            for part, lag in zip(step.parts, step.lags, strict=True)
        ]
        return " and ".join(parts)
    axes = [
        f"{AXIS_NAMES[k] if k < len(AXIS_NAMES) else f'i{k}'}[{step.group.extents[axis]}]"
        for k, axis in enumerate(step.order)
    ]
    text = "over " + ", ".join(axes) if axes else "over nothing: scalars"
    loops = {computation_key(e): e for e in step.group.eqns.values() if e.primitive.kind is Kind.CONTROL}
    return "".join([text, *(f", {e.params['steps']} steps of time" for e in loops.values())])


def equations_of(step: Step, schedule: Schedule) -> list[Eqn]:
    """The equations that a step runs and the views it reads through, in the order of the graph.

    Those that every reader computes for itself are in its group and lead to nothing that it stores.
    """
    if isinstance(step, LibraryStep):
        own = {step.eqn.out}
    else:
        own = {e.out for part in step.parts for e in part.group.eqns.values()}
    waiting = list(own) if isinstance(step, LibraryStep) else list(step.stored)
    wanted: set[Var] = set()
    while waiting:
        var = waiting.pop()
        eqn = schedule.definitions.get(var)
        if eqn is None or var in wanted or not (var in own or is_virtual(eqn)):
            continue
        wanted.add(var)
        waiting += [a for a in eqn.inputs if isinstance(a, Var)]
    return [e for e in schedule.graph.eqns if e.out in wanted]


def _equation_line(eqn: Eqn, names: Names, fate: str) -> str:
    text = format_eqn(eqn, names)
    if fate:
        text += f"  {fate}" if "  # " in text else f"  # {fate}"
    return f"    {text}"
