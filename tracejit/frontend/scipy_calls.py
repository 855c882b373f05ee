"""Functions of SciPy that take tracers while a trace is under way, though SciPy has no protocol for that.

Enters a call such as `scipy.linalg.solve_triangular(tracer, y)`; leaves what its meaning gives. While a trace
runs, the functions in `SCIPY_FUNCTIONS` carry the code of a stand-in, which looks for tracers among
the arguments and otherwise runs the function's own code. The function objects stay the same ones, so it does
not matter how the user imported them, and no name of SciPy is ever bound anew; other threads see no
difference. When the last trace ends, also by an error, every function has its own code back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

from tracejit.frontend import dispatch
from tracejit.frontend.tracer import Tracer
from tracejit.ops.tables import SCIPY_FUNCTIONS

_lock = threading.Lock()
_traces = 0  # under way on all threads
_own_codes: dict[FunctionType, CodeType] = {}  # of the functions that carry a stand-in now
_runnable: dict[str, FunctionType] = {}  # by name: what runs the function's own code
_stand_ins: dict[FunctionType, CodeType] = {}


class _Depth(threading.local):
    count = 0


_here = _Depth()


class standing_in:  # noqa: N801 - used as a function: `with standing_in():`
    """In the block, and in those of other threads, SciPy's functions take tracers."""

    __slots__ = ()

    def __enter__(self) -> None:
        global _traces
        with _lock:
            _traces += 1
            _here.count += 1
            if can_stand_in():
                _install()

    def __exit__(self, *exception: object) -> None:
        global _traces
        with _lock:
            _traces -= 1
            _here.count -= 1
            if not _traces:
                _restore()


def can_stand_in() -> bool:
    """Has anybody imported the functions?"""
    return "scipy.linalg" in sys.modules


def _install() -> None:
    for name, function in _functions():
        if function in _own_codes:
            continue
        stand_in = _stand_ins.get(function)
        if stand_in is None:
            copy = FunctionType(
                function.__code__,
                function.__globals__,
                function.__name__,
                function.__defaults__,
                function.__closure__,
            )
            copy.__kwdefaults__ = function.__kwdefaults__
            _runnable[name] = copy
            stand_in = _stand_ins[function] = _code_of_stand_in(name, function.__code__)
        _own_codes[function] = function.__code__
        function.__code__ = stand_in


def _restore() -> None:
    for function, code in _own_codes.items():
        function.__code__ = code
    _own_codes.clear()


def _functions() -> list[tuple[str, FunctionType]]:
    """SciPy's own functions, where their modules are loaded."""
    found: list[tuple[str, FunctionType]] = []
    for name in SCIPY_FUNCTIONS:
        module, _, attribute = name.rpartition(".")
        function = getattr(sys.modules.get(f"scipy.{module}"), attribute, None)
        if type(function) is FunctionType and function.__module__.startswith("scipy."):
            found.append((name, function))
    return found


def _code_of_stand_in(name: str, own: CodeType) -> CodeType:
    """Code that calls `call`; a function's code can only be replaced by one with as many free variables."""
    free = ", ".join(own.co_freevars)
    text = f"""
def outer({free}):
    def {own.co_name}(*positional, **keywords):
        if False:
            return ({free})
        from {__name__} import call
        return call({name!r}, positional, keywords)
    return {own.co_name}
"""
    space: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), space)
    return space["outer"](*own.co_freevars).__code__


def call(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """The meaning of a SciPy function where a tracer is among the arguments, else its own result."""
    if not (_has_tracers(args) or _has_tracers(list(keywords.values()))):
        return _runnable[name](*args, **keywords)
    return dispatch.apply(Tracer, SCIPY_FUNCTIONS[name], f"scipy.{name}", args, keywords, False)


def _has_tracers(values: Sequence[Any]) -> bool:
    return any(isinstance(v, Tracer) or (isinstance(v, (list, tuple)) and _has_tracers(v)) for v in values)


def _after_fork() -> None:
    """In a child only the thread that forked lives on, and with it only its traces."""
    global _lock, _traces
    _lock = threading.Lock()
    _traces = _here.count
    if not _traces:
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
