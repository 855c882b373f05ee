"""The process's pool: made when the first program that needs it is loaded; LLVM knows it by two symbols."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import time
from functools import cache
from typing import Any, NamedTuple

from tracejit.config import Config
from tracejit.runtime.cache import get_machinery
from tracejit.runtime.native import LOCK, MissingSymbolError, NativeProgram
from tracejit.runtime.threads import module
from tracejit.runtime.threads.processors import available_threads

SYMBOL, AWAIT = "tj_parallel", "tj_await"

# How long a thread that waits looks for news before it sleeps, where there is a processor for each thread.
SPIN_NANOSECONDS = 30_000

_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")


class Pool(NamedTuple):
    """Addresses in the code of the pool; `reset` and `state` are 0 where tasks run one after the other."""

    parallel: int
    wait: int
    reset: int
    state: int


def provide(symbols: tuple[str, ...], config: Config) -> None:
    """Tell LLVM where `tj_parallel` and `tj_await` are, if a program calls the first; before loading.

    `config` names the folder that keeps the pool's own machine code.
    """
    if SYMBOL not in symbols:
        return
    import llvmlite.binding as llvm

    pool = the_pool(config)
    llvm.add_symbol(SYMBOL, pool.parallel)
    llvm.add_symbol(AWAIT, pool.wait)


def pool_size() -> int:
    """How many workers this process has now, besides the threads that call."""
    return sum(_read(pool.state, module.CREATED, ctypes.c_int32).value for pool in _pools if pool.state)


_pools: list[Pool] = []
_limit = [2**30]  # threads of calls that take the process's number; kept for a pool that is made later


def limit_pool(threads: int) -> None:
    """The number of threads that calls with a negative number may use at most."""
    _limit[0] = threads
    for pool in _pools:
        _write_limit(pool)


def _write_limit(pool: Pool) -> None:
    if pool.state:
        _read(pool.state, module.LIMIT, ctypes.c_int64).value = _limit[0]


def the_pool(config: Config) -> Pool:
    """The pool of this process."""
    if not _pools:
        with LOCK:
            if not _pools:
                _pools.append(make_pool(config))
    return _pools[0]


def make_pool(config: Config) -> Pool:
    """A pool, without threads so far; one that has none where the platform lacks what they need."""
    program = _threaded(config) or get_machinery(module.serial_text(), config)
    table = (ctypes.c_int64 * 4)()
    program(ctypes.addressof(table), 0)
    pool = Pool(*table)
    if pool.state:
        _read(pool.state, module.SPIN, ctypes.c_int64).value = SPIN_NANOSECONDS
        _read(pool.state, module.PROCESSORS, ctypes.c_int64).value = available_threads()
        _write_limit(pool)
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(pool.reset))
    # Never given back: workers are inside of this code until the process ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(program))
    return pool


def _threaded(config: Config) -> NativeProgram | None:
    if not has_posix_threads():
        return None
    try:
        return get_machinery(module.module_text(this_platform()), config)
    except MissingSymbolError:
        return None


def has_posix_threads() -> bool:
    """May the C library have what the pool calls? Its linker has the last word."""
    names = ((os, "register_at_fork"), (time, "CLOCK_MONOTONIC"), (signal, "SIG_SETMASK"))
    return os.name == "posix" and ctypes.sizeof(ctypes.c_void_p) == 8 and all(hasattr(*n) for n in names)


@cache
def this_platform() -> module.Platform:
    """What the pool's text must know of this machine."""
    faults = tuple(int(getattr(signal, name)) for name in _FAULTS if hasattr(signal, name))
    return module.Platform(platform.machine(), time.CLOCK_MONOTONIC, int(signal.SIG_SETMASK), faults)


def _read(state: int, offset: int, kind: Any) -> Any:
    """A word of the state, to read and to write."""
    return kind.from_address(state + offset)
