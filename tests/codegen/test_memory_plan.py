"""The plan of temporaries: what lives at the same time never overlaps, and the memory is small."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracejit.codegen.loops import Buffer, nbytes
from tracejit.codegen.memory_plan import ALIGNMENT, plan_memory

F64 = np.dtype(np.float64)

SIZES = st.integers(0, 300)
TIMES = st.tuples(st.integers(0, 12), st.integers(0, 4)).map(lambda t: (t[0], t[0] + t[1]))


@given(st.lists(st.tuples(SIZES, TIMES), max_size=14))
def test_buffers_alive_at_the_same_time_never_overlap(wanted: list[tuple[int, tuple[int, int]]]) -> None:
    lifetimes = {Buffer(None, (n,), F64): times for n, times in wanted}
    offsets, size = plan_memory(lifetimes)
    assert set(offsets) == set(lifetimes)
    for a, b in itertools.combinations(lifetimes, 2):
        (start, end), (other_start, other_end) = lifetimes[a], lifetimes[b]
        if start <= other_end and other_start <= end:
            low, high = sorted((a, b), key=lambda x: offsets[x])
            assert offsets[low] + max(nbytes(low), 1) <= offsets[high]
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    assert all(offsets[b] + nbytes(b) <= size for b in lifetimes)


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_a_buffer_lies_at_the_least_offset_where_it_fits(wanted: list[tuple[int, int, int]]) -> None:
    lifetimes = {Buffer(None, (n,), F64): (min(a, b), max(a, b)) for n, a, b in wanted}
    offsets, _ = plan_memory(lifetimes)
    placed: list[tuple[Buffer, int, int]] = []
    for buffer in sorted(lifetimes, key=lambda b: -nbytes(b)):
        (start, end), size = lifetimes[buffer], -(-nbytes(buffer) // ALIGNMENT) * ALIGNMENT
        taken = [
            (low, high)
            for other, low, high in placed
            if lifetimes[other][0] <= end and start <= lifetimes[other][1]
        ]
        candidates = sorted({0, *(high for _, high in taken)})
        fits = [o for o in candidates if all(o + size <= low or high <= o for low, high in taken)]
        assert offsets[buffer] == fits[0]
        placed.append((buffer, offsets[buffer], offsets[buffer] + size))


def test_memory_is_used_again_once_it_is_free() -> None:
    buffers = [Buffer(None, (100,), F64) for _ in range(3)]
    offsets, size = plan_memory({b: (2 * k, 2 * k + 1) for k, b in enumerate(buffers)})
    assert set(offsets.values()) == {0}
    assert size == 832


def test_nothing_needs_no_memory() -> None:
    assert plan_memory({}) == ({}, 0)
