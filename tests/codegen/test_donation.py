"""What a program's steps and statements say about memory that a result may take."""

from __future__ import annotations

import pytest

from tracejit.codegen.donation import donate
from tracejit.codegen.program import Program, build_program
from tracejit.ops.reading import read_graph
from tracejit.schedule.fusion import schedule_graph


def program_of(text: str, fuse: bool = True) -> Program:
    return build_program(schedule_graph(read_graph(text), fuse=fuse))


CHAIN = """
def f(v0: 'f64[9,5]', v1: 'f64[9,5]'):
    v2: 'f64[9,5]' = multiply(v0, v1)
    v3: 'f64[9,5]' = tanh(v2)
    v4: 'f64[9,5]' = add(v0, v3)
    return (v3, v4)
"""


def test_each_input_and_output_is_taken_once() -> None:
    every = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert donate(program_of(CHAIN), every) == [(0, 0), (1, 1)]
    assert donate(program_of(CHAIN), [(1, 1), (0, 1), (0, 0)]) == [(1, 1), (0, 0)]
    assert donate(program_of(CHAIN), []) == []


def test_only_kernels_that_write_over_what_they_read_are_told() -> None:
    program = program_of(CHAIN)
    assert not any(kernel.shared for kernel in program.kernels)
    donate(program, [(0, 1)])
    (kernel,) = program.kernels
    assert {buffer.name for buffer in kernel.shared} == {"x0", "out1"}


def test_an_input_that_a_later_kernel_reads_is_kept() -> None:
    # One kernel an equation: the first output is written before the last equation reads v0.
    assert donate(program_of(CHAIN, fuse=False), [(0, 0)]) == []
    assert donate(program_of(CHAIN, fuse=False), [(1, 0), (0, 1)]) == [(1, 0), (0, 1)]


def test_memory_that_no_step_reads_any_more_needs_no_word_to_the_kernels() -> None:
    program = program_of(CHAIN, fuse=False)
    assert donate(program, [(1, 1)]) == [(1, 1)]
    assert not any(kernel.shared for kernel in program.kernels)


@pytest.mark.parametrize(
    "last",
    [
        "v1: 'f64[6,6]' = permute(v0, axes=(1, 0))\n    v2: 'f64[6,6]' = add(v0, v1)",
        "v1: 'f64[6]' = reduce_sum(v0, axes=(1,))\n"
        "    v3: 'f64[6,6]' = broadcast(v1, dims=(0,), shape=(6, 6))\n    v2: 'f64[6,6]' = add(v0, v3)",
    ],
    ids=["a transposed read", "a sum over the row first"],
)
def test_elements_that_are_read_after_others_are_written_are_not_written_over(last: str) -> None:
    program = program_of(f"def f(v0: 'f64[6,6]'):\n    {last}\n    return (v2,)\n")
    assert donate(program, [(0, 0)]) == []
