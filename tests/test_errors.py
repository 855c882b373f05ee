"""Every mistake a user can make has an error of ours, and this is its whole text (line numbers apart)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.error_rows import Row, text_of
from tests.evaluated import evaluated as evaluated
from tracejit.ir import current_builder

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.ones(3)
A = np.ones((5, 3))
saved: list[Any] = []


# --- the functions with mistakes ----------------------------------------------------------------------------


def matmul(x: Any, w: Any) -> Any:
    return x @ w


def add(x: Any) -> Any:
    return x + np.ones(4)


def bits(x: Any) -> Any:
    return x & 1


def branch(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def to_float(x: Any) -> Any:
    return float(x)


def to_int(x: Any) -> Any:
    return int(x)


def to_complex(x: Any) -> Any:
    return complex(x)


def to_array(x: Any) -> Any:
    return np.asarray(x)


def from_math(x: Any) -> Any:
    return math.exp(x)


def from_math_special(x: Any) -> Any:
    return math.lgamma(x)


def as_index(x: Any) -> Any:
    return operator.index(x)


def count(n: Any) -> Any:
    return [0.0 for _ in range(n)]


def vector(x: Any) -> Any:
    return x * 2


def integer(x: Any) -> Any:
    return x.astype(int).sum()


def pair(x: Any) -> Any:
    return x, x


def total(p: Any) -> Any:
    return p["w"][0].sum()


def svd(x: Any) -> Any:
    return np.linalg.svd(x)


def misspelled(x: Any) -> Any:
    return np.hsplit(x, 3) if x is None else np.sort_complex(x)


def fourier(x: Any) -> Any:
    return np.fft.fft(x)


def assign(x: Any) -> Any:
    x[0] = 1.0
    return x


def assign_in_place(x: Any) -> Any:
    x += 1.0
    return x


def assign_into_concrete(x: Any) -> Any:
    y = np.zeros(3)
    y[0] = x[0]
    return y


def assign_slice_into_concrete(x: Any) -> Any:
    y = np.zeros(3)
    y[:] = x
    return y


def assign_out(x: Any) -> Any:
    return np.add(x, 1, out=np.zeros(3))


def sort_in_place(x: Any) -> Any:
    x.sort()
    return x


def item(x: Any) -> Any:
    return x.item()


def set_shape(x: Any) -> Any:
    x.shape = (3, 1)
    return x


def leak(x: Any) -> Any:
    y = x * 2
    saved.append(y)
    return y


def leak_argument(x: Any) -> Any:
    saved.append(x)
    return x


def use_leaked(x: Any) -> Any:
    return x + saved[0]


def recurse(x: Any) -> Any:
    return endless(x * 2)


endless = tj.jit(recurse)


def returns_text(x: Any) -> Any:
    return {"a": [x, "text"]}


def adds_complex(x: Any) -> Any:
    return x + 1j


def adds_masked(x: Any) -> Any:
    return np.add(x, np.ma.ones(3))


def keyword(x: Any) -> Any:
    return np.sum(x, order="C") if x is None else np.round(x, foo=1)


def axis(x: Any) -> Any:
    return np.sum(x, axis=2)


def leak_and(use: Callable[[], Any], function: Callable[[Any], Any] = leak) -> Callable[[], Any]:
    def call() -> Any:
        saved.clear()
        tj.jit(function)(X)
        return use()

    return call


IF_HINT = (
    "`if`, `while`, `and`, `or`, `not` and `in` need a concrete value: write np.where(condition, a, b), "
    "np.logical_and(a, b); or make the argument static (static_argnames=...)"
)
INDEX_HINT = (
    "range(), sizes and indices of lists need one: take it from a shape, or make the argument static "
    "(static_argnames=...)"
)
KEEP_HINT = "keep it an array, or return it and convert the result outside the traced function"
CONCRETE_HINT = "build the array of traced values: np.stack, np.concatenate, np.where"

ROWS: dict[str, Row] = {
    "shapes of matmul": Row(
        tj.ShapeError,
        lambda: tj.jit(matmul)(A, np.ones((4, 2))),
        "matmul: inner sizes differ, f64[5,3] @ f64[4,2]\n"
        "  in matmul, test_errors.py:N:  return x @ w\n"
        "  hint: the last axis of the left operand (3) must equal the second to last of the right one (4)",
    ),
    "shapes that do not broadcast": Row(
        tj.ShapeError,
        lambda: tj.jit(add)(X),
        "add: shapes do not broadcast, f64[3], f64[4]\n"
        "  in add, test_errors.py:N:  return x + np.ones(4)\n"
        "  hint: sizes must be equal or 1, counted from the last axis; add axes with x[:, None] or reshape",
    ),
    "axis out of bounds": Row(
        tj.ShapeError,
        lambda: tj.jit(axis)(X),
        "sum: axis 2 is out of bounds for array of dimension 1\n"
        "  in axis, test_errors.py:N:  return np.sum(x, axis=2)",
    ),
    "dtype": Row(
        tj.DTypeError,
        lambda: tj.jit(bits)(X),
        "bitwise_and: not defined for float64, int64\n"
        "  in bits, test_errors.py:N:  return x & 1\n"
        "  hint: convert the operands with .astype(...)",
    ),
    "if": Row(
        tj.TracerError,
        lambda: tj.jit(branch)(1.0),
        "bool(): whether a traced bool is true is not known while its function is traced\n"
        f"  in branch, test_errors.py:N:  if x > 0:\n  hint: {IF_HINT}",
    ),
    "bool": Row(
        tj.TracerError,
        lambda: tj.jit(bool)(1.0),
        "bool(): whether a traced f64 is true is not known while its function is traced\n"
        f"  in <lambda>, test_errors.py:N:  lambda: tj.jit(bool)(1.0),\n  hint: {IF_HINT}",
    ),
    "float": Row(
        tj.TracerError,
        lambda: tj.jit(to_float)(1.0),
        "float(): a traced f64 has no value while its function is traced\n"
        f"  in to_float, test_errors.py:N:  return float(x)\n  hint: {KEEP_HINT}",
    ),
    "int": Row(
        tj.TracerError,
        lambda: tj.jit(to_int)(1.0),
        "int(): a traced f64 has no value while its function is traced\n"
        f"  in to_int, test_errors.py:N:  return int(x)\n  hint: {KEEP_HINT}",
    ),
    "complex": Row(
        tj.TracerError,
        lambda: tj.jit(to_complex)(1.0),
        "complex(): a traced f64 has no value while its function is traced\n"
        f"  in to_complex, test_errors.py:N:  return complex(x)\n  hint: {KEEP_HINT}",
    ),
    "np.asarray": Row(
        tj.TracerError,
        lambda: tj.jit(to_array)(X),
        "np.asarray(): a traced f64[3] is no concrete array while its function is traced\n"
        "  in to_array, test_errors.py:N:  return np.asarray(x)\n"
        "  hint: NumPy's functions take it as it is; join values with np.stack; an array to be indexed with "
        "it must be an argument",
    ),
    "math.exp": Row(
        tj.TracerError,
        lambda: tj.jit(from_math)(1.0),
        "float(): a traced f64 has no value while its function is traced\n"
        "  in from_math, test_errors.py:N:  return math.exp(x)\n"
        "  hint: write np.exp in place of math.exp",
    ),
    "math.lgamma": Row(
        tj.TracerError,
        lambda: tj.jit(from_math_special)(1.0),
        "float(): a traced f64 has no value while its function is traced\n"
        "  in from_math_special, test_errors.py:N:  return math.lgamma(x)\n"
        "  hint: write scipy.special.gammaln in place of math.lgamma",
    ),
    "operator.index": Row(
        tj.TracerError,
        lambda: tj.jit(as_index)(1),
        "index: a traced i64 is not a concrete integer while its function is traced\n"
        f"  in as_index, test_errors.py:N:  return operator.index(x)\n  hint: {INDEX_HINT}",
    ),
    "range": Row(
        tj.TracerError,
        lambda: tj.jit(count)(3),
        "index: a traced i64 is not a concrete integer while its function is traced\n"
        f"  in count, test_errors.py:N:  return [0.0 for _ in range(n)]\n  hint: {INDEX_HINT}",
    ),
    "a loss that is no scalar": Row(
        tj.ShapeError,
        lambda: tj.grad(vector)(X),
        "grad: vector must return a scalar, got f64[3]\n"
        "  in vector, test_errors.py:N:  return x * 2\n"
        "  hint: reduce it, for instance with .sum() or .mean(); for other products with the Jacobian use "
        "tj.vjp "
        "or tj.jvp",
    ),
    "a loss that is no number": Row(
        tj.ShapeError,
        lambda: tj.grad_jit(pair)(1.0),
        "grad_jit: pair must return one scalar, got (*, *)\n"
        "  hint: return one number; give other results with has_aux=True: return (value, others)",
    ),
    "a loss that is no float": Row(
        tj.DTypeError,
        lambda: tj.value_and_grad(integer)(X),
        "value_and_grad: integer must return a float, got i64\n"
        "  in integer, test_errors.py:N:  return x.astype(int).sum()\n"
        "  hint: integers and bools have no derivative: compute the value with floats",
    ),
    "the gradient of an integer": Row(
        tj.DTypeError,
        lambda: tj.grad(total)({"w": [np.arange(3)], "b": 1.0}),
        "grad of total: argument p['w'][0] has dtype int64, and only float arguments have gradients\n"
        "  hint: pass floats (x.astype(float), 1.0 in place of 1), or select other arguments with argnums",
    ),
    "an unsupported function of a submodule": Row(
        tj.UnsupportedError,
        lambda: tj.jit(fourier)(X),
        "np.fft.fft is not supported in a traced function\n"
        "  in fourier, test_errors.py:N:  return np.fft.fft(x)\n"
        "  hint: compute it outside and pass the result as an argument, or write it with other functions",
    ),
    "an unsupported keyword": Row(
        TypeError,
        lambda: tj.jit(keyword)(X),
        "round() got an unexpected keyword argument 'foo'",
    ),
    "assignment": Row(
        tj.UnsupportedError,
        lambda: tj.jit(assign)(X),
        "assignment: x[...] = v is not supported in a traced function yet\n"
        "  in assign, test_errors.py:N:  x[0] = 1.0\n"
        "  hint: build a new array: np.where(mask, v, x), np.concatenate, or np.stack of the parts",
    ),
    "assignment in place": Row(
        tj.UnsupportedError,
        lambda: tj.jit(assign_in_place)(X),
        "assignment: y += v changes an array in place, which is not supported in a traced function yet\n"
        "  in assign_in_place, test_errors.py:N:  x += 1.0\n"
        "  hint: write y = y + v, which makes a new array",
    ),
    "assignment into a concrete array": Row(
        tj.UnsupportedError,
        lambda: tj.jit(assign_into_concrete)(X),
        "assignment: a traced value cannot be written into a concrete array\n"
        f"  in assign_into_concrete, test_errors.py:N:  y[0] = x[0]\n  hint: {CONCRETE_HINT}",
    ),
    "assignment into a slice of a concrete array": Row(
        tj.UnsupportedError,
        lambda: tj.jit(assign_slice_into_concrete)(X),
        "assignment: a traced value cannot be written into a concrete array\n"
        f"  in assign_slice_into_concrete, test_errors.py:N:  y[:] = x\n  hint: {CONCRETE_HINT}",
    ),
    "out=": Row(
        tj.UnsupportedError,
        lambda: tj.jit(assign_out)(X),
        "np.add: out= is not supported in a traced function\n"
        "  in assign_out, test_errors.py:N:  return np.add(x, 1, out=np.zeros(3))\n"
        "  hint: write the result to a name: y = np.add(...)",
    ),
    "sorting in place": Row(
        tj.UnsupportedError,
        lambda: tj.jit(sort_in_place)(X),
        ".sort: changing an array in place is not supported in a traced function yet\n"
        "  in sort_in_place, test_errors.py:N:  x.sort()\n"
        "  hint: write y = np.sort(x)",
    ),
    ".item()": Row(
        tj.TracerError,
        lambda: tj.jit(item)(1.0),
        ".item: a traced f64 has no content while its function is traced\n"
        "  in item, test_errors.py:N:  return x.item()\n"
        "  hint: use NumPy's functions on it, and look at concrete numbers outside the traced function",
    ),
    "assigning an attribute": Row(
        tj.UnsupportedError,
        lambda: tj.jit(set_shape)(X),
        ".shape: attributes of a traced array cannot be assigned\n"
        "  in set_shape, test_errors.py:N:  x.shape = (3, 1)\n"
        "  hint: write y = x.reshape(...), y = x.astype(...)",
    ),
    "a leak into another trace": Row(
        tj.TracerError,
        leak_and(lambda: tj.jit(use_leaked)(X)),
        "leak: a traced f64[3] was used outside the trace of leak, which made it\n"
        "  in use_leaked, test_errors.py:N:  return x + saved[0]\n"
        "  hint: it was made in leak, test_errors.py:N:  y = x * 2; return it from the traced function "
        "instead "
        "of storing it",
    ),
    "a leak out of every trace": Row(
        tj.TracerError,
        leak_and(lambda: saved[0] + 1, leak_argument),
        "leak: a traced f64[3] was used outside the trace of leak_argument, which made it\n"
        "  in <lambda>, test_errors.py:N:  leak_and(lambda: saved[0] + 1, leak_argument),\n"
        "  hint: it is an argument of leak_argument; return it from the traced function instead of storing "
        "it",
    ),
    "a leaked argument": Row(
        tj.TracerError,
        leak_and(lambda: tj.grad(vector)(saved[0])),
        "leak: a traced f64[3] was used outside the trace of leak, which made it\n"
        "  in <lambda>, test_errors.py:N:  leak_and(lambda: tj.grad(vector)(saved[0])),\n"
        "  hint: it was made in leak, test_errors.py:N:  y = x * 2; return it from the traced function "
        "instead "
        "of storing it",
    ),
    "recursion": Row(
        tj.TracerError,
        lambda: endless(1.0),
        "recursion: recurse calls itself with arguments of the same types, without an end, while it is "
        "traced\n"
        "  in recurse, test_errors.py:N:  return endless(x * 2)\n"
        "  hint: a condition on traced values cannot stop it: let a static argument (static_argnames=...) "
        "count "
        "down, or write a loop",
    ),
    "a result that is no array": Row(
        tj.ArgumentError,
        lambda: tj.jit(returns_text)(X),
        "returns_text returned a str at ['a'][1], which is not an array or a number\n"
        "  hint: return arrays, numbers and None, in dicts, lists, tuples or dataclasses",
    ),
    "complex numbers in a trace": Row(
        tj.DTypeError,
        lambda: tj.jit(adds_complex)(X),
        "complex numbers are not supported in a traced function\n"
        "  in adds_complex, test_errors.py:N:  return x + 1j\n"
        "  hint: compute with the real and the imaginary part",
    ),
    "masked arrays in a trace": Row(
        tj.DTypeError,
        lambda: tj.jit(adds_masked)(X),
        "a MaskedArray cannot be used in a traced function\n"
        "  in adds_masked, test_errors.py:N:  return np.add(x, np.ma.ones(3))\n"
        "  hint: take the plain array: np.asarray(x), or x.filled(...) of a masked array",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_whole_text_of_an_error(name: str) -> None:
    row = ROWS[name]
    assert text_of(row.call, row.kind) == row.expected


def test_unsupported_functions_name_the_nearest_ones() -> None:
    assert text_of(lambda: tj.jit(svd)(A), tj.UnsupportedError).startswith(
        "np.linalg.svd is not supported in a traced function\n"
        "  in svd, test_errors.py:N:  return np.linalg.svd(x)\n"
        "  hint: of np.linalg there are cholesky, cross, "
    )
    text = text_of(lambda: tj.jit(misspelled)(X), tj.UnsupportedError)
    assert text.startswith("np.sort_complex is not supported in a traced function\n")


def test_errors_are_those_that_numpy_raises() -> None:
    for ours, numpys in (
        (tj.ShapeError, ValueError),
        (tj.DTypeError, TypeError),
        (tj.TracerError, TypeError),
        (tj.UnsupportedError, NotImplementedError),
        (tj.ArgumentError, TypeError),
        (tj.IndexOutOfBoundsError, IndexError),
        (tj.InternalError, RuntimeError),
    ):
        assert issubclass(ours, numpys)
        assert issubclass(ours, tj.TracejitError)


def test_a_function_that_raises_has_its_own_traceback() -> None:
    def fails(x: Any) -> Any:
        raise KeyError("mine")

    f = tj.grad_jit(fails)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine") as caught:
            f(X)
        assert caught.traceback[-1].name == "fails"
        assert caught.value.__cause__ is None
    assert current_builder() is None
    assert tj.grad(lambda x: x * 2)(1.0) == 2


def test_recursion_without_our_functions_is_pythons_own_error() -> None:
    def forever(x: Any) -> Any:
        return forever(x)

    with pytest.raises(RecursionError):
        tj.jit(forever)(X)
    assert current_builder() is None
