"""`target="cuda-emu"`: the source of CUDA kernels run block by block, with checks that no device makes.

The text that is compiled for a device is run as it stands, each statement by all threads of a block that
come to it (`emulated_text`). What a device would do wrong in silence is an error: barriers that some
threads miss, indices outside of an array, shared memory that nobody wrote, and two threads at one address,
one of which writes, with nothing in between that orders them: a barrier within a block, fences and a ticket
between blocks (`emulated_memory`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.cuda.scalars import DEVICE
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS
from tracejit.errors import InternalError
from tracejit.runtime.cuda.emulated_memory import Clock, Mask, Memory, ReadOnly, Shared, Status, Ticket
from tracejit.runtime.cuda.emulated_text import together

EVERYBODY = 0xFFFFFFFF  # the mask of a shuffle of a whole warp


def run_launch(launch: Launch, arguments: Sequence[Any], order: Sequence[int] | None = None) -> None:
    """Run all blocks of a launch, in the order given or from the last to the first.

    arguments: arrays where the launch takes addresses, numbers elsewhere
    Raises InternalError for what would be wrong on a device.
    """
    device = _Device(launch)
    function = together(launch.text, launch.name)
    given: list[Any] = list(arguments)
    known: dict[tuple[int, str], ReadOnly] = {}  # a result may lie where an argument does
    stored = [name in function.stored for name in function.names]
    for k in sorted(range(len(given)), key=lambda k: not stored[k]):
        kind, slot, x = launch.parameters[k], launch.slots[k], given[k]
        if kind[0] == "*" or kind.endswith("[]"):
            seen = _SPECIAL.get(slot[0], Memory if stored[k] else ReadOnly)
            place = (x.__array_interface__["data"][0], x.dtype.str)
            if seen in (Memory, ReadOnly) and x.size:
                given[k] = known.setdefault(place, seen(x, function.names[k], device.clock))
            else:
                given[k] = seen(x, function.names[k], device.clock)
    blocks = reversed(range(launch.blocks)) if order is None else order
    with np.errstate(all="ignore"):
        for block in blocks:
            device.start_block(block)
            function.call(block, device, *given)


_SPECIAL: dict[str, type[ReadOnly]] = {"ticket": Ticket, "status": Status}


class _Device:
    """What the threads of a block can do, besides arithmetic."""

    def __init__(self, launch: Launch) -> None:
        self.clock = Clock(launch.blocks, launch.threads)
        self.blocks, self.lanes = launch.blocks, self.clock.lanes
        self.library = LIBDEVICE
        self.arrays: dict[str, Shared] = {}

    def start_block(self, block: int) -> None:
        self.clock.start_block(block)
        self.arrays = {}

    def shared(self, name: str, size: int, dtype: Any) -> Shared:
        if name not in self.arrays:
            self.arrays[name] = Shared(np.zeros(size, dtype), name, self.clock)
        return self.arrays[name]

    def syncthreads(self, mask: Mask, line: int) -> None:
        self.clock.meet(mask, line)

    def syncwarp(self, mask: Mask, line: int) -> None:
        self.clock.meet_warp(mask, line)

    def threadfence(self, mask: Mask, line: int) -> None:
        self.clock.fence(mask)

    def shfl_xor_sync(self, mask: Mask, line: int, members: int, value: Any, distance: Any) -> Any:
        if members != EVERYBODY:
            raise InternalError(
                f"block {self.clock.block}: the shuffle in line {line} names not all threads of a warp"
            )
        self.clock.meet_warp(mask, line)
        return value[self.lanes ^ distance] if isinstance(value, np.ndarray) else value


# --- the device's library -----------------------------------------------------------------------------------


def _libdevice() -> SimpleNamespace:
    found: dict[str, Callable[..., Any]] = {}
    for name, device in {
        **DEVICE,
        "absolute": "fabs",
        "fmax": "fmax",
        "fmin": "fmin",
        "ldexp": "ldexp",
    }.items():
        function = getattr(np, _IN_NUMPY.get(device, device), None)
        function = function or _by_thread(SCALAR_FUNCTIONS[name].evaluate)
        found[device] = found[f"{device}f"] = function
    found["fma"] = found["fmaf"] = _fma
    found["erf"] = _by_thread(lambda x: np.float64(math.erf(x)))
    found["erff"] = _by_thread(lambda x: np.float32(math.erf(x)))
    found["dmul_rn"] = found["fmul_rn"] = lambda a, b: a * b
    found["double_as_longlong"] = lambda x: np.float64(x).view(np.int64)
    found["longlong_as_double"] = lambda x: np.int64(x).view(np.float64)
    found["float_as_int"] = lambda x: np.float32(x).view(np.int32)
    found["int_as_float"] = lambda x: np.int32(x).view(np.float32)
    found["half2float"] = lambda x: np.float32(np.int16(x).view(np.float16))
    found["float2half_rn"] = lambda x: np.float32(x).astype(np.float16).view(np.int16)
    return SimpleNamespace(**found)


def _by_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers, of one thread after the other."""

    def every(*arguments: Any) -> Any:
        if not any(isinstance(x, np.ndarray) for x in arguments):
            return function(*arguments)
        return np.array(
            [function(*numbers) for numbers in zip(*np.broadcast_arrays(*arguments), strict=True)]
        )

    return every


def _fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once.

    What product and sum leave over, rounded to an odd last bit, makes the last sum round as the exact value
    would: S. Boldo and G. Melquiond, Emulation of a FMA and correctly rounded sums, IEEE TC 57 (2008).
    """
    if not any(isinstance(x, np.ndarray) for x in (a, b, c)):
        return _exact_fma(a, b, c)
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        return _to_odd(*_sum(np.multiply(a, b, dtype=np.float64), c.astype(np.float64))).astype(np.float32)
    high, low = _product(a, b)
    upper, lower = _sum(c, low)
    upper, rest = _sum(high, upper)
    found = upper + _to_odd(*_sum(lower, rest))
    is_zero = (a == 0) | (b == 0) | (c == 0)
    is_safe = _is_between(a, 1e130) & _is_between(b, 1e130) & _is_between(c, 1e260)
    found = np.where(is_zero, a * b + c, found)
    for k in np.flatnonzero(~is_safe & ~is_zero):
        found[k] = _exact_fma(a[k], b[k], c[k])
    return found


def _is_between(x: Any, limit: float) -> Any:
    """Is it so far from overflow and underflow that what rounding leaves over is exact?"""
    return (abs(x) < limit) & (abs(x) > 1 / limit)


_exact_fma = SCALAR_FUNCTIONS["fma"].evaluate


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The sum, and what rounding it left over."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """The product, and what rounding it left over, from halves of the factors' digits."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    product = a * b
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _halves(x: Any) -> tuple[Any, Any]:
    scaled = x * 134217729.0  # 2**27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _to_odd(total: Any, rest: Any) -> Any:
    """A sum that is not exact, as the neighbour of the exact value whose last bit is 1."""
    bits = total.view(np.int64)
    is_even = (rest != 0) & (bits % 2 == 0) & np.isfinite(total)
    step = np.where((rest > 0) == (total > 0), 1, -1)
    return np.where(is_even, bits + step, bits).view(np.float64)


_IN_NUMPY = {
    **{name: f"arc{name[1:]}" for name in ("asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh")},
    "pow": "power",
}
LIBDEVICE = _libdevice()
