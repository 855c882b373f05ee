"""Kernel source enters, a loaded program leaves: from memory, from object code on disk, or compiled now.

An entry on disk is a magic line, a JSON header and the bytes of a `Record`; it is checked in full before use
and nothing of it is unpickled. Whatever is wrong with the folder costs speed and one warning, never a result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import sys
import tempfile
import threading
import time
import tokenize
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from tracejit.config import Config
from tracejit.errors import CacheWarning, InternalError
from tracejit.runtime import native, stats
from tracejit.runtime.native import MissingSymbolError, NativeProgram, Record

Origin = Literal["memory", "disk", "compiled"]
Language = Literal["llvm", "numba"]

MAGIC = b"tracejit object code 2\n"
SUFFIX = ".tjo"
SOURCES: dict[Language, str] = {"llvm": ".ll", "numba": ".py"}  # of the text that is kept beside the code
# One new entry in so many, by its key, looks whether the folder is too big: reading a folder of thousands
# takes longer than compiling a small program.
SWEEP_EVERY = 16
_STALE_SECONDS = 3600.0  # a temporary file this old was left behind by a process that died

T = TypeVar("T")

_programs: dict[str, NativeProgram] = {}
_key_locks: dict[str, threading.Lock] = {}
_state_lock = threading.Lock()
_warned: set[str] = set()


class DamagedEntryError(Exception):
    """An entry that is not what this version wrote for this key; the message says why."""


def get_program(
    source: str, config: Config | None = None, language: Language = "numba"
) -> tuple[NativeProgram, Origin]:
    """The program that kernel source, or the text of an LLVM module, describes, and where it came from.

    Many threads asking for one source compile it once. `config` names the folder and its size limit;
    without it the environment does.

    >>> source = "def program(ip, fp):\\n    ptr_f64(ip[0])[0] = fp[0]"
    >>> program, _ = get_program(source, Config())
    >>> get_program(source + "  # the same program", Config())[1]
    'memory'
    """
    key = program_key(source, language)
    found = _programs.get(key)
    if found is not None:
        stats.record("hits")
        return found, "memory"
    try:
        with _lock_of(key):
            found = _programs.get(key)
            if found is not None:
                stats.record("hits")
                return found, "memory"
            program, origin = _load_or_compile(source, language, key, config or Config.from_environment())
            _programs[key] = program
            return program, origin
    finally:
        # Threads that wait hold the lock object itself; the next to come finds the program in memory.
        with _state_lock:
            _key_locks.pop(key, None)


def get_machinery(text: str, config: Config) -> NativeProgram:
    """Code of the library's own, from an LLVM module, kept on disk like programs; no counter shows it."""
    return _load_or_compile(text, "llvm", program_key(text, "llvm"), config, lambda name, amount=1: None)[0]


def get_record(
    source: str, dependencies: str, make: Callable[[], Record], suffix: str, config: Config
) -> tuple[Record, Origin]:
    """Code for another processor, kept on disk like programs; whoever asks loads it and keeps it in memory.

    dependencies: a text of all that the code depends on besides its source and the versions of this library
    make: compiles; suffix: of the source that is kept beside the code
    """
    facts = json.dumps([_versions(), dependencies], sort_keys=True)
    key = hashlib.sha256(f"{strip_comments(source)}\0{facts}".encode()).hexdigest()
    folder = _usable_folder(config.cache_dir)
    record, problem = _load_entry(folder, key, lambda found: found) if folder is not None else (None, None)
    if record is not None:
        stats.record("disk_hits")
        return record, "disk"
    record = make()
    stats.record("compiles")
    stats.record("compile_seconds", record.compile_seconds)
    if folder is not None:
        _store_entry(folder, key, record, source, suffix, config.cache_limit_bytes)
    if problem is not None:
        warnings.warn(problem, CacheWarning, stacklevel=4)
    return record, "compiled"


def cache_clear() -> None:
    """Forget the programs in memory and set the counters to zero; the disk keeps its entries.

    >>> cache_clear()
    >>> stats.cache_info().compiles
    0
    """
    _programs.clear()
    stats.reset()


def _lock_of(key: str) -> threading.Lock:
    with _state_lock:
        return _key_locks.setdefault(key, threading.Lock())


def _load_or_compile(
    source: str,
    language: Language,
    key: str,
    config: Config,
    count: Callable[..., None] = stats.record,
) -> tuple[NativeProgram, Origin]:
    folder = _usable_folder(config.cache_dir)
    program, problem = _load_entry(folder, key, native.load) if folder is not None else (None, None)
    if program is not None:
        count("disk_hits")
        return program, "disk"
    record = (native.compile_llvm if language == "llvm" else native.compile_source)(source)
    count("compiles")
    count("compile_seconds", record.compile_seconds)
    if folder is not None:
        _store_entry(folder, key, record, source, SOURCES[language], config.cache_limit_bytes)
    if problem is not None:
        warnings.warn(problem, CacheWarning, stacklevel=4)
    return native.load(record), "compiled"


# Keys -------------------------------------------------------------------------------------------------------


def program_key(source: str, language: Language = "numba") -> str:
    """The name of a program: a hash of its text without comments, and of all else that its code depends on.

    >>> program_key("x = 1  # one") == program_key("x = 1")
    True
    """
    digest = hashlib.sha256((strip_comments(source) if language == "numba" else source).encode())
    digest.update(_environment_key(language).encode())
    return digest.hexdigest()


def strip_comments(source: str) -> str:
    """`source` without comments, trailing blanks and empty lines.

    >>> strip_comments("a = '#'  # kept\\n\\n# gone\\n")
    "a = '#'"
    """
    lines = source.splitlines()
    if "#" in source:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


@cache
def _environment_key(language: Language) -> str:
    numba = _numba_version() if language == "numba" else ""
    facts = [_versions(), numba, native.host_description(), _compiler_fingerprint()]
    return json.dumps(facts, sort_keys=True)


@cache
def _versions() -> dict[str, str]:
    import llvmlite

    return {"tracejit": sys.modules["tracejit"].__version__, "llvmlite": llvmlite.__version__}


def _numba_version() -> str:
    # Asked of the installed package: importing Numba to learn its version would cost more than loading does.
    from importlib import metadata

    try:
        return metadata.version("numba")
    except metadata.PackageNotFoundError:
        return "unknown"


def _compiler_fingerprint() -> str:
    """A hash of the modules that turn source into code: between releases they change without a version."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    names = ("instructions", "intrinsics", "numba_pipeline", "native")
    for path in (
        *sorted((root / "codegen" / "math").glob("*.py")),
        *[root / "codegen" / f"{name}.py" for name in ("formulas", "scalar_library")],
        *[root / "runtime" / f"{name}.py" for name in names],
    ):
        with suppress(OSError):
            digest.update(path.read_bytes())
    return digest.hexdigest()


# The folder -------------------------------------------------------------------------------------------------


def _warn_once(topic: str, message: str) -> None:
    if topic not in _warned:
        _warned.add(topic)
        warnings.warn(message, CacheWarning, stacklevel=5)


def _usable_folder(folder: Path | None) -> Path | None:
    """`folder`, made if need be, or None when it cannot be used or others could plant code in it."""
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        _warn_once(f"make {folder}", f"compiled programs are not kept on disk: {error}")
        return None
    if not _is_private(status):
        reason = f"{folder} belongs to, or is writable by, another user"
        _warn_once(f"trust {folder}", f"compiled programs are not kept on disk: {reason}")
        return None
    return folder


def _is_private(status: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _load_entry(folder: Path, key: str, load: Callable[[Record], T]) -> tuple[T | None, str | None]:
    """What `load` makes of a good entry, or what is wrong with a bad one, which is deleted."""
    path = folder / (key + SUFFIX)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"a compiled program could not be read: {error}"
    try:
        program = load(decode_record(data, key))
    except MissingSymbolError as error:
        reason = f"it calls functions that this process lacks ({error})"
    except (DamagedEntryError, InternalError) as error:
        reason = str(error)
    else:
        with suppress(OSError):
            os.utime(path)  # the least recently used entry is the first to go
        return program, None
    with suppress(OSError):
        path.unlink()
    return None, f"the cached program {path.name} was discarded and is compiled again: {reason}"


def _store_entry(folder: Path, key: str, record: Record, source: str, suffix: str, limit: int) -> None:
    try:
        _write(folder / (key + suffix), source.encode())
        _write(folder / (key + SUFFIX), encode_record(record, key))
        if int(key[:8], 16) % SWEEP_EVERY == 0:
            _prune(folder, limit)
    except OSError as error:
        _warn_once("write", f"a compiled program could not be kept on disk: {error}")


def _write(path: Path, data: bytes) -> None:
    """Write to a temporary file and rename it: readers see all of an entry or none."""
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def load_text(config: Config, name: str) -> str | None:
    """A text that `store_text` kept in the cache folder, if it can be read there."""
    folder = _usable_folder(config.cache_dir)
    if folder is None:
        return None
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def store_text(config: Config, name: str, text: str) -> None:
    """Keep a small text, such as what was measured of this machine, beside the programs."""
    folder = _usable_folder(config.cache_dir)
    if folder is not None:
        try:
            _write(folder / name, text.encode())
        except OSError as error:
            _warn_once("write", f"a measurement could not be kept on disk: {error}")


def _prune(folder: Path, limit: int) -> None:
    """Delete the least recently used entries, with their sources, down to `limit` bytes."""
    now = time.time()
    groups: dict[str, list[tuple[Path, os.stat_result]]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # another process may have renamed or deleted it meanwhile
                found = Path(entry.path), entry.stat()
                groups.setdefault(entry.name.split(".")[0] or entry.name, []).append(found)
    total = sum(status.st_size for files in groups.values() for _, status in files)
    oldest = sorted(groups.items(), key=lambda item: max(status.st_mtime for _, status in item[1]))
    for name, files in oldest:
        stale = name.startswith(".new-") and now - files[0][1].st_mtime > _STALE_SECONDS
        ours = all(path.suffix in (SUFFIX, *SOURCES.values()) for path, _ in files)
        if stale or (ours and total > limit):
            for path, status in files:
                with suppress(OSError):
                    path.unlink()
                total -= status.st_size


# Entries ----------------------------------------------------------------------------------------------------


def encode_record(record: Record, key: str) -> bytes:
    """The bytes of an entry: magic line, length of the header, header, object code, bitcode."""
    payload = record.object_code + record.bitcode
    header: dict[str, Any] = {
        "key": key,
        "versions": _versions(),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "object_bytes": len(record.object_code),
        "symbols": list(record.symbols),
    }
    text = json.dumps(header, sort_keys=True).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + payload


def decode_record(data: bytes, key: str) -> Record:
    """The record in the bytes of an entry; raises `DamagedEntryError` unless every check holds."""
    if not data.startswith(MAGIC):
        raise DamagedEntryError("it is not a tracejit entry of this format")
    start = len(MAGIC) + 4
    try:
        (length,) = struct.unpack("<I", data[len(MAGIC) : start])
        header = json.loads(data[start : start + length])
        payload = data[start + length :]
        expected = {"key": key, "versions": _versions(), "sha256": hashlib.sha256(payload).hexdigest()}
        object_bytes, symbols = int(header["object_bytes"]), tuple(map(str, header["symbols"]))
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise DamagedEntryError(f"its header cannot be read ({type(error).__name__})") from None
    wrong = [name for name, value in expected.items() if header.get(name) != value]
    if wrong:
        raise DamagedEntryError(f"its {', '.join(wrong)} differ from what was expected")
    return Record(payload[:object_bytes], payload[object_bytes:], symbols)


# Forking ----------------------------------------------------------------------------------------------------


def _renew_locks() -> None:
    """Another thread of the parent may have held these; it does not exist in the child."""
    global _state_lock
    _state_lock = threading.Lock()
    _key_locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
