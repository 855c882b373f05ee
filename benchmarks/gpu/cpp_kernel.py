"""Binary cross-entropy with logits and its gradient, written by hand in CUDA C++: what can be had.

One launch: each thread loads four elements apart, adds up its losses, and the block that is done last totals
those of all blocks in order. NVRTC or nvcc makes the machine code; neither needs a device.
"""

from __future__ import annotations

import subprocess
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.toolkit import toolkit_program

THREADS, UNROLLED, BLOCKS_PER_MULTIPROCESSOR = 256, 4, 8

# REAL is float or double. Blocks leave their sums in `partial`; `ticket` is 0 before and after each launch.
SOURCE = r"""
typedef REAL real;

__device__ __forceinline__ real block_sum(real x, real* shared) {
    for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
    for (int k = 0; k < THREADS / 32; k++) x += shared[k];
    __syncthreads();
    return x;
}

extern "C" __global__ void __launch_bounds__(THREADS) bce(
    const real* __restrict__ z, const real* __restrict__ y, real* __restrict__ gradient,
    real* __restrict__ value, real* partial, int* ticket, long long n, real scale
) {
    __shared__ real shared[THREADS / 32];
    __shared__ int number;
    real sum = 0;
    const long long stride = (long long)gridDim.x * THREADS * UNROLLED;
    long long start = (long long)blockIdx.x * THREADS * UNROLLED + threadIdx.x;
    for (; start < n; start += stride) {
        real a[UNROLLED], b[UNROLLED];
        #pragma unroll
        for (int k = 0; k < UNROLLED; k++) {
            const long long i = start + k * THREADS;
            a[k] = i < n ? z[i] : real(0);
            b[k] = i < n ? y[i] : real(0);
        }
        #pragma unroll
        for (int k = 0; k < UNROLLED; k++) {
            const long long i = start + k * THREADS;
            const real e = exp(-fabs(a[k]));
            if (i < n) {
                sum += fmax(a[k], real(0)) - b[k] * a[k] + log1p(e);
                gradient[i] = ((a[k] >= 0 ? real(1) : e) / (1 + e) - b[k]) * scale;
            }
        }
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        number = atomicAdd(ticket, 1);
    }
    __syncthreads();
    if (number != (int)gridDim.x - 1) return;
    __threadfence();
    sum = 0;
    for (int k = threadIdx.x; k < (int)gridDim.x; k += THREADS) sum += ((volatile real*)partial)[k];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        value[0] = sum * scale;
        ticket[0] = 0;
    }
}
"""
EMPTY = 'extern "C" __global__ void empty(float* a, float* b, float* c) {}\n'


def text_of(dtype: str) -> str:
    """The source with its macros, for float32 or float64."""
    real = {"float32": "float", "float64": "double"}[dtype]
    defined = {"REAL": real, "THREADS": THREADS, "UNROLLED": UNROLLED}
    return "".join(f"#define {name} {value}\n" for name, value in defined.items()) + SOURCE


def compile_by_nvrtc(text: str, architecture: tuple[int, int]) -> bytes:
    """A cubin for a compute capability such as (9, 0)."""
    core = import_module("cuda.core")
    options = core.ProgramOptions(arch=f"sm_{architecture[0]}{architecture[1]}", std="c++17")
    return core.Program(text, "c++", options).compile("cubin").code


def compile_by_nvcc(text: str, architecture: tuple[int, int]) -> bytes:
    """The same by the toolkit's compiler."""
    nvcc = toolkit_program("nvcc")
    assert nvcc is not None
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.cu", Path(folder) / "kernel.cubin"
        source.write_text(text, encoding="utf-8")
        arch = f"-arch=sm_{architecture[0]}{architecture[1]}"
        command = [nvcc, "-cubin", arch, "-O3", "-std=c++17", "-o", str(cubin), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return cubin.read_bytes()


def load(driver: Any, code: bytes, name: str) -> Any:
    """A kernel of a cubin, by cuda.core, in the context that CuPy uses."""
    driver.use(0)
    return driver.core.ObjectCode.from_cubin(code).get_kernel(name)


COMPILERS = {"nvrtc": compile_by_nvrtc, "nvcc": compile_by_nvcc}


class CppStep:
    """The step as a call: CuPy's arrays in, `(value, (gradient,))` out."""

    def __init__(self, library: Any, compiler: str) -> None:
        self.library, self.compiler = library, compiler
        self.kernels: dict[str, Any] = {}
        self.most = BLOCKS_PER_MULTIPROCESSOR * int(library.describe()["multiprocessors"])
        self.ticket = library.array(np.zeros(1, np.int32))

    def kernel(self, dtype: str) -> Any:
        found = self.kernels.get(dtype)
        if found is None:
            driver = self.library.driver
            code = COMPILERS[self.compiler](text_of(dtype), driver.architecture(0))
            found = self.kernels[dtype] = load(driver, code, "bce")
        return found

    def __call__(self, z: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
        xp, core, n = self.library.xp, self.library.driver.core, z.size
        kernel = self.kernel(z.dtype.name)
        blocks = max(1, min(-(-n // (THREADS * UNROLLED)), self.most))
        gradient, value, partial = (xp.empty(shape, z.dtype) for shape in (z.shape, (), (blocks,)))
        arrays = (z, y, gradient, value, partial, self.ticket)
        arguments = [*(x.data.ptr for x in arrays), np.int64(n), z.dtype.type(1.0 / n)]
        handle = xp.cuda.get_current_stream().ptr
        stream = core.Stream.from_handle(handle) if handle else core.LEGACY_DEFAULT_STREAM
        core.launch(stream, core.LaunchConfig(grid=blocks, block=THREADS), kernel, *arguments)
        return value, (gradient,)
