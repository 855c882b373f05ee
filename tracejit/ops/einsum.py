"""`np.einsum`: subscripts are parsed once, operands contracted in pairs, each pair as one `dot_general`."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError
from tracejit.ir import check_dtype, result_type
from tracejit.ops.axes import is_default, refuse, refuse_out
from tracejit.ops.contraction import dot_product
from tracejit.ops.core import convert, permute, reshape
from tracejit.ops.diagonal import matrix_diagonal
from tracejit.ops.joining import array
from tracejit.ops.reduction import add_up
from tracejit.ops.tables import implements
from tracejit.ops.value import Value

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """A value and the label of each of its axes."""

    value: Value
    labels: Labels


# --- subscripts --------------------------------------------------------------------------------------------


def _letters(sublist: Any) -> str:
    """Integers and Ellipsis as the letters they stand for, as in NumPy: A to Z, then a to z."""
    names = string.ascii_uppercase + string.ascii_lowercase
    try:
        return "".join("..." if k is Ellipsis else names[int(k)] for k in sublist)
    except (TypeError, ValueError, IndexError):
        raise ArgumentError(
            f"einsum: a sublist must hold integers below 52 and Ellipsis, got {sublist!r}"
        ) from None


def _read_arguments(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    """The subscripts as a string, and the operands, from either of NumPy's two ways to write them."""
    if not arguments:
        raise ArgumentError("einsum: subscripts and operands are missing")
    if isinstance(arguments[0], str):
        return arguments[0].replace(" ", ""), list(arguments[1:])
    operands, sublists = list(arguments[: len(arguments) // 2 * 2 : 2]), list(arguments[1::2])
    subscripts = ",".join(_letters(s) for s in sublists)
    if len(arguments) % 2:
        subscripts += "->" + _letters(arguments[-1])
    return subscripts, operands


def _split_term(term: str, rank: int | None, subscripts: str) -> tuple[str, int, str]:
    """Letters before the ellipsis, the number of axes it stands for (-1: there is none), letters after it."""
    before, dots, after = term.partition("...")
    letters = before + after
    if not all(c in string.ascii_letters for c in letters):
        raise ShapeError(
            f"einsum: invalid subscripts {subscripts!r}", hint="use letters, one '...' a term, ',' and '->'"
        )
    covered = -1 if not dots else 0 if rank is None else rank - len(letters)
    if rank is not None and (covered < 0 if dots else len(letters) != rank):
        raise ShapeError(f"einsum: subscripts {term!r} do not fit an operand of {rank} dimension(s)")
    return before, covered, after


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's axes and of the result's; axes under an ellipsis are "0", "1", ...

    >>> parse("...i,ij", (2, 2))
    ([('0', 'i'), ('i', 'j')], ('0', 'j'))
    """
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} operand(s), {len(ranks)} were given")
    pieces = [_split_term(t, rank, subscripts) for t, rank in zip(terms, ranks, strict=True)]
    widest = max(0, *(covered for _, covered, _ in pieces))
    under = tuple(str(k) for k in range(widest))
    labels = [(*b, *under[widest - max(covered, 0) :], *a) for b, covered, a in pieces]
    if not arrow:
        everything = [c for b, _, a in pieces for c in b + a]
        return labels, under + tuple(sorted(c for c in set(everything) if everything.count(c) == 1))
    before, covered, after = _split_term(right, None, subscripts)
    if covered < 0 and widest:
        raise ShapeError(
            f"einsum: the result of {subscripts!r} lacks the axes under '...'", hint="write '->...'"
        )
    result = (*before, *(under if covered >= 0 else ()), *after)
    known = {c for one in labels for c in one}
    if len(set(result)) != len(result) or not known.issuperset(result):
        raise ShapeError(
            f"einsum: the result of {subscripts!r} repeats a label or has one that no operand has"
        )
    return labels, result


def _sizes(values: Sequence[Value], labels: Sequence[Labels]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for value, names in zip(values, labels, strict=True):
        for name, n in zip(names, value.shape, strict=True):
            known = sizes.get(name, 1)
            if n != known and 1 not in (n, known):
                what = "an axis under '...'" if name.isdigit() else f"label {name!r}"
                types = ", ".join(str(v.type) for v in values)
                raise ShapeError(f"einsum: {what} has sizes {known} and {n}, {types}")
            sizes[name] = known if n == 1 else n
    return sizes


# --- one operand -------------------------------------------------------------------------------------------


def _distinct(term: Term, sizes: dict[str, int]) -> Term:
    """The term without repeated labels, and without axes that broadcast from size 1."""
    value, labels = term.value, list(term.labels)
    for name in dict.fromkeys(labels):
        while labels.count(name) > 1:
            first = labels.index(name)
            second = labels.index(name, first + 1)
            if value.shape[first] != value.shape[second]:
                raise ShapeError(f"einsum: label {name!r} repeats on axes of different sizes, {value.type}")
            others = [k for k in range(len(labels)) if k not in (first, second)]
            value = matrix_diagonal(permute(value, (*others, first, second)))
            labels = [*(labels[k] for k in others), name]
    kept = [k for k, c in enumerate(labels) if value.shape[k] == sizes[c]]
    return Term(reshape(value, tuple(value.shape[k] for k in kept)), tuple(labels[k] for k in kept))


def _sum_alone(terms: Sequence[Term], result: Labels) -> list[Term]:
    """The terms with every label summed away that is in one term only and not in the result."""
    sums: list[Term] = []
    for number, term in enumerate(terms):
        needed = {c for k, other in enumerate(terms) if k != number for c in other.labels} | set(result)
        axes = tuple(k for k, c in enumerate(term.labels) if c not in needed)
        value = add_up(term.value, axes) if axes else term.value
        sums.append(Term(value, tuple(c for c in term.labels if c in needed)))
    return sums


# --- pairs -------------------------------------------------------------------------------------------------


def _contract_pair(a: Term, b: Term, needed: set[str]) -> Term:
    shared = tuple(c for c in a.labels if c in b.labels)
    batch = tuple(c for c in shared if c in needed)
    summed = tuple(c for c in shared if c not in needed)

    def at(names: Labels) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(a.labels.index(c) for c in names), tuple(b.labels.index(c) for c in names)

    value = dot_product(a.value, b.value, at(summed), at(batch))
    return Term(value, batch + tuple(c for c in a.labels + b.labels if c not in shared))


def _path(terms: Sequence[Term], result: Labels, optimize: Any) -> list[tuple[int, ...]]:
    """Which operands to contract, step by step: the user's order, or the cheapest that NumPy finds."""
    everything = list(dict.fromkeys(c for t in terms for c in t.labels))
    if isinstance(optimize, (list, tuple)) and optimize and optimize[0] == "einsum_path":
        return [tuple(step) for step in optimize[1:]]
    if len(terms) < 3 or len(everything) > len(string.ascii_letters):
        return [tuple(range(len(terms)))]
    names = dict(zip(everything, string.ascii_letters, strict=False))
    subscripts = ",".join("".join(names[c] for c in t.labels) for t in terms)
    subscripts += "->" + "".join(names[c] for c in result)
    sizes = [np.broadcast_to(np.float64(0), t.value.shape) for t in terms]
    strategy = "optimal" if len(terms) <= 5 else "greedy"
    return [tuple(step) for step in np.einsum_path(subscripts, *sizes, optimize=strategy)[0][1:]]


def contract_terms(
    operands: Sequence[Value], labels: Sequence[Labels], result: Labels, optimize: Any = True
) -> Value:
    """Products of operands of one dtype, summed over every label that is not in `result`."""
    sizes = _sizes(operands, labels)
    distinct = [_distinct(Term(value, names), sizes) for value, names in zip(operands, labels, strict=True)]
    terms = _sum_alone(distinct, result)
    for step in [*_path(terms, result, optimize), None]:
        chosen = terms if step is None else [terms[k] for k in step]  # a user's path may stop early
        terms = [] if step is None else [t for k, t in enumerate(terms) if k not in step]
        term = chosen[0]
        for position, other in enumerate(chosen[1:], start=2):
            waiting = {c for t in (*terms, *chosen[position:]) for c in t.labels}
            term = _contract_pair(term, other, waiting | set(result))
        terms.append(term)
    (term,) = terms
    return permute(term.value, tuple(term.labels.index(c) for c in result))


@implements(np.einsum)
def einsum(
    *operands: Any,
    out: Any = None,
    optimize: Any = False,
    dtype: Any = None,
    order: Any = "K",
    casting: Any = "safe",
) -> Value:
    """`np.einsum` in both of its spellings; `optimize` may be a path, and has no other effect.

    Three and more operands are contracted in the order that `np.einsum_path` finds cheapest.
    """
    refuse_out("einsum", out)
    refuse("einsum", "order", order, "K", "C", "A")
    refuse("einsum", "casting", casting, "safe", "same_kind", "unsafe")
    subscripts, arrays = _read_arguments(operands)
    values = [array(x, what=f"einsum: operand {k}") for k, x in enumerate(arrays)]
    labels, result = parse(subscripts, [v.ndim for v in values])
    common = result_type(*(v.dtype for v in values), what="einsum") if is_default(dtype) else np.dtype(dtype)
    common = check_dtype(common, "einsum")
    return contract_terms([convert(v, common) for v in values], labels, result, optimize)
