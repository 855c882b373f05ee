"""Every row of tests/ops/conformance: a call gives under trace NumPy's shape, dtype and values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tests.ops.conformance
from tests.ops.tracing import leaves_of, modules_of, trace_call
from tracejit.ir import evaluate, verify

Call = tuple[str, Callable[..., Any], tuple[Any, ...]]


def _rows() -> list[Any]:
    return [
        pytest.param(call, args, id=f"{module.__name__.rpartition('.')[2].removesuffix('_calls')}-{name}")
        for module in modules_of(tests.ops.conformance)
        if module.__name__.endswith("_calls")
        for name, call, args in module.CALLS
    ]


def assert_same(got: Any, expected: Any) -> None:
    """Equal in shape and dtype, and in value up to rounding."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    tolerance = {4: 2e-5, 8: 1e-9}[got.dtype.itemsize] if got.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("call", "args"), _rows())
def test_a_numpy_call_gives_under_trace_what_numpy_gives(
    call: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = leaves_of(call(np, *args))
        traced = trace_call(lambda *tracers: call(np, *tracers), args, "call")
    results = evaluate(verify(traced.graph), traced.arrays)
    assert len(results) == len(expected)
    for result, want in zip(results, expected, strict=True):
        assert_same(result, want)
