"""Before grouping: outputs get arrays of their own, library calls operands that lie as they need them."""

from __future__ import annotations

from collections.abc import Collection

from tracejit.ir import ArrayType, Atom, Const, Eqn, Graph, Kind, Var
from tracejit.ir.graph import freeze_params
from tracejit.ops.contraction import free_axes
from tracejit.ops.core import broadcast_p, copy_p, permute_p, reshape_p
from tracejit.ops.slicing import slice_op
from tracejit.schedule.access import is_virtual, stored_rows
from tracejit.schedule.strides import operand_of, view_of


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
    """Insert a `copy` of each operand of a matrix product that BLAS cannot take where it lies.

    It takes slices and permutations with elements side by side along one axis, in order. For the others, and
    for joined, padded and repeated arrays, NumPy would have to make an array between two calls of compiled
    code; a kernel makes it on the way, often the one that computes its parts.
    """
    definitions = {e.out: e for e in graph.eqns}
    eqns: list[Eqn] = []
    copies: dict[Atom, Atom] = {}
    for eqn in graph.eqns:
        if eqn.primitive.kind is Kind.CONTRACTION:
            for side, atom in enumerate(eqn.inputs):
                if _is_spread(atom, definitions) or _lies_apart(eqn, side, definitions):
                    if atom not in copies:
                        copies[atom] = _copied(atom, eqns)
                    eqn = _with_operand(eqn, side, copies[atom])
                    if _lies_apart(eqn, side, {}):
                        eqn = _in_order(eqn, side, eqns)
        eqns.append(eqn)
    return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.name) if copies else graph


def pack_inputs(graph: Graph, numbers: Collection[int]) -> Graph:
    """Insert a `copy` of each of these inputs in front of what reads it first: rows without gaps."""
    packed = {graph.inputs[k]: Var(graph.inputs[k].type) for k in numbers}
    waiting = dict(packed)
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        for atom in dict.fromkeys(a for a in eqn.inputs if a in waiting):
            assert isinstance(atom, Var)
            eqns.append(Eqn(copy_p, (atom,), freeze_params({}), (waiting.pop(atom),)))
        eqns.append(eqn.with_inputs(packed.get(a, a) if isinstance(a, Var) else a for a in eqn.inputs))
    return Graph(graph.inputs, tuple(eqns), graph.outputs, graph.name)


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


def _with_operand(eqn: Eqn, side: int, atom: Atom) -> Eqn:
    return eqn.with_inputs(atom if k == side else a for k, a in enumerate(eqn.inputs))


def _in_order(eqn: Eqn, side: int, eqns: list[Eqn]) -> Eqn:
    """The contraction of an operand whose batch axes come first, then those of its rows and columns."""
    operand = eqn.inputs[side]
    contract, batch = eqn.params["contract"][side], eqn.params["batch"][side]
    free = free_axes(operand.type.rank, contract, batch)
    order = (*batch, *free, *contract) if side == 0 else (*batch, *contract, *free)
    shape = tuple(operand.type.shape[k] for k in order)
    turned = Var(ArrayType(shape, operand.type.dtype))
    eqns.append(Eqn(permute_p, (operand,), freeze_params({"axes": order}), (turned,)))
    params = dict(eqn.params)
    for name, axes in (("contract", contract), ("batch", batch)):
        places = tuple(order.index(k) for k in axes)
        params[name] = (places, params[name][1]) if side == 0 else (params[name][0], places)
    eqn = Eqn(eqn.primitive, eqn.inputs, freeze_params(params), eqn.outputs, eqn.source)
    return _with_operand(eqn, side, _copied(turned, eqns))


def _lies_apart(eqn: Eqn, side: int, definitions: dict[Var, Eqn]) -> bool:
    """Has the view of an array that is an operand no elements side by side?"""
    view = view_of(eqn.inputs[side], definitions)
    return view is not None and operand_of(eqn, side, view) is None


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
