"""Calls of `tracejit.ops.einsum`."""

from typing import Any

import numpy as np

from tests.ops.conformance.elementwise_operands import NUMBERS, Call, operand

SIZES = {"i": 2, "j": 3, "k": 4, "l": 5, "a": 2, "b": 3, "z": 1, "Q": 2}


def _operands(subscripts: str) -> tuple[Any, ...]:
    """One operand a term, axes under an ellipsis of sizes 6 and 2."""
    terms = subscripts.replace(" ", "").split("->")[0].split(",")
    shapes: list[tuple[int, ...]] = []
    for term in terms:
        before, dots, after = term.partition("...")
        shapes.append((*(SIZES[c] for c in before), *((6, 2) if dots else ()), *(SIZES[c] for c in after)))
    return tuple(operand("f8", k, shape=shape) for k, shape in enumerate(shapes))


WITHOUT_SPACES = """
    i->i i-> i ij->ji ij ji ij->i ij->j ii ii-> ii->i iii->i iij->j iaj-> ijk->kij ijk->ik bi i,i i,i->
    i,i->i i,j i,j->ji ij,j ij,j->i ij,jk ij,jk->ik ij,jk->ki ij,jk-> ij,jk->j ij,jk->ijk ij,ij->
    ij,ij->ij ij,ji ij,kj->ik ijk,ijl->ikl ijk,ijl->lik ijk,jil->kl ijk,kl ijk,l->ijkl ij,kl-> ii,ij->j
    iij,jk->ik ij,ij,ij-> ij,jk,kl->il ij,jk,kl i,ij,j i,ij,j-> i,j,k->ijk ij,jk,kl,li-> ijk,jl,kl->i
    ab,bj,jk,kl,i->al ... ...->... ...i->... ...ij->...ji ...ij,...jk->...ik ...ij,jk ...i,...i->...
    i...->... i...,i... i...j->j... ...,... ...i,i->... Qi,ij->Qj iz,zj->ij z,i->i z,z
"""
SUBSCRIPTS = [*WITHOUT_SPACES.split(), " i j , j k -> i k "]

M, N, V = operand("f8"), operand("f8", 1, shape=(4, 5)), operand("f8", 2, shape=(5,))
CALLS: list[Call] = [
    *((f"einsum-{s}", lambda np, *xs, s=s: np.einsum(s, *xs), _operands(s)) for s in SUBSCRIPTS),
    *(
        (
            f"einsum-{s}-{d}",
            lambda np, *xs, s=s: np.einsum(s, *xs),
            tuple(operand(d, k, shape=x.shape) for k, x in enumerate(_operands(s))),
        )
        for s in ("ij->i", "ij,jk->ik", "i,i", "ij->", "i,j")
        for d in (*NUMBERS, "?")
    ),
    ("einsum-mixed", lambda np, x, y: np.einsum("ij,jk", x, y), (M.astype("i4"), N.astype("f4"))),
    (
        "einsum-dtype",
        lambda np, x, y: np.einsum("ij,jk", x, y, dtype=np.float64),
        (M.astype("f4"), N.astype("f4")),
    ),
    ("einsum-broadcast-1", lambda np, x, y: np.einsum("ij,jk", x, y), (M[:, :1], N)),
    ("einsum-broadcast-1-out", lambda np, x, y: np.einsum("ij,jk->ijk", x, y), (M, N[:1])),
    ("einsum-broadcast-both-1", lambda np, x, y: np.einsum("ij,jk->", x, y), (M[:, :1], N[:1])),
    (
        "einsum-ellipsis-broadcast",
        lambda np, x, y: np.einsum("...ij,...jk", x, y),
        (M[None], np.stack([N, N])),
    ),
    ("einsum-ellipsis-ranks", lambda np, x, y: np.einsum("...j,...j->...", x, y), (M, M[0])),
    ("einsum-number", lambda np, x: np.einsum(",ij->ij", 2.0, x), (M,)),
    ("einsum-sublists", lambda np, x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]), (M, N)),
    ("einsum-sublists-implicit", lambda np, x, y: np.einsum(x, [0, 1], y, [1, 2]), (M, N)),
    ("einsum-sublists-ellipsis", lambda np, x, y: np.einsum(x, [..., 1], y, [1, 2], [..., 2]), (M, N)),
    ("einsum-sublists-order", lambda np, x: np.einsum(x, [30, 2]), (M,)),
    ("einsum-optimize", lambda np, x, y, v: np.einsum("ij,jk,k->i", x, y, v, optimize=True), (M, N, V)),
    (
        "einsum-optimize-greedy",
        lambda np, x, y, v: np.einsum("ij,jk,k->i", x, y, v, optimize="greedy"),
        (M, N, V),
    ),
    (
        "einsum-path",
        lambda np, x, y, v: np.einsum("ij,jk,k->i", x, y, v, optimize=["einsum_path", (0, 1), (0, 1)]),
        (M, N, V),
    ),
    ("einsum-empty", lambda np, x, y: np.einsum("ij,jk->ik", x, y), (np.zeros((2, 0)), np.zeros((0, 3)))),
    ("einsum-same-operand", lambda np, x: np.einsum("ij,ij->i", x, x), (M,)),
]
