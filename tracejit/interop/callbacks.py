"""What compiled callers ask of Python, with the GIL held: a record for new sizes, or an error raised.

Compiled code finds these functions by their names, so it may be kept on disk by Numba's `cache=True`.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, UnsupportedError
from tracejit.interop import native_text
from tracejit.interop.records import SHAPES, Record, Site, make_record
from tracejit.interop.results import describe_result
from tracejit.interop.signature import CallSpec, Function, Leaf, Position, Result, ScalarLeaf, rank_of
from tracejit.ir import ArrayType

# Tells code of this process from code that was kept on disk; a fork is the same.
_PROCESS = os.urandom(8).hex()
_numbers = itertools.count(1)
_functions: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_kept: list[Any] = []  # functions that code from disk calls: nothing else knows how long it lives


@dataclass(frozen=True)
class Reference:
    """A transformed function as compiled code remembers it.

    number: which one it is in the process that compiled the code
    module, path: where another process finds it; None where it has no name of its own
    """

    process: str
    number: int
    name: str
    module: str | None
    path: str | None

    def find(self) -> Any:
        """The function itself."""
        if self.process == _PROCESS:
            function = _functions.get(self.number)
            assert function is not None, "compiled code outlived the function that it calls"
            return function
        assert self.module is not None and self.path is not None, "code without a name was kept on disk"
        found: Any = import_module(self.module)
        for name in self.path.split("."):
            found = getattr(found, name, None)
        if not hasattr(found, "_numba_type_"):
            raise ArgumentError(
                f"{self.name}: {self.module}.{self.path} is no longer a function of tracejit",
                hint="a function compiled with cache=True calls it: delete the files of Numba's cache",
            )
        if found not in _kept:
            _kept.append(found)
        return found


def refer_to(function: Function, name: str, module: str | None, path: str | None) -> Reference:
    """A reference to a transformed function, which holds as long as that is alive."""
    number = next(_numbers)
    _functions[number] = function
    return Reference(_PROCESS, number, name, module, path)


def site_of(function: Function, spec: CallSpec, result: Result) -> Site:
    """The site of all calls of a function with arguments of these types."""
    site = function.call_sites.get((spec, result))
    return site or function.call_sites.setdefault((spec, result), Site())


def c_record(function: Function, name: str, spec: CallSpec, leaves: Sequence[Any]) -> tuple[Result, Record]:
    """What a call with these leaves gives, and the record of its program, alone on a site of its own."""
    program = _program_of(function, name, spec, leaves)
    types = [atom.type for atom in program.run.program.schedule.graph.outputs]
    result = describe_result(types, program.zero_dims, program.finish, name)
    record = _record_for(function, spec, program, leaves, ())
    site = Site()
    site.add((), record)
    record.keep.append(site)  # which holds the workspace
    return result, record


def _record_for(
    function: Function, spec: CallSpec, program: Any, leaves: Sequence[Any], key: tuple[int, ...]
) -> Record:
    args, kwargs = spec.arrange([Position(k) for k in range(len(leaves))])
    return make_record(program, leaves, function.leaves_of(*args, **kwargs), key)


# --- threads without Python ---------------------------------------------------------------------------------


class _Late:
    """Raises an error when it is asked whether it is true."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __bool__(self) -> bool:
        _late.clear()
        raise self.error


_late: list[_Late] = []  # the error that waits for the main thread
_add_pending_call = ctypes.pythonapi.Py_AddPendingCall
_add_pending_call.argtypes = [ctypes.c_void_p, ctypes.py_object]


def _reaches_python(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let an error of a thread of `prange` reach the user: Numba forgets what such a thread raises.

    The main thread raises it as soon as it runs Python again, which is when the parallel loop has ended.
    """

    @functools.wraps(function)
    def guarded(*args: Any) -> Any:
        try:
            return function(*args)
        except BaseException as error:
            if sys._getframe().f_back is None and not _late:
                _late.append(_Late(error))
                # A pending call runs a C function of one argument, and raises what that raised.
                _add_pending_call(ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p), _late[0])
            raise

    return guarded


# --- called by compiled code --------------------------------------------------------------------------------


@_reaches_python
def find_record(
    reference: Reference, spec: CallSpec, result: Result, table: int, key: int, count: int
) -> int:
    """The address of the record for the `count` sizes and layouts at `key`; made if there is none.

    `table` starts with the address of the caller's cell, which is set; then the address, the sizes and the
    strides (bytes) of each argument.
    """
    function = reference.find()
    site = site_of(function, spec, result)
    words = tuple((ctypes.c_int64 * count).from_address(key)) if count else ()
    record = site.known.get(words)
    if record is None:
        leaves = list(_leaves_at(spec.leaves, table + 8))
        program = _program_of(function, reference.name, spec, leaves)
        _check_result(reference.name, result, program)
        record = _record_for(function, spec, program, leaves, words)
    site.add(words, record)
    ctypes.c_int64.from_address(ctypes.c_int64.from_address(table).value).value = site.address
    return record.address


@_reaches_python
def run_record(reference: Reference, spec: CallSpec, result: Result, record: int, table: int) -> None:
    """Run a program that is no single native call; the addresses of outputs follow the arguments' words."""
    found = _record_at(reference, spec, result, record)
    leaves = list(_leaves_at(spec.leaves, table + 8))
    words = 1 + sum(1 + 2 * rank_of(leaf) for leaf in spec.leaves)
    outputs = found.program.run(found.arrays(leaves))
    for k, (output, kind) in enumerate(zip(outputs, result.outputs)):
        address = ctypes.c_int64.from_address(table + 8 * (words + k)).value
        if output.size:
            _view(address, np.dtype(kind.dtype), output.shape)[...] = output


@_reaches_python
def raise_error(reference: Reference, spec: CallSpec, result: Result, record: int, number: int) -> None:
    """Raise what the status of a call means."""
    if number == native_text.OUT_OVERLAPS_OUT:
        raise ArgumentError(f"{reference.name}: two arrays of out share memory", hint="give each its own")
    if number == native_text.OUT_OF_MEMORY:
        raise MemoryError(f"{reference.name}: there is no memory for temporary arrays")
    raise _record_at(reference, spec, result, record).checks[number - 1].error()


@_reaches_python
def raise_shape_error(
    reference: Reference, spec: CallSpec, result: Result, record: int, number: int, shape: int
) -> None:
    """Raise for an array in `out` whose sizes, at the address `shape`, are not those of the output."""
    outputs = result.outputs
    ranks = [output.ndim for output in outputs]
    words = (ctypes.c_int64 * sum(ranks)).from_address(ctypes.c_int64.from_address(record + 8 * SHAPES).value)
    start, rank = sum(ranks[:number]), ranks[number]
    wanted = ArrayType(tuple(words[start : start + rank]), np.dtype(outputs[number].dtype))
    given = wanted.with_shape(tuple((ctypes.c_int64 * rank).from_address(shape)))
    raise ArgumentError(
        f"{reference.name}: out has an array {given}, where the result is {wanted}",
        hint=f"give an array of that type: np.empty({wanted.shape}, np.{wanted.dtype})",
    )


def _record_at(reference: Reference, spec: CallSpec, result: Result, address: int) -> Record:
    return site_of(reference.find(), spec, result).records[address]


def _program_of(function: Function, name: str, spec: CallSpec, leaves: Sequence[Any]) -> Any:
    args, kwargs = spec.arrange(leaves)
    program = function.program_of(*args, **kwargs)
    if not program.is_reusable:
        raise UnsupportedError(
            f"{name}: it draws random numbers while it is traced, and compiled code runs a trace many times",
            hint="draw the numbers outside, and pass them as an argument",
        )
    return program


def _check_result(name: str, result: Result, program: Any) -> None:
    """The code around the call was compiled for results of certain types: they must be these."""
    types = [atom.type for atom in program.run.program.schedule.graph.outputs]
    actual = describe_result(types, program.zero_dims, program.finish, name)
    if actual == result:
        return
    pairs = itertools.zip_longest(result.outputs, actual.outputs)
    expected, given = next(((a, b) for a, b in pairs if a != b), (result.tree, actual.tree))
    raise ArgumentError(
        f"{name}: for these sizes it gives {given}, but its caller was compiled for {expected}",
        hint="results must not change their dtype or number of axes with sizes; if the function was changed"
        " after its caller was compiled with cache=True, delete the files of Numba's cache",
    )


def _leaves_at(leaves: Sequence[Leaf], address: int) -> Iterator[Any]:
    """The arguments that a table describes: views of the caller's arrays, and numbers."""
    for leaf in leaves:
        rank = rank_of(leaf)
        words = (ctypes.c_int64 * (1 + 2 * rank)).from_address(address)
        address += 8 * len(words)
        view = _view(words[0], np.dtype(leaf.dtype), tuple(words[1 : 1 + rank]), tuple(words[1 + rank :]))
        if isinstance(leaf, ScalarLeaf):
            yield view.item() if leaf.is_python else view[()]
        else:
            yield view


class _Memory:
    """Memory that somebody else owns, as NumPy's array interface describes it."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def _view(
    address: int, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...] | None = None
) -> np.ndarray[Any, Any]:
    if 0 in shape:
        return np.empty(shape, dtype)
    interface = {
        "data": (address, False),
        "typestr": dtype.str,
        "shape": shape,
        "strides": strides,
        "version": 3,
    }
    return np.asarray(_Memory(interface))
