"""What a process needs besides the driver: CuPy's arrays in host memory, launches that are stepped."""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cupy
import numpy as np

from tests.runtime.cuda.memory import Block, block_at, parameter_dtypes, read_parameters, unpacked
from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda import compiler, device
from tracejit.runtime.cuda.compiler import Cubin, CudaDriver
from tracejit.runtime.cuda.emulator import run_launch

DRIVER = ctypes.CDLL("libcuda.so.1")
UNSIGNED = ctypes.POINTER(ctypes.c_uint)
Hook = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, UNSIGNED, UNSIGNED, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
)

# --- memory -------------------------------------------------------------------------------------------------


class Poisoned(cupy.cuda.MemoryPointer):
    """CuPy's pointer to a block; CuPy's own way to fill memory needs a device."""

    def memset(self, value: int, size: int) -> None:
        ctypes.memset(self.ptr, value, size)


class Pool:
    """CuPy's pool, of blocks."""

    def malloc(self, size: int) -> Poisoned:
        block = Block(size)
        return Poisoned(cupy.cuda.UnownedMemory(block.address, block.size, block, 0), 0)


def on_host(x: Any) -> np.ndarray[Any, Any]:
    """`cupy.asnumpy`."""
    return block_at(x.data.ptr).view(x.data.ptr, x.shape, x.dtype, x.strides).copy()


def on_device(x: Any, dtype: Any = None) -> Any:
    """`cupy.asarray`."""
    if isinstance(x, cupy.ndarray):
        return x
    x = np.asarray(x, dtype)
    made = cupy.empty(x.shape, x.dtype)
    ctypes.memmove(made.data.ptr, np.ascontiguousarray(x).ctypes.data, x.nbytes)
    return made


class Stream:
    """CuPy's stream, whose launches are over when they return."""

    current: Any = types.SimpleNamespace(ptr=0)

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = id(self)

    def __enter__(self) -> Stream:
        self.before, Stream.current = Stream.current, self
        return self

    def __exit__(self, *error: Any) -> None:
        Stream.current = self.before

    def synchronize(self) -> None:
        return None


# --- launches -----------------------------------------------------------------------------------------------

_launches: dict[int, Launch] = {}  # by handle of the kernel
_compiled: dict[bytes, Launch] = {}
SEEN: list[tuple[str, int, int]] = []  # name, blocks and stream of all launches so far


def _launched(kernel: int, grid: Any, block: Any, stream: int | None, parameters: Any) -> int:
    try:
        launch = replace(_launches[kernel], blocks=grid[0])
        assert block[0] == launch.threads
        SEEN.append((launch.name, launch.blocks, stream or 0))
        address = ctypes.cast(parameters, ctypes.c_void_p).value
        assert address is not None
        run_launch(launch, unpacked(launch, read_parameters(launch, address)))
    except BaseException as error:  # it cannot go through C
        print(f"a launch failed: {type(error).__name__}: {error}")
        return 719
    return 0


def _remember(find_cubin: Callable[..., Cubin], load: Callable[..., Any]) -> None:
    """Have the driver know what launch a kernel is of."""

    def found(launch: Launch, *others: Any) -> Cubin:
        cubin = find_cubin(launch, *others)
        _compiled[cubin.code] = launch
        return cubin

    def loaded(self: CudaDriver, cubin: Cubin, number: int) -> Any:
        kernel = load(self, cubin, number)
        handle = int(kernel.function)
        launch = _launches[handle] = _compiled[cubin.code]
        sizes = [dtype.itemsize for dtype in parameter_dtypes(launch)]
        DRIVER.stand_in_parameters(ctypes.c_void_p(handle), len(sizes), (ctypes.c_int * len(sizes))(*sizes))
        return kernel

    device.find_cubin, CudaDriver.load = found, loaded


_hook = Hook(_launched)
DRIVER.stand_in_register(_hook)
_remember(device.find_cubin, CudaDriver.load)
cupy.cuda.set_allocator(Pool().malloc)
cupy.cuda.MemoryPool, cupy.cuda.Stream = Pool, Stream
cupy.cuda.runtime.getDevice = lambda: 0
cupy.cuda.get_current_stream = lambda *_: Stream.current
cupy.asarray, cupy.asnumpy = on_device, on_host
compiler.open_driver()
