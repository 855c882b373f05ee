"""Whether rows wait in a ring or are computed again: one decision for all who ask."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.ir import ArrayType
from tracejit.ops.reading import read_graph
from tracejit.passes.push_views import push_views
from tracejit.passes.rings import are_worth_it, fits_ring, most_repeated


def array(*shape: int) -> ArrayType:
    return ArrayType(shape, np.dtype(np.float64))


def test_rows_long_enough_for_a_loop_and_short_enough_for_a_cache_fit() -> None:
    fitting = [array(9, 16), array(2, 2**13), array(3, 4, 4)]
    others = [array(9, 15), array(4, 2**13 + 1), array(1000), array()]
    assert [fits_ring(t) for t in fitting + others] == [True] * 3 + [False] * 4


def test_rings_of_one_kernel_share_the_cache() -> None:
    assert are_worth_it([(array(9, 2**12), 4), (array(9, 2**12), 4)])
    assert not are_worth_it([(array(9, 2**12), 4)] * 3)
    assert not are_worth_it([(array(9, 20), 32)])


def test_less_is_done_again_where_a_ring_can_take_its_place() -> None:
    assert most_repeated("auto", True) < most_repeated("auto", False) < most_repeated("recompute", True)
    assert most_repeated("ring", False) == most_repeated("memory", True) < 0


def test_the_more_readers_the_less_each_of_them_does_again() -> None:
    assert most_repeated("recompute", True, 1) > most_repeated("recompute", True, 8) > 0
    assert most_repeated("auto", True, 1) == most_repeated("auto", True, 8)


@pytest.mark.parametrize(
    ("shape", "steps", "shifted", "again"),
    [
        ((20, 30), (1, 1), "auto", False),
        ((20, 30), (1, 1), "recompute", True),
        ((20, 30), (2, 1), "auto", True),  # every other row: no ring
        ((20, 8), (1, 1), "auto", True),  # short rows
        ((20, 8), (1, 1), "memory", False),
    ],
)
def test_three_additions_are_done_again_only_where_no_ring_is(
    shape: tuple[int, int], steps: tuple[int, int], shifted: str, again: bool
) -> None:
    rows, columns = shape
    whole, part = f"f64[{rows},{columns}]", f"f64[9,{columns}]"
    graph = read_graph(
        f"""
        def f(v0: '{whole}'):
            v1: '{whole}' = add(v0, v0)
            v2: '{whole}' = multiply(v1, v0)
            v3: '{whole}' = subtract(v2, v1)
            v4: '{part}' = slice(v3, sizes=(9, {columns}), starts=(1, 0), steps={steps})
            v5: '{part}' = exp(v4)
            return (v3, v5)
        """
    )
    work = [e.primitive.name for e in push_views(graph, shifted).eqns]
    assert (work.count("subtract") == 2) == again
