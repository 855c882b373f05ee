"""Sizes of the rows: what they move, what is made on the host, what fits into the memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.gpu.libraries import Library
from benchmarks.gpu.rows import DTYPES, MADE, ROWS, TIMES_FLOOR, arguments_of, bytes_floor, fitted, floor_of


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_arguments_in_its_dtype_and_a_floor(name: str, dtype: str) -> None:
    row = ROWS[name]
    given = arguments_of(name, row.emulated[0], dtype)
    assert {x.dtype.name for x in given.arrays if x.dtype.kind == "f"} == {dtype}
    least = sum(given.arrays[k].nbytes for k in row.workload().argnums)
    assert bytes_floor(row.workload(), given) >= 2 * least


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_results_of_a_row_have_its_dtype(name: str, dtype: str) -> None:
    row = ROWS[name]
    value, gradients = row.workload().by_hand(*arguments_of(name, row.emulated[0], dtype).arrays)
    assert {np.asarray(x).dtype.name for x in (value, *gradients)} == {dtype}


@pytest.mark.parametrize("name", ROWS)
def test_long_arguments_repeat_what_was_made_on_the_host(name: str) -> None:
    shape = ROWS[name].on_device[-1]
    given = arguments_of(name, shape, "float32")
    assert sum(x.size for x in given.arrays) <= 6 * MADE
    assert given.rows * given.times == shape[0]
    longest = max((given.shape(k) for k in range(len(given.arrays))), key=math.prod)
    assert longest[0] == shape[0]


def test_repeated_arguments_are_as_long_as_they_should_be(monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.rows.MADE", 100)
    monkeypatch.setattr("benchmarks.gpu.rows.REPEATED", 32)
    given = arguments_of("logistic_regression", (64, 5), "float64")
    assert (given.rows, given.times) == (4, 16)
    arrays = Library().arguments(given)
    assert [x.shape for x in arrays] == [(5,), (), (64, 5), (64,)]
    np.testing.assert_array_equal(arrays[2][:4], arrays[2][4:8])


def test_rows_are_halved_until_they_fit() -> None:
    whole = floor_of("bce", (2**20,), "float64") * TIMES_FLOOR
    assert fitted("bce", (2**20,), "float64", whole) == (2**20,)
    assert fitted("bce", (2**20,), "float64", whole / 3) == (2**18,)
    assert fitted("attention", (4096, 64), "float64", 1e6) is None
    assert fitted("bce", (10**4,), "float64", 1e3) is None
