"""Memory for temporaries that calls from compiled code keep: a word for each caller, exchanged atomically.

Such code cannot reach the list of `workspace.py`, for it may run without the interpreter. It takes the block
out of its word before it runs and puts it back afterwards; `release` does the same and frees what it finds.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from tracejit.config import Config
from tracejit.runtime.cache import get_machinery
from tracejit.runtime.native import NativeProgram

WORDS: dict[int, Any] = {}
"""By its address, each word that may point to a block no call uses: the first word of a block is its size."""

# `table`: the address of `free`, how many words, their addresses. The bytes that it frees replace the number.
_TEXT = """\
define void @program(ptr %table, ptr %unused) {
entry:
  %free = load ptr, ptr %table, align 8
  %count.at = getelementptr i64, ptr %table, i64 1
  %count = load i64, ptr %count.at, align 8
  %words = getelementptr i64, ptr %table, i64 2
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %tried ]
  %total = phi i64 [ 0, %entry ], [ %sum, %tried ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %try
try:
  %word.at = getelementptr ptr, ptr %words, i64 %k
  %word = load ptr, ptr %word.at, align 8
  %block = atomicrmw xchg ptr %word, ptr null acq_rel, align 8
  %is.none = icmp eq ptr %block, null
  br i1 %is.none, label %tried, label %drop
drop:
  %size = load i64, ptr %block, align 8
  %more = add i64 %total, %size
  call void %free(ptr %block)
  br label %tried
tried:
  %sum = phi i64 [ %total, %try ], [ %more, %drop ]
  %k1 = add i64 %k, 1
  br label %next
done:
  store i64 %total, ptr %count.at, align 8
  ret void
}
"""


@cache
def _code() -> NativeProgram:
    return get_machinery(_TEXT, Config.from_environment())


def release() -> int:
    """Free the blocks that no call uses; returns their bytes.

    The interpreter's lock is held, so that no caller's word goes away meanwhile; calls that run keep theirs.
    """
    if not any(ctypes.c_int64.from_address(address).value for address in tuple(WORDS)):
        return 0
    run = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(_code().address)
    free = ctypes.cast(ctypes.pythonapi.PyMem_RawFree, ctypes.c_void_p).value
    kept = list(WORDS.items())  # holds the words until the end
    table = (ctypes.c_int64 * (2 + len(kept)))(free, len(kept), *[address for address, _ in kept])
    run(ctypes.addressof(table), None)
    return table[1]
