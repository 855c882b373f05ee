"""What is asked of a nest: the reciprocal of a size, the bounds of an index."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracejit.codegen.cuda.nests import bounds, reciprocal
from tracejit.schedule.index import AxisRef, Index, Loaded, Quotient, Remainder

LONGEST = 2**31 - 1


@given(st.integers(1, LONGEST), st.integers(0, LONGEST))
def test_a_product_and_a_shift_divide_numbers_of_31_bits(n: int, x: int) -> None:
    multiplier, shift = reciprocal(n) & 0xFFFFFFFF, reciprocal(n) >> 32
    for y in (x, x // n * n, max(x // n * n - 1, 0), LONGEST):
        assert y * multiplier >> shift == y // n


def test_an_index_is_bounded_by_the_extents_of_its_axes() -> None:
    extents = {0: 5, 1: 7}
    i, j = Index.factor(AxisRef(0)), Index.factor(AxisRef(1))
    assert bounds(i * 7 + j, extents) == (0, 34)
    assert bounds(i * -2 + 3, extents) == (-5, 3)
    assert bounds(Index.factor(Quotient(i * 7 + j, 4)) + 1, extents) == (1, 9)
    assert bounds(Index.factor(Remainder(i - 3, 4)), extents) == (0, 3)
    low, high = bounds(Index.factor(Quotient(Index.factor(Loaded(object())), 2**40)), extents)
    assert low < -(2**63)
    assert high > 2**63
