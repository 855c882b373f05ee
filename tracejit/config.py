"""Every setting of the library as one frozen value, which entry points make and hand down."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tracejit.errors import ArgumentError


@dataclass(frozen=True)
class Config:
    """How programs are traced, fused, compiled and kept.

    Nothing below the entry points reads the environment: they call `Config.from_environment()` once and pass
    the value on, changed with `dataclasses.replace` where the user asks for something else.

    >>> Config(fuse=False).literal_limit
    4
    """

    cache_dir: Path | None = None
    """Folder of compiled programs; None keeps them in memory only."""

    cache_limit_bytes: int = 512 * 2**20
    """The oldest entries of the folder are deleted above this size, which is looked at now and then."""

    fuse: bool = True
    """Join equations into kernels; False runs one kernel per equation, to tell a fusion bug from another."""

    literal_limit: int = 4
    """Extents up to this many elements are written into the code; longer ones are run-time sizes."""

    printer: Literal["llvm", "numba"] = "llvm"
    """What kernels are compiled from: vector LLVM IR, or the readable source, by way of Numba."""

    entry: Literal["native", "python"] = "native"
    """How repeated calls are served: by compiled code, or by Python, to tell a fault of one from another."""

    threads: int | None = None
    """Threads that one call may use; None: as many as `get_threads()` says at the time of the call."""

    tile: int | None = None
    """Rows that go through a region's steps together; None chooses by size, 0 runs every step by itself."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Config:
        """The defaults, changed by `TRACEJIT_CACHE_DIR` (empty: memory only), `TRACEJIT_CACHE_LIMIT` (bytes)
        `TRACEJIT_FUSE` (0 runs every function unfused), `TRACEJIT_PRINTER` ("numba" compiles the readable
        source), `TRACEJIT_ENTRY` ("python" serves every call by Python) and `TRACEJIT_TILE` (rows that
        run through several steps together; 0: none). `TRACEJIT_THREADS` is read by `threads_of_environment`.

        >>> Config.from_environment({"TRACEJIT_CACHE_DIR": "", "TRACEJIT_FUSE": "0"}).fuse
        False
        """
        variables = os.environ if environment is None else environment
        folder = variables.get("TRACEJIT_CACHE_DIR")
        return cls(
            cache_dir=_user_cache_dir(variables) if folder is None else Path(folder) if folder else None,
            cache_limit_bytes=_whole_number(variables, "TRACEJIT_CACHE_LIMIT", cls.cache_limit_bytes),
            fuse=bool(_whole_number(variables, "TRACEJIT_FUSE", 1)),
            printer=_choice(variables, "TRACEJIT_PRINTER", "llvm", "numba"),
            entry=_choice(variables, "TRACEJIT_ENTRY", "native", "python"),
            tile=_count(variables, "TRACEJIT_TILE", 0),
        )


def threads_of_environment(environment: Mapping[str, str] | None = None) -> int | None:
    """What `TRACEJIT_THREADS` says: the number of threads to start from; None where it is not set.

    >>> threads_of_environment({"TRACEJIT_THREADS": "2"}), threads_of_environment({})
    (2, None)
    """
    return _count(os.environ if environment is None else environment, "TRACEJIT_THREADS", 1)


def _choice(variables: Mapping[str, str], name: str, default: str, other: str) -> Any:
    """One of two words; the first where the variable is not set."""
    chosen = variables.get(name, default)
    if chosen not in (default, other):
        raise ArgumentError(f"{name}={chosen!r} is neither {default!r} nor {other!r}")
    return chosen


def _whole_number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"{name}={text!r} is not a whole number") from None


def _count(variables: Mapping[str, str], name: str, least: int) -> int | None:
    if name not in variables:
        return None
    count = _whole_number(variables, name, least)
    if count < least:
        raise ArgumentError(f"{name}={variables[name]!r} is below {least}")
    return count


def _user_cache_dir(variables: Mapping[str, str]) -> Path | None:
    """The platform's folder for this user's caches; None where no home is known."""
    if sys.platform == "win32":
        local = variables.get("LOCALAPPDATA")
        return Path(local) / "tracejit" / "cache" if local else None
    chosen = variables.get("XDG_CACHE_HOME")
    if chosen and os.path.isabs(chosen):
        return Path(chosen) / "tracejit"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tracejit"
