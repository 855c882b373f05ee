"""The kernel in C++: it compiles for a device, and threads of this processor compute the right thing."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from benchmarks.gpu.cpp_kernel import EMPTY, compile_by_nvcc, compile_by_nvrtc, text_of
from benchmarks.gpu.rows import _bce_by_hand
from benchmarks.gpu.toolkit import toolkit_program

# CUDA's words for threads of this processor: a block is 256 of them, blocks run one after another.
PRELUDE = r"""
#include <algorithm>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
using std::exp; using std::fabs; using std::fmax; using std::log1p;
struct Dim { int x; };
static thread_local Dim threadIdx;
static Dim blockIdx, gridDim;
static std::barrier<> meeting(256);
static double exchange[256];
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __shared__ static
#define __syncthreads() meeting.arrive_and_wait()
#define __threadfence()
static int atomicAdd(int* p, int x) { int before = *p; *p += x; return before; }
template <class T> T __shfl_xor_sync(unsigned, T x, int d) {
    exchange[threadIdx.x] = x;
    meeting.arrive_and_wait();
    T other = (T)exchange[threadIdx.x ^ d];
    meeting.arrive_and_wait();
    return other;
}
"""
CALL = r"""
extern "C" void run(
    int blocks, const real* z, const real* y, real* g, real* v, real* p, int* t, long long n, real s
) {
    gridDim.x = blocks;
    for (int b = 0; b < blocks; b++) {
        blockIdx.x = b;
        std::vector<std::thread> all;
        for (int k = 0; k < 256; k++)
            all.emplace_back([=] { threadIdx.x = k; bce(z, y, g, v, p, t, n, s); });
        for (auto& one : all) one.join();
    }
}
"""


@pytest.mark.cuda_compile
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("compiler", [compile_by_nvrtc, compile_by_nvcc])
def test_it_compiles_without_a_device(compiler, dtype: str) -> None:
    if compiler is compile_by_nvcc:
        if toolkit_program("nvcc") is None:
            pytest.skip("nvcc is not found")
    else:
        pytest.importorskip("cuda.core", reason="cuda-core is not installed")
        assert compiler(EMPTY, (9, 0))[:4] == b"\x7fELF"
    for architecture in ((8, 0), (9, 0)):
        assert compiler(text_of(dtype), architecture)[:4] == b"\x7fELF"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on the path")
    folder, found = tmp_path_factory.mktemp("cpp"), {}
    for dtype in ("float32", "float64"):
        path, library = folder / f"{dtype}.cpp", folder / f"{dtype}.so"
        path.write_text(PRELUDE + text_of(dtype) + CALL, encoding="utf-8")
        flags = ["-std=c++20", "-O1", "-shared", "-fPIC", "-pthread"]
        done = subprocess.run(
            ["g++", *flags, "-o", str(library), str(path)], capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            pytest.skip(f"g++ does not take C++20: {done.stderr[-500:]}")
        found[dtype] = ctypes.CDLL(str(library))
    return found


@pytest.mark.parametrize("n", [1, 255, 1025, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_of_this_processor_compute_the_right_thing(
    libraries: dict[str, ctypes.CDLL], rng: np.random.Generator, dtype: str, n: int
) -> None:
    z, y = rng.normal(size=n).astype(dtype), (rng.random(n) > 0.5).astype(dtype)
    blocks = -(-n // 1024)
    gradient, value, partial = np.full(n, np.nan, dtype), np.full((), np.nan, dtype), np.empty(blocks, dtype)
    ticket = np.zeros(1, np.int32)
    number = ctypes.c_float if dtype == "float32" else ctypes.c_double
    for _ in range(2):  # the ticket is as it was
        arrays = [ctypes.c_void_p(x.ctypes.data) for x in (z, y, gradient, value, partial, ticket)]
        libraries[dtype].run(blocks, *arrays, ctypes.c_longlong(n), number(1 / n))
    wanted, (slope,) = _bce_by_hand(z.astype(float), y.astype(float))
    rtol = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(value, wanted, rtol=rtol)
    np.testing.assert_allclose(gradient, slope, rtol=rtol, atol=rtol / n)
    assert ticket[0] == 0
