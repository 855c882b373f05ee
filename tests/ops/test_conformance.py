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

# NumPy 2.2, the last for Python 3.10, refuses these or gives another dtype; we give what it gives today.
CHANGED_SINCE_2_2 = frozenset(
    {"joining-pad-dict", "linalg-norm-empty-inf", "transcendental-power-strong-exponent"}
)
IS_OLD = np.lib.NumpyVersion(np.__version__) < "2.3.0"


def _rows() -> list[Any]:
    found: list[Any] = []
    for module in modules_of(tests.ops.conformance):
        if module.__name__.endswith("_calls"):
            group = module.__name__.rpartition(".")[2].removesuffix("_calls")
            found += [_row(f"{group}-{name}", call, args) for name, call, args in module.CALLS]
    return found


def _row(name: str, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    is_changed = IS_OLD and name in CHANGED_SINCE_2_2
    marks = [pytest.mark.skip(reason="NumPy 2.2 differs from later releases here")] if is_changed else []
    return pytest.param(call, args, id=name, marks=marks)


ROWS = _rows()


def assert_same(got: Any, expected: Any) -> None:
    """Equal in shape and dtype, and in value up to rounding."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    tolerance = {2: 1e-3, 4: 2e-5, 8: 1e-9}[got.dtype.itemsize] if got.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("call", "args"), ROWS)
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
