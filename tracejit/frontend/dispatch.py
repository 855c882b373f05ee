"""How a NumPy call on tracers reaches its meaning: unwrap to `Value`s, look it up, run it, wrap the result.

Enters a NumPy function with what the user passed; leaves tracers, or an error that names the user's line.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tracejit.errors import ArgumentError, DTypeError, TracejitError, TracerError, UnsupportedError
from tracejit.ir import Const, calling, find_source, is_active
from tracejit.ops import NUMPY, Value, reduction, scan, ufuncs
from tracejit.ops.joining import array, has_values
from tracejit.ops.special import scipy_meaning
from tracejit.ops.value import capture_elsewhere, is_foreign


class Traced(Protocol):
    """What dispatch needs to know of a tracer: the value inside, and how to make another one."""

    _value: Value

    def __init__(self, value: Value, is_scalar: bool = False) -> None: ...


TracerType = type[Traced]

# NumPy returns 0-d arrays (views, or fresh ones) from these where others return immutable scalars.
ARRAY_RESULTS: frozenset[Any] = frozenset(
    {
        np.reshape,
        np.ravel,
        np.transpose,
        np.swapaxes,
        np.moveaxis,
        np.rollaxis,
        np.squeeze,
        np.expand_dims,
        np.broadcast_to,
        np.broadcast_arrays,
        np.copy,
        np.where,
        np.select,
        np.zeros_like,
        np.ones_like,
        np.full_like,
        np.empty_like,
        np.nan_to_num,
        np.real,
        np.imag,
        np.tile,
        np.flip,
        np.roll,
        np.diagonal,
        np.einsum,
        np.tensordot,
    }
)

UFUNC_METHODS: dict[str, dict[Any, Callable[..., Any]]] = {
    "reduce": reduction.UFUNC_REDUCE,
    "accumulate": scan.UFUNC_ACCUMULATE,
}


# These take lists of arrays; elsewhere a list with traced values in it stands for one array.
SEQUENCE_FUNCTIONS: frozenset[Any] = frozenset(
    {
        np.concatenate,
        np.stack,
        np.vstack,
        np.hstack,
        np.dstack,
        np.column_stack,
        np.block,
        np.select,
        np.choose,
        np.broadcast_arrays,
        np.meshgrid,
        np.einsum,
        np.linalg.multi_dot,
    }
)


class _Observed(threading.local):
    def __init__(self) -> None:
        self.scalars: dict[int, np.generic] = {}


# NumPy scalars that met traced values on this thread. One that is not a constant of the user's was computed
# from a concrete array during the trace, which is then valid only as long as that array keeps its content.
_observed = _Observed()


def observed_scalars() -> dict[int, np.generic]:
    """NumPy scalars by identity that traced code used since the last `forget_scalars()` on this thread."""
    return _observed.scalars


def forget_scalars() -> None:
    _observed.scalars = {}


# --- in and out ---------------------------------------------------------------------------------------------


def located(error: TracejitError) -> TracejitError:
    """The same error, naming the user's line if it names none yet."""
    if error.where is not None:
        return error
    return type(error)(error.message, where=_here(), hint=error.hint)


def value_of(tracer: Traced) -> Value:
    """The value inside, if its trace is still under way on this thread."""
    value = tracer._value
    builder = value.builder
    if builder is None or isinstance(value.atom, Const) or is_active(builder):
        return value
    made = value.definition.source if value.definition is not None else None
    origin = f"it was made {made.describe()}" if made is not None else f"it is an argument of {builder.name}"
    raise located(
        TracerError(
            f"leak: a traced {value.type} was used outside the trace of {builder.name}, which made it",
            hint=f"{origin}; return it from the traced function instead of storing it",
        )
    )


def unwrap(x: Any, cls: TracerType) -> Any:
    """`x` with the tracers in it, and in lists, tuples and slices, replaced by their values."""
    if isinstance(x, cls):
        return value_of(x)
    kind = type(x)
    if kind is np.ndarray or kind is float or kind is int:
        return x
    if isinstance(x, (list, tuple)):
        items = [unwrap(item, cls) for item in x]
        return items if isinstance(x, list) else tuple(items)
    if isinstance(x, slice):
        return slice(unwrap(x.start, cls), unwrap(x.stop, cls), unwrap(x.step, cls))
    if isinstance(x, np.generic):
        _observed.scalars[id(x)] = x
    elif isinstance(x, complex):
        raise located(
            DTypeError(
                "complex numbers are not supported in a traced function",
                hint="compute with the real and the imaginary part",
            )
        )
    elif isinstance(x, np.ndarray) and isinstance(x, (np.ma.MaskedArray, np.matrix)):
        raise located(
            DTypeError(
                f"a {kind.__name__} cannot be used in a traced function",
                hint="take the plain array: np.asarray(x), or x.filled(...) of a masked array",
            )
        )
    elif is_foreign(x):
        return _captured(x)
    return x


def _captured(x: Any) -> Any:
    """An array of another library, as a value where it can be read."""
    try:
        found = capture_elsewhere(x)
    except TracejitError as error:
        raise located(error) from None
    return x if found is None else found


def wrap(x: Any, cls: TracerType, is_scalar: bool) -> Any:
    """Values in a result as tracers; what is not a value stays."""
    if isinstance(x, Value):
        return cls(x, is_scalar)
    if isinstance(x, list):
        return [wrap(item, cls, is_scalar) for item in x]
    if isinstance(x, tuple):
        if hasattr(x, "_fields"):  # the named results of np.linalg
            return type(x)(*(wrap(item, cls, is_scalar) for item in x))
        return tuple(wrap(item, cls, is_scalar) for item in x)
    return x


def apply(
    cls: TracerType,
    operation: Callable[..., Any],
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    is_scalar: bool,
    stacks: bool = False,
) -> Any:
    """Run the meaning of a call on unwrapped operands; errors come out with the user's line.

    `stacks` says that a list with traced values in it stands for one array.
    """
    operands = [unwrap(a, cls) for a in args]
    options = {key: unwrap(value, cls) for key, value in kwargs.items()} if kwargs else {}
    try:
        if stacks:
            operands = [array(x) if isinstance(x, (list, tuple)) and has_values(x) else x for x in operands]
        with calling(name):
            result = operation(*operands, **options)
    except TracejitError as error:
        raise located(error) from None
    except TypeError as error:
        explained = _explain_keywords(operation, name, operands, options, error)
        if explained is None:
            raise
        raise explained from None
    return wrap(result, cls, is_scalar)


def _explain_keywords(
    operation: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any], error: TypeError
) -> TracejitError | None:
    """The error for arguments that the operation does not take; None when they fit."""
    call = getattr(operation, "call", operation)
    try:
        inspect.signature(call).bind(*args, **kwargs)
    except (TypeError, ValueError) as mismatch:
        keyword = re.search(r"unexpected keyword argument '(\w+)'", str(mismatch))
        if keyword is None:
            return located(ArgumentError(f"{name}: {mismatch}"))
        return located(
            UnsupportedError(f"{name}: {keyword[1]}= is not supported", hint=f"leave {keyword[1]} out")
        )
    return None


# --- NumPy's two protocols ----------------------------------------------------------------------------------


def call_function(cls: TracerType, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of a NumPy function called with tracers among its arguments."""
    operation = NUMPY.get(function)
    if operation is None:
        raise unsupported(qualified_name(function))
    if kwargs.get("out") is not None:
        raise _no_out(qualified_name(function))
    return apply(
        cls,
        operation,
        qualified_name(function),
        args,
        kwargs,
        function not in ARRAY_RESULTS,
        function not in SEQUENCE_FUNCTIONS,
    )


def call_ufunc(
    cls: TracerType, ufunc: np.ufunc, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The result of `ufunc(...)`, `ufunc.reduce(...)`, `ufunc.accumulate(...)` or `ufunc.outer(...)`."""
    name = qualified_name(ufunc)
    if any(o is not None for o in kwargs.get("out", ())):
        raise _no_out(name)
    operation: Callable[..., Any] | None = None
    is_known = ufunc in NUMPY or scipy_meaning(ufunc) is not None
    if method == "__call__":
        operation = functools.partial(ufuncs.call_ufunc, ufunc) if is_known else None
    elif method == "outer":
        operation, name = functools.partial(ufuncs.call_outer, ufunc) if is_known else None, f"{name}.outer"
    else:
        table = UFUNC_METHODS.get(method, {})
        operation, name = table.get(ufunc), f"{name}.{method}"
    if operation is None:
        raise unsupported(name)
    options = {key: value for key, value in kwargs.items() if key != "out"}
    return apply(cls, operation, name, args, options, True, True)


# --- names and hints ----------------------------------------------------------------------------------------


def qualified_name(function: Any) -> str:
    """What the user calls it: `np.linalg.svd`, `scipy.special.erf`."""
    name = getattr(function, "__name__", repr(function))
    if isinstance(function, np.ufunc):
        if getattr(np, name, None) is function:
            return f"np.{name}"
        special = sys.modules.get("scipy.special")
        return f"scipy.special.{name}" if getattr(special, name, None) is function else name
    module = getattr(function, "__module__", "") or ""
    return re.sub(r"^numpy\b", "np", f"{module}.{name}")


def unsupported(name: str) -> UnsupportedError:
    """The error for a function without a meaning inside a trace, with the nearest supported names."""
    return UnsupportedError(
        f"{name} is not supported in a traced function", where=_here(), hint=nearest_supported(name)
    )


def nearest_supported(name: str) -> str:
    """What to write in place of an unsupported function: names spelled alike, or all of its submodule.

    >>> nearest_supported("np.hypothenuse")
    'nearest in name: np.hypot'
    """
    module, _, bare = name.rpartition(".")
    supported = sorted({qualified_name(f) for f in NUMPY})
    siblings = [n.rpartition(".")[2] for n in supported if n.rpartition(".")[0] == module]
    close = difflib.get_close_matches(bare, siblings, n=3, cutoff=0.6)
    if close:
        return f"nearest in name: {', '.join(f'{module}.{n}' for n in close)}"
    if siblings and module != "np":
        return f"of {module} there are {', '.join(siblings)}"
    return "compute it outside and pass the result as an argument, or write it with other functions"


def _here() -> str | None:
    source = find_source()
    return source.describe() if source is not None else None


def _no_out(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name}: out= is not supported in a traced function",
        where=_here(),
        hint=f"write the result to a name: y = {name}(...)",
    )
