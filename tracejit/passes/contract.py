"""Sums that derivatives are made of, in fewer instructions: like terms together, products fused with sums.

NumPy prescribes no rounding here, as it does for what the user wrote; that stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tracejit.ir import Atom, Const, Eqn, Graph, Kind, Primitive, Var
from tracejit.ops import arithmetic, core
from tracejit.passes.algebra import ALGEBRA
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_graph, rewrite_to_end

_ADD, _SUBTRACT = arithmetic.add.primitive, arithmetic.subtract.primitive
_MULTIPLY, _NEGATIVE = arithmetic.multiply.primitive, arithmetic.negative.primitive
_SELECT = arithmetic.select.primitive
_CARRIERS = (
    _ADD,
    _SUBTRACT,
    _NEGATIVE,
    _SELECT,
    core.convert_p,
)  # whose results hold terms of their operands


def contract_derivatives(graph: Graph) -> Graph:
    """Shorten sums among the equations of derivatives, then make them fused multiply-adds.

    Before and after, where the equations of `v3` to `v6` are a derivative's:

        v3 = add(v2, v2)                    v3 = multiply(v0, v1)
        v4 = multiply(v0, v1)               v4 = subtract(v2, v3)
        v5 = subtract(v3, v4)               v5 = multiply(v4, 2.0)
        v6 = subtract(v5, v4)

    A product is fused only with a term that holds no rounded product: two that are equal once they are
    rounded must still cancel to 0, as they do at points of symmetry. Products by powers of 2 are exact and
    always fuse.
    """
    if not any(_is_derivative(e) for e in graph.eqns):
        return graph
    graph = rewrite_to_end(graph, _SHORTER)
    return rewrite_graph(graph, _Contraction(graph).rules())


def _is_derivative(eqn: Eqn | None) -> bool:
    return eqn is not None and eqn.source is not None and eqn.source.is_derivative


def _power_of_two(b: Rewriter, atom: Atom) -> float | None:
    """The power of 2, of either sign, that every element of `atom` is."""
    value = b.literal(atom)
    return None if value is None else _as_power(value)


def _as_power(value: Const) -> float | None:
    """Between 1/4 and 4: others may be sizes, and code must not depend on whether a size is a power of 2."""
    number = float(value.value)
    is_power = 0.25 <= abs(number) <= 4 and abs(math.frexp(number)[0]) == 0.5
    return number if is_power else None


# --- like terms --------------------------------------------------------------------------------------------


def _own(b: Rewriter, atom: Atom, primitive: Primitive, uses: int = 1) -> Eqn | None:
    """The equation that assigns `atom`, if it is a derivative's, of `primitive`, and read `uses` times."""
    eqn = b.defined_by(atom, primitive)
    return eqn if eqn is not None and b.uses(atom) == uses and _is_derivative(eqn) else None


def _is_ours(b: Rewriter, atom: Atom) -> bool:
    return b.source is not None and b.source.is_derivative and atom.type.is_float


def _times(b: Rewriter, atom: Atom, factor: float) -> Atom:
    if factor == 1:
        return atom
    return b.emit(_MULTIPLY, (atom, b.splat(factor, atom.type)), {})


def _scaled(b: Rewriter, atom: Atom) -> tuple[float, Atom]:
    """A power of 2 and a value whose product `atom` is: a derivative's chain of p * s, -p and p + p."""
    factor = 1.0
    while True:
        step = _scaled_once(b, atom)
        if step is None:
            return factor, atom
        factor, atom = factor * step[0], step[1]


def _scaled_once(b: Rewriter, atom: Atom) -> tuple[float, Atom] | None:
    eqn = b.definition(atom)
    if eqn is None or b.uses(atom) != 1 or not _is_derivative(eqn):
        return None
    if eqn.primitive is _NEGATIVE:
        return -1.0, eqn.inputs[0]
    if eqn.primitive is _ADD and eqn.inputs[0] is eqn.inputs[1]:
        return 2.0, eqn.inputs[0]
    factor = _power_of_two(b, eqn.inputs[1]) if eqn.primitive is _MULTIPLY else None
    return None if factor is None else (factor, eqn.inputs[0])


def _add(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not _is_ours(b, x):
        return None
    if x is y:
        return _rescaled(b, x, 2.0, uses=2)
    for whole, term in ((x, y), (y, x)):
        eqn = _own(b, whole, _ADD)
        if eqn is not None and term in eqn.inputs:  # (u + t) + t
            other = eqn.inputs[1 if eqn.inputs[0] is term else 0]
            return b.emit(_ADD, (other, _times(b, term, 2.0)), {})
    return _common_scale(b, _ADD, x, y)


def _subtract(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if not _is_ours(b, x):
        return None
    eqn = _own(b, x, _SUBTRACT)
    if eqn is not None and eqn.inputs[1] is y:  # (u - t) - t
        return b.emit(_SUBTRACT, (eqn.inputs[0], _times(b, y, 2.0)), {})
    return _common_scale(b, _SUBTRACT, x, y)


def _common_scale(b: Rewriter, primitive: Primitive, x: Atom, y: Atom) -> Atom | None:
    """s p + s q as s (p + q), s a power of 2."""
    (s, p), (t, q) = _scaled(b, x), _scaled(b, y)
    if abs(s) != abs(t) or abs(s) == 1:
        return None
    other = {_ADD: _SUBTRACT, _SUBTRACT: _ADD}[primitive]
    return _times(b, b.emit(primitive if s == t else other, (p, q), {}), s)


def _multiply(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    factor = _power_of_two(b, y)
    return _rescaled(b, x, factor, uses=1) if factor is not None and _is_ours(b, x) else None


def _rescaled(b: Rewriter, x: Atom, factor: float, uses: int) -> Atom | None:
    """(z d) factor as z (d factor), for a power of 2."""
    eqn = _own(b, x, _MULTIPLY, uses)
    value = None if eqn is None else b.literal(eqn.inputs[1])
    if eqn is None or value is None:
        return None
    with np.errstate(all="ignore"):
        return _times(b, eqn.inputs[0], float(value.value) * factor)


def _select(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """A choice between s p and 0 as s times one between p and 0, so that s comes to stand beside a sum."""
    condition, x, y = inputs
    zero = b.literal(y)
    if zero is None or zero.value != 0 or not _is_ours(b, x):
        return None
    factor, p = _scaled(b, x)
    if factor == 1:
        return None
    with np.errstate(all="ignore"):
        rest = b.splat(zero.value * np.sign(factor), x.type)  # the zero keeps its sign
    return _times(b, b.emit(_SELECT, (condition, p, rest), {}), factor)


_SHORTER = ALGEBRA | Rules(
    {_ADD: (_add,), _SUBTRACT: (_subtract,), _MULTIPLY: (_multiply,), _SELECT: (_select,)}
)


# --- fused multiply-adds -----------------------------------------------------------------------------------


class _Contraction:
    """The rules for one graph; `products` are its variables in which a rounded product is a term."""

    def __init__(self, graph: Graph) -> None:
        self.products: set[Atom] = set()
        literals: dict[Var, Const] = {}
        for eqn in graph.eqns:
            first = eqn.inputs[0] if eqn.inputs else None
            if eqn.primitive is core.broadcast_p and isinstance(first, Const):
                literals[eqn.out] = first
            elif self._holds_product(eqn, literals):
                self.products.add(eqn.out)

    def _holds_product(self, eqn: Eqn, literals: dict[Var, Const]) -> bool:
        if eqn.primitive is _MULTIPLY:
            factor = eqn.inputs[1]
            value = factor if isinstance(factor, Const) else literals.get(factor)
            return value is None or _as_power(value) is None or eqn.inputs[0] in self.products
        carries = eqn.primitive in _CARRIERS or eqn.primitive.kind is Kind.VIEW
        return carries and not self.products.isdisjoint(eqn.inputs)

    def rules(self) -> Rules:
        return Rules({_ADD: (self._add,), _SUBTRACT: (self._subtract,)})

    def _add(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        x, y = inputs
        return self._fused(b, x, y, same) or self._fused(b, y, x, same)

    def _subtract(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        x, y = inputs

        def minus_y(product: Inputs, term: Atom) -> tuple[Atom, Atom, Atom]:
            return product[0], product[1], b.emit(_NEGATIVE, (term,), {})

        def minus_product(product: Inputs, term: Atom) -> tuple[Atom, Atom, Atom]:
            return product[0], _minus(b, product[1]), term

        return self._fused(b, y, x, minus_product) or self._fused(b, x, y, minus_y)

    def _fused(
        self,
        b: Rewriter,
        product: Atom,
        term: Atom,
        arrange: Callable[[Inputs, Atom], tuple[Atom, Atom, Atom]],
    ) -> Atom | None:
        if not _is_ours(b, product) or product is term:
            return None
        factor, value = _scaled(b, product)
        factors: Inputs = (value, b.splat(factor, value.type))
        is_exact = abs(factor) != 1
        if not is_exact:
            eqn = _own(b, product, _MULTIPLY)
            if eqn is None or term in self.products:
                return None
            factors = eqn.inputs
        result = b.emit(arithmetic.fma.primitive, arrange(factors, term), {})
        if not is_exact or term in self.products or value in self.products:
            self.products.add(result)
        return result


def same(product: Inputs, term: Atom) -> tuple[Atom, Atom, Atom]:
    return product[0], product[1], term


def _minus(b: Rewriter, factor: Atom) -> Atom:
    value = b.literal(factor)
    if value is None:
        return b.emit(_NEGATIVE, (factor,), {})
    with np.errstate(all="ignore"):
        return b.splat(np.negative(value.value), factor.type)
