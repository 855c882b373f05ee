"""Workspaces: memory for the temporary arrays of calls, kept between calls and shared by all programs.

`FREE` holds those that no call uses, the last used one at the end; `calls/results.py` takes from it and gives
back to it in the same way. Whoever runs is alone with what it took, so a process has as many as it had calls
at one time, each as large as the largest program that used it, and together they are bounded.

There is no lock: each step on the list is one operation of the interpreter, so threads lose at worst a
workspace that could have been kept, and a child process has a list of its own.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import numpy as np

from tracejit.codegen.memory_plan import ALIGNMENT
from tracejit.runtime import blocks

KEPT_BYTES = 256 * 2**20  # more is given back to the system when a call ends, the least recently used first

FREE: list[Any] = []
LIMIT = ctypes.c_int64(KEPT_BYTES)  # what compiled code reads


def take(size: int) -> Any:
    """A workspace of at least `size` bytes that no other call uses: uint8, its start on a cache line.

    >>> workspace = take(1000)
    >>> workspace.nbytes >= 1000, workspace.ctypes.data % 64
    (True, 0)
    >>> give(workspace)
    """
    if size <= LIMIT.value:  # a larger one is never kept: what is there serves other calls
        with suppress(IndexError):
            found = FREE.pop()
            if found.nbytes >= size:
                return found
    return aligned(size)


def aligned(size: int) -> Any:
    """Fresh memory of `size` bytes whose start lies on a cache line: NumPy's lies on 16 bytes."""
    memory = np.empty(size + ALIGNMENT - 1, np.uint8)
    shift = -memory.ctypes.data % ALIGNMENT
    return memory[shift : shift + size]


def give(workspace: Any) -> None:
    """The call is over: keep its workspace, and let go of the least recently used ones above the limit."""
    if workspace.nbytes > LIMIT.value:
        return
    FREE.append(workspace)
    with suppress(IndexError):  # another thread may have let go of them
        while kept_bytes() > LIMIT.value:
            FREE.pop(0)


def kept_bytes() -> int:
    """Bytes of all workspaces that no call uses now."""
    return sum(w.nbytes for w in tuple(FREE))


def release_memory() -> int:
    """Give the memory that is kept for temporary arrays back to the system; returns its bytes.

    Calls keep one workspace for each thread that calls at the same time, at most 256 MiB in all; and each
    function that compiled code calls (`@njit`, `tj.cfunc`) keeps one. Running calls are not disturbed, and
    the next call allocates anew.

    >>> import tracejit as tj
    >>> _ = tj.jit(np.tanh, fuse=False)(np.ones(1000))  # no temporary arrays: results are never kept
    >>> freed = tj.release_memory()
    >>> tj.release_memory()
    0
    """
    released = 0
    with suppress(IndexError):
        while True:
            released += FREE.pop().nbytes
    return released + blocks.release()
