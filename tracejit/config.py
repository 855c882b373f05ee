"""Every setting of the library as one frozen value, which entry points make and hand down."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tracejit.errors import ArgumentError


def _one_of(*words: str, changes: Literal["nests", "running"] = "nests") -> Any:
    """A choice: its words, the first of which is the default and leaves it to the cost table.

    changes: the loop nests, or how they are run, which has settings of its own in the environment
    """
    return field(default=words[0], metadata={"words": words, "changes": changes})


@dataclass(frozen=True)
class Choices:
    """What the cost table (`costs.py`) decides, case by case, where a field says "auto".

    Any other word forces one answer everywhere: results stay the same up to rounding, only time and memory
    change. `autotune` measures such programs, tests force each in turn, and `TRACEJIT_RECOMPUTE=store` (the
    name of a field in capitals) forces one from outside.

    >>> Choices(recompute="store").words("recompute")
    ('auto', 'store', 'recompute')
    """

    recompute: Literal["auto", "store", "recompute"] = _one_of("auto", "store", "recompute")
    """A result that other kernels need: stored by the one that makes it, or computed again by each reader."""

    repeat: Literal["auto", "store", "recompute"] = _one_of("auto", "store", "recompute")
    """A value that a later pass over a row needs: kept in a scratch row, or computed again."""

    merge: Literal["auto", "always"] = _one_of("auto", "always")
    """Kernels that can share loops: one, unless these would then run across rows of memory; or always one."""

    products: Literal["auto", "library", "loop"] = _one_of("auto", "library", "loop")
    """A matrix product: a call of BLAS, or a loop that fuses with its surroundings."""

    shifted: Literal["auto", "recompute", "ring", "memory"] = _one_of("auto", "recompute", "ring", "memory")
    """A computed array that is read at several offsets, as by a stencil's gradient: computed again by each
    reader, kept in a ring of its latest rows, or stored."""

    states: Literal["auto", "store", "recompute"] = _one_of("auto", "store", "recompute")
    """States of a loop over time that its gradient needs: stored at each step; or at one of several, from
    which the steps up to the next one are run again, as a device does."""

    tile: Literal["auto", "none", "short", "long"] = _one_of(
        "auto", "none", "short", "long", changes="running"
    )
    """Rows that go through the steps of a region together: a quarter of the table's number, or four times as
    many; or every step by itself. `TRACEJIT_TILE` goes before it."""

    threads: Literal["auto", "half", "one"] = _one_of("auto", "half", "one", changes="running")
    """How many of the threads that a call may use are used. Results are the same bits."""

    fuse: Literal["auto", "never"] = _one_of("auto", "never", changes="running")
    """Equations as kernels that are fused, or each as a kernel of its own."""

    def __post_init__(self) -> None:
        for name in self.names():
            if getattr(self, name) not in self.words(name):
                wanted = ", ".join(map(repr, self.words(name)))
                raise ArgumentError(f"{name}={getattr(self, name)!r} is none of {wanted}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What can be chosen."""
        return tuple(f.name for f in fields(cls))

    @classmethod
    def changing(cls, what: Literal["nests", "running"]) -> tuple[str, ...]:
        """Those of `names()` that change the loop nests, or how they are run.

        >>> Choices.changing("running")
        ('tile', 'threads', 'fuse')
        """
        return tuple(f.name for f in fields(cls) if f.metadata["changes"] == what)

    @classmethod
    def words(cls, name: str) -> tuple[str, ...]:
        """The answers that a choice may have, "auto" first."""
        return next(f.metadata["words"] for f in fields(cls) if f.name == name)

    def __str__(self) -> str:
        """Those that are forced.

        >>> print(Choices(products="loop"), Choices())
        products=loop auto
        """
        forced = [f"{n}={getattr(self, n)}" for n in self.names() if getattr(self, n) != self.words(n)[0]]
        return ", ".join(forced) or "auto"


AUTO = Choices()


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

    choices: Choices = AUTO
    """What is forced of that which the cost table decides."""

    target: Literal["cpu", "cuda", "cuda-emu"] = "cpu"
    """Where programs run: this processor, a CUDA device, or CUDA kernels in an emulator."""

    deterministic: bool = True
    """False lets CUDA kernels add floats at places that are data in any order, by atomic instructions."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Config:
        """The defaults, changed by `TRACEJIT_CACHE_DIR` (empty: memory only), `TRACEJIT_CACHE_LIMIT` (bytes)
        `TRACEJIT_FUSE` (0 runs every function unfused), `TRACEJIT_PRINTER` ("numba" compiles the readable
        source), `TRACEJIT_ENTRY` ("python" serves every call by Python), `TRACEJIT_TILE` (rows that run
        through several steps together; 0: none), and a variable for each of `Choices` that changes nests.
        `TRACEJIT_THREADS` is read by `threads_of_environment`.

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
            choices=Choices(
                **{
                    name: _choice(variables, f"TRACEJIT_{name.upper()}", *Choices.words(name))
                    for name in Choices.changing("nests")
                }
            ),
        )


def threads_of_environment(environment: Mapping[str, str] | None = None) -> int | None:
    """What `TRACEJIT_THREADS` says: the number of threads to start from; None where it is not set.

    >>> threads_of_environment({"TRACEJIT_THREADS": "2"}), threads_of_environment({})
    (2, None)
    """
    return _count(os.environ if environment is None else environment, "TRACEJIT_THREADS", 1)


def _choice(variables: Mapping[str, str], name: str, *words: str) -> Any:
    """One of some words; the first where the variable is not set."""
    chosen = variables.get(name, words[0])
    if chosen not in words:
        *others, last = map(repr, words)
        none = f"neither {others[0]}" if len(others) == 1 else f"none of {', '.join(others)}"
        raise ArgumentError(f"{name}={chosen!r} is {none} nor {last}")
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
