"""Arguments that a transformed function cannot take, each with the whole text of its error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.error_rows import Row, text_of
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.ones(3)


def matmul(x: Any, w: Any) -> Any:
    return x @ w


def vector(x: Any) -> Any:
    return x * 2


def total(p: Any) -> Any:
    return p["w"][0].sum()


def pullback_of(x: Any) -> Any:
    return tj.vjp(lambda p: p["w"] * 2, {"w": x})[1]


def jvp_of_w(tangents: Any) -> Any:
    return tj.jvp(lambda p: p["w"] * 2, ({"w": X},), tangents)


STRING_HINT = "strings have no gradient: pass it as a static argument (static_argnames=...)"
STATIC_HINT = "pass it as a static argument (static_argnames=...)"

ROWS: dict[str, Row] = {
    "a string array": Row(
        tj.DTypeError,
        lambda: tj.jit(vector)(np.array(["a"])),
        f"vector: argument x has dtype <U1, which is not supported\n  hint: {STRING_HINT}",
    ),
    "an object array": Row(
        tj.DTypeError,
        lambda: tj.jit(total)({"w": [np.array([object()])]}),
        "total: argument p['w'][0] has dtype object, which is not supported\n"
        "  hint: convert it to a float array first: np.asarray(x, dtype=float)",
    ),
    "a complex array": Row(
        tj.DTypeError,
        lambda: tj.grad(vector)(np.ones(2, complex)),
        "vector: argument x has dtype complex128, which is not supported\n"
        "  hint: complex numbers come in a later release: split into real and imaginary parts",
    ),
    "a complex number": Row(
        tj.DTypeError,
        lambda: tj.grad(vector)(1j),
        "vector: argument x is a complex, which is not supported\n  hint: split it into real and imaginary "
        "parts",
    ),
    "an array of long doubles": Row(
        tj.DTypeError,
        lambda: tj.jit(vector)(np.ones(2, "g")),
        f"vector: argument x has dtype {np.dtype('g')}, which is not supported\n"
        "  hint: use float32 or float64",
    ),
    "a masked array": Row(
        tj.DTypeError,
        lambda: tj.jit(vector)(np.ma.ones(3)),
        "vector: argument x is a MaskedArray\n  hint: pass a plain array: np.asarray(x)",
    ),
    "text": Row(
        tj.DTypeError,
        lambda: tj.jit(vector)("text"),
        f"vector: argument x is a str, which has no gradient\n  hint: {STATIC_HINT}",
    ),
    "a generator": Row(
        tj.ArgumentError,
        lambda: tj.jit(vector)(k for k in range(3)),
        "vector: argument x is a generator, which can be read only once\n"
        "  hint: pass a list or a tuple of its items",
    ),
    "an iterator": Row(
        tj.ArgumentError,
        lambda: tj.jit(total)({"w": zip([1.0])}),
        "total: argument p['w'] is a zip, which can be read only once\n  hint: pass a list or a tuple of "
        "its items",
    ),
    "a set": Row(
        tj.ArgumentError,
        lambda: tj.jit(vector)({1.0}),
        "vector: argument x is a set, which has no order\n  hint: pass a list or a tuple of its items",
    ),
    "a function as an argument": Row(
        tj.ArgumentError,
        lambda: tj.jit(vector)(vector),
        "vector: argument x is a function, which is not an array, a number, or a dict, list, tuple or "
        "dataclass of "
        f"them\n  hint: {STATIC_HINT}",
    ),
    "tangents of another structure": Row(
        tj.ArgumentError,
        lambda: jvp_of_w(({"v": X},)),
        "jvp: tangents must be nested like the primals, they differ at [0]: two dicts, 'w' only in the "
        "first and "
        "'v' only in the second\n  hint: expected ({'w': *},)",
    ),
    "tangents of another shape": Row(
        tj.ShapeError,
        lambda: jvp_of_w(({"w": np.ones(2)},)),
        "jvp: tangents[0]['w'] has shape (2,), but the primals there is f64[3]",
    ),
    "tangents of another kind": Row(
        tj.DTypeError,
        lambda: jvp_of_w(({"w": 1j * X},)),
        "jvp: tangents[0]['w'] has dtype complex128, but the primals there is f64[3]",
    ),
    "an integer that moves": Row(
        tj.ArgumentError,
        lambda: tj.jvp(lambda x, n: x * n, (X, 2), (X, 1)),
        "jvp: tangents[1] must be None or zero, for i64 cannot move",
    ),
    "primals that are no tuple": Row(
        tj.ArgumentError,
        lambda: tj.jvp(vector, X, X),
        "jvp: primals must be a tuple or a list of arguments, got ndarray\n"
        "  hint: write jvp(f, (x,), (v,)) for a function of one argument",
    ),
    "a cotangent of another structure": Row(
        tj.ArgumentError,
        lambda: pullback_of(X)({"w": X}),
        "pullback of <lambda>: ct must be nested like the value, they differ at the top: a leaf against "
        "dict of 1\n"
        "  hint: expected *",
    ),
    "a cotangent of another shape": Row(
        tj.ShapeError,
        lambda: pullback_of(X)(1.0),
        "pullback of <lambda>: ct has shape (), but the value there is f64[3]",
    ),
    "a cotangent that is no number": Row(
        tj.ArgumentError,
        lambda: pullback_of(X)("text"),
        "pullback of <lambda>: ct is a str, which is not an array or a number",
    ),
    "argnums beyond the arguments": Row(
        tj.ArgumentError,
        lambda: tj.grad(vector, argnums=1)(X),
        "vector: argnums selects argument 1, but there is only 1\n"
        "  hint: arguments are counted from 0; only those given by position or by the name of a positional "
        "parameter count",
    ),
    "argnums that is no integer": Row(
        tj.ArgumentError,
        lambda: tj.grad(vector, argnums="x"),  # type: ignore[arg-type]
        "argnums must be an integer or a tuple of integers, got 'x'\n  hint: arguments are counted from 0",
    ),
    "argnums twice the same": Row(
        tj.ArgumentError,
        lambda: tj.grad(vector, argnums=(0, 0)),
        "argnums must name one or more different arguments, got (0, 0)",
    ),
    "argnums of a static argument": Row(
        tj.ArgumentError,
        lambda: tj.grad(matmul, argnums=1, static_argnames="w")(X, 1),
        "grad: argnums selects w, which is a static argument",
    ),
    "a static argument that is no parameter": Row(
        tj.ArgumentError,
        lambda: tj.jit(matmul, static_argnames=("w", "n")),
        "matmul: static_argnames has 'n', which is not a parameter\n  hint: its parameters are x, w",
    ),
    "a static argument that cannot be hashed": Row(
        tj.ArgumentError,
        lambda: tj.jit(matmul, static_argnames="w")(X, [1]),
        "matmul: static argument w is a list, which cannot be hashed\n"
        "  hint: static arguments select a program: use numbers, texts, or tuples of them",
    ),
    "has_aux without a pair": Row(
        tj.ArgumentError,
        lambda: tj.grad(np.sum, has_aux=True)(X),
        "grad: with has_aux=True sum must return a pair (result, aux), got *\n"
        "  hint: return (value, aux), or leave has_aux out",
    ),
    "another target": Row(
        tj.ArgumentError,
        lambda: tj.grad_jit(target="gpu")(vector),
        "grad_jit: target='gpu' is none of 'cpu', 'cuda', 'cuda-emu'\n"
        "  hint: leave target out for this processor",
    ),
    "no function": Row(
        tj.ArgumentError,
        lambda: tj.grad(3),  # type: ignore[arg-type]
        "grad: the first argument must be a function, got 3",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_whole_text_of_an_error(name: str) -> None:
    row = ROWS[name]
    assert text_of(row.call, row.kind) == row.expected
