"""The figure of what runs: equations after the passes, in one box for each kernel or library call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracejit.api.record import Record
from tracejit.drawing.figure import Figure, Group
from tracejit.drawing.names import canonical, label_of, shorten, word_of
from tracejit.ir import Atom, Var

if TYPE_CHECKING:
    from tracejit.schedule import Schedule


def kernels_figure(record: Record) -> Figure:
    """Which equations, of the function and of its derivative, run in which kernel; views are not drawn."""
    from tracejit.compile import run_stages

    schedule = run_stages(record.graph, record.fuse).schedule
    figure = Figure()
    labels = shorten(record.inputs)
    home: dict[Var, str] = {
        var: figure.add(labels[k], labels[k], "parameter" if k in record.wrt else "input")
        for k, var in enumerate(schedule.graph.inputs)
    }
    _add_steps(figure, schedule, home)
    ends: list[str] = []
    prefix = f"d{record.name}/d"
    names = {prefix + path: prefix + label for path, label in zip(record.inputs, labels, strict=True)}
    for atom, name in zip(schedule.graph.outputs, record.outputs, strict=True):
        ends.append(figure.add(names.get(name, name), names.get(name, name), "result"))
        for source in sources(atom, schedule, home):
            figure.connect(source, ends[-1])
    figure.keep(figure.before(ends))
    return figure


def _add_steps(figure: Figure, schedule: Schedule, home: dict[Var, str]) -> None:
    from tracejit.schedule import LibraryStep
    from tracejit.schedule.describe import describe_axes

    kernels = 0
    for step in schedule.steps:
        if isinstance(step, LibraryStep):
            eqns, title, results = [step.eqn], "library call", frozenset({step.eqn.out})
        else:
            eqns = [e for part in step.parts for e in part.group.eqns.values()]
            title = f"kernel_{kernels} {describe_axes(step)}"
            kernels += 1
            results = step.stored
        here = dict(home)
        members: list[str] = []
        for eqn in eqns:
            name = canonical(eqn.primitive.name)
            node = figure.add(word_of(name), label_of(name), "operation")
            members.append(node)
            for atom in eqn.inputs:
                for source in sources(atom, schedule, here):
                    figure.connect(source, node)
            here[eqn.out] = node
        home.update((var, here[var]) for var in results)
        figure.groups.append(Group(title, tuple(members)))


def sources(atom: Atom, schedule: Schedule, home: dict[Var, str]) -> list[str]:
    """The nodes that elements of `atom` come from, through views."""
    if not isinstance(atom, Var):
        return []
    if atom in home:
        return [home[atom]]
    eqn = schedule.definitions.get(atom)
    return [s for below in eqn.inputs for s in sources(below, schedule, home)] if eqn is not None else []
