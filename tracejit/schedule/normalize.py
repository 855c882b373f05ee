"""Before grouping: outputs get arrays of their own, library calls operands that lie as they need them."""

from __future__ import annotations

from tracejit.ir import Atom, Const, Eqn, Graph, Kind, Var
from tracejit.ir.graph import freeze_params
from tracejit.ops.core import broadcast_p, copy_p, permute_p, reshape_p
from tracejit.ops.slicing import slice_op
from tracejit.schedule.access import is_virtual, stored_rows


def give_outputs_arrays(graph: Graph) -> Graph:
    """Insert a `copy` wherever an output is an input, a constant, a view, or an output a second time.

    A row-major reshape of a computed array stays as it is: it shares the array's memory.
    """
    definitions = {e.out: e for e in graph.eqns}
    eqns = list(graph.eqns)
    outputs: list[Atom] = []
    owners: set[Var] = set()
    for atom in graph.outputs:
        owner = storage_owner(atom, definitions)
        if owner is None or owner in owners:
            atom = _copied(atom, eqns)
            owner = atom
        owners.add(owner)
        outputs.append(atom)
    return Graph(graph.inputs, tuple(eqns), tuple(outputs), graph.name)


def give_products_matrices(graph: Graph) -> Graph:
    """Insert a `copy` of each operand of a matrix product that is a joined, padded or repeated array.

    BLAS takes slices and permutations where they lie. For the others NumPy would have to make an array
    between two calls of compiled code; a kernel makes it on the way, often the one that computes its parts.
    """
    definitions = {e.out: e for e in graph.eqns}
    eqns: list[Eqn] = []
    copies: dict[Atom, Atom] = {}
    for eqn in graph.eqns:
        if eqn.primitive.kind is Kind.CONTRACTION:
            for atom in eqn.inputs:
                if atom not in copies and _is_spread(atom, definitions):
                    copies[atom] = _copied(atom, eqns)
            eqn = eqn.with_inputs(copies.get(a, a) for a in eqn.inputs)
        eqns.append(eqn)
    return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.name) if copies else graph


def _is_spread(atom: Atom, definitions: dict[Var, Eqn]) -> bool:
    """Is it more than slices and permutations of one array, which may be reshaped first?"""
    allowed = _STRIDED
    while isinstance(atom, Var) and is_virtual(definitions.get(atom)):
        eqn = definitions[atom]
        if eqn.primitive not in allowed:
            return True
        if eqn.primitive is reshape_p:
            allowed = (reshape_p,)
        atom = eqn.inputs[0]
    return False


_STRIDED = (permute_p, reshape_p, slice_op.primitive)


def give_routines_rows(graph: Graph) -> Graph:
    """Insert a `copy` wherever a routine would read a view or a constant: a kernel can write it as rows."""
    if all(e.primitive.routine is None for e in graph.eqns):
        return graph
    definitions = {e.out: e for e in graph.eqns}
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        if eqn.primitive.routine is not None:
            routine = eqn.primitive.routine(*[a.type for a in eqn.inputs], **eqn.params)
            read = range(len(eqn.inputs)) if routine.operands is None else routine.operands
            views = [k for k in read if stored_rows(eqn.inputs[k], definitions) is None]
            eqn = eqn.with_inputs(_copied(a, eqns) if k in views else a for k, a in enumerate(eqn.inputs))
        eqns.append(eqn)
    return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.name)


def storage_owner(atom: Atom, definitions: dict[Var, Eqn]) -> Var | None:
    """The computed variable whose array, perhaps reshaped, is `atom`; None when there is none."""
    while isinstance(atom, Var) and atom in definitions:
        eqn = definitions[atom]
        if not is_virtual(eqn):
            return atom
        if eqn.primitive is not reshape_p:
            return None
        atom = eqn.inputs[0]
    return None


def _copied(atom: Atom, eqns: list[Eqn]) -> Var:
    if isinstance(atom, Const):
        spread = Var(atom.type)
        eqns.append(Eqn(broadcast_p, (atom,), freeze_params({"shape": (), "dims": ()}), (spread,)))
        atom = spread
    eqn = Eqn(copy_p, (atom,), freeze_params({}), (Var(atom.type),))
    eqns.append(eqn)
    return eqn.out
