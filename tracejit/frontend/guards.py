"""What a trace relied on besides its arguments: found before it is used again, and compared at each call.

A traced function sees closure variables, globals, defaults and attributes. Arrays among them are inputs of
the graph, read at each call; everything else is part of the graph. `find_roots` collects what the function
can reach, `Guards` says whether all of it is still as it was.
"""

from __future__ import annotations

import collections
import functools
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tracejit.frontend.content import may_read_content, nested_codes
from tracejit.ir import Elsewhere
from tracejit.ops.value import is_foreign

Array = np.ndarray[Any, Any]

_MISSING: Any = object()
_FOLLOWED: Any = object()  # stands in a list for an array that is followed

_SIMPLE_TYPES: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
_GENERATORS = ("Generator", "RandomState", "Random")

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STDLIB = os.path.join(sysconfig.get_path("stdlib"), "")
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

# A function that uses one of these may look at any attribute, not only at those that its code names.
_REFLECTION = frozenset({"__dict__", "vars", "asdict", "astuple", "fields", "getattr", "tree_leaves"})

# Special methods that using an object does not call; the first three are called where a class is.
_CONSTRUCTORS = ("__init__", "__new__", "__post_init__")
_UNUSED = frozenset(
    {*_CONSTRUCTORS, "__repr__", "__str__", "__reduce__", "__getstate__", "__setstate__", "__del__"}
)


def same(current: Any, expected: Any) -> bool:
    """Is a variable still what it was: the same object, or an equal number, text or tuple of those?

    >>> same(0.5, 1 / 2), same(1, 1.0), same(float("nan"), float("nan"))
    (True, False, True)
    """
    if current is expected:
        return True
    if type(current) is not type(expected):
        return False
    if isinstance(expected, _SIMPLE_TYPES):
        return bool(current == expected) or bool(current != current and expected != expected)
    if isinstance(expected, tuple):
        return len(current) == len(expected) and all(map(same, current, expected))
    if isinstance(expected, MethodType):
        return current.__self__ is expected.__self__ and current.__func__ is expected.__func__
    return False


def bits_of(array: Array) -> Array:
    """The content of an array as integers, which tell NaN and -0.0 apart; may share its memory.

    Of Python objects it says which they are, as long as somebody keeps them.
    """
    if array.dtype.hasobject:
        return np.frombuffer(array.tobytes(), np.uint8)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.view(np.uint64) if flat.size % 8 == 0 else flat


class Guards:
    """Comparisons that all hold as long as a trace may be used again; `hold` costs about 40 ns each.

    An array that is known under one name only is followed: when the name is bound to another array of the
    same shape and dtype, that one becomes the input of the graph. The content of arrays is compared only
    where the graph depends on it, at the cost of reading them once.
    """

    __slots__ = (
        "attributes",
        "cells",
        "contents",
        "followed",
        "followed_cells",
        "followed_items",
        "lists",
        "mappings",
        "sets",
        "sizes",
        "snapshots",
    )

    def __init__(self) -> None:
        self.mappings: list[tuple[Mapping[Any, Any], Any, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.sizes: list[tuple[Any, int]] = []
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.sets: list[tuple[Any, frozenset[Any]]] = []
        self.attributes: list[tuple[Any, str, Any]] = []
        self.contents: list[tuple[Array, Array, Array | None]] = []
        self.snapshots: list[Callable[[], bool]] = []  # of the content of arrays on a device
        self.followed: list[tuple[Mapping[Any, Any], Any, int]] = []
        self.followed_cells: list[tuple[CellType, int]] = []
        self.followed_items: list[tuple[Any, int, int]] = []

    def hold(self, captures: list[Any]) -> bool:
        """Is everything as it was when traced? `captures` are updated where names moved on."""
        for mapping, key, expected in self.mappings:
            current = mapping.get(key, _MISSING)
            if current is not expected and not same(current, expected):
                return False
        for cell, expected in self.cells:
            current = _content(cell)
            if current is not expected and not same(current, expected):
                return False
        for container, size in self.sizes:
            if len(container) != size:
                return False
        if (self.lists or self.sets or self.attributes or self.contents) and not self._rest_holds():
            return False
        if not all(is_unchanged() for is_unchanged in self.snapshots):
            return False
        return not captures or self._follow(captures)

    def _rest_holds(self) -> bool:
        return (
            all(len(items) == len(was) and all(map(_same_item, items, was)) for items, was in self.lists)
            and all(items == was for items, was in self.sets)
            and all(same(getattr(owner, name, _MISSING), was) for owner, name, was in self.attributes)
            and all(np.array_equal(bits_of(array), was) for array, was, _ in self.contents)
        )

    def _follow(self, captures: list[Any]) -> bool:
        """Put the arrays that the followed names have now in place; False where one is of another type."""
        for mapping, key, k in self.followed:
            current = mapping.get(key)
            if current is not captures[k] and not _replace(captures, k, current):
                return False
        for cell, k in self.followed_cells:
            current = _content(cell)
            if current is not captures[k] and not _replace(captures, k, current):
                return False
        for items, position, k in self.followed_items:
            if items[position] is not captures[k] and not _replace(captures, k, items[position]):
                return False
        return True

    def follow(self, places: dict[int, int]) -> None:
        """Follow arrays, by identity, each known under one name, to their positions in the captures."""
        for mapping, key, value in self.mappings:
            if id(value) in places:
                self.followed.append((mapping, key, places[id(value)]))
        self.mappings = [guard for guard in self.mappings if id(guard[2]) not in places]
        for cell, value in self.cells:
            if id(value) in places:
                self.followed_cells.append((cell, places[id(value)]))
        self.cells = [guard for guard in self.cells if id(guard[1]) not in places]
        for n, (items, was) in enumerate(self.lists):
            positions = [i for i, value in enumerate(was) if id(value) in places]
            self.followed_items += [(items, i, places[id(was[i])]) for i in positions]
            if positions:
                kept = tuple(_FOLLOWED if i in positions else value for i, value in enumerate(was))
                self.lists[n] = (items, kept)

    @staticmethod
    def is_missing(value: Any) -> bool:
        """Does this expectation say that nothing is bound there?"""
        return value is _MISSING

    @staticmethod
    def is_followed(value: Any) -> bool:
        """Does it stand for an array that is followed?"""
        return value is _FOLLOWED

    @property
    def is_empty(self) -> bool:
        """Is there nothing to compare?"""
        return not any(getattr(self, name) for name in self.__slots__)

    def watch_content(self, arrays: Iterable[Array]) -> None:
        """Require that these arrays keep their content; those that nobody can write to need no look."""
        for array in arrays:
            if array.size and is_writeable(array):
                kept = array.copy() if array.dtype.hasobject else None  # the objects, whose places are bits
                self.contents.append((array, bits_of(array).copy(), kept))


def _same_item(current: Any, expected: Any) -> bool:
    return expected is _FOLLOWED or current is expected or same(current, expected)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _replace(captures: list[Any], k: int, array: Any) -> bool:
    """Make `array` capture k if it is of the same type."""
    was = captures[k]
    if type(array) is not type(was) or array.dtype != was.dtype or array.shape != was.shape:
        return False
    captures[k] = array
    return True


def owner_of(array: Array) -> Any:
    """Whoever holds the memory that `array` shows."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


def is_writeable(array: Array) -> bool:
    """Can anybody change the content, through this array or one that it is a view of?"""
    view: Any = array
    while isinstance(view, np.ndarray):
        if view.flags.writeable:
            return True
        view = view.base
    return view is not None  # a foreign buffer: it cannot be known


class Roots:
    """What a function can reach: `guards` for all of it, its arrays and random generators."""

    def __init__(self) -> None:
        self.guards = Guards()
        self.arrays: dict[int, Array] = {}
        self.foreign: dict[int, Any] = {}  # arrays of other libraries
        self.names: dict[int, str] = {}  # by identity of the array, what the user calls it
        self.places: dict[int, int] = {}  # by identity of the array, how many names lead to it
        self.scalars: list[np.generic] = []
        self.generators: list[Any] = []
        self.codes: list[CodeType] = []
        self.parameters: frozenset[str] = frozenset()

    def watch(
        self,
        captures: Sequence[Any],
        frozen: Iterable[Any],
        scalars: Iterable[np.generic],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Guard the content of arrays that a trace relied on; follow the names of the others.

        Arrays and NumPy scalars that are none of the roots were computed while tracing, from any of them.
        elsewhere: knows the arrays on a device, where the trace may have captured some
        """
        frozen = list(frozen)
        arrays = [a for a in captures if isinstance(a, np.ndarray)]
        memories = {id(owner_of(a)) for a in self.arrays.values()}
        is_derived = any(id(owner_of(a)) not in memories for a in [*arrays, *frozen])
        is_derived = is_derived or any(not any(same(s, root) for root in self.scalars) for s in scalars)
        watched = {id(a): a for a in frozen if id(owner_of(a)) in memories}
        if self.arrays and (is_derived or self._may_have_branched()):
            watched |= self.arrays
        self.guards.watch_content(watched.values())
        far: list[Any] = []
        if elsewhere is not None and self._on_devices(elsewhere) and self._may_have_branched(True):
            far = [x for x in self.foreign.values() if elsewhere.memory_of(x) is not None]
            self.guards.snapshots += [elsewhere.unchanged(x) for x in far]

        def memory(a: Any) -> Any:
            return id(owner_of(a)) if elsewhere is None or not is_foreign(a) else elsewhere.memory_of(a)

        shown = collections.Counter(map(memory, [*captures, *watched.values(), *far]))
        self.guards.follow(
            {
                id(a): k
                for k, a in enumerate(captures)
                if self.places.get(id(a)) == 1 and shown[memory(a)] == 1
            }
        )

    def made_elsewhere(self, captures: Sequence[Any], elsewhere: Elsewhere | None) -> bool:
        """Are there arrays on a device that were computed while tracing? Nobody can say from what."""
        if elsewhere is None:
            return False
        known = self._on_devices(elsewhere)
        return any(is_foreign(a) and elsewhere.memory_of(a) not in known for a in captures)

    def _on_devices(self, elsewhere: Elsewhere) -> set[Any]:
        """The memory of arrays on a device."""
        return {elsewhere.memory_of(x) for x in self.foreign.values()} - {None}

    def _may_have_branched(self, has_devices: bool = False) -> bool:
        named = frozenset(self.names.values())
        has_integers = has_devices or any(a.dtype.kind in "iub" for a in self.arrays.values())
        return may_read_content(self.codes, named, self.parameters - named, has_integers, has_devices)

    def random_state(self) -> tuple[Any, ...]:
        """The states of the random generators in reach: a trace that drew numbers is used once."""
        legacy = sys.modules.get("numpy.random")
        python = sys.modules.get("random")
        generators = [*self.generators, *(m for m in (legacy, python) if m is not None)]
        return tuple(_generator_state(g) for g in generators)


def _generator_state(generator: Any) -> Any:
    """The state of a NumPy or Python generator, or of a module that has one, in plain values."""
    if hasattr(generator, "get_state"):
        return _plain(generator.get_state(legacy=False))
    if hasattr(generator, "getstate"):
        return generator.getstate()
    return _plain(generator.bit_generator.state)


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state


def find_roots(function: Any) -> Roots:
    """Everything that a function, method, partial or callable object reads besides its arguments."""
    scan = _Scan()
    scan.visit(function, "")
    scan.finish()
    return scan.roots


class _Scan:
    """One walk from a function over what it names; objects are seen by the names that code mentions."""

    def __init__(self) -> None:
        self.roots = Roots()
        self.mentioned: set[str] = set()
        self.seen: dict[int, Any] = {}  # holds the objects, so that identities stay unique
        self.open: list[tuple[Any, str]] = []
        self.classes: set[type] = set()  # of the objects found
        self.home: str | None = None
        self.done: set[tuple[int, str]] = set()

    def finish(self) -> None:
        """Look into objects again until no function found on the way mentions a new name."""
        looked = -1
        while looked != (looked := len(self.mentioned) + len(self.open)):
            for owner, path in list(self.open):
                self._look_into(owner, path)
        for owner, _ in self.open:
            if isinstance(getattr(owner, "__dict__", None), dict) and not isinstance(owner, ModuleType):
                self.roots.guards.sizes.append((owner.__dict__, len(owner.__dict__)))

    # --- values ---------------------------------------------------------------------------------------------

    def visit(self, value: Any, path: str) -> None:
        self._count(value, path)
        if value is _MISSING or isinstance(value, _SIMPLE_TYPES) or id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if isinstance(value, np.ndarray):
            self._visit_array(value, path)
        elif isinstance(value, FunctionType):
            self._visit_function(value)
        elif isinstance(value, MethodType):
            self.visit(value.__func__, path)
            self.visit(value.__self__, "self")
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.visit(part, path)
        elif isinstance(value, (list, tuple, dict, set, frozenset, collections.deque)):
            self._visit_container(value, path)
        else:
            self._visit_object(value, path)

    def _count(self, value: Any, path: str) -> None:
        """Note what may be captured, each time that a name leads to it."""
        if isinstance(value, np.generic):
            self.roots.scalars.append(value)
        elif isinstance(value, np.ndarray):
            self.roots.places[id(value)] = self.roots.places.get(id(value), 0) + 1
        elif is_foreign(value):
            self.roots.places[id(value)] = self.roots.places.get(id(value), 0) + 1
            self.roots.foreign[id(value)] = value
            self.roots.names.setdefault(id(value), path)

    def _visit_array(self, array: Array, path: str) -> None:
        self.roots.arrays[id(array)] = array
        self.roots.names[id(array)] = path
        if array.dtype == object:
            items = array.reshape(-1)
            self.roots.guards.lists.append((items, tuple(items)))
            for k, item in enumerate(array.flat):
                self.visit(item, f"{path}[{k}]")

    def _visit_container(self, value: Any, path: str) -> None:
        guards = self.roots.guards
        if isinstance(value, dict):
            guards.sizes.append((value, len(value)))
            for key, item in list(value.items()):
                guards.mappings.append((value, key, item))
                self.visit(item, f"{path}[{key!r}]")
            return
        if isinstance(value, (set, frozenset)):
            guards.sets.append((value, frozenset(value)))
            return
        items = tuple(value)
        if not isinstance(value, tuple):
            guards.lists.append((value, items))
        for k, item in enumerate(items):
            self.visit(item, f"{path}[{k}]")

    # --- functions ------------------------------------------------------------------------------------------

    def _visit_function(self, function: FunctionType) -> None:
        code = function.__code__
        if self.home is None:
            self.home = os.path.dirname(code.co_filename)
            self.roots.parameters = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        elif self._is_library(code.co_filename):
            return
        for inner in nested_codes(code):
            self.roots.codes.append(inner)
            self.mentioned.update(inner.co_names)
            self.mentioned.update(c for c in inner.co_consts if isinstance(c, str) and c.isidentifier())
        names = {name for inner in nested_codes(code) for name in inner.co_names}
        for name in sorted(names):
            if name in function.__globals__:
                self._bind(function.__globals__, name, name)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            self._bind_cell(cell, name)
        keywords = function.__kwdefaults__ or {}
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
        for name, value in [*zip(positional, defaults), *keywords.items()]:
            self.visit(value, name)

    def _bind(self, mapping: Mapping[Any, Any], key: str, path: str) -> None:
        if (id(mapping), key) in self.done:
            return
        self.done.add((id(mapping), key))
        self.seen[id(mapping)] = mapping
        value = mapping.get(key, _MISSING)
        if self._is_library_value(value):
            return
        self.roots.guards.mappings.append((mapping, key, value))
        self.visit(value, path)

    def _bind_cell(self, cell: CellType, name: str) -> None:
        if (id(cell), "") in self.done:
            return
        self.done.add((id(cell), ""))
        self.seen[id(cell)] = cell
        value = _content(cell)
        self.roots.guards.cells.append((cell, value))
        self.visit(value, name)

    # --- objects --------------------------------------------------------------------------------------------

    def _visit_object(self, value: Any, path: str) -> None:
        if type(value).__name__ in _GENERATORS:
            self.roots.generators.append(value)
            return
        if is_foreign(value) and self._is_library_value(type(value)):
            return
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):  # not by getattr, which some objects answer for any name
            self.visit(attributes.get("__wrapped__", _MISSING), path)
        if isinstance(value, (ModuleType, type)):
            if not self._is_library_value(value):
                self.open.append((value, path))
                if isinstance(value, type):
                    self.mentioned.update(_CONSTRUCTORS)
            return
        self.open.append((value, path))
        if type(value) not in self.classes:
            self.classes.add(type(value))
            self.open.append((type(value), type(value).__name__))

    def _look_into(self, owner: Any, path: str) -> None:
        if isinstance(owner, type):
            for cls in owner.__mro__:
                if not self._is_library_value(cls):
                    self._look_into_class(cls)
            return
        attributes = getattr(owner, "__dict__", None)
        if isinstance(attributes, dict):
            everything = not _REFLECTION.isdisjoint(self.mentioned) and not isinstance(owner, ModuleType)
            for name in sorted(attributes if everything else self.mentioned.intersection(attributes)):
                self._bind(attributes, name, f"{path}.{name}")
        for cls in type(owner).__mro__:
            for name in self.mentioned.intersection(_slots_of(cls)):
                if (id(owner), name) not in self.done and hasattr(owner, name):
                    self.done.add((id(owner), name))
                    value = getattr(owner, name)
                    self.roots.guards.attributes.append((owner, name, value))
                    self.visit(value, f"{path}.{name}")

    def _look_into_class(self, cls: type) -> None:
        for name, value in list(cls.__dict__.items()):
            is_special = name.startswith("__") and name not in _UNUSED and isinstance(value, FunctionType)
            if (name not in self.mentioned and not is_special) or (id(cls), name) in self.done:
                continue
            self.done.add((id(cls), name))
            inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
            if not is_special:
                self.roots.guards.mappings.append((cls.__dict__, name, value))
            self.visit(inner, f"{cls.__name__}.{name}")

    # --- what is not the user's -----------------------------------------------------------------------------

    def _is_library(self, filename: str) -> bool:
        if filename.startswith((_OWN, "<frozen", "<__array_function__")):
            return True
        if any(p in filename for p in _PACKAGES):
            return not (self.home is not None and filename.startswith(os.path.join(self.home, "")))
        return filename.startswith(_STDLIB)

    def _is_library_value(self, value: Any) -> bool:
        """Modules, classes and functions of NumPy, the standard library and installed packages."""
        if isinstance(value, ModuleType):
            filename = getattr(value, "__file__", None)
            if filename is None:  # built-in modules, namespace packages, and what was made by hand
                return value.__name__ in sys.builtin_module_names
            return self._is_library(filename)
        if isinstance(value, type):
            module = sys.modules.get(value.__module__)
            filename = getattr(module, "__file__", None)
            if filename is None:  # built-in modules, and what was typed at a prompt
                return value.__module__ in sys.builtin_module_names
            return self._is_library(filename)
        if isinstance(value, FunctionType):
            return self._is_library(value.__code__.co_filename)
        return isinstance(value, (np.ufunc, type(len), type(np.sum)))


def _slots_of(cls: type) -> Sequence[str]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
