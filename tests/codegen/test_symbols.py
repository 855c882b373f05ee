"""Numbers of a program as names: what stays in the text, what becomes an argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracejit.codegen.symbols import Symbols


def test_small_integers_stay_and_others_are_named_in_order_of_first_use() -> None:
    symbols = Symbols(literal_limit=4)
    assert [symbols.size(n) for n in (0, 4, 5, 100, 5, -4, -5)] == ["0", "4", "s0", "s1", "s0", "-4", "-s0"]
    assert symbols.sizes == [5, 100]


def test_the_limit_decides_what_small_is() -> None:
    assert Symbols(literal_limit=0).size(1) == "s0"
    assert Symbols(literal_limit=100).size(100) == "100"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.0), "0.0"),
        (np.float64(-0.0), "-0.0"),
        (np.float64(1.0), "1.0"),
        (np.float64(-1.0), "-1.0"),
        (np.float64(np.inf), "math.inf"),
        (np.float64(-np.inf), "-math.inf"),
        (np.float64(np.nan), "math.nan"),
        (np.float64(0.3), "c0"),
        (np.float32(0.0), "to_f32(0.0)"),
        (np.float32(0.3), "to_f32(c0)"),
        (np.float32(np.nan), "to_f32(math.nan)"),
        (np.bool_(True), "True"),
        (np.int64(-1), "to_i64(-1)"),
        (np.int32(7), "to_i32(s0)"),
        (np.int64(-7), "to_i64(-s0)"),
        (np.uint8(255), "to_u8(s0)"),
        (np.int64(2**63 - 1), f"to_i64({2**63 - 1})"),
        (np.uint64(2**64 - 1), f"to_u64({2**64 - 1})"),
    ],
)
def test_constants_that_mean_something_stay(value: Any, text: str) -> None:
    assert Symbols().constant(value) == text


def test_equal_constants_share_a_name_and_dtypes_do_not() -> None:
    symbols = Symbols()
    texts = [
        symbols.constant(v) for v in (np.float64(0.5), np.float64(0.25), np.float64(0.5), np.float32(0.5))
    ]
    assert texts == ["c0", "c1", "c0", "to_f32(c2)"]
    assert symbols.constants == [0.5, 0.25, 0.5]


def test_float32_constants_keep_their_value() -> None:
    symbols = Symbols()
    symbols.constant(np.float32(0.1))
    assert np.float32(symbols.constants[0]) == np.float32(0.1)


def test_a_kernel_takes_the_names_that_its_own_text_has() -> None:
    symbols = Symbols()
    symbols.start_kernel()
    symbols.size(10)
    symbols.constant(np.float64(0.5))
    symbols.start_kernel()
    symbols.constant(np.float64(0.5))
    assert list(symbols.used) == ["c0"]


def test_index_checks_are_numbered_from_one() -> None:
    symbols = Symbols()
    first, second = object(), object()
    assert [symbols.check(s) for s in (first, second, first)] == [1, 2, 1]
    assert symbols.checks == [first, second]
