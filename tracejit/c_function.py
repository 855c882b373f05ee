"""`cfunc`: a function of numbers as a C function, for SciPy's integrators and filters and other C code."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.api import Transformed, jit
from tracejit.codegen.program import LibraryCall
from tracejit.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from tracejit.interop.c_code import Form, compile_c
from tracejit.interop.callbacks import c_record
from tracejit.interop.signature import ArrayLeaf, CallSpec, Leaf, ScalarLeaf

if TYPE_CHECKING:
    from scipy import LowLevelCallable

_DOUBLES = ctypes.POINTER(ctypes.c_double)
_PARAMETERS: dict[str, tuple[Any, ...]] = {
    "number": (ctypes.c_double,),
    "numbers": (ctypes.c_int, _DOUBLES),
    "array": (ctypes.c_int, _DOUBLES),
    "filter": (_DOUBLES, ctypes.c_ssize_t, _DOUBLES, ctypes.c_void_p),
}


class CFunction:
    """A compiled C function, which lives as long as this object and whatever its attributes gave.

    address: where its code starts
    user_data: the array whose address goes with `low_level_callable`, or None

    >>> wave = tj.cfunc(lambda x: np.sin(x) / x, 1.0)
    >>> round(wave.ctypes(2.0), 6)
    0.454649
    """

    def __init__(self, name: str, form: Form, record: Any, result: str, user_data: Any) -> None:
        self.user_data = user_data
        self._name = name
        self._form = form
        self._record = record
        self._result = result
        self._native = compile_c(record, result, form)

    @property
    def address(self) -> int:
        return self._native.address

    @functools.cached_property
    def ctypes(self) -> Any:
        """The function for `ctypes`: called from Python, or given to other libraries."""
        parameters = _PARAMETERS[self._form.kind]
        if self._form.has_data and self._form.kind != "filter":
            parameters = (*parameters, ctypes.c_void_p)
        returns = ctypes.c_int if self._form.kind == "filter" else ctypes.c_double
        function: Any = ctypes.CFUNCTYPE(returns, *parameters)(self.address)
        function.owner = self  # the code lives as long as any way to call it
        return function

    @functools.cached_property
    def low_level_callable(self) -> LowLevelCallable:
        """The function as `scipy.integrate.quad` and `nquad` take it; imports SciPy.

        >>> from scipy.integrate import quad
        >>> bell = tj.cfunc(lambda x: np.exp(-x * x), 0.0)
        >>> round(quad(bell.low_level_callable, -np.inf, np.inf)[0] ** 2, 9)
        3.141592654
        """
        from scipy import LowLevelCallable

        if self.user_data is None:
            return LowLevelCallable(self.ctypes)
        return LowLevelCallable(self.ctypes, ctypes.c_void_p(self.user_data.ctypes.data))

    @functools.cached_property
    def filter_callable(self) -> LowLevelCallable:
        """A function of a window, given as a 1-d array, as `scipy.ndimage.generic_filter` takes it.

        >>> from scipy.ndimage import generic_filter
        >>> spread = tj.cfunc(lambda window: window.max() - window.min(), np.zeros(3))
        >>> generic_filter(np.array([1.0, 4.0, 2.0]), spread.filter_callable, size=3)
        array([3., 3., 2.])
        """
        if self._form.kind != "array":
            raise ArgumentError(
                f"cfunc: {self._name} is a function of numbers, and a filter is one of an array",
                hint="give an array with as many elements as the filter's footprint has",
            )
        form = Form("filter", self._form.count, self._form.has_data)
        return CFunction(self._name, form, self._record, self._result, self.user_data).low_level_callable

    def __repr__(self) -> str:
        return f"<cfunc {self._name} at {self.address:#x}>"


def cfunc(f: Callable[..., Any], *example: Any, user_data: np.ndarray[Any, Any] | None = None) -> CFunction:
    """A scalar function, or a derivative of one, as a C function that runs without Python.

    f: plain NumPy, or what `jit`, `grad` or `.value` gave; its result is one float
    example: one float for `double f(double)`; several for `double f(int n, double *x)`; or one 1-d array of
        float64, whose n elements then are what `x` points to
    user_data: an array that `f` takes as its last argument, read at each call through `void *user_data`

    Sizes are those of the example: called with another `n` it gives NaN, as it does where an index is out of
    range. Numbers that `f` captured, and what it computes of captured arrays alone, are those of this moment;
    captured arrays that meet its arguments are read at each call.
    Raises ShapeError or DTypeError for another result than a float, ArgumentError for other examples.

    >>> slope = tj.cfunc(tj.grad(lambda x: x**3), 1.0)
    >>> slope.ctypes(2.0)
    12.0
    """
    function = f if isinstance(f, Transformed) else jit(f)
    name = function._name
    if function._options.target != "cpu":
        raise UnsupportedError(
            f'cfunc: {name} has target="{function._options.target}", which C code cannot call',
            hint="leave target out: C functions run on this processor",
        )
    form = _form_of(name, example, user_data)
    # C code gives its numbers side by side, however the example lies in memory.
    leaves = [x.copy() if isinstance(x, np.ndarray) else x for x in example]
    leaves += [] if user_data is None else [user_data]
    kinds: list[Leaf] = [
        ArrayLeaf(str(x.dtype), x.ndim) if isinstance(x, np.ndarray) else ScalarLeaf("float64", True)
        for x in leaves
    ]
    values = [x if isinstance(x, np.ndarray) else float(x) for x in leaves]
    result, record = c_record(function, name, CallSpec(tuple(kinds)), values)
    output = result.outputs[0] if isinstance(result.tree, int) else None
    if output is None or output.ndim:
        given = str(output or ("None" if result.tree is None else "several results"))
        hint = "reduce it to one number; of a function made by grad_jit take .value or .grad"
        raise ShapeError(f"cfunc: {name} must give one number, got {given}", hint=hint)
    if output.dtype not in ("float64", "float32"):
        raise DTypeError(f"cfunc: {name} must give a float, got {output}", hint="multiply it by 1.0")
    if record.program is not None:
        calls = record.program.run.program.calls
        steps = sorted({call.eqn.primitive.name for call in calls if isinstance(call, LibraryCall)})
        raise UnsupportedError(
            f"cfunc: {name} has steps that only NumPy can run: {', '.join(steps)}",
            hint="write them in terms of other functions",
        )
    return CFunction(name, form, record, output.dtype, user_data)


def _form_of(name: str, example: tuple[Any, ...], user_data: Any) -> Form:
    if user_data is not None:
        is_array = isinstance(user_data, np.ndarray)
        if not is_array or not user_data.flags.c_contiguous or not user_data.flags.aligned:
            raise ArgumentError(
                f"cfunc: user_data of {name} must be a contiguous array, got {type(user_data).__name__}",
                hint="np.ascontiguousarray(...)",
            )
        if not user_data.dtype.isnative:
            raise DTypeError(
                f"cfunc: user_data of {name} is {user_data.dtype}, in the byte order of other machines",
                hint='convert it: x.astype(x.dtype.newbyteorder("="))',
            )
    has_data = user_data is not None
    if example and all(isinstance(x, (float, np.float64)) for x in example):
        return Form("number" if len(example) == 1 else "numbers", len(example), has_data)
    first = example[0] if len(example) == 1 else None
    if isinstance(first, np.ndarray) and first.dtype == np.float64 and first.ndim == 1:
        return Form("array", first.size, has_data)
    given = ", ".join(_describe(x) for x in example) or "nothing"
    raise ArgumentError(
        f"cfunc: the example of {name} must be floats, or one 1-d array of float64, got {given}",
        hint="C code calls it with doubles: tj.cfunc(f, 1.0)",
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.ndim}-d array of {value.dtype}"
    return type(value).__name__
