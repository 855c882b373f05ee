"""On a device: results against this processor's, with fresh memory poisoned, and the same bits twice."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from benchmarks.gpu.libraries import Cupy
from benchmarks.gpu.rows import CLOSE, ROWS, arguments_of, distance
from tests.halves import each_half, every_value, half, same_bits
from tests.schedule.every_schedule import program_of
from tests.schedule.random_graphs import check_same
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.errors import IndexOutOfBoundsError, LinAlgError, UnsupportedError
from tracejit.ir import evaluate
from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.runners import CudaRunner


@functools.cache
def why_not() -> str:
    """Why the tests cannot run here; empty where they can."""
    try:
        Cupy()
    except UnsupportedError as error:
        return error.message
    return ""


# CuPy, torch and JAX warn about the machine when they are imported.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.fixture
def cupy() -> Iterator[Any]:
    """CuPy, whose fresh memory is all ones: nan, -1 and True."""
    if why_not():
        pytest.skip(why_not())
    with (library := Cupy()).poisoned():
        yield library.xp


SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1023, 1025, 5000, 300_001)


def on_host(cupy: Any, tree: Any) -> list[np.ndarray]:
    if isinstance(tree, tuple):
        return [x for part in tree for x in on_host(cupy, part)]
    return [cupy.asnumpy(tree)]


def check(cupy: Any, f: Any, arguments: tuple[Any, ...], rtol: float, **options: Any) -> None:
    """Value and gradients against float64 on this processor by relative norm, and twice the same bits."""
    step = tj.grad_jit(f, target="cuda", **options)
    there = tuple(cupy.asarray(x) for x in arguments)
    first, second = (on_host(cupy, step(*there)) for _ in range(2))
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in map(np.asarray, arguments)]
    value, gradients = tj.grad_jit(f, **options)(*wide)
    expected = [value, *(gradients if isinstance(gradients, tuple) else (gradients,))]
    for x, again, y in zip(first, second, expected, strict=True):
        assert x.tobytes() == again.tobytes(), "two runs differ"
        assert distance(x, y) <= rtol


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_a_sum_and_its_gradient(cupy: Any, rng: np.random.Generator, n: int, dtype: str) -> None:
    x, y = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    check(cupy, lambda x, y: (np.tanh(x) * y + np.logaddexp(0, x)).sum(), (x, y), rtol)


@each_half
@pytest.mark.parametrize("n", [1, 33, 257, 5000])
def test_floats_of_two_bytes(cupy: Any, rng: np.random.Generator, n: int, short: str) -> None:
    x, y = rng.normal(size=(2, n)).astype(half(short))
    step = tj.grad_jit(lambda x, y: (np.tanh(x) * y).mean(), argnums=(0, 1), target="cuda")
    value, gradients = step(cupy.asarray(x), cupy.asarray(y))
    exact = tj.grad_jit(lambda x, y: (np.tanh(x) * y).mean(), argnums=(0, 1))(x, y)
    for mine, theirs in zip(on_host(cupy, (value, *gradients)), (exact[0], *exact[1]), strict=True):
        assert mine.dtype == theirs.dtype == half(short)
        np.testing.assert_allclose(  # one rounding apart where float32's errors lie at a middle
            mine.astype("f8"), theirs.astype("f8"), rtol=2.0**-7 if short == "bf16" else 2.0**-10, atol=1e-7
        )


@each_half
def test_every_float_of_two_bytes_is_read_exactly_and_comes_back(cupy: Any, short: str) -> None:
    x = every_value(short)
    wide = tj.jit(lambda x: x.astype(np.float32), target="cuda")(cupy.asarray(x))
    assert same_bits(cupy.asnumpy(wide), x.astype(np.float32))
    assert same_bits(cupy.asnumpy(tj.jit(lambda x: x.astype(half(short)), target="cuda")(wide)), x)


@pytest.mark.parametrize("shape", [(1, 1), (3, 33), (40, 1000), (5, 5000), (3000, 3), (257, 31)])
def test_rows_and_columns(cupy: Any, rng: np.random.Generator, shape: tuple[int, int]) -> None:
    def loss(x, w):
        z = x - x.max(axis=1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return (p * w).sum() + (x.mean(axis=0) ** 2).sum()

    check(cupy, loss, (rng.normal(size=shape), rng.normal(size=shape[1])), 1e-11, argnums=(0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_workloads(cupy: Any, name: str, dtype: str) -> None:
    workload = ROWS[name].workload()
    shape = tuple(min(n, 2000) for n in ROWS[name].on_device[0])
    arguments = arguments_of(name, shape, dtype).arrays
    check(cupy, workload.loss, arguments, CLOSE[dtype], argnums=workload.argnums)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(cupy: Any, seed: int) -> None:
    program = program_of(seed, gradient=seed % 2 == 0)
    if program is None or not program.is_tame:
        pytest.skip("the program has no results to compare")
    executable = run_stages(program.graph, config=Config(cache_dir=None), target="cuda").executable
    expected = evaluate(program.graph, program.arrays)
    there = [cupy.asarray(x) for x in program.arrays]
    first, second = ([cupy.asnumpy(x) for x in executable(there)] for _ in range(2))
    check_same(program, first, expected)
    assert [x.tobytes() for x in first] == [x.tobytes() for x in second]


def test_a_step_runs_on_the_current_stream_and_in_out(cupy: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=10_000)
    step = tj.grad_jit(lambda x: (x**3).sum(), target="cuda")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        there, place = cupy.asarray(x), cupy.empty(x.size)
        for _ in range(3):
            assert step(there, out=place)[1] is place
        stream.synchronize()
        np.testing.assert_allclose(cupy.asnumpy(place), 3 * x * x, rtol=1e-13)


def test_addresses_that_come_back_are_served_by_a_graph(cupy: Any, rng: np.random.Generator) -> None:
    def standard(x):
        z = (x - x.mean()) / x.std()
        return np.exp(z - z.max()).sum()

    step, x = tj.grad_jit(standard, target="cuda"), rng.normal(size=2200)
    there = cupy.asarray(x)
    program = step.program_of(there)
    expected = [cupy.asnumpy(a) for a in step(there)]
    assert isinstance(program.run, DeviceExecutable)
    (plan,) = program.run.plans.values()
    same = [(m, m()) for m in (*plan.makers, plan.make_workspace)]  # as a pool would give them
    plan.makers = [lambda a=a: a for _, a in same[:-1]]
    plan.make_workspace = lambda: same[-1][1]
    for _ in range(6):
        for a, b in zip(step(there), expected, strict=True):
            np.testing.assert_array_equal(cupy.asnumpy(a), b)
            a.data.memset(0xFF, a.nbytes)
    (runner,) = plan.runners
    assert isinstance(runner, CudaRunner) and runner.graphs is not None and len(runner.graphs.kept) == 1
    there = cupy.asarray(x * x)
    np.testing.assert_allclose(cupy.asnumpy(step(there)[0]), standard(x * x), rtol=1e-12)


def test_a_new_thread_can_call(cupy: Any) -> None:
    step, there, found = tj.jit(lambda x: x * x, target="cuda"), cupy.asarray(np.arange(3.0)), []
    for _ in range(3):
        step(there)
    thread = threading.Thread(target=lambda: found.append(cupy.asnumpy(step(there))))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], [0.0, 1.0, 4.0])


def test_an_index_out_of_range_is_an_error(cupy: Any) -> None:
    f = tj.jit(lambda x, i: x[i], target="cuda")
    with pytest.raises(IndexOutOfBoundsError):
        f(cupy.asarray(np.arange(3.0)), cupy.asarray([0, 5]))


def test_a_singular_matrix_is_an_error(cupy: Any) -> None:
    with pytest.raises(LinAlgError):
        tj.jit(lambda a: np.linalg.inv(a), target="cuda")(cupy.asarray(np.zeros((3, 3))))


@pytest.mark.parametrize("name", ["cholesky", "solve", "det", "cumsum", "cumprod"])
def test_library_calls(cupy: Any, rng: np.random.Generator, name: str) -> None:
    a = rng.normal(size=(60, 60))
    a = a @ a.T / 60 + np.eye(60)
    losses = {
        "cholesky": lambda a: np.linalg.cholesky(a).sum(),
        "solve": lambda a: np.linalg.solve(a, a[::2].T).sum(),
        "det": lambda a: np.linalg.slogdet(a)[1] + np.linalg.det(a),
        "cumsum": lambda a: (np.cumsum(a, axis=0) * a).sum(),
        "cumprod": lambda a: np.cumprod(1 + a, axis=1).mean(),
    }
    check(cupy, losses[name], (a,), 1e-9)


def test_captured_arrays_are_read_where_they_lie(cupy: Any, rng: np.random.Generator) -> None:
    x, kept = rng.normal(size=(2, 1000))
    captured, host = cupy.asarray(np.repeat(kept, 2)), rng.normal(size=1000)
    for use in (lambda x: (x * captured[::2] * host).sum(), lambda x: (captured[::2] * x * host).sum()):
        step = tj.grad_jit(use, target="cuda")
        for _ in range(3):
            host[:] = host + 1.0
            gradient = step(cupy.asarray(x))[1]
            np.testing.assert_allclose(cupy.asnumpy(gradient), kept * host, rtol=1e-13)
    step = tj.jit(lambda x: x * captured, target="cuda")
    for first in (captured, cupy.asarray(np.repeat(kept, 4))[::2], captured[::-1]):
        captured = first
        for _ in range(2):
            found = step(cupy.asarray(np.repeat(x, 2)))
            expected = np.repeat(x, 2) * cupy.asnumpy(first)
            np.testing.assert_allclose(cupy.asnumpy(found), expected, rtol=1e-13)


def test_a_captured_array_that_a_test_read_is_compared(cupy: Any) -> None:
    captured, there = cupy.asarray(np.array([1.0, 2.0])), cupy.asarray(np.ones(3))
    step = tj.jit(lambda x: x * 2 if captured[0] > 1 else x * 3, target="cuda")
    for first, factor in ((1.0, 3.0), (5.0, 2.0), (0.0, 3.0)):
        captured[0] = first
        for _ in range(2):
            np.testing.assert_array_equal(cupy.asnumpy(step(there)), np.full(3, factor))


def test_a_donated_array_is_written_over(cupy: Any, rng: np.random.Generator) -> None:
    w, g = rng.normal(size=(2, 5000))
    step = tj.jit(lambda w, g: w - 0.1 * g, donate="w", target="cuda")
    there, slope = cupy.asarray(w), cupy.asarray(g)
    kept = there
    for _ in range(4):
        there = step(there, slope)
        assert there is kept
        w = w - 0.1 * g
    np.testing.assert_array_equal(cupy.asnumpy(there), w)
    assert step(there[::-1], slope) is not there and step(there, there) is not there
    np.testing.assert_array_equal(cupy.asnumpy(there), w)


def test_tensors_of_torch_and_arrays_of_jax(cupy: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=1000)
    step = tj.grad_jit(lambda x: (x**3).sum(), target="cuda")
    torch = pytest.importorskip("torch")
    gradient = step(torch.as_tensor(x, device="cuda"))[1]
    assert isinstance(gradient, torch.Tensor) and gradient.is_cuda
    np.testing.assert_allclose(gradient.cpu().numpy(), 3 * x * x, rtol=1e-13)
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no device")
    np.testing.assert_allclose(np.asarray(step(jax.numpy.asarray(x))[1]), 3 * x * x, rtol=1e-13)


def test_arrays_of_numpy_are_copied_there_and_back(cupy: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=1000)
    value, gradient = tj.grad_jit(lambda x: (x**3).sum(), target="cuda")(x)
    assert type(value) is np.float64 and type(gradient) is np.ndarray
    np.testing.assert_allclose(gradient, 3 * x * x, rtol=1e-13)
