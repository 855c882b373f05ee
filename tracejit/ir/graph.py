"""The IR: immutable equations over typed variables. Built by `ir.builder`, read by everything else."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from tracejit.ir.primitive import Primitive
from tracejit.ir.source import Source
from tracejit.ir.types import ArrayType, is_half

_serial = itertools.count()


@dataclass(frozen=True, eq=False)
class Var:
    """A variable: assigned once, equal only to itself."""

    type: ArrayType
    serial: int = field(default_factory=_serial.__next__)


@dataclass(frozen=True, eq=False)
class Const:
    """A rank-0 constant. Larger constants are inputs or broadcasts of these.

    One of float16 or bfloat16 holds a float32, as arithmetic on them does: `x * 1e-8` is not `x * 0`.
    """

    value: np.generic
    type: ArrayType

    @property
    def key(self) -> tuple[np.dtype[Any], bytes]:
        """Hashable identity of the value: NaNs are equal to themselves, 0.0 differs from -0.0."""
        return self.type.dtype, self.value.tobytes()


Atom = Var | Const


def constant(value: Any, dtype: Any) -> Const:
    """A rank-0 constant of the given dtype."""
    dtype = np.dtype(dtype)
    if is_half(dtype):
        with np.errstate(all="ignore"):
            return Const(np.float32(value), ArrayType((), dtype))
    scalar: Any = dtype.type
    if type(value) is scalar or (type(value) is float and scalar is np.float64):
        return Const(scalar(value), ArrayType((), dtype))
    with np.errstate(all="ignore"):
        return Const(dtype.type(np.asarray(value).astype(dtype)), ArrayType((), dtype))


@dataclass(frozen=True, eq=False)
class Eqn:
    """`outputs = primitive(*inputs, **params)`, and the user's line it stems from."""

    primitive: Primitive
    inputs: tuple[Atom, ...]
    params: Mapping[str, Any]
    outputs: tuple[Var, ...]
    source: Source | None = None

    @property
    def out(self) -> Var:
        """The only output."""
        (var,) = self.outputs
        return var

    def with_inputs(self, inputs: Iterable[Atom]) -> Eqn:
        return Eqn(self.primitive, tuple(inputs), self.params, self.outputs, self.source)


@dataclass(frozen=True, eq=False)
class Graph:
    """A function: inputs, equations in an order in which every variable is assigned before use, outputs.

    `is_tidy` notes that no two equations compute the same and that each is needed; a graph made from another
    one by `dataclasses.replace` knows nothing of it.
    """

    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    name: str = "f"
    is_tidy: bool = field(default=False, init=False)

    def marked_tidy(self) -> Graph:
        """This graph, which whoever calls has tidied."""
        object.__setattr__(self, "is_tidy", True)
        return self


_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


def freeze_params(params: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(params) if params else _NO_PARAMS


def atom_key(atom: Atom) -> Any:
    """Hashable identity of an atom, the one that common subexpressions are found by."""
    return atom.key if isinstance(atom, Const) else atom


def eqn_key(primitive: Primitive, inputs: tuple[Atom, ...], params: Mapping[str, Any]) -> Any:
    """Hashable identity of what an equation computes."""
    for atom in inputs:
        if isinstance(atom, Const):
            inputs = tuple([atom_key(a) for a in inputs])
            break
    return (primitive, inputs, frozenset(params.items())) if params else (primitive, inputs)


def computation_key(eqn: Eqn) -> Any:
    """Hashable identity of the computation that an equation is one result of; None where it has no other."""
    number = eqn.primitive.results
    if number is None:
        return None
    return eqn_key(eqn.primitive, eqn.inputs, {k: v for k, v in eqn.params.items() if k != number})


def active_vars(graph: Graph, moving: Iterable[Var]) -> set[Var]:
    """The float variables through which a derivative can flow from those that move."""
    active = set(moving)
    for eqn in graph.eqns:
        if eqn.out.type.is_float and any(isinstance(a, Var) and a in active for a in eqn.inputs):
            active.add(eqn.out)
    return active


def needed_vars(graph: Graph, wanted: Iterable[int] | None = None) -> set[Var]:
    """The variables that the outputs, or those of these numbers, are computed from."""
    needed = {a for a in (graph.outputs if wanted is None else [graph.outputs[k] for k in wanted])}
    for eqn in reversed(graph.eqns):
        if eqn.out in needed:
            needed.update(eqn.inputs)
    return {a for a in needed if isinstance(a, Var)}


def uses(graph: Graph) -> dict[Var, int]:
    """How often each variable is read, by equations and as an output."""
    counts = Counter(itertools.chain(*(e.inputs for e in graph.eqns), graph.outputs))
    return {atom: count for atom, count in counts.items() if isinstance(atom, Var)}
