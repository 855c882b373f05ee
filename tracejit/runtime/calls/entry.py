"""The machinery of fast calls: a base class whose instances the interpreter calls as C functions.

`Callable` has two words, the C function to call and the state that it reads. `attach` fills them in; until
then, and wherever objects are laid out in another way than expected, an instance is called as any Python
object with `__call__` is.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
import threading
import warnings
from types import CellType
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.config import Config
from tracejit.errors import CacheWarning, InternalError
from tracejit.ir.builder import TRACES_UNDER_WAY
from tracejit.runtime.abi import CONTENT
from tracejit.runtime.calls import layout
from tracejit.runtime.calls.layout import API, C_FUNCTIONS, NUMPY_FUNCTIONS, STATE_WORDS
from tracejit.runtime.stats import NATIVE_HITS

GENERAL_NAME = "__call__"

_HAVE_VECTORCALL = 1 << 11
_IS_BASE = 1 << 10
_HAVE_VERSION_TAG = 1 << 18
_TYPE_VECTORCALL_OFFSET, _TYPE_FLAGS = 56, 168  # in PyTypeObject
_TP_MEMBERS, _TP_CALL = 72, 50  # of the stable interface
_T_PYSSIZET, _T_ULONGLONG, _READONLY = 19, 18, 1


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


# --- the layout of objects ----------------------------------------------------------------------------------


def _word(thing: Any, offset: int, kind: Any = ctypes.c_void_p) -> Any:
    return kind.from_address(id(thing) + offset).value


def _is_known_layout() -> bool:
    """Are objects laid out as `layout` says? Looked at where the answer is known."""
    is_cpython = sys.implementation.name == "cpython" and struct.calcsize("P") == 8 and os.name == "posix"
    if not is_cpython or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    array = np.arange(24.0).reshape(2, 3, 4)[:, ::2]
    cell = CellType(array)
    facts = (
        _word(array, layout.TYPE) == id(np.ndarray),
        _word(array, CONTENT) == array.ctypes.data,
        _word(array, layout.NDIM, ctypes.c_int) == 3,
        _numbers(_word(array, layout.DIMS)) == list(array.shape),
        _numbers(_word(array, layout.STRIDES)) == list(array.strides),
        _word(array, layout.DESCR) == id(array.dtype),
        _word(array, layout.FLAGS, ctypes.c_int) == array.flags.num,
        _word(cell, CONTENT) == id(array),
        *[_word(x, CONTENT, ctypes.c_ssize_t) == 2 for x in ((0, 1), [0, 1], {0: 0, 1: 1})],
        _word(2.5, CONTENT, ctypes.c_double) == 2.5,
        _word(np.float64(2.5), CONTENT, ctypes.c_double) == 2.5,
        _word(np.float32(2.5), CONTENT, ctypes.c_float) == 2.5,
        _word(np.int8(5), CONTENT, ctypes.c_int8) == 5,
        _word(type(cell), _TYPE_FLAGS, ctypes.c_ulong) == CellType.__flags__,
    )
    return all(facts)


def _numbers(address: int) -> list[int]:
    return list((ctypes.c_ssize_t * 3).from_address(address))


# --- the type ----------------------------------------------------------------------------------------------


class _PlainCallable:
    """Stands in for the type with the two words where that cannot be made."""

    _vectorcall = 0
    _state = 0


def _make_callable_type() -> type | None:
    """The base type, by Python's stable interface; None where objects are laid out in another way."""
    if not _is_known_layout():
        return None
    members = (_Member * 4)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, layout.VECTORCALL, _READONLY, None),
        _Member(b"_vectorcall", _T_ULONGLONG, layout.VECTORCALL, 0, None),
        _Member(b"_state", _T_ULONGLONG, layout.STATE, 0, None),
        _Member(None, 0, 0, 0, None),
    )
    slots = (_Slot * 3)(
        _Slot(_TP_CALL, ctypes.cast(ctypes.pythonapi.PyVectorcall_Call, ctypes.c_void_p)),
        _Slot(_TP_MEMBERS, ctypes.cast(members, ctypes.c_void_p)),
        _Slot(0, None),
    )
    flags = _HAVE_VERSION_TAG | _IS_BASE | _HAVE_VECTORCALL
    spec = _Spec(b"tracejit.runtime.calls.entry.Callable", layout.STATE + 8, 0, flags, slots)
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,)
    made = make(ctypes.byref(spec))
    made._keep = (members, slots, spec)  # Python may point into them
    return made


def _allow_vectorcall(cls: type) -> bool:
    """Let the interpreter call instances of a subclass by the pointer in them, where there is one.

    A class with a Python `__call__` has lost the flag; an instance without a pointer is called as before.
    """
    flags = ctypes.c_ulong.from_address(id(cls) + _TYPE_FLAGS)
    if flags.value != cls.__flags__ or _word(cls, _TYPE_VECTORCALL_OFFSET) != layout.VECTORCALL:
        return False
    flags.value |= _HAVE_VECTORCALL
    modified = ctypes.pythonapi.PyType_Modified
    modified.restype, modified.argtypes = None, (ctypes.py_object,)
    modified(cls)
    return bool(cls.__flags__ & _HAVE_VECTORCALL)


if TYPE_CHECKING:

    class Callable:
        """Base of objects that are called as C functions once `attach` was called for them."""

        _vectorcall: int
        _state: int

else:
    Callable = _make_callable_type() or _PlainCallable

HAS_NATIVE_CALLS: bool = Callable.__flags__ & _HAVE_VECTORCALL != 0
_ready: set[type] = set()


def attach(target: Callable, state: Any) -> bool:
    """Have calls of `target` served by the plans that `state` leads to; False where that cannot be."""
    if not HAS_NATIVE_CALLS:
        return False
    cls = type(target)
    if cls not in _ready:
        if not _allow_vectorcall(cls):
            return False
        _ready.add(cls)
    loaded = _load()
    if loaded is None:
        return False
    state[0] = loaded.api_address
    target._state = ctypes.addressof(state)
    target._vectorcall = loaded.address
    return True


def attach_if_loaded(target: Callable, state: Any) -> None:
    """`attach` where it costs nothing: plans may be there already, made for another object."""
    if _loaded and state[0]:
        attach(target, state)


def is_wanted() -> bool:
    """Can calls be served by compiled code here, and does nobody say that they must not?"""
    return HAS_NATIVE_CALLS and Config.from_environment().entry == "native"


def new_state() -> Any:
    """The two words that a cache of programs shares with the code: the table, and the first plan."""
    return (ctypes.c_int64 * len(STATE_WORDS.fields))()


def set_first(state: Any, address: int) -> None:
    state[1] = address


# --- the code -----------------------------------------------------------------------------------------------


class _Loaded:
    """The machine code and the table that it reads, kept for the life of the process."""

    def __init__(self, program: Any, api: Any, keep: Any) -> None:
        self.program = program
        self.address: int = program.address
        self.api_address = ctypes.addressof(api)
        self._keep = (api, keep)


_lock = threading.Lock()
_loaded: list[_Loaded] = []
_failures: list[InternalError] = []


def _load() -> _Loaded | None:
    """Compile or find the code, once; None, after one warning, where LLVM cannot make it for this machine."""
    from tracejit.runtime import workspace
    from tracejit.runtime.cache import get_machinery
    from tracejit.runtime.calls.module import module_text

    with _lock:
        if _failures:
            return None
        if not _loaded:
            try:
                program = get_machinery(module_text(), Config.from_environment())
            except InternalError as error:
                _failures.append(error)
                warnings.warn(
                    f"calls are served by Python, which is slower: {error}", CacheWarning, stacklevel=6
                )
                return None
            name = sys.intern(GENERAL_NAME)
            keep = (name, workspace.FREE, workspace.take)
            words = {
                **{f: _address_of(f) for f in C_FUNCTIONS},
                **_numpy_functions(),
                "ndarray": id(np.ndarray),
                "none": id(None),
                "true": id(True),
                "general_name": id(name),
                "traces": ctypes.addressof(TRACES_UNDER_WAY),
                "hits": ctypes.addressof(NATIVE_HITS),
                "workspaces": id(workspace.FREE),
                "workspace_limit": ctypes.addressof(workspace.LIMIT),
                "new_workspace": id(workspace.take),
            }
            api = (ctypes.c_int64 * len(API.fields))(*API.pack(**words))
            _loaded.append(_Loaded(program, api, keep))
        return _loaded[0]


def _address_of(name: str) -> int:
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None
    return address


def _numpy_functions() -> dict[str, int]:
    """Addresses from the table that NumPy gives to extension modules."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get(_multiarray_umath._ARRAY_API, None)
    return {
        name: ctypes.c_int64.from_address(table + 8 * place).value
        for name, (_, place) in NUMPY_FUNCTIONS.items()
    }


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
