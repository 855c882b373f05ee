"""Gradients of plain NumPy code at the speed of a hand-written kernel, compiled with Numba.

Public names are loaded at first use, so that importing the library costs no more than importing NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tracejit import nn as nn
    from tracejit.api import grad as grad
    from tracejit.api import grad_jit as grad_jit
    from tracejit.api import jit as jit
    from tracejit.api import jvp as jvp
    from tracejit.api import scan as scan
    from tracejit.api import stop_gradient as stop_gradient
    from tracejit.api import value_and_grad as value_and_grad
    from tracejit.api import vjp as vjp
    from tracejit.api import while_loop as while_loop
    from tracejit.c_function import CFunction as CFunction
    from tracejit.c_function import cfunc as cfunc
    from tracejit.check import check_grads as check_grads
    from tracejit.comparison import compare as compare
    from tracejit.config import Choices as Choices
    from tracejit.drawing import draw as draw
    from tracejit.errors import ArgumentError as ArgumentError
    from tracejit.errors import CacheWarning as CacheWarning
    from tracejit.errors import DeviceError as DeviceError
    from tracejit.errors import DTypeError as DTypeError
    from tracejit.errors import IndexOutOfBoundsError as IndexOutOfBoundsError
    from tracejit.errors import InternalError as InternalError
    from tracejit.errors import LinAlgError as LinAlgError
    from tracejit.errors import ShapeError as ShapeError
    from tracejit.errors import TracejitError as TracejitError
    from tracejit.errors import TracerError as TracerError
    from tracejit.errors import UnsupportedError as UnsupportedError
    from tracejit.inspection import inspect as inspect
    from tracejit.runtime import CacheInfo as CacheInfo
    from tracejit.runtime import cache_clear as cache_clear
    from tracejit.runtime import cache_info as cache_info
    from tracejit.runtime import release_memory as release_memory
    from tracejit.runtime.threads import get_threads as get_threads
    from tracejit.runtime.threads import set_threads as set_threads
    from tracejit.tuning import autotune as autotune

# Public name -> the module that has it; `nn` is a module itself.
_PLACES = {
    **dict.fromkeys(
        ("grad", "grad_jit", "jit", "jvp", "scan", "stop_gradient", "value_and_grad", "vjp", "while_loop"),
        "tracejit.api",
    ),
    **dict.fromkeys(
        (
            "ArgumentError",
            "CacheWarning",
            "DTypeError",
            "DeviceError",
            "IndexOutOfBoundsError",
            "InternalError",
            "LinAlgError",
            "ShapeError",
            "TracejitError",
            "TracerError",
            "UnsupportedError",
        ),
        "tracejit.errors",
    ),
    **dict.fromkeys(("get_threads", "set_threads"), "tracejit.runtime.threads"),
    **dict.fromkeys(("CacheInfo", "cache_clear", "cache_info", "release_memory"), "tracejit.runtime"),
    **dict.fromkeys(("CFunction", "cfunc"), "tracejit.c_function"),
    "Choices": "tracejit.config",
    "autotune": "tracejit.tuning",
    "check_grads": "tracejit.check",
    "compare": "tracejit.comparison",
    "draw": "tracejit.drawing",
    "inspect": "tracejit.inspection",
    "nn": "",
}

__all__ = [
    "ArgumentError",
    "CFunction",
    "CacheInfo",
    "CacheWarning",
    "Choices",
    "DTypeError",
    "DeviceError",
    "IndexOutOfBoundsError",
    "InternalError",
    "LinAlgError",
    "ShapeError",
    "TracejitError",
    "TracerError",
    "UnsupportedError",
    "autotune",
    "cache_clear",
    "cache_info",
    "cfunc",
    "check_grads",
    "compare",
    "draw",
    "get_threads",
    "grad",
    "grad_jit",
    "inspect",
    "jit",
    "jvp",
    "nn",
    "release_memory",
    "scan",
    "set_threads",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "while_loop",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _PLACES[name]
    value = (
        getattr(importlib.import_module(place), name)
        if place
        else importlib.import_module(f"{__name__}.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
