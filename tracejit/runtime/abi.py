"""Where an array object keeps the address of its data, checked before it is relied on."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

# Of 64-bit CPython, behind what all objects begin with: the data pointer of an array, a number, a cell, the
# size of a tuple, list or dict.
CONTENT = 16


@cache
def offsets_hold() -> bool:
    """Does an array object keep its data pointer where the kernels look for it?"""
    probe = np.arange(3.0)
    try:
        return ctypes.c_void_p.from_address(id(probe) + CONTENT).value == probe.ctypes.data
    except (ValueError, TypeError):
        return False


def cell_address(array: Any, keep: list[Any]) -> int:
    """An address such that the word at `address + CONTENT` is the data pointer, where objects differ.

    `keep` holds what must stay alive during the call.
    """
    cell = ctypes.c_void_p(array.ctypes.data)
    keep.append(cell)
    return ctypes.addressof(cell) - CONTENT
