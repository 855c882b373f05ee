"""Programs: what runs, in which arrays, where these live, and how many bytes move."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.schedule.random_graphs import random_program
from tracejit.codegen.loops import nbytes
from tracejit.codegen.program import (
    LibraryCall,
    Program,
    Segment,
    build_program,
    bytes_moved,
    kernel_traffic,
)
from tracejit.ops.reading import read_graph
from tracejit.passes import optimize
from tracejit.schedule.fusion import schedule_graph

F64 = np.dtype(np.float64)


def program_of(text: str, fuse: bool = True) -> Program:
    return build_program(schedule_graph(read_graph(text), fuse=fuse))


@given(st.integers(0, 2**40))
def test_the_temporaries_of_one_kernel_never_share_memory(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = random_program(lambda n: int(rng.integers(n)), gradient=seed % 2 == 0)
    if made is None:
        return
    program = build_program(schedule_graph(optimize(made.graph), fuse=seed % 3 > 0))
    for kernel in program.kernels:
        resident = sorted((program.offsets[b], nbytes(b)) for b in kernel.buffers if b in program.offsets)
        for (low, size), (high, _) in itertools.pairwise(resident):
            assert low + max(size, 1) <= high
    for buffer, offset in program.offsets.items():
        assert offset + nbytes(buffer) <= program.workspace


# --- steps and names ----------------------------------------------------------------------------------


def test_a_library_call_parts_the_segments_around_it() -> None:
    program = program_of("""
def f(v0: 'f64[20,30]'):
    v1: 'f64[20,30]' = tanh(v0)
    v2: 'f64[20,30]' = cumsum(v1, axis=1, reverse=False)
    v3: 'f64[20,30]' = exp(v2)
    return (v3,)
""")
    first, call, second = program.calls
    assert isinstance(first, Segment) and isinstance(call, LibraryCall) and isinstance(second, Segment)
    assert (first.number, second.number) == (0, 1)
    assert call.eqn.primitive.name == "cumsum"
    assert [k.name for k in program.kernels] == ["kernel_0", "kernel_1"]


def test_kernels_between_library_calls_share_a_segment() -> None:
    program = program_of(
        """
def f(v0: 'f64[20]', v1: 'f64[30]'):
    v2: 'f64[20]' = tanh(v0)
    v3: 'f64[30]' = exp(v1)
    return (v2, v3)
""",
        fuse=False,
    )
    (segment,) = program.calls
    assert isinstance(segment, Segment)
    assert len(segment.kernels) == 2


def test_arrays_are_named_for_what_they_are() -> None:
    program = program_of(
        """
def f(v0: 'f64[20]', v1: 'f64[20]'):
    v2: 'f64[20]' = tanh(v1)
    v3: 'f64[20]' = exp(v2)
    v4: 'f64' = reduce_sum(v3, axes=(0,))
    return (v4, v2)
""",
        fuse=False,
    )
    assert [b.name for b in program.buffers.values()] == ["x1", "out1", "tmp0", "out0"]
    assert [b.name for b in program.offsets] == ["tmp0"]


def test_every_output_is_an_array_of_its_own() -> None:
    program = program_of("""
def f(v0: 'f64[20]', v1: 'f64'):
    v2: 'f64[20]' = tanh(v0)
    v3: 'f64[4,5]' = reshape(v2, shape=(4, 5))
    v4: 'f64[20]' = slice(v2, sizes=(20,), starts=(19,), steps=(-1,))
    return (v2, v2, v3, v4, v0, v1, const(2.5, 'f64'))
""")
    assert len(set(program.outputs)) == 7
    assert not set(program.outputs) & set(program.inputs)


def test_a_reshaped_result_is_not_copied() -> None:
    program = program_of("""
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = tanh(v0)
    v2: 'f64[4,5]' = reshape(v1, shape=(4, 5))
    return (v2,)
""")
    assert len(program.kernels) == 1
    assert bytes_moved(program) == 2 * 20 * 8


# --- bytes --------------------------------------------------------------------------------------------


def test_an_array_counts_once_however_often_a_kernel_reads_it() -> None:
    program = program_of("""
def f(v0: 'f64[1000]'):
    v1: 'f64[1000]' = slice(v0, sizes=(1000,), starts=(999,), steps=(-1,))
    v2: 'f64[1000]' = multiply(v0, v1)
    v3: 'f64' = reduce_sum(v2, axes=(0,))
    return (v3,)
""")
    (kernel,) = program.kernels
    assert kernel_traffic(kernel) == (8000, 8)


def test_scratch_rows_stay_in_cache_and_are_not_counted() -> None:
    program = program_of("""
def f(v0: 'f64[100,50]'):
    v1: 'f64[100,50]' = exp(v0)
    v2: 'f64[100]' = reduce_sum(v1, axes=(1,))
    v3: 'f64[100,50]' = broadcast(v2, dims=(0,), shape=(100, 50))
    v4: 'f64[100,50]' = divide(v1, v3)
    v5: 'f64' = reduce_max(v4, axes=(0, 1))
    return (v5,)
""")
    (kernel,) = program.kernels
    (row,) = kernel.scratch
    assert (row.name, row.shape) == ("row0", (50,))
    assert kernel_traffic(kernel) == (100 * 50 * 8, 8)
    assert program.workspace == 448


def test_library_calls_count_their_operands_and_their_result() -> None:
    program = program_of("""
def f(v0: 'f64[20,30]'):
    v1: 'f64[20,30]' = cumsum(v0, axis=1, reverse=False)
    return (v1,)
""")
    assert bytes_moved(program) == 2 * 600 * 8
