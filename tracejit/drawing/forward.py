"""The figure of a traced function as its user wrote it: one node for each operator and each call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tracejit.api.record import Record
from tracejit.drawing.figure import Figure, Group
from tracejit.drawing.names import assigned_names, canonical, label_of, shorten, word_of
from tracejit.ir import Atom, Call, Const, Eqn, Graph, Kind, Source, Var


@dataclass(eq=False)
class Operation:
    """The equations of one operation of the user's, what they read, and the node that stands for them."""

    name: str
    eqns: list[Eqn]
    order: int = 0
    operands: dict[Operation | Var, None] = field(default_factory=dict["Operation | Var", None])
    constants: dict[str, None] = field(default_factory=dict[str, None])
    node: str = ""
    result: str = ""

    @property
    def source(self) -> Source | None:
        return self.eqns[0].source


def forward_figure(record: Record) -> Figure:
    """Parameters, inputs, operations and named values of the function before it is differentiated."""
    graph = record.traced
    figure = Figure()
    labels = shorten(record.inputs)
    inputs = {
        var: figure.add(labels[k], labels[k], "parameter" if k in record.wrt else "input")
        for k, var in enumerate(graph.inputs)
    }
    parameters = [inputs[graph.inputs[k]] for k in record.wrt]
    if parameters:
        figure.groups.append(Group("Parameters", tuple(parameters)))
    reading = Reading(graph)
    _add_operations(figure, reading.operations, inputs)
    ends = _add_results(figure, reading, inputs, record.results)
    figure.keep({*figure.before(ends), *parameters})
    return figure


class Reading:
    """The operations of a graph and which reads which, through the views and conversions that only help."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operations = list(group_equations(graph))
        self.owners = {e.out: operation for operation in self.operations for e in operation.eqns}
        self.definitions = {e.out: e for e in graph.eqns}
        self.inner = {
            a
            for operation in self.operations
            for e in operation.eqns
            for a in e.inputs
            if isinstance(a, Var) and self.owners.get(a) is operation
        }
        for operation in self.operations:
            self._read_operands(operation)

    def _read_operands(self, operation: Operation) -> None:
        """Note what the results of `operation` are made of, from the first operand to the last."""
        waiting: list[Atom] = [e.out for e in reversed(operation.eqns) if e.out not in self.inner]
        seen: set[Var] = set()
        while waiting:
            atom = waiting.pop()
            if isinstance(atom, Const):
                operation.constants[f"{atom.value.item():.6g}"] = None
            elif atom not in seen:
                seen.add(atom)
                origin = self.origin(atom, operation)
                if isinstance(origin, Eqn):
                    waiting += reversed(origin.inputs)
                else:
                    operation.operands[origin] = None

    def origin(self, var: Var, reader: Operation | None) -> Operation | Var | Eqn:
        """The operation or input that `var` comes from; an equation where its operands must be asked."""
        owner = self.owners.get(var)
        if owner is None:
            return var
        eqn = self.definitions[var]
        is_help = var in self.inner and (eqn.primitive.kind is Kind.VIEW or eqn.primitive.name == "convert")
        return eqn if owner is reader or is_help else owner


def group_equations(graph: Graph) -> Iterator[Operation]:
    """Runs of equations that came out of one call, or out of the derivative of one."""
    current: Operation | None = None
    last: Call | None = None
    for eqn in graph.eqns:
        call = eqn.source.call if eqn.source is not None else None
        if current is not None and call is not None and call is last:
            current.eqns.append(eqn)
            continue
        if current is not None:
            yield current
        name = canonical(call.name if call is not None else eqn.primitive.name)
        current, last = Operation(name, [eqn], call.order if call is not None else 0), call
    if current is not None:
        yield current


def _add_operations(figure: Figure, operations: list[Operation], inputs: dict[Var, str]) -> None:
    located = [o for o in operations if o.source is not None and not o.order]
    found = assigned_names([(o.source, o.name) for o in located if o.source is not None])
    variables = {located[k]: name for k, name in found.items()}
    for operation in operations:
        operation.node = figure.add(word_of(operation.name), _label(operation), "operation")
        operation.result = operation.node
        for operand in operation.operands:
            figure.connect(inputs[operand] if isinstance(operand, Var) else operand.result, operation.node)
        if operation in variables:
            name = variables[operation]
            operation.result = figure.add(name, name, "value")
            figure.connect(operation.node, operation.result)


def _label(operation: Operation) -> str:
    label = label_of(operation.name)
    if operation.order:
        return "d " * operation.order + label
    if len(operation.constants) == 1 and len(operation.operands) == 1 and not label.isalnum():
        return f"{label} {next(iter(operation.constants))}"
    return label


def _add_results(
    figure: Figure, reading: Reading, inputs: dict[Var, str], results: tuple[str, ...]
) -> list[str]:
    """Nodes for what the function returns; one that has a variable's name keeps it."""
    ends: list[str] = []
    for atom, name in zip(reading.graph.outputs, results, strict=True):
        source = ""
        if isinstance(atom, Var):
            origin = reading.origin(atom, None)
            source = inputs[origin] if isinstance(origin, Var) else _result_of(origin, reading)
        if source and figure.nodes[source].kind == "value":
            ends.append(source)
            continue
        end = figure.add(name, name, "result")
        ends.append(end)
        if source:
            figure.connect(source, end)
    return ends


def _result_of(origin: Operation | Eqn, reading: Reading) -> str:
    return origin.result if isinstance(origin, Operation) else reading.owners[origin.out].result
