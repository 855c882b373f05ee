"""Device memory that is the host's, and what launches are given there."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.codegen.cuda.launches import Launch

ALIGNED = 256

_blocks: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()


class Block:
    """A piece of device memory, on a device; what is fresh is poisoned."""

    def __init__(self, size: int, number: int = 0) -> None:
        self.bytes = np.full(max(size, 1) + ALIGNED, 0xFF, np.uint8)
        self.start = -self.bytes.ctypes.data % ALIGNED
        self.address = self.bytes.ctypes.data + self.start
        self.size, self.number = max(size, 1), number
        _blocks[self.address] = self

    def view(self, address: int, shape: Any, dtype: Any, strides: Any = None) -> np.ndarray[Any, Any]:
        offset = self.start + address - self.address
        return np.ndarray(shape, dtype, self.bytes, offset, strides)

    def around(self, address: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The memory around an address as the emulator takes it: what is before it, and what is behind."""
        size = dtype.itemsize
        shape = (address - self.address) // size + 1, (self.address + self.size - address) // size
        return self.view(address, shape, dtype, (-size, size))


def block_at(address: int) -> Block:
    found = [b for b in _blocks.values() if b.address <= address < b.address + b.size]
    assert len(found) == 1, f"address {address} is in {len(found)} pieces of device memory"
    return found[0]


def block_of(array: np.ndarray[Any, Any]) -> Block | None:
    """The piece that an array of the host lies in."""
    return next((b for b in list(_blocks.values()) if np.may_share_memory(array, b.bytes)), None)


def parameter_dtypes(launch: Launch) -> list[np.dtype[Any]]:
    """Of all parameters of the compiled kernel; addresses are 64 bits."""
    found: list[np.dtype[Any]] = []
    for kind in launch.parameters:  # Numba's arrays are seven parameters, the fifth of them the address
        names = ["uint64"] * 7 if kind.endswith("[]") else ["uint64" if kind[0] == "*" else kind]
        found += map(np.dtype, names)
    return found


def read_parameters(launch: Launch, address: int) -> list[Any]:
    """The arguments of a launch from where pointers to its parameters are; addresses as integers."""
    dtypes = parameter_dtypes(launch)
    pointers = (ctypes.c_uint64 * len(dtypes)).from_address(address)
    values = (
        np.frombuffer(ctypes.string_at(pointer, dtype.itemsize), dtype)[0]
        for dtype, pointer in zip(dtypes, pointers, strict=True)
    )
    found: list[Any] = []
    for kind in launch.parameters:
        if kind.endswith("[]"):
            item = np.dtype(kind[:-2]).itemsize
            *owners, n, size, at, elements, step = (next(values) for _ in range(7))
            assert (owners, n, size, elements, step) == ([0, 0], 1, item, 1, item)
            found.append(int(at))
        else:
            found.append(int(next(values)) if kind[0] == "*" else next(values))
    return found


def unpacked(launch: Launch, given: Sequence[Any], number: int = 0) -> list[Any]:
    """Arguments as the emulator takes them: for an address, the memory around it, which is on one device."""
    found: list[Any] = []
    for kind, slot, x in zip(launch.parameters, launch.slots, given, strict=True):
        if kind[0] == "*" or kind.endswith("[]"):
            block = block_at(x)
            assert block.number == number, "memory of another device"
            around = block.around(x, np.dtype(kind.strip("*[]")))
            found.append(around[0] if slot[0] == "status" else around)
        else:
            assert type(x) is np.dtype(kind).type, (kind, type(x))
            found.append(x)
    return found
