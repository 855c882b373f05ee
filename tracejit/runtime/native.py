"""Kernel source becomes object code in a `Record`, and a record becomes a callable `NativeProgram`.

Compiling imports Numba; loading a record needs llvmlite alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import linecache
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tracejit.codegen.math import ALIKE
from tracejit.errors import InternalError
from tracejit.runtime import blas

if TYPE_CHECKING:
    import llvmlite.binding as llvm

ENTRY = "program"
_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

# LLVM's own module pipeline at this level: loop vectoriser, unrolling, inlining.
OPTIMISATION_LEVEL = 3

# Functions that LLVM may call for an intrinsic or an instruction.
_IMPLICIT_MATH = ("exp", "exp2", "log", "log2", "log10", "sin", "cos", "pow", "fmod", "fma", "ldexp")
IMPLICIT_SYMBOLS = (*_IMPLICIT_MATH, *[f"{name}f" for name in _IMPLICIT_MATH], "memcpy", "memmove", "memset")


@dataclass(frozen=True)
class Record:
    """A compiled program as bytes: what the disk cache keeps.

    `symbols` are the C functions that the code calls; `bitcode` is the optimised LLVM module, compressed,
    from which `NativeProgram.assembly` prints.
    """

    object_code: bytes
    bitcode: bytes
    symbols: tuple[str, ...]
    compile_seconds: float = 0.0


class MissingSymbolError(Exception):
    """A record calls a function that this process does not have: it must be compiled anew."""


class NativeProgram:
    """Machine code of one program; keeps the memory that holds it alive.

    Calling it with the addresses of the int64 and the float64 arguments runs it without the GIL.
    `entry` is the bare foreign function for callers that count nanoseconds, `address` is where the code
    starts, and `compile_seconds` is 0.0 for a program loaded from object code.
    """

    def __init__(self, record: Record, address: int, keep_alive: Any) -> None:
        self.record = record
        self.address = address
        self.entry: Callable[[int, int], None] = _PROTOTYPE(address)
        self.compile_seconds = record.compile_seconds
        self._keep_alive = keep_alive

    def __call__(self, ip_address: int, fp_address: int) -> None:
        self.entry(ip_address, fp_address)

    def assembly(self) -> str:
        """The machine code as assembly text, printed anew from the optimised module."""
        import llvmlite.binding as llvm

        with LOCK:
            machine = _target_machine()
            module = llvm.parse_bitcode(zlib.decompress(self.record.bitcode))
            return machine.emit_assembly(module)


def host_description() -> str:
    """The processor that code is compiled for: triple, name and features, as the cache key needs it."""
    import llvmlite.binding as llvm

    name, features = _host()
    return f"{llvm.get_process_triple()} {name} {features}"


@cache
def _host() -> tuple[str, str]:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@cache
def register_bytes() -> int:
    """Of a vector register of this processor, where it is known to be shorter than 64 bytes."""
    features = _host()[1].split(",")
    return 32 if "+avx2" in features and "+avx512f" not in features else 64


def _target_machine() -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _host()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    # Of one program, code and constants lie together, and the linker makes stubs for calls farther away: the
    # small model. The large one, LLVM's own choice here, puts each constant's address into a register first.
    is_x86 = target.name.startswith("x86")
    return target.create_target_machine(
        cpu=name,
        features=features,
        opt=OPTIMISATION_LEVEL,
        reloc="pic" if is_x86 else "default",
        codemodel="small" if is_x86 else "jitdefault",
        jit=True,
    )


# Compiling --------------------------------------------------------------------------------------------------


def compile_source(source: str) -> Record:
    """Compile kernel source that defines `program(ip, fp)`; `codegen.scalar_library` names what it may call.

    >>> record = compile_source("def program(ip, fp):\\n    ptr_f64(ip[0])[0] = fp[0]")
    >>> record.symbols
    ()
    """
    started = time.perf_counter()
    filename = _remember_source(source)
    try:
        # Python's own complaint about the text, and any from Numba or LLVM, is our bug and reads as such.
        from tracejit.runtime import numba_pipeline

        with LOCK:
            text = numba_pipeline.lower_source(source, filename)
            return _emit(text, started, _optimise)
    except Exception as error:
        raise InternalError(_explain(source, filename, error)) from None


def compile_llvm(text: str) -> Record:
    """Compile the text of an LLVM module that defines `void @program(ptr, ptr)`; Numba is not imported."""
    started = time.perf_counter()
    try:
        with LOCK:
            return _emit(text, started, _tidy)
    except Exception as error:
        raise InternalError(f"LLVM refused a generated module: {_first_lines(str(error), 10)}") from None


def _emit(text: str, started: float, passes: Callable[[Any, Any], None]) -> Record:
    import llvmlite.binding as llvm

    machine = _target_machine()
    module = llvm.parse_assembly(text)
    module.verify()
    passes(machine, module)
    code = machine.emit_object(module)
    declared = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    # LLVM's own calls are declared nowhere; a name that only looks like one of them does no harm here.
    implicit = {name for name in IMPLICIT_SYMBOLS if name.encode() + b"\0" in code}
    bitcode = zlib.compress(module.as_bitcode(), 1)
    return Record(code, bitcode, tuple(sorted(declared | implicit)), time.perf_counter() - started)


def _optimise(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> None:
    """LLVM's whole pipeline: what Numba lowered is scalar, with its variables in memory."""
    import llvmlite.binding as llvm

    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISATION_LEVEL)
    options.loop_vectorization = True
    options.loop_interleaving = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def _tidy(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> None:
    """What a printed module needs: short functions in place, accumulators in registers, dead code gone.

    Loops are vectors, addresses are computed and equal instructions are one already.
    """
    import llvmlite.binding as llvm

    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    called = {f.name.split(".")[0] for f in module.functions}
    if any(len(called & names) > 1 for names in ALIKE):
        # Only then, for it takes a fifth more time: sin(x) and cos(x) reduce x once.
        passes.add_new_gvn_pass()
    passes.add_simplify_cfg_pass()
    passes.add_aggressive_dce_pass()
    passes.run(module, builder)


def _remember_source(source: str) -> str:
    """Register the text with `linecache`, so that tracebacks show it, and return its file name."""
    filename = f"<tracejit {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    return filename


def _explain(source: str, filename: str, error: Exception) -> str:
    lines = source.splitlines()
    number = _line_of(filename, error)
    first, last = (max(0, number - 6), number + 4) if number else (0, 10)
    excerpt = "\n".join(
        f"  {'>' if i == number else ' '} {i:4d}  {lines[i - 1]}"
        for i in range(first + 1, min(last, len(lines)) + 1)
    )
    return f"compiling a kernel failed: {type(error).__name__}: {_first_lines(str(error), 6)}\n{excerpt}"


def _line_of(filename: str, error: Exception) -> int | None:
    """The line of the source that `error` is about: Numba's location, else the last frame in the source."""
    location = getattr(error, "loc", None)
    if location is not None and getattr(location, "filename", "") == filename:
        return int(location.line)
    if isinstance(error, SyntaxError):
        return error.lineno
    traceback, number = error.__traceback__, None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == filename:
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    return number


def _first_lines(text: str, count: int) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n    ".join(lines[:count])


# Loading ----------------------------------------------------------------------------------------------------

_numbers = itertools.count()
_jits: list[Any] = []  # the process's linker, made on first use


def load(record: Record) -> NativeProgram:
    """Link object code into this process.

    Raises `MissingSymbolError` when the code calls a function that the process lacks even with Numba
    imported, and `InternalError` when LLVM cannot read the code.

    >>> import numpy as np
    >>> program = load(compile_source("def program(ip, fp):\\n    ptr_f64(ip[0])[0] = 2.0 * fp[0]"))
    >>> out, fp = np.zeros(1), np.array([3.0])
    >>> ip = np.array([out.ctypes.data])
    >>> program(ip.ctypes.data, fp.ctypes.data)
    >>> out.tolist()
    [6.0]
    """
    import llvmlite.binding as llvm

    with LOCK:
        if not _jits:
            # Only once a linker exists does LLVM look for symbols in the process. JITLink lays a program's
            # code and constants side by side, as the small model needs; the older one may not, and aborts.
            _jits.append(llvm.create_lljit_compiler(_target_machine(), use_jit_link=True))
        _provide(record.symbols)
        library = llvm.JITLibraryBuilder().add_object_img(record.object_code).add_current_process()
        for name in record.symbols:
            # The linker sees the process's own symbols, not those that Numba registered with LLVM.
            library.import_symbol(name, llvm.address_of_symbol(name))
        library.export_symbol(ENTRY)
        try:
            linked = library.link(_jits[0], f"tracejit{next(_numbers)}")
            return NativeProgram(record, linked[ENTRY], linked)
        except RuntimeError as error:
            raise InternalError(f"LLVM cannot link a compiled program: {error}") from None


def _provide(symbols: tuple[str, ...]) -> None:
    import llvmlite.binding as llvm

    blas.provide(symbols)
    if all(llvm.address_of_symbol(name) for name in symbols):
        return
    _import_numba_symbols()
    missing = [name for name in symbols if not llvm.address_of_symbol(name)]
    if missing:
        raise MissingSymbolError(", ".join(missing))


def _import_numba_symbols() -> None:
    """Numba registers the C mathematics library with LLVM where the process itself does not export it."""
    from numba.core.registry import cpu_target

    _ = cpu_target.target_context


# Forking ----------------------------------------------------------------------------------------------------

LOCK = threading.RLock()
_numba_locks: list[Any] = []  # held across a fork


def _before_fork() -> None:
    """Wait for other threads to leave LLVM and Numba, whose half-done work the child would inherit."""
    LOCK.acquire()
    module = sys.modules.get("numba.core.compiler_lock")
    if module is not None:
        module.global_compiler_lock.acquire()
        _numba_locks.append(module.global_compiler_lock)


def _after_fork() -> None:
    """In parent and child alike: the forking thread is the one that holds the locks."""
    if _numba_locks:
        _numba_locks.pop().release()
    LOCK.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
