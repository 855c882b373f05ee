"""Running a function on tracers: types of arguments go in, a `Graph` and the captured arrays come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, TracejitError, TracerError, UnsupportedError
from tracejit.frontend.dispatch import forget_scalars, located, observed_scalars, value_of
from tracejit.frontend.own_arrays import absorb_own_arrays
from tracejit.frontend.scipy_calls import can_stand_in, standing_in
from tracejit.frontend.tracer import INTO_CONCRETE, Tracer
from tracejit.ir import ArrayType, Atom, Builder, Elsewhere, Graph, building, current_builder, type_of
from tracejit.ops import Value, as_value
from tracejit.ops.value import capture_elsewhere, is_foreign, localize, refused_operand, type_elsewhere
from tracejit.pytree import TreeDef, flatten

# A function that calls itself this often with arguments of the same types, while it is traced, never ends:
# what could stop it is data. Low enough to be reached before Python's own limit.
MAX_DEPTH = 40


@dataclass(frozen=True)
class Argument:
    """What a trace knows of an argument; `weak` is the type of a Python number."""

    type: ArrayType
    weak: type | None = None
    is_scalar: bool = False


@dataclass(frozen=True)
class Trace:
    """A traced function: `graph` takes the arguments and then `captures`, and gives the leaves of the result.

    captures: concrete arrays, and values of enclosing traces, that the function used besides its arguments
    frozen: arrays whose content shaped the graph
    scalars: NumPy scalars that became constants
    seconds: how long the function ran
    """

    graph: Graph
    result: TreeDef
    captures: tuple[Any, ...]
    frozen: tuple[np.ndarray[Any, Any], ...]
    scalars: tuple[np.generic, ...]
    seconds: float = 0.0


def argument_of(leaf: Any) -> Argument:
    """How a valid leaf enters a trace: a tracer, an array, a NumPy or Python number.

    >>> argument_of(2.0).weak, str(argument_of(np.ones(3, "f4")).type)
    (<class 'float'>, 'f32[3]')
    """
    if isinstance(leaf, Tracer):
        value = value_of(leaf)
        return Argument(value.type, value.weak, leaf._is_scalar)
    if isinstance(leaf, (bool, int, float)) and not isinstance(leaf, np.generic):
        weak = None if isinstance(leaf, bool) else int if isinstance(leaf, int) else float
        if weak is int and not -(2**63) <= leaf < 2**63:
            raise OverflowError(f"Python integer {leaf} is too large for int64; pass it as a float")
        return Argument(as_value(leaf).type, weak, True)
    try:
        found = type_elsewhere(leaf) or type_of(leaf)
    except TypeError:
        if not is_foreign(leaf):
            raise
        raise refused_operand(leaf, "an argument") from None  # which lies where NumPy cannot read it
    return Argument(found, None, isinstance(leaf, np.generic))


def take_in(leaf: Any) -> Any:
    """A tracer for an array on a device, in a trace that may capture these; else the leaf itself."""
    value = capture_elsewhere(leaf)
    return leaf if value is None else Tracer(value)


def trace(
    function: Callable[..., Any],
    arguments: Sequence[Argument],
    name: str,
    elsewhere: Elsewhere | None = None,
) -> Trace:
    """The graph of `function(*tracers)`, which may return any nesting of tracers, arrays and numbers.

    elsewhere: knows arrays on a device, which may be captured then; of traces within another, that one's
    Whatever `function` raises comes out as it is; the traces that enclose this one are unharmed. A function
    that was the first to import SciPy's linear algebra is run again, now that it takes tracers.
    """
    could_stand_in = can_stand_in()
    try:
        return _trace_once(function, arguments, name, elsewhere)
    except TracerError:
        if could_stand_in or not can_stand_in():
            raise
    return _trace_once(function, arguments, name, elsewhere)


def _trace_once(
    function: Callable[..., Any], arguments: Sequence[Argument], name: str, elsewhere: Elsewhere | None
) -> Trace:
    started = time.perf_counter()
    builder, enclosing = Builder(name), current_builder()
    builder.trace_sources = True
    builder.elsewhere = elsewhere if enclosing is None else enclosing.elsewhere
    if enclosing is None:
        forget_scalars()
    with standing_in(), building(builder):
        tracers = [Tracer(Value(builder, builder.add_input(a.type), a.weak), a.is_scalar) for a in arguments]
        leaves, result = flatten(_run(function, tracers))
        outputs = [_output(leaf, builder, k, result, name) for k, leaf in enumerate(leaves)]
        absorb_own_arrays(builder)
        graph = builder.finish(outputs)
    return Trace(
        graph,
        result,
        tuple(outer for outer, _ in builder.lifted.values()),
        tuple(builder.frozen),
        tuple(observed_scalars().values()),
        time.perf_counter() - started,
    )


def _run(function: Callable[..., Any], tracers: Sequence[Tracer]) -> Any:
    try:
        return function(*tracers)
    except ValueError as error:
        # NumPy hides the error of a number that it cannot have behind one about sequences.
        cause = error.__cause__
        if not isinstance(cause, TracerError):
            raise
        raise UnsupportedError(INTO_CONCRETE[0], where=cause.where, hint=INTO_CONCRETE[1]) from None


def _output(leaf: Any, builder: Builder, number: int, result: TreeDef, name: str) -> Atom:
    if isinstance(leaf, Tracer):
        return localize(value_of(leaf), builder)
    try:
        return localize(as_value(leaf), builder)
    except (ArgumentError, ValueError):
        path = result.leaf_paths()[number]
        raise ArgumentError(
            f"{name} returned a {type(leaf).__name__}{' at ' + path if path else ''}, "
            "which is not an array or a number",
            hint="return arrays, numbers and None, in dicts, lists, tuples or dataclasses",
        ) from None


def embed(graph: Graph, operands: Sequence[Any], captures: Sequence[Any]) -> list[Value]:
    """Emit `graph` into the trace under way, on tracers, arrays or numbers and its captures."""
    builder = current_builder()
    assert builder is not None, "there is no trace to embed into"
    values = [value_of(x) if isinstance(x, Tracer) else as_value(x) for x in (*operands, *captures)]
    try:
        outputs = builder.inline(graph, [localize(v, builder) for v in values])
    except TracejitError as error:
        raise located(error) from None
    return [Value(builder, atom) for atom in outputs]


# --- recursion ----------------------------------------------------------------------------------------------


class _Calls(threading.local):
    def __init__(self) -> None:
        self.depth: dict[Hashable, int] = {}


_calls = _Calls()


class entering:  # noqa: N801 - used as a function: `with entering(...)`
    """Count the calls under way on this thread of one function on one signature; too many are an error."""

    def __init__(self, key: Hashable, name: str) -> None:
        self.key = key
        self.name = name

    def __enter__(self) -> None:
        count = _calls.depth.get(self.key, 0)
        if count >= MAX_DEPTH:
            raise located(
                TracerError(
                    f"recursion: {self.name} calls itself with arguments of the same types, without an end, "
                    "while it is traced",
                    hint="a condition on traced values cannot stop it: let a static argument "
                    "(static_argnames=...) count down, or write a loop",
                )
            )
        _calls.depth[self.key] = count + 1

    def __exit__(self, *exception: object) -> None:
        _calls.depth[self.key] -= 1
        if not _calls.depth[self.key]:
            del _calls.depth[self.key]
