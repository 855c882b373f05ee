"""Calling a ufunc of NumPy or SciPy on values, with the keywords that every ufunc takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, UnsupportedError
from tracejit.ops.core import convert, reshape
from tracejit.ops.special import scipy_meaning
from tracejit.ops.tables import NUMPY
from tracejit.ops.value import Value, as_value

Result = Value | tuple[Value, ...]


def ufunc_meaning(ufunc: Any) -> Callable[..., Any]:
    """What `ufunc` means inside a trace."""
    meaning = NUMPY.get(ufunc) or scipy_meaning(ufunc)
    if meaning is None:
        raise UnsupportedError(
            f"{ufunc.__name__}: this ufunc is not supported in a trace",
            hint="write it with the functions of NumPy that are, or call it outside the traced function",
        )
    return meaning


def call_ufunc(
    ufunc: Any,
    *operands: Any,
    dtype: Any = None,
    where: Any = True,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
    signature: Any = None,
) -> Result:
    """`ufunc(*operands, **keywords)`; `out=` is the caller's, for it is an assignment.

    `order` and `subok` say nothing of the values and are ignored; `dtype` chooses the loop, as in NumPy.
    """
    name = ufunc.__name__
    if where is not True:
        raise UnsupportedError(
            f"{name}: where= leaves elements unset", hint=f"write np.where(mask, np.{name}(...), other)"
        )
    if casting != "same_kind" or signature is not None:
        raise UnsupportedError(
            f"{name}: casting= and signature= are not supported in a trace",
            hint="convert the operands with .astype(...) first",
        )
    meaning = ufunc_meaning(ufunc)
    return meaning(*operands) if dtype is None else _call_as(ufunc, meaning, operands, np.dtype(dtype))


def _call_as(ufunc: Any, meaning: Callable[..., Any], operands: tuple[Any, ...], dtype: Any) -> Result:
    """The call in the loop whose results have `dtype`."""
    values = [as_value(x, f"{ufunc.__name__}: operand {k}") for k, x in enumerate(operands)]
    given = tuple(np.dtype(v.weak) if v.weak else v.dtype for v in values)
    fixed = (None,) * ufunc.nin + (dtype,) * ufunc.nout
    try:
        loop = ufunc.resolve_dtypes((*given, *[None] * ufunc.nout), signature=fixed)
    except TypeError:
        names = ", ".join(d.name for d in given)
        raise DTypeError(
            f"{ufunc.__name__}: cannot compute {names} as {dtype}",
            hint="convert the operands with .astype(...)",
        ) from None
    result = meaning(*(convert(v, d) for v, d in zip(values, loop)))
    results = result if isinstance(result, tuple) else (result,)
    converted = tuple(convert(r, d) for r, d in zip(results, loop[ufunc.nin :]))
    return converted if isinstance(result, tuple) else converted[0]


def call_outer(ufunc: Any, a: Any, b: Any, **keywords: Any) -> Result:
    """`ufunc.outer(a, b)`: every element of `a` with every element of `b`."""
    a, b = as_value(a, f"{ufunc.__name__}.outer: a"), as_value(b, f"{ufunc.__name__}.outer: b")
    return call_ufunc(ufunc, reshape(a, a.shape + (1,) * b.ndim), b, **keywords)
