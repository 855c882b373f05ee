"""The cost table: what must be dearer than what."""

from __future__ import annotations

import pytest

from tracejit.costs import COSTS


def test_farther_memory_is_dearer() -> None:
    prices = [COSTS.moving(8, size) for size in (1e3, 1e5, 1e6, 1e9)]
    assert prices == sorted(set(prices))


def test_halves_cost_half_the_arithmetic_and_truth_values_a_conversion() -> None:
    assert COSTS.arithmetic(15, 4) == COSTS.arithmetic(15) / 2
    assert COSTS.arithmetic(1, 1) == COSTS.arithmetic(1, 4)
    assert COSTS.moving(1, 1e3) > COSTS.moving(4, 1e3)


@pytest.mark.parametrize(
    ("m", "n", "k"), [(8, 8, 8), (1000, 4, 4), (1000, 8, 8), (16, 16, 16), (1000, 64, 4)]
)
def test_small_and_narrow_products_are_faster_as_loops(m: int, n: int, k: int) -> None:
    assert COSTS.product_loop(m, n, k, 1) < COSTS.product_call(m, n, k, 1)
    assert COSTS.product_loop(m, n, k, 100) < COSTS.product_call(m, n, k, 100)


@pytest.mark.parametrize(("m", "n", "k"), [(1000, 10, 64), (64, 10, 64), (8, 9, 100_000)])
def test_columns_that_fill_no_vector_are_faster_by_a_call(m: int, n: int, k: int) -> None:
    assert COSTS.product_loop(m, n, k, 1) > COSTS.product_call(m, n, k, 1)


def test_float32_fills_its_vectors_with_twice_the_columns() -> None:
    assert COSTS.product_loop(1000, 8, 8, 1, itemsize=4) > 5 * COSTS.product_call(1000, 8, 8, 1, itemsize=4)


def test_sums_beyond_the_registers_go_through_memory() -> None:
    few, many = (COSTS.product_loop(n, n, 9000, 1, read_once=True) / n**2 for n in (4, 8))
    assert many > 3 * few


def test_a_sum_of_a_few_is_cheaper_than_joined_lanes() -> None:
    assert COSTS.product_dots(100, 100, 4, 1) < COSTS.product_dots(100, 100, 5, 1)
