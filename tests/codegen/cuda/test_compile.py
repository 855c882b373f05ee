"""CUDA kernels as machine code, made without a device: nothing spills, nothing is called, loads go ahead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.codegen.cuda.emulated import FLOATS, device_program, printed, traced
from tests.codegen.cuda.machine_code import AMPERE, COMPILED, HOPPER, check_lean, lines, ptx
from tests.codegen.cuda.skeletons import CASES, launches
from tests.halves import each_half, half
from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda.compiler import link

pytestmark = COMPILED

MAPS: dict[str, Callable[..., Any]] = {
    "sums of products": lambda x, y, z: (x * y + z, x * y - z),
    "functions": lambda x, y, z: np.exp(x) * np.log1p(y) / np.sqrt(z),
}


def map_of(name: str, dtype: Any) -> Launch:
    graph, arrays = traced(MAPS[name], *[np.ones(5000, dtype)] * 3, gradient=False)
    (launch,) = printed(device_program(graph), arrays)
    return launch


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_no_skeleton_spills_or_calls_or_has_memory_of_its_own(name: str, dtype: str) -> None:
    for launch in launches(name, dtype):
        check_lean(launch, dtype)


@each_half
@pytest.mark.parametrize(
    "name",
    ["map", "map and sum", "rows of a thread", "rows of a warp", "rows of a block", "gather", "scatter"],
)
def test_floats_of_two_bytes_are_computed_in_float32(name: str, short: str) -> None:
    for launch in launches(name, half(short)):
        check_lean(launch, short)


@each_half
def test_floats_of_two_bytes_are_moved_as_such(short: str) -> None:
    launch = map_of("sums of products", half(short))
    memory = lines(launch, r"\b(ld|st)\.global")
    assert {line.split()[0][-2:] for line in memory} == {"16"}
    assert next(k for k, line in enumerate(memory) if line.startswith("st.")) == 3 * 4


def test_a_float16_is_read_and_written_by_one_instruction() -> None:
    launch = map_of("sums of products", half("f16"))
    memory = lines(launch, r"\b(ld|st)\.global")
    assert len(lines(launch, r"cvt\.f32\.f16")) == sum(line.startswith("ld") for line in memory)
    assert len(lines(launch, r"cvt\.rn\.f16\.f32")) == sum(line.startswith("st") for line in memory)
    assert not lines(launch, r"\b(shl|shr|and|or)\.b32")


def test_all_ways_to_run_a_kernel_are_among_the_skeletons() -> None:
    texts = "\n".join(x.text for name, dtype in CASES for x in launches(name, dtype))
    for text in ("ticket", "place0", "number[0]", "status[0]", "syncwarp", "total = ", "copies"):
        assert text in texts
    assert len(launches("cut", "f4")) > 2


@pytest.mark.parametrize("name", ["map and sum", "wide columns"])
def test_the_code_for_one_architecture_is_that_for_another(name: str) -> None:
    for launch in launches(name, "f4"):
        named = r"\.target \w+|\w*kernel\w*|py_smem_\d+"  # names count what was compiled so far
        old, new = [re.sub(named, "", ptx(launch, x)) for x in (AMPERE, HOPPER)]
        assert old == new


@pytest.mark.parametrize("name", ["stencil", "transposed", "rearranged", "map and broadcast"])
def test_no_element_takes_a_division_of_integers(name: str) -> None:
    for launch in launches(name, "f4"):
        assert not lines(launch, r"\b(div|rem)\.[su](32|64)")


@pytest.mark.parametrize("dtype", FLOATS)
def test_sines_of_large_arguments_alone_have_memory_of_their_own(dtype: str) -> None:
    graph, arrays = traced(lambda x: np.sin(x) * x, np.ones(5000, dtype), gradient=False)
    (launch,) = printed(device_program(graph), arrays)
    found = link(ptx(launch), HOPPER)
    assert found.spilled == 0
    assert found.stack <= 40  # bits of 2/pi times the argument, by the device's library


@pytest.mark.parametrize("name", MAPS)
def test_kernels_of_float32_compute_in_float32(name: str) -> None:
    assert not lines(map_of(name, "f4"), r"\.f64\b")


@pytest.mark.parametrize("dtype", FLOATS)
def test_all_loads_of_an_unrolled_loop_are_issued_before_its_first_store(dtype: str) -> None:
    memory = lines(map_of("sums of products", dtype), r"\b(ld|st)\.global")
    first = next(k for k, line in enumerate(memory) if line.startswith("st."))
    assert first == 3 * 4


@pytest.mark.parametrize("name", ["rows of a warp", "rows of a block"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_load_of_a_row_waits_for_a_store_of_another_element(name: str, dtype: str) -> None:
    (launch, *_) = launches(name, dtype)
    straight = re.split(r"(?m)^\$\w+:|\bbra\b", ptx(launch))
    found = [re.findall(r"\b(ld|st)\.global", code) for code in straight]
    most = max(found, key=lambda kinds: kinds.count("st"))
    assert most.count("st") >= 4
    assert most.count("ld") >= 4
    assert most == sorted(most)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_users_products_and_sums_are_both_rounded(dtype: str) -> None:
    launch = map_of("sums of products", dtype)
    assert not lines(launch, r"\bfma\b")
    assert lines(launch, r"\bmul\.rn\b")


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_sums_of_a_derivative_are_contracted(dtype: str) -> None:
    x = np.ones(5000, dtype)
    graph, arrays = traced(lambda x, y: np.sum(x * x * y + x * y * y), x, x)
    (launch,) = printed(device_program(graph), arrays)
    assert "libdevice.fma" in launch.text
    assert lines(launch, r"\bfma\.rn\b")
