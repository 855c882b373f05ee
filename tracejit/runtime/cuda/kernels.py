"""The machine code of launches, from the cache folder or the compiler."""

from __future__ import annotations

import hashlib
import json
import time
from functools import cache
from pathlib import Path

from tracejit.codegen.cuda.launches import Launch
from tracejit.config import Config
from tracejit.runtime.cache import get_record
from tracejit.runtime.cuda import compiler
from tracejit.runtime.cuda.compiler import Cubin, Driver
from tracejit.runtime.native import Record


def find_cubin(launch: Launch, driver: Driver, architecture: tuple[int, int], config: Config) -> Cubin:
    """The cubin of a launch for an architecture; an entry on disk has the PTX beside it, to be read."""

    def make() -> Record:
        started = time.perf_counter()
        cubin = driver.compile(launch, architecture)
        seconds = time.perf_counter() - started
        return Record(cubin.code, cubin.ptx.encode(), (cubin.entry,), compile_seconds=seconds)

    depends = [launch.parameters, launch.threads, architecture, compiler.versions(), _fingerprint()]
    record, _ = get_record(launch.text, json.dumps(depends), make, ".py", config)
    return Cubin(record.object_code, record.symbols[0], record.bitcode.decode())


@cache
def _fingerprint() -> str:
    """Of the module that compiles: between releases it changes without a version."""
    return hashlib.sha256(Path(compiler.__file__).read_bytes()).hexdigest()
