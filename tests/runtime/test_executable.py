"""Executables: arrays of any layout in, fresh arrays out, from any thread, errors that leave them usable."""

from __future__ import annotations

import platform
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.golden_programs import rosenbrock
from tracejit.api.record import record_call
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.codegen.program import build_program
from tracejit.compile import compile_stages, run_stages
from tracejit.config import Config
from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import evaluate
from tracejit.ops.reading import read_graph
from tracejit.runtime import abi, executable, workspace
from tracejit.runtime.executable import Executable
from tracejit.schedule.fusion import schedule_graph


def executable_of(text: str, fuse: bool = True) -> Executable:
    return Executable(build_program(schedule_graph(read_graph(text), fuse=fuse)), Config.from_environment())


# --- layouts ------------------------------------------------------------------------------------------

TURN = """
def f(v0: 'f64[6,8]', v1: 'f64[6,8]'):
    v2: 'f64[8,6]' = permute(v0, axes=(1, 0))
    v3: 'f64[8,6]' = permute(v1, axes=(1, 0))
    v4: 'f64[8,6]' = multiply(v2, v3)
    v5: 'f64[8]' = reduce_sum(v4, axes=(1,))
    return (v4, v5)
"""


def misaligned(x: Any) -> Any:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    moved = raw[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    assert not moved.flags.aligned
    return moved


def odd_strides(x: Any) -> Any:
    """A field of records that are not a whole number of elements apart."""
    records = np.zeros(x.shape, [("pad", "u1"), ("x", x.dtype)])
    records["x"] = x
    return records["x"]


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda x: x,
    "Fortran": np.asfortranarray,
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "inside another": lambda x: np.pad(x, 3)[3:-3, 3:-3],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "misaligned": misaligned,
    "odd strides": odd_strides,
    "big-endian": lambda x: x.astype(">f8"),
    "float32": lambda x: x.astype(np.float32),
    "far apart": lambda x: np.lib.stride_tricks.as_strided(
        np.zeros(x.size * 4096).reshape(x.size, 4096)[:, 0], x.shape, (x.shape[1] * 32768, 32768)
    ),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("second", ["contiguous", "Fortran"])
@pytest.mark.parametrize("first", LAYOUTS)
def test_every_layout_is_read(first: str, second: str, rng: np.random.Generator) -> None:
    x, y = LAYOUTS[first](rng.standard_normal((6, 8))), LAYOUTS[second](rng.standard_normal((6, 8)))
    results = executable_of(TURN)([x, y])
    expected = evaluate(read_graph(TURN), [np.asarray(x, np.float64), y])
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12)


def test_read_only_arrays_are_read_and_nothing_is_written_into_arguments(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 8))
    x.flags.writeable = False
    before = x.copy()
    results = executable_of(TURN)([x, x])
    np.testing.assert_array_equal(x, before)
    assert not any(np.shares_memory(x, result) for result in results)


def test_results_are_fresh_at_each_call(rng: np.random.Generator) -> None:
    f = executable_of(TURN)
    x, y = rng.standard_normal((2, 6, 8))
    first = f([x, y])
    kept = [r.copy() for r in first]
    second = f([y, y])
    for a, b, c in zip(first, second, kept, strict=True):
        assert not np.shares_memory(a, b)
        np.testing.assert_array_equal(a, c)


def test_each_combination_of_layouts_is_bound_once() -> None:
    f = executable_of(TURN)
    x = np.ones((6, 8))
    for _ in range(3):
        f([x, x])
        f([x, np.asfortranarray(x)])
        f([x, x[::-1]])
    assert set(f.bound) == {(CONTIGUOUS, CONTIGUOUS), (CONTIGUOUS, 0), (CONTIGUOUS, 1)}


def test_array_objects_that_look_different_are_handled(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(executable, "offsets_hold", lambda: False)
    x = rng.standard_normal((6, 8))
    results = executable_of(TURN)([x, x])
    for result, wanted in zip(results, evaluate(read_graph(TURN), [x, x]), strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12)


def test_array_objects_look_as_expected_here() -> None:
    assert abi.offsets_hold()


def test_many_arrays_go_in_and_come_out(rng: np.random.Generator) -> None:
    count = 40
    names = [f"v{k}" for k in range(count)]
    header = ", ".join(f"{v}: 'f64[9]'" for v in names)
    lines = [f"    v{count + k}: 'f64[9]' = multiply(v{k}, v{(k + 1) % count})" for k in range(count)]
    results = ", ".join(f"v{count + k}" for k in range(count))
    f = executable_of("\n".join([f"def f({header}):", *lines, f"    return ({results},)"]))
    arrays = list(rng.standard_normal((count, 9)))
    for k, result in enumerate(f(arrays)):
        np.testing.assert_array_equal(result, arrays[k] * arrays[(k + 1) % count])


# --- empty arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_empty_arrays_pass_through_everything(n: int, m: int, fuse: bool) -> None:
    text = f"""
def f(v0: 'f64[{n},{m}]', v1: 'f64[{m}]'):
    v2: 'f64[{n},{m}]' = broadcast(v1, dims=(1,), shape=({n}, {m}))
    v3: 'f64[{n},{m}]' = multiply(v0, v2)
    v4: 'f64[{n}]' = reduce_sum(v3, axes=(1,))
    v5: 'f64[{m}]' = reduce_prod(v3, axes=(0,))
    v6: 'f64' = reduce_sum(v4, axes=(0,))
    v7: 'f64[{n},{m}]' = cumsum(v3, axis=1, reverse=False)
    v8: 'f64[{m},{m}]' = dot_general(v3, v7, batch=((), ()), contract=((0,), (0,)))
    v9: 'f64[{2 * n},{m}]' = concatenate(v3, v7, axis=0)
    return (v3, v4, v5, v6, v7, v8, v9)
"""
    arrays = [np.ones((n, m)), np.ones(m)]
    expected = evaluate(read_graph(text), arrays)
    for result, wanted in zip(executable_of(text, fuse)(arrays), expected, strict=True):
        assert result.shape == wanted.shape
        np.testing.assert_array_equal(result, wanted)


def test_a_program_without_kernels_runs() -> None:
    text = """
def f(v0: 'f64[5]'):
    v1: 'f64[5]' = cumsum(v0, axis=0, reverse=False)
    v2: 'f64[5,1]' = reshape(v1, shape=(5, 1))
    return (v2,)
"""
    np.testing.assert_array_equal(executable_of(text)([np.ones(5)])[0], np.arange(1.0, 6.0)[:, None])


# --- indices ------------------------------------------------------------------------------------------

GATHER = """
def f(v0: 'f64[9]', v1: 'i64[4]'):
    v2: 'f64[4]' = gather(v0, v1)
    v3: 'f64[4]' = multiply(v2, v2)
    return (v3,)
"""


@pytest.mark.parametrize("index", [9, -10, 2**62, -(2**62)])
def test_an_index_outside_is_an_error_and_the_next_call_is_right(index: int) -> None:
    f = executable_of(GATHER)
    x = np.arange(9.0)
    with pytest.raises(IndexOutOfBoundsError, match=r"reaches outside an axis of size 9"):
        f([x, np.array([0, 1, index, 2])])
    np.testing.assert_array_equal(f([x, np.array([0, -1, 8, -9])])[0], [0.0, 64.0, 64.0, 0.0])


def test_the_error_names_the_line_of_the_index_that_is_outside() -> None:
    def pick(table: Any, i: Any, j: Any) -> Any:
        first = table[i]
        second = table[j]
        return np.sum(first * second)

    f = tj.grad_jit(pick)
    table, good, bad = np.ones((5, 2)), np.array([0, 4]), np.array([0, 5])
    with pytest.raises(IndexOutOfBoundsError, match=re.escape("first = table[i]")):
        f(table, bad, good)
    with pytest.raises(IndexError, match=re.escape("second = table[j]")):
        f(table, good, bad)
    assert f(table, good, good)[0] == 4.0


def test_scattered_sums_add_up_where_indices_repeat() -> None:
    text = """
def f(v0: 'f64[5,2]', v1: 'i64[5]'):
    v2: 'f64[3,2]' = scatter_add(v0, v1, shape=(3, 2))
    return (v2,)
"""
    x, index = np.arange(10.0).reshape(5, 2), np.array([0, 2, 0, -1, -3])
    expected = np.zeros((3, 2))
    np.add.at(expected, index, x)
    np.testing.assert_array_equal(executable_of(text)([x, index])[0], expected)


# --- threads ------------------------------------------------------------------------------------------


def rows(x: Any, w: Any) -> Any:
    """A program with temporaries of every kind: scratch rows, library results, arrays between kernels."""
    z = np.tanh(x) @ w
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return np.sum(p * np.cumsum(p, axis=1)) + np.sum(z * z)


def test_eight_threads_share_one_executable_and_no_workspace(rng: np.random.Generator) -> None:
    arguments = rng.standard_normal((40, 60)), rng.standard_normal((60, 50))
    record = record_call(tj.grad_jit(rows), arguments, {})
    f = run_stages(record.graph, True).executable
    assert f.program.workspace
    inputs = [(rng.standard_normal((40, 60)), arguments[1]) for _ in range(8)]
    expected = [evaluate(record.graph, pair) for pair in inputs]
    barrier = threading.Barrier(8)
    workspace.release_memory()

    def work(k: int) -> None:
        barrier.wait(60)
        for _ in range(30):
            for result, wanted in zip(f(inputs[k]), expected[k], strict=True):
                np.testing.assert_allclose(result, wanted, rtol=1e-9, atol=1e-11)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 1 <= len(workspace.FREE) <= 8
    assert len({w.ctypes.data for w in workspace.FREE}) == len(workspace.FREE)


# --- machine code -------------------------------------------------------------------------------------

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


def assembly_of(function: Any, *arguments: Any) -> str:
    record = record_call(function, arguments, {})
    compiled = compile_stages(run_stages(record.graph), record.arrays)
    assert compiled.native is not None
    return compiled.native.assembly()


@pytest.mark.skipif(not IS_X86, reason="looks for x86 instructions")
@pytest.mark.parametrize(
    ("function", "arguments", "instruction"),
    [
        (tj.grad_jit(rosenbrock), (np.ones(1000),), r"v(mul|sub|fmadd\w*)pd"),
        (tj.jit(lambda a, x, y: a * x + y), (0.5, np.ones(1000), np.ones(1000)), r"v(mul|add)pd"),
        (tj.jit(lambda x: x.sum()), (np.ones(1000),), r"vaddpd"),
        (tj.jit(lambda x: x.sum(axis=0)), (np.ones((50, 60)),), r"vaddpd"),
        (tj.jit(lambda x, y: np.concatenate([x, y]) * 0.3), (np.ones(99), np.ones(77)), r"vmulpd"),
        (tj.jit(lambda x: np.maximum(x, 0.3)), (np.ones(99),), r"v(max|cmp\w*|blendv)pd"),
        (tj.jit(lambda x: x * x), (np.ones(99, np.float32),), r"vmulps"),
        (tj.jit(lambda x: x + 12345), (np.ones(99, np.int64),), r"vpaddq"),
    ],
)
def test_loops_are_vector_code(function: Any, arguments: Any, instruction: str) -> None:
    from tracejit.runtime.native import host_description

    if "+avx" not in host_description():
        pytest.skip("needs AVX")
    assert re.search(rf"{instruction}\s.*%[yz]mm", assembly_of(function, *arguments))
