"""Numba's types of transformed functions and of their calls: argument types enter, result types leave.

Importing this module imports Numba and registers the types; `numba_lowering` registers their code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numba.core import errors, types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import AttributeTemplate, infer_getattr, signature
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
        self.results: dict[CallSpec, Result] = {}
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
        keywords = dict(kws)
        out = keywords.pop("out", None) if self.function.takes_out else None
        places = [*map(self.function.name_of_argument, range(len(args))), *keywords]
        given = [*args, *keywords.values()]
        self._force_literals(given, places)
        specs = tuple(self._spec_of(t, place) for t, place in zip(given, places))
        spec = CallSpec(specs, tuple(keywords))
        result = self._result_of(spec)
        numba_types = [t if isinstance(s, Static) else types.unliteral(t) for s, t in zip(specs, given)]
        replaced: dict[int, Any] = {}
        if out is not None:
            replaced = outputs_for(out, result, self.function.out_path, f"{name}: out")
            numba_types.append(out)
            keywords["out"] = out
        parameters = [
            *(inspect.Parameter(f"_{k}", inspect.Parameter.POSITIONAL_ONLY) for k in range(len(args))),
            *(inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD) for key in keywords),
        ]
        call = CallType(self, spec, result, tuple(replaced))
        found = signature(type_of_result(result, replaced), *numba_types, recvr=call)
        return found.replace(pysig=inspect.Signature(parameters))

    def _force_literals(self, given: Sequence[Any], places: Sequence[str]) -> None:
        """Have Numba compile for the values of static arguments."""
        statics = self.function.static_names
        unknown = [k for k, place in enumerate(places) if place in statics and not _is_known(given[k])]
        if unknown:
            raise errors.ForceLiteralArg(
                unknown, fold_arguments=lambda args, kws: (*args, *dict(kws).values())
            )

    def _spec_of(self, numba_type: Any, place: str) -> Spec:
        if place in self.function.static_names:
            return Static(_known_value(numba_type))
        return spec_of(types.unliteral(numba_type), f"{self.reference.name}: argument {place}")

    def _result_of(self, spec: CallSpec) -> Result:
        """What a call gives; the function is traced once for arguments of the same types."""
        if spec not in self.results:
            name = self.reference.name
            try:
                self.results[spec] = find_result(self.function, name, spec)
            except TracejitError:
                raise
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise ArgumentError(
                    f"{name}: tracing it for arguments of these types failed: {what}"
                ) from None
        return self.results[spec]

    def get_call_signatures(self) -> Any:
        return (), True

    def get_impl_key(self, sig: Any) -> Any:
        return CALL_KEY


class CallType(types.Opaque):
    """Stands before the arguments of a call, and tells its code what is called and how.

    given: outputs that go to arrays of the caller, in the order in which `out` has these
    """

    def __init__(
        self, function_type: TransformedType, spec: CallSpec, result: Result, given: tuple[int, ...]
    ) -> None:
        self.function_type = function_type
        self.spec = spec
        self.result = result
        self.given = given
        super().__init__(f"call of {function_type.name} with {spec} into {given}")

    @property
    def reference(self) -> Reference:
        return self.function_type.reference


register_default(TransformedType)(models.OpaqueModel)
register_default(CallType)(models.OpaqueModel)


@infer_getattr
class _Variants(AttributeTemplate):
    """`loss.value` and `loss.grad`."""

    key = TransformedType

    def generic_resolve(self, numba_type: TransformedType, attr: str) -> Any:
        variant = getattr(numba_type.function, attr, None) if attr in ("value", "grad") else None
        return getattr(variant, "_numba_type_", None)


def _type_of(function: Any) -> TransformedType:
    return function._numba_type_


def spec_of(numba_type: Any, what: str) -> Spec:
    """What an argument of a Numba type is to a trace; `what` is its name in errors."""
    if isinstance(numba_type, types.Array):
        return _array_spec(numba_type, what)
    if isinstance(numba_type, types.BaseTuple):
        cls: type = getattr(numba_type, "instance_class", tuple)
        return Node(cls, tuple(spec_of(t, what) for t in members(numba_type)))
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


def _is_known(numba_type: Any) -> bool:
    return isinstance(numba_type, (types.Literal, types.NoneType))


def _known_value(numba_type: Any) -> Any:
    return None if isinstance(numba_type, types.NoneType) else numba_type.literal_value


def type_of_result(result: Result, replaced: Mapping[int, Any]) -> Any:
    """The Numba type of a result; `replaced` has the types of arrays that the caller gives."""

    def convert(tree: Any) -> Any:
        if tree is None:
            return types.none
        if isinstance(tree, int):
            output = result.outputs[tree]
            if tree in replaced:
                return replaced[tree]
            dtype = numpy_support.from_dtype(np.dtype(output.dtype))
            return dtype if output.is_scalar else types.Array(dtype, output.ndim, "C")
        cls, items = tree
        children = [convert(item) for item in items]
        return types.BaseTuple.from_types(children, None if cls is tuple else cls)

    return convert(result.tree)


def outputs_for(out: Any, result: Result, path: Sequence[int], what: str) -> dict[int, Any]:
    """The outputs that go to arrays in `out`, a type nested like the result at `path`, with their types."""
    tree = result.tree
    for position in path:
        tree = tree[1][position]
    return dict(_matched(out, tree, result, what))


def _matched(out: Any, tree: Any, result: Result, what: str) -> Iterator[tuple[int, Any]]:
    if isinstance(out, types.NoneType):
        return
    if isinstance(out, types.BaseTuple) and isinstance(tree, tuple) and len(out) == len(tree[1]):
        for k, (child, item) in enumerate(zip(members(out), tree[1])):
            yield from _matched(child, item, result, f"{what}[{k}]")
        return
    if not isinstance(out, types.Array) or not isinstance(tree, int):
        wanted = "an array" if isinstance(tree, int) else f"a tuple of {len(tree[1])}" if tree else "None"
        raise ArgumentError(f"{what} is {out}, where the result is {wanted}", hint="nest out like the result")
    output = result.outputs[tree]
    dtype = _numpy_dtype(out.dtype, what)
    if str(dtype) != output.dtype or out.ndim != output.ndim:
        raise ArgumentError(f"{what} is a {out.ndim}-d array of {dtype}, where the result is {output}")
    if out.layout != "C" or not out.mutable or not out.aligned:
        flaw = "cannot be written to" if not out.mutable else "is not known to be C-contiguous"
        raise ArgumentError(f"{what} is an array that {flaw}", hint="give one that np.empty made")
    yield tree, out


def members(numba_type: Any) -> tuple[Any, ...]:
    """The types in a tuple type."""
    return tuple(numba_type[k] for k in range(len(numba_type)))
