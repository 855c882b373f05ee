"""Numba's types of transformed functions and of their calls: argument types enter, result types leave.

Importing this module imports Numba and registers the types; `numba_lowering` registers their code.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba.core import errors, types
from numba.core.datamodel import models, register_default
from numba.core.typing import signature
from numba.np import numpy_support

from tracejit.errors import ArgumentError, DTypeError, TracejitError
from tracejit.interop.callbacks import Reference, refer_to
from tracejit.interop.results import find_result
from tracejit.interop.signature import ArrayLeaf, CallSpec, Node, Result, ScalarLeaf, Spec, Static
from tracejit.ir import check_dtype

CALL_KEY = "tracejit.call"  # under which Numba finds the code of calls

# Numba gives Python numbers these types, and makes Python numbers of them.
_PYTHON_NUMBERS = {types.int64: "int64", types.float64: "float64", types.boolean: "bool"}


class TransformedType(types.Callable, types.Opaque):
    """The type of one transformed function."""

    def __init__(self, function: Any, name: str, path: tuple[str, str] | None) -> None:
        module, qualname = path or (None, None)
        self.function = function
        self.reference = refer_to(function, name, module, qualname)
        self.calls: dict[Any, Any] = {}
        super().__init__(f"tracejit({name}#{self.reference.number})")

    @property
    def key(self) -> Any:
        return self.reference.number

    def __reduce__(self) -> Any:
        return _type_of, (self.function,)

    def get_call_type(self, context: Any, args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        key = (tuple(args), tuple(kws.items()))
        found = self.calls.get(key)
        if found is None:
            try:
                found = self.calls[key] = self._call_type(*key)
            except TracejitError as error:
                raise errors.TypingError(str(error)) from None
        return found

    def _call_type(self, args: tuple[Any, ...], kws: tuple[tuple[str, Any], ...]) -> Any:
        name = self.reference.name
        places = [self.function.name_of_argument(k) for k in range(len(args))] + [key for key, _ in kws]
        given = [types.unliteral(t) for t in (*args, *(t for _, t in kws))]
        specs = tuple(spec_of(t, f"{name}: argument {place}") for t, place in zip(given, places))
        spec = CallSpec(specs, tuple(key for key, _ in kws))
        try:
            result = find_result(self.function, name, spec)
        except TracejitError:
            raise
        except Exception as error:
            raise ArgumentError(
                f"{name}: tracing it for arguments of these types failed: {type(error).__name__}: {error}"
            ) from None
        parameters = [
            *(inspect.Parameter(f"_{k}", inspect.Parameter.POSITIONAL_ONLY) for k in range(len(args))),
            *(inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD) for key, _ in kws),
        ]
        call = CallType(self, spec, result)
        found = signature(type_of_result(result), *given, recvr=call)
        return found.replace(pysig=inspect.Signature(parameters))

    def get_call_signatures(self) -> Any:
        return (), True

    def get_impl_key(self, sig: Any) -> Any:
        return CALL_KEY


class CallType(types.Opaque):
    """Stands before the arguments of a call, and tells its code what is called and how."""

    def __init__(self, function_type: TransformedType, spec: CallSpec, result: Result) -> None:
        self.function_type = function_type
        self.spec = spec
        self.result = result
        super().__init__(f"call of {function_type.name} with {spec}")

    @property
    def reference(self) -> Reference:
        return self.function_type.reference


register_default(TransformedType)(models.OpaqueModel)
register_default(CallType)(models.OpaqueModel)


def _type_of(function: Any) -> TransformedType:
    return function._numba_type_


def spec_of(numba_type: Any, what: str) -> Spec:
    """What an argument of a Numba type is to a trace; `what` names it in the error for one that it cannot be."""
    if isinstance(numba_type, types.Array):
        return _array_spec(numba_type, what)
    if isinstance(numba_type, types.BaseTuple):
        cls: type = getattr(numba_type, "instance_class", tuple)
        return Node(cls, tuple(spec_of(t, what) for t in numba_type))
    if isinstance(numba_type, types.NoneType):
        return Static(None)
    if isinstance(numba_type, (types.Boolean, types.Integer, types.Float)):
        known = _PYTHON_NUMBERS.get(numba_type)
        if known is not None:
            return ScalarLeaf(known, True)
        return ScalarLeaf(str(_numpy_dtype(numba_type, what)), False)
    hint = "inside @njit arguments are arrays, numbers, and tuples of them"
    if isinstance(numba_type, types.Optional):
        hint = "it may be None: test for that before the call, so that its type is known"
    elif isinstance(numba_type, (types.List, types.ListType, types.Set, types.DictType)):
        hint = "compiled code knows no list's length: pass a tuple of arrays"
    raise ArgumentError(f"{what} is a {numba_type}, which a call inside @njit cannot take", hint=hint)


def _array_spec(numba_type: Any, what: str) -> ArrayLeaf:
    dtype = _numpy_dtype(numba_type.dtype, what)
    if not numba_type.aligned:
        raise ArgumentError(
            f"{what} is an array whose elements are not aligned", hint="pass a copy: x.copy()"
        )
    return ArrayLeaf(str(dtype), numba_type.ndim, numba_type.layout == "C")


def _numpy_dtype(numba_type: Any, what: str) -> np.dtype[Any]:
    try:
        return check_dtype(np.dtype(numpy_support.as_dtype(numba_type)))
    except DTypeError as error:
        raise DTypeError(f"{what} has dtype {numba_type}, which is not supported", hint=error.hint) from None
    except errors.NumbaError:
        raise DTypeError(f"{what} has dtype {numba_type}, which is not supported") from None


def type_of_result(result: Result) -> Any:
    """The Numba type of a result."""

    def convert(tree: Any) -> Any:
        if tree is None:
            return types.none
        if isinstance(tree, int):
            output = result.outputs[tree]
            dtype = numpy_support.from_dtype(np.dtype(output.dtype))
            return dtype if output.is_scalar else types.Array(dtype, output.ndim, "C")
        cls, items = tree
        children = [convert(item) for item in items]
        return types.BaseTuple.from_types(children, None if cls is tuple else cls)

    return convert(result.tree)
