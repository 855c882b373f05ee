"""Before grouping: every output gets an array of its own that some equation computes."""

from __future__ import annotations

from tracejit.ir import Atom, Const, Eqn, Graph, Var
from tracejit.ir.graph import freeze_params
from tracejit.ops.core import broadcast_p, copy_p, reshape_p
from tracejit.schedule.access import is_virtual


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
