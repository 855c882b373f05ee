"""A function of the user's, traced, transformed, compiled and called."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any

import numpy as np

from tracejit.api.devices import check_deterministic, check_target, elsewhere, look_at, stand_ins, twin
from tracejit.api.lowering import GradOptions, Lowered, lower_grad, lower_value
from tracejit.api.out import Targets
from tracejit.api.programs import MAX_ATTEMPTS, NOWHERE, Program, Programs, shared_programs
from tracejit.api.signature import Call, Parameters, call_key, describe_arguments
from tracejit.config import Choices
from tracejit.errors import ArgumentError, UnsupportedError
from tracejit.frontend import Tracer, embed, entering, find_roots
from tracejit.ir import current_builder
from tracejit.ir.source import find_source
from tracejit.passes import simplify_graph
from tracejit.runtime import stats
from tracejit.runtime.calls import entry
from tracejit.runtime.threads import check_threads

Donate = str | int | Sequence[str | int]


@dataclass(frozen=True)
class Options:
    """How a function was transformed. `grad` is None for `jit`; `choices` are forced where they are given."""

    api: str
    grad: GradOptions | None = None
    fuse: bool = True
    target: str = "cpu"
    static_argnames: str | tuple[str, ...] = ()
    donate: tuple[str | int, ...] = ()
    threads: int | None = None
    choices: Choices | None = None
    deterministic: bool = True

    def __post_init__(self) -> None:
        check_deterministic(self.api, self.deterministic)
        if self.threads is not None:
            object.__setattr__(self, "threads", check_threads(self.api, self.threads))
        check_target(self.api, self.target, self.threads)


class Transformed(entry.Callable):
    """A function that runs compiled: a call finds, or makes, the program for its signature.

    Called while another function is traced, it becomes part of that trace instead.

    >>> @tj.grad_jit
    ... def loss(w):
    ...     return (w * w).sum()
    >>> loss(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    >>> loss.value(np.array([1.0, 2.0])), loss.grad(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        function: Callable[..., Any],
        options: Options,
        programs: Programs | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        if not callable(function):
            raise ArgumentError(f"{options.api}: the first argument must be a function, got {function!r}")
        functools.update_wrapper(
            self, function, updated=() if isinstance(function, Transformed) else ("__dict__",)
        )
        self._function = function
        self._options = options
        self._name = function_name(function)
        self._parameters = parameters or Parameters(function, options.static_argnames, self._name)
        self._donated = self._parameters.donated(options.donate)
        self._needed = max(options.grad.positions) if options.grad is not None else -1
        self._is_plain = not options.static_argnames
        self._is_on_device = options.target != "cpu"
        self._programs = Programs() if programs is None else programs
        self._origin: tuple[Any, str] | None = None
        self._bound_parameters: Parameters | None = None
        self.call_sites: dict[Any, Any] = {}  # in compiled code, by the types of the call
        if type(self) is Transformed:  # a subclass may have a `__call__` of its own
            entry.attach_if_loaded(self, self._programs.state)

    # --- calls ----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], type):
            # Under @classmethod, which from Python 3.13 on passes the class instead of binding to it.
            return self.__get__(args[0])(*args[1:], **kwargs)
        if current_builder() is not None:
            return self._call_in_trace(args, kwargs)
        if self._is_on_device:
            return self._call_on_device(args, kwargs)
        if not kwargs and self._is_plain and len(args) > self._needed:
            leaves: list[Any] = []
            key: list[Any] = []
            if describe_arguments(args, leaves, key):
                for program in self._programs.table.get(tuple(key), ()):
                    if program.is_free or program.is_valid():
                        stats.record_hit()
                        if program.attempts < MAX_ATTEMPTS:
                            self._plan(program, self._parameters.read(args, {}, self._needed), len(args))
                        return program(leaves)
        return self._call_in_general(args, kwargs)

    def _call_on_device(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call like an earlier one is told by little, and served by what that one prepared."""
        parameters = self._parameters
        out = None if parameters.owns_out else kwargs.pop("out", None)
        leaves: list[Any] = []
        facts: list[Any] = []
        given = parameters.without_statics(args, kwargs, facts) if parameters.statics else (args, kwargs)
        if given is None or not look_at((*given[0], *given[1].values()), leaves, facts):
            return self._call_in_general(args, kwargs, out)
        if kwargs:
            facts.append(tuple(kwargs))
        places: list[Any] = []
        if out is not None:
            facts.append("out")
            if not look_at((out,), places, facts):
                return self._call_in_general(args, kwargs, out)
        key = tuple(facts)
        found = self._programs.prepared.get(key)
        if found is not None and found.is_valid():
            stats.record_hit()
            if out is None:
                return found(leaves)
            result = found.write(leaves, places)
            if result is not None:
                return result
        call = parameters.read(args, kwargs, self._needed)
        program, is_new = self._program_for(call)
        into = self._into(program, call, out)
        if not is_new:
            order = parameters.order(*given, self._needed)
            if order is not None:
                self._programs.prepare(key, program, call.leaves, order, into)
        return program(call.leaves, into)

    def _call_in_general(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any = None) -> Any:
        names = tuple(kwargs)
        if "out" in kwargs and not self._parameters.owns_out:
            out = kwargs.pop("out")
        call = self._parameters.read(args, kwargs, self._needed)
        program, is_new = self._program_for(call)
        into = self._into(program, call, out)
        if not is_new and program.attempts < MAX_ATTEMPTS:
            self._plan(program, call, len(args), names, into)
        return program(call.leaves, into)

    def _into(self, program: Program, call: Call, out: Any) -> dict[int, Any]:
        """The caller's arrays for outputs, by number."""
        if out is None:
            return NOWHERE
        assert program.targets is not None
        alike = twin if self._is_on_device else None
        return program.targets.take(out, [*call.leaves, *program.captures], self._name, alike)

    def _plan(
        self,
        program: Program,
        call: Call,
        count: int,
        names: tuple[str, ...] = (),
        into: dict[int, Any] = NOWHERE,
    ) -> None:
        """Have compiled code serve calls like this one, which is not the first: the work pays."""
        # Imported here, for it is loaded with the first program.
        from tracejit.runtime.executable import layout_of

        layouts = [
            (x.flags.num, layout_of(x)) if isinstance(x, np.ndarray) else type(x)
            for x in (*call.leaves, *into.values())
        ]
        kind = (count, names, *layouts)
        program.attempts += 1
        if kind in program.planned:
            return
        program.planned.add(kind)
        if not entry.is_wanted() or type(self) is not Transformed:
            program.attempts = MAX_ATTEMPTS
            return
        given = call.as_given(count, names)
        if given is None:
            return
        if "out" in names and not self._parameters.owns_out:
            assert program.targets is not None
            place = count + names.index("out")
            if into:
                given = replace(given, out=(place, program.targets.tree), into=into)
            else:
                given = replace(given, statics=(*given.statics, (place, None)))
        if self._programs.add_plan(program, given):
            entry.attach(self, self._programs.state)

    def _program_for(self, call: Call) -> tuple[Program, bool]:
        """The program of a call, and whether it is new; made under the lock, so that threads make it once."""
        call = self._traceable(call)
        key = call_key(call)
        if key is None:
            call.check_leaves(self._name)
            key = call_key(call)
        assert key is not None, "a leaf passed the checks and has no key"
        program = self._programs.find(key)
        if program is None:
            call.check_leaves(self._name)
            with self._programs.lock:
                program = self._programs.find(key)
                if program is None:
                    program = self._make_program(call)
                    if program.is_reusable:
                        self._programs.add(key, program)
                    return program, True
        stats.record_hit()
        return program, False

    def _traceable(self, call: Call) -> Call:
        """The call with stand-ins for arrays on a device, where the target takes these; else the call itself.

        What the checks do to the leaves of the call itself, as to make subclasses plain, is then not needed.
        """
        if not self._is_on_device:
            return call
        return replace(call, leaves=stand_ins(call.leaves), elsewhere=elsewhere(self._options.target))

    def _make_program(self, call: Call) -> Program:
        return make_program(
            self._function,
            lambda: self._lower(call, range(len(call.leaves))),
            self._options,
            [k for name in self._donated for k in call.leaves_under(name)],
        )

    def _lower(self, call: Call, declared: Sequence[int]) -> Lowered:
        if self._options.grad is None:
            return lower_value(self._function, call, declared, self._name)
        return lower_grad(self._function, call, declared, self._name, self._options.grad)

    def _call_in_trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "out" in kwargs and not self._parameters.owns_out and kwargs.pop("out") is not None:
            source = find_source()
            raise UnsupportedError(
                f"{self._name}: out= cannot be used while another function is traced",
                where=source.describe() if source is not None else None,
                hint="use what the call returns",
            )
        call = self._parameters.read(args, kwargs, self._needed)
        with entering((id(base_of(self)[0]), self._options, abstract_key(call)), self._name):
            if self._options.grad is None:
                return self._function(*args, **kwargs)
            declared = self._options.grad.leaves(call)
            lowered = self._lower(call, declared)
            leaves = [call.leaves[k] for k in declared]
            outputs = embed(simplify_graph(lowered.graph), leaves, lowered.captures)
            return lowered.finish([Tracer(v, True) for v in outputs])

    def program_of(self, *args: Any, **kwargs: Any) -> Program:
        """The program that a call with these arguments runs; found, or made."""
        return self._program_for(self._parameters.read(args, kwargs, self._needed))[0]

    def leaves_of(self, *args: Any, **kwargs: Any) -> list[Any]:
        """The arguments of a call, with defaults, in the order in which its program takes them."""
        return self._parameters.read(args, kwargs, self._needed).leaves

    @functools.cached_property
    def _numba_type_(self) -> Any:
        """What Numba asks an object for that it does not know: the function can be called inside `@njit`."""
        from tracejit.interop import numba_type

        return numba_type(self, self._name, self._global_name())

    def _global_name(self) -> tuple[str, str] | None:
        """Module and dotted name under which every process finds this function, if there are any."""
        if self._origin is not None:
            owner, attribute = self._origin
            above = owner._global_name() if isinstance(owner, Transformed) else None
            return above and (above[0], f"{above[1]}.{attribute}")
        names = vars(sys.modules[self.__module__]) if self.__module__ in sys.modules else {}
        named = next((name for name, value in list(names.items()) if value is self), None)
        path = named or getattr(self, "__qualname__", self._name)
        return (self.__module__, path) if find_by_name(self.__module__, path) is self else None

    def name_of_argument(self, position: int) -> str:
        """What the function calls a positional argument."""
        return self._parameters.name_of(position)

    @property
    def static_names(self) -> tuple[str, ...]:
        """Parameters whose values are part of the program."""
        return self._parameters.statics

    @property
    def takes_out(self) -> bool:
        """Does `out=` name arrays for the results? Not where the function has a parameter of that name."""
        return not self._parameters.owns_out

    @property
    def out_path(self) -> tuple[int, ...]:
        """Which part of the result `out` stands for: the gradients, or all of it."""
        grad = self._options.grad
        if grad is None or not (grad.with_value or grad.has_aux):
            return ()
        return (1,) if grad.with_value else (0,)

    def lower(self, *args: Any, **kwargs: Any) -> tuple[Lowered, Call]:
        """The graph of a call, neither compiled nor kept, with its stages; and the call as it was read."""
        call = self._parameters.read(args, kwargs, self._needed)
        traced = self._traceable(call)
        traced.check_leaves(self._name)
        return self._lower(traced, range(len(call.leaves))), call

    # --- methods --------------------------------------------------------------------------------------------

    def __get__(self, instance: Any, owner: type | None = None) -> Transformed:
        if instance is None:
            return self
        method, programs = MethodType(self._function, instance), shared_programs(instance, self)
        bound = Transformed(method, self._options, programs, self._bound_parameters)
        self._bound_parameters = bound._parameters  # the same for every instance, and dear to read
        if getattr(type(instance), self._name, None) is self:
            bound._origin = (instance, self._name)
        return bound

    # --- variants -------------------------------------------------------------------------------------------

    @functools.cached_property
    def value(self) -> Transformed:
        """The function alone, compiled: `(value, aux)` with has_aux, as it returns them."""
        return self._variant("value", None)

    @functools.cached_property
    def grad(self) -> Transformed:
        """The gradients alone; `(grads, aux)` with has_aux."""
        if self._options.grad is None:
            raise AttributeError("a function made by tj.jit has no .grad; use tj.grad(f)")
        return self._variant("grad", replace(self._options.grad, with_value=False))

    def _variant(self, name: str, grad: GradOptions | None) -> Transformed:
        options = replace(self._options, grad=grad)
        programs = shared_programs(self._function, (base_of(self)[1], options))
        variant = Transformed(self._function, options, programs)
        variant._origin = (self, name)
        return variant

    def clear(self) -> None:
        """Forget the programs of this function, also in compiled callers."""
        self._programs.clear()
        for site in list(self.call_sites.values()):
            site.clear()

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name where it is found under its own, else from the function; programs are made anew."""
        if self._origin is not None:
            return getattr, self._origin
        path = getattr(self, "__qualname__", self._name)
        if find_by_name(self.__module__, path) is self:
            return path
        return Transformed, (self._function, self._options)

    def __repr__(self) -> str:
        return f"<{self._options.api} of {self._name}>"


def make_program(
    function: Any, lower: Callable[[], Lowered], options: Options, donated: Sequence[int] = ()
) -> Program:
    """Trace and compile; the guards are those of what `function` can reach, as it is after the trace.

    donated: the leaves whose memory results may take
    A function that drew random numbers, or computed arrays on a device, gives a program that is used once:
    the next call does it again.
    """
    # The layers below are loaded at the first compilation, so that importing this module stays cheap.
    from tracejit.compile import compile_graph
    from tracejit.runtime.executable import Executable

    stats.record("traces")
    before = find_roots(function).random_state()
    lowered = lower()
    roots = find_roots(function)
    far = elsewhere(options.target)
    is_reusable = roots.random_state() == before and not roots.made_elsewhere(lowered.captures, far)
    roots.watch(lowered.captures, lowered.traced.frozen, lowered.traced.scalars, far)
    zero_dims = lowered.zero_dims
    outputs = lowered.graph.outputs
    scalars = tuple(k for k, atom in enumerate(outputs) if not atom.type.rank and k not in zero_dims)
    run = compile_graph(
        lowered.graph,
        options.fuse,
        threads=options.threads,
        choices=options.choices,
        target=options.target,
        deterministic=options.deterministic,
    )
    inputs = lowered.graph.inputs
    if options.target != "cpu":
        assert not isinstance(run, Executable)
        run.given.captured = range(len(inputs) - len(lowered.captures), len(inputs))
    pairs = [
        (source, target)
        for source in donated
        for target, atom in enumerate(outputs)
        if atom.type == inputs[source].type and target not in scalars
    ]
    return Program(
        roots.guards,
        run,
        list(lowered.captures),
        lowered.finish,
        scalars,
        zero_dims,
        _targets(lowered),
        run.donate(pairs) if pairs else (),
        is_reusable,
        # Calls on a device have no plans for compiled code.
        attempts=0 if options.target == "cpu" else MAX_ATTEMPTS,
    )


def _targets(lowered: Lowered) -> Targets | None:
    if lowered.out is None:
        return None
    tree, first, noun = lowered.out
    types = tuple(atom.type for atom in lowered.graph.outputs[first : first + tree.num_leaves])
    return Targets(tree, first, types, noun)


def function_name(function: Any) -> str:
    """What messages call a function.

    >>> function_name(functools.partial(np.dot, 1.0)), function_name(np.sin)
    ('dot', 'sin')
    """
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def find_by_name(module: str, path: str) -> Any:
    """What a module that is loaded has under a dotted name; None if nothing.

    >>> find_by_name("numpy", "linalg.norm") is np.linalg.norm
    True
    """
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def base_of(function: Any) -> tuple[Any, tuple[Options, ...]]:
    """The user's own function under transformations, and these from the inside out."""
    if not isinstance(function, Transformed):
        return function, ()
    base, chain = base_of(function._function)
    return base, (*chain, function._options)


def abstract_key(call: Call) -> Hashable:
    """A signature of arguments inside a trace: types of traced values and arrays, values of numbers."""
    parts: list[Any] = []
    for leaf in call.leaves:
        if isinstance(leaf, Tracer) or hasattr(leaf, "dtype"):
            parts.append((leaf.dtype, leaf.shape))
        else:
            parts.append((type(leaf), repr(leaf)))
    return (call.treedef, repr(call.statics), tuple(parts))
