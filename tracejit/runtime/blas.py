"""SciPy's BLAS and LAPACK for compiled code: addresses of routines, without importing `scipy.linalg`."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from tracejit.codegen.llvm.routines import BLAS_PREFIX, LAPACK_PREFIX

_MODULES = {BLAS_PREFIX: "scipy.linalg.cython_blas", LAPACK_PREFIX: "scipy.linalg.cython_lapack"}


@cache
def is_available() -> bool:
    """Can compiled code call BLAS and LAPACK? The first question loads BLAS."""
    return address_of(BLAS_PREFIX + "dgemm") is not None


def provide(symbols: tuple[str, ...]) -> None:
    """Tell LLVM where the BLAS and LAPACK routines among `symbols` are."""
    import llvmlite.binding as llvm

    for name in symbols:
        address = address_of(name)
        if address is not None:
            llvm.add_symbol(name, address)


@cache
def address_of(symbol: str) -> int | None:
    """Where the routine of a symbol starts; None for other symbols and where there is no such library."""
    prefix = next((p for p in _MODULES if symbol.startswith(p)), None)
    if prefix is None:
        return None
    try:
        capsule = _load(_MODULES[prefix]).__pyx_capi__[symbol.removeprefix(prefix)]
    except (ImportError, AttributeError, KeyError):
        return None
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return pointer(capsule, name(capsule))


def _load(name: str) -> Any:
    """The module that holds the routines, by itself: all of `scipy.linalg` takes half a second more."""
    if name in sys.modules:
        return sys.modules[name]
    scipy = import_module("scipy")
    assert scipy.__file__ is not None
    spec = PathFinder.find_spec(name, [str(Path(scipy.__file__).parent / "linalg")])
    if spec is None or spec.loader is None:
        return import_module(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return sys.modules.setdefault(name, module)
