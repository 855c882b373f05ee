"""What a process needs besides the driver: CuPy's arrays in host memory, launches that are stepped."""

from __future__ import annotations

import ctypes
import types
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cupy
import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda import compiler, device
from tracejit.runtime.cuda.compiler import Cubin, CudaDriver
from tracejit.runtime.cuda.emulator import run_launch

ALIGNED = 256
DRIVER = ctypes.CDLL("libcuda.so.1")
UNSIGNED = ctypes.POINTER(ctypes.c_uint)
Hook = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, UNSIGNED, UNSIGNED, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
)

# --- memory -------------------------------------------------------------------------------------------------

_blocks: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()


class Block:
    """A piece of what stands for device memory, poisoned."""

    def __init__(self, size: int) -> None:
        self.bytes = np.full(max(size, 1) + ALIGNED, 0xFF, np.uint8)
        self.start = -self.bytes.ctypes.data % ALIGNED
        self.address, self.size = self.bytes.ctypes.data + self.start, max(size, 1)
        _blocks[self.address] = self

    def around(self, address: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The memory around an address as the emulator takes it: what is before it, and what is behind."""
        size, offset = dtype.itemsize, address - self.address
        shape = (offset // size + 1, (self.size - offset) // size)
        return np.ndarray(shape, dtype, self.bytes, self.start + offset, (-size, size))


def block_at(address: int) -> Block:
    found = [b for b in _blocks.values() if b.address <= address < b.address + b.size]
    assert len(found) == 1, f"address {address} is in {len(found)} pieces of memory"
    return found[0]


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
    block = block_at(x.data.ptr)
    offset = block.start + x.data.ptr - block.address
    return np.ndarray(x.shape, x.dtype, block.bytes, offset, x.strides).copy()


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
        places = iter(parameters[k] for k in range(len(_sizes(launch))))
        arguments: list[Any] = []
        for kind, slot in zip(launch.parameters, launch.slots, strict=True):
            if slot == ("status",):
                arguments.append(_address(next(places), kind)[0])
            elif kind.endswith("[]"):  # Numba's arrays are seven parameters, the fifth of them the address
                arguments.append(_address([next(places) for _ in range(7)][4], kind))
            elif kind[0] == "*":
                arguments.append(_address(next(places), kind))
            else:
                dtype = np.dtype(kind)
                arguments.append(np.frombuffer(ctypes.string_at(next(places), dtype.itemsize), dtype)[0])
        run_launch(launch, arguments)
    except BaseException as error:  # it cannot go through C
        print(f"a launch failed: {type(error).__name__}: {error}")
        return 719
    return 0


def _address(place: int, kind: str) -> np.ndarray[Any, Any]:
    address = ctypes.c_int64.from_address(place).value
    return block_at(address).around(address, np.dtype(kind.strip("*[]")))


def _sizes(launch: Launch) -> list[int]:
    """Bytes of all parameters of a kernel."""
    sizes: list[int] = []
    for kind in launch.parameters:
        if kind.endswith("[]"):
            sizes += [8] * 7
        else:
            sizes.append(8 if kind[0] == "*" else np.dtype(kind).itemsize)
    return sizes


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
        sizes = _sizes(launch)
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
