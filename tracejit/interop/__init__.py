"""Transformed functions inside the user's own `@njit` code: a function enters, its Numba type leaves."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["numba_type"]


def numba_type(function: Any, name: str, path: tuple[str, str] | None) -> Any:
    """The type under which Numba's compiler knows a transformed function; imports Numba.

    path: module and dotted name under which another process finds the function, if there are such
    """
    from tracejit.interop import numba_types

    _register()
    return numba_types.TransformedType(function, name, path)


@cache
def _register() -> None:
    """Let Numba's contexts, which may be compiling at this moment, take up what the modules register."""
    from numba.core.registry import cpu_target

    from tracejit.interop import numba_lowering as numba_lowering

    contexts: tuple[Any, ...] = (cpu_target.typing_context, cpu_target.target_context)
    for context in contexts:
        context.refresh()
