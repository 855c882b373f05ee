"""CUDA kernels as machine code, made without a device: nothing spills, nothing is called, loads go ahead."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.cuda.emulated import FLOATS, GRID, ONE_BLOCK, device_program, printed, traced
from tests.codegen.cuda.test_launches import layer_norm, logistic, softmax_loss
from tests.halves import each_half, half
from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda.compiler import compile_launch, link

MISSING = [name for name in ("numba_cuda", "cuda.core") if find_spec(name.partition(".")[0]) is None]
pytestmark = [
    pytest.mark.cuda_compile,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} to compile for CUDA"),
]

AMPERE, HOPPER = (8, 0), (9, 0)
ARCHITECTURES = (AMPERE, HOPPER, (10, 0), (12, 0))
MOST_REGISTERS = {x: 128 for x in ARCHITECTURES}  # two blocks of a multiprocessor at a time
MOST_REGISTERS[AMPERE] = 208  # whose assembler would spill some of them
INTEGERS = ("i8", "i4", "u1")

Argument = Callable[[str], Any]  # an array of a dtype


@dataclass(frozen=True)
class Skeleton:
    """A function whose kernels are of one kind; `small`: iterations that one block runs alone."""

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    dtypes: tuple[str, ...] = FLOATS
    gradient: bool = True
    small: int = GRID


def of(*shape: int) -> Argument:
    return lambda dtype: np.ones(shape, dtype)


def index(_: str) -> Any:
    return np.arange(5000) % 7


def tutorial(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def through_time(q: Any, p: Any, pushes: Any) -> Any:
    def step(state: Any, push: Any) -> Any:
        q, p = state
        p = p - q * push
        return (q + p, p), q * p

    (q, p), path = tj.scan(step, (q, p), pushes)
    return np.sum(q * p) + np.sum(path[-1])


def five_points(u: Any) -> Any:
    lap = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
    return np.sum(lap * lap)


def weights(x: Any) -> Any:
    e = np.exp(x - x.max())
    return np.sum(e / e.sum() * x)


def shares(x: Any) -> Any:
    return np.sum(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) * x)


def reductions(x: Any) -> Any:
    return [f(x) for f in (np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax)]


def plain(function: Callable[..., Any], *arguments: Argument, dtypes: tuple[str, ...] = FLOATS) -> Skeleton:
    """Without a derivative."""
    return Skeleton(function, arguments, dtypes, gradient=False)


X = of(5000)
SKELETONS: dict[str, Skeleton] = {
    "map": plain(lambda x, y: np.tanh(x) * y, X, X),
    "map of integers": plain(lambda x, y: x * y + y, X, X, dtypes=INTEGERS),
    "map of truth values": plain(lambda x, y: ((x & y) | ~x, x ^ y), X, X, dtypes=("?",)),
    "map and broadcast": plain(lambda x, y, z: np.exp(x) * y + z, of(50, 300), of(300), of(50, 1)),
    "map and sum": Skeleton(lambda x, y: np.sum(np.tanh(x) * y + np.exp(-x * x)), (X, X)),
    "divisions of integers": plain(lambda x, y: (x // y, x % y, np.gcd(x, y)), X, X, dtypes=("i4", "u1")),
    "choices": plain(lambda x, y: np.where(x > y, x, np.minimum(x, 3)), X, X, dtypes=FLOATS + INTEGERS),
    "stencil": Skeleton(five_points, (of(60, 70),)),
    "joined arrays": Skeleton(lambda x, y: np.sum(np.concatenate([x, y]) ** 2), (of(3000), X)),
    "transposed": plain(lambda x, y: np.exp(x.T) * y, of(60, 70), of(70, 60)),
    "rearranged": plain(lambda x: np.exp(x.T.reshape(35, -1)) * np.roll(x, 3).reshape(35, -1), of(60, 70)),
    "strided": Skeleton(shares, (lambda dtype: np.ones((80, 99), dtype)[::2, ::3],)),
    "reversed": plain(lambda x: np.exp(x), lambda dtype: np.ones((80, 99), dtype)[::-1, ::-1]),
    "columns first": plain(lambda x, y: np.exp(x) * y, lambda d: np.ones((60, 70), d, "F"), of(60, 70)),
    "rows of a thread": Skeleton(tutorial, (of(5, 3), of(3), of(3000, 5), of(3000, 3))),
    "rows of a warp": Skeleton(softmax_loss, (of(300, 300), of(300, 300))),
    "rows of a block": Skeleton(layer_norm, (of(30, 1100), of(1100), of(1100))),
    "rows and columns": Skeleton(logistic, (of(300), of(3000, 300), of(3000))),
    "rows of a thread, many numbers": Skeleton(logistic, (of(32), of(3000, 32), of(3000))),
    "rows of long arrays": Skeleton(layer_norm, (of(30, 9000), of(9000), of(9000))),
    "columns": plain(lambda x: (x.sum(axis=0), x.max(axis=0)), of(3000, 20), dtypes=FLOATS + INTEGERS),
    "wide columns": plain(lambda x: (x.sum(axis=0), x.min(axis=0)), of(300, 2000)),
    "small product": Skeleton(lambda w, x: np.sum(np.tanh(x @ w)), (of(4, 4), of(3000, 4))),
    "gather": plain(lambda x, k: np.exp(x[k]), of(7), index),
    "scatter": Skeleton(lambda x, k: np.sum(x[k] ** 2), (of(7), index)),
    "scatter to a large array": Skeleton(lambda x, k: np.sum(x[k] ** 2), (of(20000), index)),
    "position": Skeleton(lambda x: x[np.argmax(x)], (X,)),
    "positions": plain(
        lambda x: (np.argmax(x, axis=1), np.argmin(x, axis=0)), of(100, 50), dtypes=(*FLOATS, "i4", "?")
    ),
    "reductions": plain(reductions, X, dtypes=(*FLOATS, "i4", "?")),
    "cut": Skeleton(weights, (X,)),
    "time": Skeleton(through_time, (X, X, of(40, 5000))),
    "one block": Skeleton(softmax_loss, (of(3, 100), of(3, 100)), small=ONE_BLOCK),
}
CASES = [(name, dtype) for name, s in SKELETONS.items() for dtype in s.dtypes]
MAPS: dict[str, Callable[..., Any]] = {
    "sums of products": lambda x, y, z: (x * y + z, x * y - z),
    "functions": lambda x, y, z: np.exp(x) * np.log1p(y) / np.sqrt(z),
}


@functools.cache
def launches(name: str, dtype: Any) -> list[Launch]:
    skeleton = SKELETONS[name]
    arrays = [argument(dtype) for argument in skeleton.arguments]
    graph, arrays = traced(skeleton.function, *arrays, gradient=skeleton.gradient)
    return printed(device_program(graph, skeleton.small), arrays)


def map_of(name: str, dtype: Any) -> Launch:
    graph, arrays = traced(MAPS[name], *[np.ones(5000, dtype)] * 3, gradient=False)
    (launch,) = printed(device_program(graph), arrays)
    return launch


@functools.lru_cache(maxsize=64)
def ptx(launch: Launch, architecture: tuple[int, int] = AMPERE) -> str:
    """Numba's part takes far longer than nvJitLink's, and what it makes for one serves all later ones."""
    return compile_launch(launch, architecture).ptx


def lines(launch: Launch, pattern: str) -> list[str]:
    return [line.strip() for line in ptx(launch).splitlines() if re.search(pattern, line)]


def check_lean(launch: Launch, dtype: str) -> None:
    """No calls, spills or memory of a thread's own, for any architecture."""
    assert not lines(launch, r"\bcall\b|\.local\b")
    assert dtype == "f8" or not lines(launch, r"\.f64\b")
    for architecture in ARCHITECTURES:
        found = link(ptx(launch), architecture)
        assert (found.spilled, found.stack) == (0, 0)
        assert found.registers <= MOST_REGISTERS[architecture]


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
