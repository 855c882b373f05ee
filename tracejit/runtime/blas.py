"""SciPy's BLAS for compiled code: the addresses of its routines, without importing `scipy.linalg`."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from tracejit.codegen.llvm.products import SYMBOL_PREFIX

_MODULE = "scipy.linalg.cython_blas"


@cache
def is_available() -> bool:
    """Can compiled code call BLAS? The first question loads it."""
    return address_of(SYMBOL_PREFIX + "dgemm") is not None


def provide(symbols: tuple[str, ...]) -> None:
    """Tell LLVM where the BLAS routines among `symbols` are."""
    import llvmlite.binding as llvm

    for name in symbols:
        address = address_of(name) if name.startswith(SYMBOL_PREFIX) else None
        if address is not None:
            llvm.add_symbol(name, address)


@cache
def address_of(symbol: str) -> int | None:
    """Where the routine of a symbol starts; None where there is no such BLAS."""
    try:
        capsule = _load().__pyx_capi__[symbol.removeprefix(SYMBOL_PREFIX)]
    except (ImportError, AttributeError, KeyError):
        return None
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return pointer(capsule, name(capsule))


def _load() -> Any:
    """The module that holds the routines, by itself: all of `scipy.linalg` takes half a second more."""
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    scipy = import_module("scipy")
    assert scipy.__file__ is not None
    spec = PathFinder.find_spec(_MODULE, [str(Path(scipy.__file__).parent / "linalg")])
    if spec is None or spec.loader is None:
        return import_module(_MODULE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return sys.modules.setdefault(_MODULE, module)
