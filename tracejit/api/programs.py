"""Compiled programs and where they are kept: one cache a function, keyed by signature, guarded, bounded."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.api.devices import look_of_each
from tracejit.api.out import Targets, donations, write
from tracejit.frontend import Guards
from tracejit.runtime.calls import entry

if TYPE_CHECKING:
    from tracejit.runtime.calls.plan import Given, Plan

# Programs a function keeps, and programs it keeps for one signature (they differ in what the guards saw).
MAX_PROGRAMS = 256
MAX_VARIANTS = 8

# Plans that compiled code tries in turn before the table is asked, and how many calls of a program that reach
# the table nevertheless may ask for a plan.
MAX_PLANS = 16
MAX_ATTEMPTS = 64

# Calls on devices that a function knows by the facts of their leaves.
MAX_PREPARED = 256

NOWHERE: dict[int, Any] = {}

Run = Callable[..., Any]

_clock = itertools.count()


@dataclass(eq=False)
class Program:
    """A compiled function for one signature, valid while its guards hold.

    is_free: nothing is guarded
    scalars: outputs of rank 0, which leave as NumPy scalars; zero_dims: those that leave as 0-d arrays
    targets: the outputs that a caller may give arrays for
    donated: pairs of a leaf and an output that may take its memory
    planned: the kinds of calls for which a plan was made, or tried
    """

    guards: Guards
    run: Run
    captures: list[Any]
    finish: Callable[[Sequence[Any]], Any]
    scalars: tuple[int, ...]
    zero_dims: tuple[int, ...] = ()
    targets: Targets | None = None
    donated: Sequence[tuple[int, int]] = ()
    is_reusable: bool = True
    used: int = 0
    types: tuple[tuple[Any, Any], ...] = ()
    is_free: bool = False
    attempts: int = 0
    planned: set[Hashable] = field(default_factory=set[Hashable])

    def __post_init__(self) -> None:
        self.types = tuple((a.dtype, a.shape) for a in self.captures)
        self.is_free = self.guards.is_empty and not self.captures

    def is_valid(self) -> bool:
        """May this program be used now? Arrays can change their shape in place, the rest is guarded."""
        if not self.guards.hold(self.captures):
            return False
        if not self.captures:
            return True
        for array, (dtype, shape) in zip(self.captures, self.types):
            if array.dtype != dtype or array.shape != shape:
                return False
        return True

    def __call__(self, leaves: list[Any], into: dict[int, Any] = NOWHERE) -> Any:
        """The user's result; `into` has the caller's arrays for some outputs, by number."""
        self.used = next(_clock)
        inputs = leaves + self.captures if self.captures else leaves
        if self.donated:
            into = {**donations(self.donated, inputs, into), **into}
        outputs = self.run_into(inputs, into) if into else self.run(inputs)
        if self.scalars or self.zero_dims:
            outputs = list(outputs)
            for k in self.scalars:
                if k not in into and isinstance(outputs[k], np.ndarray):  # others stay on their device
                    outputs[k] = outputs[k][()]
            for k in self.zero_dims:
                if k not in into and isinstance(outputs[k], (np.ndarray, np.generic)):
                    outputs[k] = np.asarray(outputs[k])
        return self.finish(outputs)

    def run_into(self, inputs: list[Any], into: dict[int, Any]) -> list[Any]:
        """Outputs in the caller's arrays: at once where these are contiguous, else copied at the end."""
        if not hasattr(self.run, "donate"):
            return write(into, self.run(inputs))
        if hasattr(self.run, "device"):
            return self.run(inputs, into)
        direct = {k: a for k, a in into.items() if a.flags.carray}
        outputs = self.run(inputs, direct)
        for k, array in direct.items():
            outputs[k] = array
        return write(into, outputs)

    def plan(self, given: Given) -> Plan | None:
        """How compiled code serves calls like this one; None where it cannot."""
        from tracejit.runtime.calls.plan import Facts, make_plan
        from tracejit.runtime.executable import Executable

        if not isinstance(self.run, Executable):
            return None
        facts = Facts(
            self.run, self.captures, self.guards, self.is_valid, self.scalars, self.finish, self.donated
        )
        return make_plan(facts, given)


@dataclass(frozen=True)
class Prepared:
    """How calls on a device are served that are told by little.

    run: what is prepared for arrays like those of the call; None where that is the program itself
    order: which of the leaves that a call gives each of the program's is, where the order is another
    looks: how captured arrays lie, where any is on a device: names may be bound to others
    outputs: the numbers of those that a call gives arrays for
    """

    program: Program
    run: Run | None
    order: list[int] | None
    looks: Hashable | None
    outputs: tuple[int, ...]

    def is_valid(self) -> bool:
        program = self.program
        if not (program.is_free or program.is_valid()):
            return False
        return self.looks is None or self.looks == look_of_each(program.captures)

    def __call__(self, leaves: list[Any]) -> Any:
        program, run = self.program, self.run
        if self.order is not None:
            leaves = [leaves[k] for k in self.order]
        if run is None:
            return program(leaves)
        program.used = next(_clock)
        return program.finish(run(leaves + program.captures if program.captures else leaves))

    def write(self, leaves: list[Any], places: list[Any]) -> Any:
        """The same, written to the caller's arrays; None where these need a closer look."""
        program = self.program
        if self.run is None:
            return None
        if self.order is not None:
            leaves = [leaves[k] for k in self.order]
        outputs = self.run(leaves + program.captures, dict(zip(self.outputs, places, strict=True)))
        if outputs is None:
            return None
        program.used = next(_clock)
        return program.finish(outputs)


class Programs:
    """The programs of one function under one set of options; safe among threads and after a fork."""

    def __init__(self) -> None:
        self.table: dict[Hashable, tuple[Program, ...]] = {}
        self.lock = threading.RLock()
        self.state = entry.new_state()
        self.prepared: dict[Hashable, Prepared] = {}  # by what is cheap to see of a call's leaves
        self._plans: tuple[tuple[Program, Plan], ...] = ()
        self._first: Plan | None = None
        _all_programs.add(self)

    def find(self, key: Hashable) -> Program | None:
        """A program for this signature whose guards hold."""
        for program in self.table.get(key, ()):
            if program.is_free or program.is_valid():
                return program
        return None

    def add(self, key: Hashable, program: Program) -> None:
        """Keep a program; the one that was used longest ago goes where there are too many. Needs the lock."""
        program.used = next(_clock)
        variants = (program, *self.table.get(key, ()))
        self.table[key] = variants[:MAX_VARIANTS]
        if sum(map(len, self.table.values())) > MAX_PROGRAMS:
            oldest = min(self.table, key=lambda k: max(p.used for p in self.table[k]))
            del self.table[oldest]

    def clear(self) -> None:
        with self.lock:
            self.table.clear()
            self.prepared.clear()
            self._set_plans(())

    def prepare(
        self, key: Hashable, program: Program, leaves: list[Any], order: list[int], into: dict[int, Any]
    ) -> None:
        """Let calls with these facts be served by what the program prepares for arrays like `leaves`.

        order: which of the leaves that a call gives each of them is; into: what a call gives for outputs
        """
        from tracejit.runtime.cuda import DeviceExecutable

        assert isinstance(program.run, DeviceExecutable)
        run = program.run.prepare(leaves + program.captures, into)
        if len(self.prepared) >= MAX_PREPARED:
            self.prepared.clear()
        is_on_host = all(isinstance(x, np.ndarray) for x in program.captures)
        looks = None if is_on_host else look_of_each(program.captures)
        self.prepared[key] = Prepared(
            program, run, None if order == sorted(order) else order, looks, tuple(into)
        )

    # --- plans of calls that compiled code serves -----------------------------------------------------------

    def add_plan(self, program: Program, given: Given) -> bool:
        """Let compiled code serve calls like this one from now on, in front of what it served before."""
        with self.lock:
            plan = program.plan(given)
            if plan is None or not any(program in variants for variants in self.table.values()):
                return False
            for dropped, _ in self._plans[MAX_PLANS - 1 :]:
                dropped.planned.clear()
            self._set_plans(((program, plan), *self._plans[: MAX_PLANS - 1]))
        return True

    def _set_plans(self, plans: tuple[tuple[Program, Plan], ...]) -> None:
        # The code keeps what it reads alive, so the old chain may go while other threads are in it.
        from tracejit.runtime.calls.plan import link

        first = link([plan for _, plan in plans])
        entry.set_first(self.state, first.address if first is not None else 0)
        self._plans, self._first = plans, first


_all_programs: weakref.WeakSet[Programs] = weakref.WeakSet()


def every_programs() -> Iterable[Programs]:
    """All that are alive."""
    return list(_all_programs)


def _renew_locks() -> None:
    # A thread of the parent may have held a lock that nobody in the child will release.
    for programs in every_programs():
        programs.lock = threading.RLock()
    _shared.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


# --- programs that outlive the transformed object -----------------------------------------------------------


class _Shared:
    """Programs by owner, by identity: two functions or instances that are equal are still two."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owners: dict[int, tuple[weakref.ref[Any], dict[Hashable, Programs]]] = {}

    def find(self, owner: Any, key: Hashable) -> Programs:
        identity = id(owner)
        with self.lock:
            entry = self.owners.get(identity)
            if entry is None or entry[0]() is not owner:
                # The callback may run at any moment, so it takes no lock; a deletion is atomic.
                reference = weakref.ref(owner, lambda _: self.owners.pop(identity, None))
                entry = self.owners[identity] = (reference, {})
            return entry[1].setdefault(key, Programs())


_shared = _Shared()


def shared_programs(owner: Any, key: Hashable) -> Programs:
    """The programs of `grad(f)` and the like, found again by `f` when `grad(f)` is written anew at each call.

    They live as long as `owner` does, a bound method's as long as its instance. An owner that cannot be
    referred to weakly, or that its own closure refers to (it would never be freed), gets programs of its own
    each time.
    """
    if isinstance(owner, MethodType):
        owner, key = owner.__self__, (owner.__func__, key)
    if _is_in_own_closure(owner):
        return Programs()
    try:
        return _shared.find(owner, key)
    except TypeError:
        return Programs()


def _is_in_own_closure(owner: Any) -> bool:
    for cell in getattr(owner, "__closure__", None) or ():
        try:
            if cell.cell_contents is owner:
                return True
        except ValueError:
            continue
    return False
