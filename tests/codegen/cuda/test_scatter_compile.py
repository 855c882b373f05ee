"""Sums at places that are data as machine code: nothing spills, and loads of values go ahead."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen.cuda.emulated import FLOATS, device_program, printed, sorting, traced
from tests.codegen.cuda.machine_code import COMPILED, check_lean, lines
from tracejit.codegen.cuda.launches import Launch
from tracejit.ops.reading import read_graph

pytestmark = COMPILED
INDEX = np.arange(5000, dtype="i4") % 700


def sorted_launches(dtype: str, tail: tuple[int, ...]) -> list[Launch]:
    graph, arrays = traced(lambda x: np.sum(np.tanh(x[INDEX]) ** 2), np.ones((700, *tail), dtype))
    with sorting():
        return printed(device_program(graph), arrays)


@pytest.mark.parametrize("tail", ((), (40,)))
@pytest.mark.parametrize("dtype", FLOATS)
def test_sorted_sums_neither_spill_nor_call(dtype: str, tail: tuple[int, ...]) -> None:
    found = sorted_launches(dtype, tail)
    assert {"out1_summed", "out1_joined"} <= {x.name for x in found}
    for launch in found:
        check_lean(launch, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_four_values_are_loaded_before_the_first_is_added(dtype: str) -> None:
    summed = next(x for x in sorted_launches(dtype, (40,)) if x.name == "out1_summed")
    kind = f"f{8 * int(dtype[1])}"
    found = lines(summed, rf"\bld\.global\.\S*{kind[1:]}\b|\badd(\.rn)?\.{kind}")
    words = ["load" if x.startswith("ld") else "add" for x in found]
    assert "load load load load add" in " ".join(words), words


@pytest.mark.parametrize("dtype", FLOATS)
def test_all_gathers_of_an_unrolled_loop_are_issued_before_its_first_store(dtype: str) -> None:
    graph, arrays = traced(lambda x: np.tanh(x[INDEX]) * 2, np.ones(700, dtype), gradient=False)
    (launch,) = printed(device_program(graph), arrays)
    values = lines(launch, rf"\b(ld|st)\.global\.f{8 * int(dtype[1])}\b")
    assert [x[:2] for x in values[:5]] == ["ld"] * 4 + ["st"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_in_any_order_are_added_by_one_instruction(dtype: str) -> None:
    graph, arrays = traced(lambda x: np.sum(np.tanh(x[INDEX]) ** 2), np.ones(700, dtype))
    with sorting():
        found = printed(device_program(graph, deterministic=False), arrays)
    (adding,) = [x for x in found if "cuda.atomic.add(out1, " in x.text]
    check_lean(adding, dtype)
    assert lines(adding, rf"\b(atom|red)\.\S*add\.f{8 * int(dtype[1])}\b")


@pytest.mark.parametrize("dtype", ("i8", "i4"))
def test_integers_are_added_by_one_instruction(dtype: str) -> None:
    kind = f"i{8 * int(dtype[1])}"
    graph = read_graph(
        f"""
def sums(v0: '{kind}[5000]', v1: 'i32[5000]'):
    v2: '{kind}[700]' = scatter_add(v0, v1, shape=(700,))
    return (v2,)
"""
    )
    with sorting():
        found = printed(device_program(graph), [np.ones(5000, dtype), INDEX])
    (adding,) = [x for x in found if "cuda.atomic.add(out0, " in x.text]
    check_lean(adding, dtype)
    assert lines(adding, rf"\b(atom|red)\.\S*add\.[us]{kind[1:]}\b")
