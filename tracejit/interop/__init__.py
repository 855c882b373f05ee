"""Transformed functions inside the user's own `@njit` code: a function enters, its Numba type leaves."""

from __future__ import annotations

from typing import Any

__all__ = ["numba_type"]


def numba_type(function: Any, name: str, path: tuple[str, str] | None) -> Any:
    """The type under which Numba's compiler knows a transformed function; imports Numba.

    path: module and dotted name under which another process finds the function, if there are such
    """
    from tracejit.interop import numba_lowering, numba_types

    assert numba_lowering, "importing it registers the code of calls"
    return numba_types.TransformedType(function, name, path)
