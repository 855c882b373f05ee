"""CUDA kernels as machine code, made without a device: nothing spills, nothing is called, loads go ahead."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tests.codegen.cuda.emulated import device_program, printed, traced
from tests.codegen.cuda.test_launches import layer_norm, logistic, softmax_loss
from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda.compiler import compile_launch

MISSING = [name for name in ("numba_cuda", "cuda.core") if find_spec(name.partition(".")[0]) is None]
pytestmark = [
    pytest.mark.cuda_compile,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} to compile for CUDA"),
]

ARCHITECTURES = ((8, 0), (10, 0), (12, 0))  # besides the one that all skeletons are compiled for
HOPPER = (9, 0)
MOST_REGISTERS = {"f8": 168, "f4": 128}
INDEX = np.arange(5000, dtype="i4") % 7


@dataclass(frozen=True)
class Machine:
    """What the compiler says of a kernel."""

    ptx: str
    registers: int
    spilled: int
    stack: int


def tutorial(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


# By skeleton: a function, and the shapes of its arguments.
SKELETONS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "map and sum": (lambda x, y: np.sum(np.tanh(x) * y + np.exp(-x * x)), ((5000,), (5000,))),
    "rows of a thread": (tutorial, ((5, 3), (3,), (3000, 5), (3000, 3))),
    "rows of a warp": (softmax_loss, ((300, 300), (300, 300))),
    "rows of a block": (layer_norm, ((30, 1100), (1100,), (1100,))),
    "rows and columns": (logistic, ((300,), (3000, 300), (3000,))),
    "scatter": (lambda table: np.sum(table[INDEX] ** 2), ((7,),)),
    "position": (lambda x: x[np.argmax(x)], ((5000,),)),
}
MAPS: dict[str, Callable[..., Any]] = {
    "sums of products": lambda x, y, z: (x * y + z, x * y - z),
    "functions": lambda x, y, z: np.exp(x) * np.log1p(y) / np.sqrt(z),
}


@functools.cache
def launches(skeleton: str, dtype: str) -> list[Launch]:
    function, shapes = SKELETONS[skeleton]
    graph, arrays = traced(function, *[np.ones(shape, dtype) for shape in shapes])
    return printed(device_program(graph), arrays)


def map_of(name: str, dtype: str) -> Launch:
    graph, arrays = traced(MAPS[name], *[np.ones(5000, dtype)] * 3, gradient=False)
    (launch,) = printed(device_program(graph), arrays)
    return launch


@functools.lru_cache(maxsize=64)
def machine(launch: Launch, architecture: tuple[int, int] = HOPPER) -> Machine:
    core: Any = import_module("cuda.core")
    ptx = compile_launch(launch, architecture).ptx
    options = core.LinkerOptions(arch=f"sm_{architecture[0]}{architecture[1]}", verbose=True)
    linker = core.Linker(core.ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    log = linker.get_info_log()
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", log))
    stack = sum(int(n) for n in re.findall(r"(\d+) bytes stack frame", log))
    return Machine(ptx, int(re.findall(r"Used (\d+) registers", log)[-1]), spilled, stack)


def lines(ptx: str, pattern: str) -> list[str]:
    return [line.strip() for line in ptx.splitlines() if re.search(pattern, line)]


def check_lean(launch: Launch, dtype: str, architecture: tuple[int, int] = HOPPER) -> None:
    found = machine(launch, architecture)
    assert (found.spilled, found.stack) == (0, 0)
    assert found.registers <= MOST_REGISTERS[dtype]
    assert not lines(found.ptx, r"\bcall\b|\.local\b")


@pytest.mark.parametrize("skeleton", SKELETONS)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_no_skeleton_spills_or_calls(skeleton: str, dtype: str) -> None:
    for launch in launches(skeleton, dtype):
        check_lean(launch, dtype)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("skeleton", ["map and sum", "rows and columns"])
def test_other_architectures_take_the_same_text(skeleton: str, architecture: tuple[int, int]) -> None:
    for launch in launches(skeleton, "f4"):
        check_lean(launch, "f4", architecture)


@pytest.mark.parametrize("name", MAPS)
def test_kernels_of_float32_compute_in_float32(name: str) -> None:
    assert not lines(machine(map_of(name, "f4")).ptx, r"\.f64\b")


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_sums_of_float32_run_in_float32(skeleton: str) -> None:
    for launch in launches(skeleton, "f4"):
        assert not lines(machine(launch).ptx, r"\.f64\b")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_all_loads_of_an_unrolled_loop_are_issued_before_its_first_store(dtype: str) -> None:
    memory = lines(machine(map_of("sums of products", dtype)).ptx, r"\b(ld|st)\.global")
    first = next(k for k, line in enumerate(memory) if line.startswith("st."))
    assert first == 3 * 4


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_the_users_products_and_sums_are_both_rounded(dtype: str) -> None:
    found = machine(map_of("sums of products", dtype)).ptx
    assert not lines(found, r"\bfma\b")
    assert lines(found, r"\bmul\.rn\b")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_the_sums_of_a_derivative_are_contracted(dtype: str) -> None:
    x = np.ones(5000, dtype)
    graph, arrays = traced(lambda x, y: np.sum(x * x * y + x * y * y), x, x)
    (launch,) = printed(device_program(graph), arrays)
    assert "libdevice.fma" in launch.text
    assert lines(machine(launch).ptx, r"\bfma\.rn\b")
