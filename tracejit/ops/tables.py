"""The tables that `tracejit.ops` fills on import; nothing else in the library registers anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tracejit.ir import Primitive

PRIMITIVES: dict[str, Primitive] = {}
NUMPY: dict[Any, Callable[..., Any]] = {}

# Functions of SciPy that are no ufuncs, by name below `scipy`: they cannot be keys without importing it.
SCIPY_FUNCTIONS: dict[str, Callable[..., Any]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def register(primitive: Primitive) -> Primitive:
    """Enter a primitive under its name, which must be new."""
    if primitive.name in PRIMITIVES:
        raise ValueError(f"primitive {primitive.name} is declared twice")
    PRIMITIVES[primitive.name] = primitive
    return primitive


def implements(*numpy_functions: Any) -> Callable[[F], F]:
    """Declare the decorated callable, on `Value`s, as the meaning of NumPy functions inside a trace."""

    def enter(function: F) -> F:
        for numpy_function in numpy_functions:
            NUMPY[numpy_function] = function
        return function

    return enter


def implements_scipy(name: str) -> Callable[[F], F]:
    """Declare the decorated callable as the meaning of a SciPy function, "linalg.cho_solve" say."""

    def enter(function: F) -> F:
        SCIPY_FUNCTIONS[name] = function
        return function

    return enter
