"""Programs as text: the arrays of each kernel and library call, and their bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracejit.codegen.loops import Buffer, Combine, Kernel, Load, walk
from tracejit.codegen.program import LibraryCall, Program, Segment, bytes_moved, kernel_traffic, nbytes
from tracejit.codegen.regions import Region
from tracejit.ir import ArrayType, Eqn, Source, Var
from tracejit.schedule.access import reaches
from tracejit.tables import align


def format_program(program: Program, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> str:
    """What each step reads and writes, in bytes, with the user's name or line behind every array.

    `inputs` and `outputs` are what the user calls them (`params['w']`); without these their numbers must do.

    >>> from tracejit.ops.reading import read_graph
    >>> from tracejit.codegen.program import build_program
    >>> from tracejit.schedule.fusion import schedule_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5]'):
    ...     v1: 'f64[5]' = tanh(v0)
    ...     return (v1,)
    ... ''')
    >>> print(format_program(build_program(schedule_graph(graph))))
    kernel_0: reads 40 bytes, writes 40 bytes
        x0    f64[5]  40 bytes  read     argument 0
        out0  f64[5]  40 bytes  written  result 0
    in all 80 bytes moved; workspace of 0 bytes
    """
    roles = roles_of(program, inputs, outputs)
    lines: list[str] = []
    for call in program.calls:
        for step in call.singles if isinstance(call, Segment) else [call]:
            if isinstance(step, Kernel):
                read, written = kernel_traffic(step)
                lines.append(f"{step.name}: reads {read:,} bytes, writes {written:,} bytes")
                lines += _format_rows([_row(b, _use(b, step), roles) for b in step.buffers])
            else:
                lines += _describe_call(step.eqn, program, roles)
    lines.append(f"in all {bytes_moved(program):,} bytes moved; workspace of {program.workspace:,} bytes")
    lines += [t for region in program.regions.values() if (t := _describe_region(region))]
    return "\n".join(lines)


def _describe_region(region: Region) -> str:
    """How the steps of a region run, where that is more than all at once; `codegen.places` has its memory."""
    if region.strands == 1 and not region.inside:
        return ""
    steps = "1 step" if len(region.steps) == 1 else f"{len(region.steps)} steps"
    strands = "1 strand" if region.strands == 1 else f"{region.strands} strands"
    return (
        f"region {region.number}: {steps} over {region.extent:,} rows, {region.tile:,} at a time, {strands}"
    )


def roles_of(program: Program, inputs: Sequence[str], outputs: Sequence[str]) -> dict[Var, str]:
    """For each array what the user knows it by: an argument, a result, or the line that made it."""
    roles = {e.out: _line(e.source) for e in program.schedule.graph.eqns}
    for k, var in enumerate(program.inputs):
        roles[var] = inputs[k] if inputs else f"argument {k}"
    for k, var in enumerate(program.outputs):
        line = roles.get(var, "")
        roles[var] = (outputs[k] if outputs else f"result {k}") + (f"  ({line})" if line else "")
    return roles


def _line(source: Source | None) -> str:
    return f"{source}  {source.text}".rstrip() if source is not None else ""


def _describe_call(eqn: Eqn, program: Program, roles: Mapping[Var, str]) -> list[str]:
    definitions = dict(program.schedule.definitions)
    below = [r.base for a in eqn.inputs for r in reaches(a, definitions) if isinstance(r.base, Var)]
    read = sum(a.type.nbytes for a in eqn.inputs)
    written = eqn.out.type.nbytes
    title = f"{eqn.primitive.name}: a library call, reads {read:,} bytes, writes {written:,} bytes"
    rows = [_row(program.buffers[v], "read", roles) for v in dict.fromkeys(below)]
    return [title, *_format_rows([*rows, _row(program.buffers[eqn.out], "written", roles)])]


def _use(buffer: Buffer, kernel: Kernel) -> str:
    read = any(isinstance(s, (Load, Combine)) and s.buffer is buffer for s in walk(kernel.body))
    if buffer not in kernel.written:
        return "read"
    return "read and written" if read else "written"


def _row(buffer: Buffer, use: str, roles: Mapping[Var, str]) -> tuple[str, ...]:
    role = role_of(buffer, roles)
    return buffer.name, str(ArrayType(buffer.shape, buffer.dtype)), f"{nbytes(buffer):,} bytes", use, role


def role_of(buffer: Buffer, roles: Mapping[Var, str]) -> str:
    """What an array is for, with the user's name or line behind it."""
    if buffer.rows_of is not None:
        return f"the latest rows of  {roles.get(buffer.rows_of, '')}".rstrip()
    return roles.get(buffer.var, "") if buffer.var is not None else own_role(buffer)


def own_role(buffer: Buffer) -> str:
    """What memory is for that holds no variable."""
    subject, _, kind = buffer.name.rpartition(".")
    if kind == "partials":
        return f"partial results of {subject}, of each strand"
    if kind == "copies":
        return f"{subject} of each thread, for its strands but the first"
    return "tiles and rows of each worker" if kind.startswith("area") else "kept between passes over a row"


def _format_rows(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with their columns aligned, inset; the column of bytes to the right."""
    return [f"    {line}" for line in align(rows, right=(2,))]


def count_kernels(program: Program) -> tuple[int, int]:
    """How many kernels and how many library calls one run makes."""
    calls = sum(isinstance(c, LibraryCall) for c in program.calls) + len(program.library_calls)
    return len(program.kernels), calls
