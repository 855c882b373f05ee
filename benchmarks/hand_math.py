"""The mathematics of the hand-written Numba kernels: short polynomials that LLVM turns into vectors.

They are exact to about 1e-15 of the largest value around, which a careful author of one kernel would accept:
no subnormal results, no special values beyond what the workloads meet. `erfcx` is exp(x^2) erfc(x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

# For the kernels: sums may be reordered into vectors, products and sums contracted. The functions below keep
# their own flags when they are inlined, so nothing reorders their range reductions.
kernel = njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
function = njit(error_model="numpy", fastmath={"contract"}, forceinline=True)


@intrinsic
def as_bits(_context: Any, x: Any) -> Any:
    """The bits of a float64 as an int64."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], cgutils.ir.IntType(64))

    return types.int64(types.float64), emit


@intrinsic
def as_float(_context: Any, bits: Any) -> Any:
    """The float64 that an int64 holds the bits of."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], cgutils.ir.DoubleType())

    return types.float64(types.int64), emit


# Adding it leaves an integer in the low bits of the significand.
_SHIFT = 6755399441055744.0
_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@function
def exp(x: float) -> float:
    """e^x for x up to 709; below -708 it is e^-708, about 3e-308, in place of smaller numbers."""
    x = max(x, -708.0)
    shifted = x * _LOG2E + _SHIFT
    n = shifted - _SHIFT
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 2.5100472505694996e-08
    p = p * r + 2.7620201591031547e-07
    p = p * r + 2.7557268276905696e-06
    p = p * r + 2.4801521057868204e-05
    p = p * r + 1.9841269863171557e-04
    p = p * r + 1.3888888917367081e-03
    p = p * r + 8.333333333330039e-03
    p = p * r + 4.1666666666623824e-02
    p = p * r + 1.6666666666666669e-01
    p = p * r + 0.5
    p = p * (r * r) + r
    # The integer sits in the low bits of `shifted`; moved to the exponent it is a power of two.
    scale = as_float((as_bits(shifted) << 52) + 0x3FF0000000000000)
    return p * scale + scale


@function
def log(x: float) -> float:
    """The natural logarithm of a positive, normal x."""
    # Exponent and significand such that the latter lies between sqrt(1/2) and sqrt(2).
    bits = as_bits(x) - 0x3FE6A09E667F3BCD
    m = as_float((bits & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
    # AVX2 has no arithmetic shift of 64-bit lanes: a biased exponent is shifted logically.
    biased = as_float((((bits >> 52) + 1024) & 0xFFF) | 0x4330000000000000)
    n = biased - 4503599627370496.0 - 1024.0
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 0.14616576421644387
    p = p * z + 0.15331711346672997
    p = p * z + 0.18182889433757515
    p = p * z + 0.22222211130560726
    p = p * z + 0.28571428626001427
    p = p * z + 0.3999999999989945
    p = p * z + 0.666666666666667
    half = 0.5 * f * f
    return n * _LN2_HIGH - ((half - (s * (half + p * z) + n * _LN2_LOW)) - f)


@function
def erfcx(x: float) -> float:
    """exp(x^2) erfc(x) for x >= 0: (1 + 2x) times it is smooth in t = (x - 2.75) / (x + 2.75)."""
    t = (x - 2.75) / (x + 2.75)
    p = -1.3890502174979973e-09
    p = p * t + 1.2102563754624459e-08
    p = p * t + 2.7148698134250894e-08
    p = p * t + -1.0297200633672842e-07
    p = p * t + -2.472098047234769e-07
    p = p * t + 4.250015686773628e-07
    p = p * t + 1.5834824844001872e-06
    p = p * t + -1.0142765522325923e-06
    p = p * t + -8.74705543421132e-06
    p = p * t + 3.4845678234377246e-07
    p = p * t + 4.797738960071115e-05
    p = p * t + 8.609296689330649e-06
    p = p * t + -0.00028905330606084415
    p = p * t + 4.014915580588574e-05
    p = p * t + 0.001934481697432407
    p = p * t + -0.0026222799929967737
    p = p * t + -0.010500720730180248
    p = p * t + 0.05231957974536066
    p = p * t + -0.1144931322848819
    p = p * t + 0.14490634075349995
    p = p * t + -0.07130621000899355
    p = p * t + -0.13046248372295832
    p = p * t + 1.2588036258139463
    return p / (1.0 + 2.0 * x)


@function
def tanh(x: float) -> float:
    """The hyperbolic tangent, exact to 1e-16 in absolute terms."""
    e = exp(-2.0 * abs(x))
    t = (1.0 - e) / (1.0 + e)
    return t if x >= 0.0 else -t


# From here on NumPy asks the system for large pages, which Numba's own allocator does not do: a fresh array
# then costs a third of the page faults.
LARGE_BYTES = 1 << 22


def allocate(fill: Callable[..., Any], like: int) -> Callable[..., Any]:
    """`step(*args)`, which gives `fill(*args, out)` and `out`, a fresh array like the argument at `like`."""

    @njit
    def step_inside(*args: Any) -> Any:
        out = np.empty_like(args[like])
        return fill(*args, out), out

    def step(*args: Any) -> Any:
        if args[like].nbytes < LARGE_BYTES:
            return step_inside(*args)
        out = np.empty_like(args[like])
        return fill(*args, out), out

    return step


# Only the order of comparisons and the sign of zero are free here: a row with a nan has no maximum.
@njit(error_model="numpy", fastmath=True)
def row_max(row: Any) -> float:
    """The largest element of a row without nan."""
    largest = row[0]
    for j in range(row.size):
        largest = row[j] if row[j] > largest else largest
    return largest
