"""BLAS held at one thread while compiled programs call it, so that its threads and ours never compete.

OpenBLAS has one number of threads for the process. The first program to call BLAS sets it to 1, the last one
to return restores it: `tj_hold_blas` and `tj_release_blas`, which programs call around their work.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tracejit.config import Config
from tracejit.runtime.cache import get_machinery
from tracejit.runtime.native import LOCK

HOLD, RELEASE = "tj_hold_blas", "tj_release_blas"

# Prefixes and suffixes with which builds of OpenBLAS decorate their names; SciPy's wheels have the first.
_DECORATIONS = (("scipy_", ""), ("", ""), ("scipy_", "64_"), ("", "64_"), ("", "_64"))

_TEXT = """\
@lock = internal global i32 0
@holders = internal global i64 0
@saved = internal global i32 1
@get = internal global ptr null
@set = internal global ptr null

define internal void @enter() alwaysinline {
entry:
  br label %spin
spin:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %is_ours = extractvalue { i32, i1 } %pair, 1
  br i1 %is_ours, label %done, label %spin
done:
  ret void
}

define internal void @hold() {
entry:
  call void @enter()
  %holders = load i64, ptr @holders, align 8
  %more = add i64 %holders, 1
  store i64 %more, ptr @holders, align 8
  %is_first = icmp eq i64 %holders, 0
  br i1 %is_first, label %first, label %done
first:
  %get = load ptr, ptr @get, align 8
  %threads = call i32 %get()
  store i32 %threads, ptr @saved, align 4
  %several = icmp sgt i32 %threads, 1
  br i1 %several, label %change, label %done
change:
  %set = load ptr, ptr @set, align 8
  call void %set(i32 1)
  br label %done
done:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define internal void @release() {
entry:
  call void @enter()
  %holders = load i64, ptr @holders, align 8
  %fewer = sub i64 %holders, 1
  store i64 %fewer, ptr @holders, align 8
  %is_last = icmp eq i64 %fewer, 0
  br i1 %is_last, label %last, label %done
last:
  call void @restore()
  br label %done
done:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define internal void @restore() {
entry:
  %saved = load i32, ptr @saved, align 4
  %several = icmp sgt i32 %saved, 1
  br i1 %several, label %change, label %done
change:
  %set = load ptr, ptr @set, align 8
  call void %set(i32 %saved)
  br label %done
done:
  ret void
}

; In the child of a fork no other thread is left that would let go.
define internal void @reset() {
entry:
  %holders = load i64, ptr @holders, align 8
  %was_held = icmp sgt i64 %holders, 0
  store i64 0, ptr @holders, align 8
  store i32 0, ptr @lock, align 4
  br i1 %was_held, label %held, label %done
held:
  call void @restore()
  br label %done
done:
  ret void
}

define internal void @nothing() {
  ret void
}

define void @program(ptr %table, ptr %unused) {
entry:
  %get = load ptr, ptr %table, align 8
  store ptr %get, ptr @get, align 8
  %place = getelementptr ptr, ptr %table, i64 1
  %set = load ptr, ptr %place, align 8
  store ptr %set, ptr @set, align 8
  %is_known = icmp ne ptr %get, null
  %hold = select i1 %is_known, ptr @hold, ptr @nothing
  %release = select i1 %is_known, ptr @release, ptr @nothing
  store ptr %hold, ptr %table, align 8
  store ptr %release, ptr %place, align 8
  %last = getelementptr ptr, ptr %table, i64 2
  store ptr @reset, ptr %last, align 8
  ret void
}
"""


def provide_hold(config: Config) -> None:
    """Tell LLVM where the two functions are; BLAS has been loaded before."""
    import llvmlite.binding as llvm

    hold, release = _the_hold(config)
    llvm.add_symbol(HOLD, hold)
    llvm.add_symbol(RELEASE, release)


_made: list[tuple[int, int]] = []


def _the_hold(config: Config) -> tuple[int, int]:
    with LOCK:
        if not _made:
            program = get_machinery(_TEXT, config)
            get, set_ = _functions()
            table = (ctypes.c_int64 * 3)(get, set_, 0)
            program(ctypes.addressof(table), 0)
            hold, release, reset = table
            if get and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(reset))
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(program))  # its code is called to the end
            _made.append((hold, release))
    return _made[0]


@cache
def _functions() -> tuple[int, int]:
    """The functions of SciPy's BLAS that get and set its number of threads; 0 where it has none."""
    for path in _loaded_libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for before, after in _DECORATIONS:
            names = [f"{before}openblas_{verb}_num_threads{after}" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                get, set_ = (ctypes.cast(getattr(library, n), ctypes.c_void_p).value for n in names)
                return get or 0, set_ or 0
    return 0, 0


def _loaded_libraries() -> Iterator[str]:
    """OpenBLAS as SciPy has it: in its wheel's folder, or, on Linux, as the process has it loaded."""
    scipy = sys.modules.get("scipy")
    if scipy is not None and scipy.__file__:
        home = Path(scipy.__file__).parent
        for folder in (home.parent / "scipy.libs", home / ".dylibs"):
            yield from sorted(str(p) for p in folder.glob("*openblas*"))
    maps = Path("/proc/self/maps")
    if maps.exists():
        lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
        paths = [line.split(maxsplit=5)[5] for line in lines if line.count("/") and "openblas" in line]
        yield from (p for p in dict.fromkeys(paths) if "numpy" not in p)
