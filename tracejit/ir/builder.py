"""Building a graph: type inference, constant folding and hash-consing at the moment of emission.

A stack of builders, one a thread, holds the traces under way; values of an enclosing trace that are used in
an inner one become inputs of the inner graph (`lift`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tracejit.errors import InternalError, TracejitError
from tracejit.ir.graph import Atom, Const, Eqn, Graph, Var, constant, eqn_key, freeze_params
from tracejit.ir.primitive import Kind, Primitive
from tracejit.ir.source import Call, Source, find_source
from tracejit.ir.types import ArrayType


class Elsewhere(Protocol):
    """What a trace needs to know of arrays that lie on a device: never more than types, and where they are.

    type_of: the type of an array; memory_of: what it has in common with those that show the same memory, such
    as views of it. Both are None for what lies on no device.
    unchanged: a function that says whether the content is still what it is now; it compares on the device.
    """

    def type_of(self, x: Any) -> ArrayType | None: ...
    def memory_of(self, x: Any) -> Hashable: ...
    def unchanged(self, x: Any) -> Callable[[], bool]: ...


class Builder:
    """A graph under construction.

    `rewrite(builder, primitive, inputs, params)` may return an atom that stands for the equation (local
    simplification); it is tried before hash-consing. `frozen` holds the concrete arrays whose content this
    trace relied on, not only their shape: its owner must trace again when one of them has changed. `replaced`
    says what stands for variables of equations that were replayed and turned out to be needless. `elsewhere`
    is there where arrays on a device may be captured.
    """

    elsewhere: Elsewhere | None = None

    def __init__(self, name: str = "f", rewrite: Callable[..., Atom | None] | None = None) -> None:
        self.name = name
        self.inputs: list[Var] = []
        self.eqns: list[Eqn] = []
        self.definitions: dict[Var, Eqn] = {}
        self.lifted: dict[Any, tuple[Any, Var]] = {}
        self.frozen: list[np.ndarray[Any, Any]] = []
        self.source: Source | None = None
        self.call: Call | None = None
        self.trace_sources = False
        self._rewrite = rewrite
        self._known: dict[Any, Eqn] = {}
        self.replaced: dict[Var, Atom] = {}

    def add_input(self, type: ArrayType) -> Var:
        var = Var(type)
        self.inputs.append(var)
        return var

    def lift(self, key: Any, outer: Any, type: ArrayType) -> Var:
        """The input that stands for `outer` (a value of an enclosing trace, or a captured array)."""
        if key not in self.lifted:
            self.lifted[key] = (outer, Var(type))
        return self.lifted[key][1]

    def emit(self, primitive: Primitive, inputs: Sequence[Atom], params: dict[str, Any]) -> Atom:
        """Add an equation, or find the atom that already holds its value."""
        try:
            out_type = primitive.infer(*[a.type for a in inputs], **params)
        except TracejitError as error:
            source = self._where()
            raise type(error)(
                error.message, where=error.where or (source.describe() if source else None), hint=error.hint
            ) from None
        inputs = tuple(inputs)
        simpler = self._simpler(primitive, inputs, params, out_type)
        if simpler is not None:
            return simpler
        key = eqn_key(primitive, inputs, params) if primitive.pure else None
        eqn = self._known.get(key)
        if eqn is None:
            eqn = Eqn(primitive, inputs, freeze_params(params), (Var(out_type),), self._where())
            self._append(eqn)
            if key is not None:
                self._known[key] = eqn
        elif self.source is not None:
            self._claim(eqn, self.source)
        return eqn.outputs[0]

    def replay(self, eqn: Eqn) -> None:
        """Emit an equation of another graph under its own variable, whose type is known.

        Its operands may have been replaced by others of their types. Where the equation turns out to be
        needless, `replaced` says what stands for its variable.
        """
        primitive, inputs, replaced = eqn.primitive, eqn.inputs, self.replaced
        if replaced and not replaced.keys().isdisjoint(inputs):
            eqn = eqn.with_inputs(substitute(replaced, a) for a in inputs)
            inputs = eqn.inputs
        self.source = eqn.source
        out = eqn.outputs[0]
        simpler = self._simpler(primitive, inputs, eqn.params, out.type)
        if simpler is not None:
            self._replace(out, simpler)
        else:
            self._enter(eqn)

    def _enter(self, eqn: Eqn) -> None:
        """Add an equation, or note which one stands for it."""
        if eqn.primitive.pure:
            known = self._known.setdefault(eqn_key(eqn.primitive, eqn.inputs, eqn.params), eqn)
            if known is not eqn:
                self._claim(known, eqn.source)
                self._replace(eqn.outputs[0], known.outputs[0])
                return
        self._append(eqn)

    def _append(self, eqn: Eqn) -> None:
        self.eqns.append(eqn)
        self.definitions[eqn.outputs[0]] = eqn

    def _claim(self, eqn: Eqn, source: Source | None) -> None:
        """What a derivative computed first is the user's too, and then has the rounding that they wrote."""
        if eqn.source is None or not eqn.source.is_derivative or source is None or source.is_derivative:
            return
        own = Eqn(eqn.primitive, eqn.inputs, eqn.params, eqn.outputs, source)
        self.eqns[self.eqns.index(eqn)] = own
        self.definitions[eqn.outputs[0]] = own
        self._known[eqn_key(eqn.primitive, eqn.inputs, eqn.params)] = own

    def _replace(self, old: Var, new: Atom) -> None:
        self.replaced[old] = new

    def _where(self) -> Source | None:
        """The user's line that is being traced, or that what is emitted stems from."""
        return self.source or (find_source(self.call) if self.trace_sources else None)

    def _simpler(
        self, primitive: Primitive, inputs: tuple[Atom, ...], params: Mapping[str, Any], out_type: ArrayType
    ) -> Atom | None:
        """The constant that an equation amounts to, or what the rewriting finds for it."""
        if not out_type.shape and primitive.kind is Kind.ELEMENTWISE and primitive.pure:
            folded = self._fold(primitive, inputs, params, out_type)
            if folded is not None:
                return folded
        return self._rewrite(self, primitive, inputs, params) if self._rewrite is not None else None

    def _fold(
        self, primitive: Primitive, inputs: tuple[Atom, ...], params: Mapping[str, Any], out_type: ArrayType
    ) -> Const | None:
        values: list[np.generic] = []
        for atom in inputs:
            if not isinstance(atom, Const):
                return None
            values.append(atom.value)
        if not values:
            return None
        with np.errstate(all="ignore"):
            return constant(primitive.evaluate(*values, **params), out_type.dtype)

    def definition(self, atom: Atom) -> Eqn | None:
        """The equation that assigns `atom`, None for inputs and constants."""
        return self.definitions.get(atom) if isinstance(atom, Var) else None

    def inline(self, graph: Graph, args: Sequence[Atom]) -> list[Atom]:
        """Emit the equations of `graph` on `args`; returns its outputs."""
        if len(args) != len(graph.inputs):
            raise InternalError(f"inline: {graph.name} takes {len(graph.inputs)} inputs, got {len(args)}")
        env: dict[Var, Atom] = dict(zip(graph.inputs, args, strict=True))
        for eqn in graph.eqns:
            with self.at(eqn.source):
                env[eqn.out] = self.emit(
                    eqn.primitive, [substitute(env, a) for a in eqn.inputs], dict(eqn.params)
                )
        return [substitute(env, a) for a in graph.outputs]

    @contextlib.contextmanager
    def at(self, source: Source | None) -> Generator[None]:
        """Emit equations as of the given user line."""
        previous, self.source = self.source, source or self.source
        try:
            yield
        finally:
            self.source = previous

    def finish(self, outputs: Sequence[Atom]) -> Graph:
        """Close the trace. Lifted values follow the declared inputs, in order of first use."""
        lifted = tuple(var for _, var in self.lifted.values())
        return Graph(tuple(self.inputs) + lifted, tuple(self.eqns), tuple(outputs), self.name)


def substitute(env: dict[Var, Atom], atom: Atom) -> Atom:
    return env.get(atom, atom) if isinstance(atom, Var) else atom


class _Stack(threading.local):
    def __init__(self) -> None:
        self.builders: list[Builder] = []


_stack = _Stack()

# Traces under way on all threads: where it is 0, compiled code need not ask which thread it runs on.
TRACES_UNDER_WAY = ctypes.c_int64(0)
_count_lock = threading.Lock()


def _count_traces(change: int) -> None:
    with _count_lock:
        TRACES_UNDER_WAY.value += change


def _count_after_fork() -> None:
    """In a child only the thread that forked lives on."""
    global _count_lock
    _count_lock = threading.Lock()
    TRACES_UNDER_WAY.value = len(_stack.builders)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_after_fork)


@contextlib.contextmanager
def building(builder: Builder) -> Generator[Builder]:
    """Make `builder` the one that operations emit into, on this thread, until the block ends."""
    _stack.builders.append(builder)
    _count_traces(1)
    try:
        yield builder
    finally:
        _stack.builders.pop()
        _count_traces(-1)


def current_builder() -> Builder | None:
    """The innermost trace under way on this thread."""
    return _stack.builders[-1] if _stack.builders else None


class calling:  # noqa: N801 - used as a function: `with calling(...)`
    """Equations emitted in the block belong to one call by the user; the outermost block names it."""

    __slots__ = ("builder", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.builder: Builder | None = None

    def __enter__(self) -> None:
        builder = current_builder()
        if builder is not None and builder.call is None:
            builder.call = Call(self.name)
            self.builder = builder

    def __exit__(self, *exception: object) -> None:
        if self.builder is not None:
            self.builder.call = None


def open_builders() -> tuple[Builder, ...]:
    """Every trace under way on this thread, outermost first."""
    return tuple(_stack.builders)


def is_active(builder: Builder) -> bool:
    """Is `builder` a trace under way on this thread?"""
    return any(b is builder for b in _stack.builders)
