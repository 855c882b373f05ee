"""Programs run as plain Python in place of machine code, every access of memory checked.

`plain_kernels` makes executables run the printed source as it stands: fast to make, slow to run, and an index
that leaves its array fails the test instead of reading what lies there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit import compile
from tracejit.codegen import numba_source, scalar_library
from tracejit.codegen.regions import Execution
from tracejit.codegen.scalar_library import FLOAT_DTYPES, INTEGER_DTYPES, Memory
from tracejit.runtime import executable
from tracejit.runtime.abi import CONTENT, offsets_hold

DTYPES = {**INTEGER_DTYPES, **FLOAT_DTYPES, "bool": "uint8"}


class Address(int):
    """The address of data and the bytes from `low` to `high` that may be touched through it."""

    low: int
    high: int

    @staticmethod
    def of(place: int, low: int, high: int) -> Address:
        address = Address(place)
        address.low, address.high = low, high
        return address

    def __add__(self, offset: int) -> Address:
        return Address.of(int(self) + int(offset), self.low, self.high)


class ArrayObject:
    """The word of an array object that holds where its data is."""

    def __init__(self, address: int) -> None:
        self.array = ctypes.cast(int(address) - CONTENT, ctypes.py_object).value

    def __getitem__(self, index: int) -> Address:
        assert index == 0
        data = self.array.ctypes.data
        low, high = np.lib.array_utils.byte_bounds(self.array) if self.array.size else (data, data)
        return Address.of(data, low, high)


class CheckedMemory(Memory):
    """Memory of one array."""

    def __init__(self, address: Address, dtype: str) -> None:
        super().__init__(address, dtype)
        self.bounds = address.low, address.high

    def _at(self, index: int) -> Any:
        place = self._address + int(index) * self._size
        low, high = self.bounds
        assert low <= place and place + self._size <= high, f"element {index} lies outside of its array"
        return super()._at(index)


class Readable:
    """The readable source in place of LLVM's."""

    @staticmethod
    def print_program(*arguments: Any, register_bytes: int) -> Any:
        return numba_source.print_program(*arguments)


class PlainProgram:
    """Stands in for a `NativeProgram`."""

    def __init__(self, source: str) -> None:
        self._run = scalar_library.plain_program(source)

    def entry(self, table: bytes, constants: int) -> None:
        self._run(np.frombuffer(table, np.int64), constants)


def _pointer(dtype: str) -> Callable[[Any], Any]:
    def pointer(address: Any) -> Any:
        if isinstance(address, np.ndarray):  # the tables themselves
            return address
        if isinstance(address, Address):
            return CheckedMemory(address, dtype)
        return ArrayObject(address) if dtype == "int64" else Memory(address, dtype)

    return pointer


@pytest.fixture
def plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executables run printed source in plain Python, with checked memory."""
    if not offsets_hold():
        pytest.skip("array objects look different here")
    original = scalar_library.plain_namespace
    checked = {f"ptr_{short}": _pointer(dtype) for short, dtype in DTYPES.items()}
    monkeypatch.setattr(scalar_library, "plain_namespace", lambda: {**original(), **checked})
    monkeypatch.setattr(executable, "llvm", Readable)
    monkeypatch.setattr(compile, "choose", lambda schedule, config: Execution())
    monkeypatch.setattr(
        executable, "get_program", lambda source, config, language: (PlainProgram(source), "memory")
    )
