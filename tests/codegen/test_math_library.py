"""The elementary functions against 160-bit arithmetic, at their special values, and as vector code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest

from tracejit.codegen.math_library import PROGRAMS
from tracejit.runtime import native

Array = np.ndarray[Any, Any]

SHORT = {"f64": np.float64, "f32": np.float32}

IS_X86 = "x86_64" in native.host_description()


def has_feature(name: str) -> bool:
    return f"+{name}," in native.host_description() + ","


needs_vectors = pytest.mark.skipif(
    not (IS_X86 and has_feature("avx2") and has_feature("fma")), reason="looks for AVX2 and FMA"
)


@dataclass(frozen=True)
class Exact:
    """A function in many digits, where the interesting arguments lie, and the error allowed in ulp."""

    function: Callable[[Any], Any]
    low: float
    high: float
    ulps: float = 1.5


EXACT: dict[str, Exact] = {
    "exp": Exact(mpmath.exp, -750, 715, 1.0),
    "exp2": Exact(lambda x: mpmath.mpf(2) ** x, -1080, 1030),
    "expm1": Exact(mpmath.expm1, -45, 715),
    "log": Exact(mpmath.log, 0.01, 4, 1.0),
    "log2": Exact(lambda x: mpmath.log(x) / mpmath.log(2), 0.01, 4),
    "log10": Exact(lambda x: mpmath.log(x) / mpmath.log(10), 0.01, 4),
    "log1p": Exact(mpmath.log1p, -0.999, 4),
    "tanh": Exact(mpmath.tanh, -23, 23),
    "sinh": Exact(mpmath.sinh, -715, 715),
    "cosh": Exact(mpmath.cosh, -715, 715),
    "erf": Exact(mpmath.erf, -6.5, 6.5),
}
CASES = [(name, short) for name in EXACT for short in SHORT]

inf, nan = math.inf, math.nan
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(inf, inf), (-inf, 0.0), (nan, nan), (0.0, 1.0), (-0.0, 1.0), (1e30, inf), (-1e30, 0.0)],
    "exp2": [(inf, inf), (-inf, 0.0), (nan, nan), (-0.0, 1.0), (3.0, 8.0), (-126.0, 2.0**-126), (1e30, inf)],
    "expm1": [(inf, inf), (-inf, -1.0), (nan, nan), (0.0, 0.0), (-0.0, -0.0), (1e30, inf), (-1e30, -1.0)],
    "log": [(inf, inf), (-inf, nan), (nan, nan), (0.0, -inf), (-0.0, -inf), (-1.0, nan), (1.0, 0.0)],
    "log2": [
        (inf, inf),
        (-1e30, nan),
        (nan, nan),
        (-0.0, -inf),
        (1.0, 0.0),
        (2.0**-100, -100.0),
        (64.0, 6.0),
    ],
    "log10": [(inf, inf), (-1e30, nan), (nan, nan), (0.0, -inf), (1.0, 0.0), (100.0, 2.0)],
    "log1p": [(inf, inf), (-inf, nan), (nan, nan), (-1.0, -inf), (-1.5, nan), (0.0, 0.0), (-0.0, -0.0)],
    "tanh": [(inf, 1.0), (-inf, -1.0), (nan, nan), (0.0, 0.0), (-0.0, -0.0), (1e30, 1.0), (-1e30, -1.0)],
    "sinh": [(inf, inf), (-inf, -inf), (nan, nan), (0.0, 0.0), (-0.0, -0.0), (1e30, inf), (-1e30, -inf)],
    "erf": [(inf, 1.0), (-inf, -1.0), (nan, nan), (0.0, 0.0), (-0.0, -0.0), (1e30, 1.0), (-1e30, -1.0)],
    "cosh": [(inf, inf), (-inf, inf), (nan, nan), (0.0, 1.0), (-0.0, 1.0), (-1e30, inf)],
}


def kernel(name: str, short: str) -> str:
    return f"""
def {name}_{short}(a, out, s0):
    for i in range(s0):
        out[i] = {name}(a[i])
"""


@pytest.fixture(scope="module")
def program() -> native.NativeProgram:
    return native.load(compiled_cases())


@pytest.fixture(scope="module")
def program_without_fma() -> native.NativeProgram:
    if not IS_X86:
        pytest.skip("names a processor of the x86 family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_host", lambda: ("x86-64-v2", ""))
        record = compiled_cases()
    return native.load(record)


def compiled_cases() -> native.Record:
    """All cases as kernels of one program; the first number says which one runs."""
    names = ", ".join(repr(f"{name}_{short}") for name, short in CASES)
    calls = "\n".join(
        f"    if ip[0] == {i}:\n        {name}_{short}(ptr_{short}(ip[1]), ptr_{short}(ip[2]), ip[3])"
        for i, (name, short) in enumerate(CASES)
    )
    source = f"NOALIAS = ({names})\n" + "".join(kernel(*case) for case in CASES)
    return native.compile_source(f"{source}\ndef program(ip, fp):\n{calls}\n")


def run(program: native.NativeProgram, name: str, short: str, x: Array) -> Array:
    out = np.empty_like(x)
    ip = np.array([CASES.index((name, short)), x.ctypes.data, out.ctypes.data, len(x)])
    program(ip.ctypes.data, np.zeros(1).ctypes.data)
    return out


def points(name: str, short: str, rng: np.random.Generator) -> Array:
    """A sweep, fine steps around 0 and 1, bit patterns of every kind, and neighbours of what matters."""
    kind = SHORT[short]
    info, exact = np.finfo(kind), EXACT[name]
    signs = rng.choice([-1.0, 1.0], 600)
    whole = rng.integers(0, 2**63, 600, np.uint64, endpoint=True) * np.uint64(2) + np.uint64(1)
    patterns = (
        whole.view(np.float64) if short == "f64" else (whole >> np.uint64(32)).astype(np.uint32).view(kind)
    )
    parts: list[Any] = [
        np.linspace(exact.low, exact.high, 1200),
        np.linspace(-2.0, 2.0, 1200),
        signs * 2.0 ** rng.uniform(-70, 3, 600),
        1.0 + signs * 2.0 ** rng.uniform(-info.nmant, 0, 600),
        [info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal],
        [m * float(info.smallest_subnormal) for m in (3, 5, 1001, -7)],
    ]
    for edge in edges(name, kind):
        parts.append(edge * (1 + np.arange(-20, 21) * float(info.eps)))
    with np.errstate(over="ignore"):
        x = np.concatenate([np.asarray(part, np.float64).astype(kind) for part in parts] + [patterns])
    return x[np.isfinite(x)]


def edges(name: str, kind: Any) -> Iterator[float]:
    """Where results overflow, become subnormal or vanish, and where the significand is split."""
    info = np.finfo(kind)
    largest, least = float(np.log(info.max)), math.log(float(info.smallest_subnormal))
    if name.startswith("log"):
        yield from (math.sqrt(0.5), math.sqrt(2.0), math.sqrt(2.0) - 1.0, float(info.tiny))
    elif name == "erf":
        yield from (1.0, -1.0, 4.0, 6.0, 1e-300)
    elif name == "exp2":
        yield from (info.maxexp, info.minexp, info.minexp - info.nmant - 1, 0.5, -0.5)
    else:
        yield from (largest, largest + math.log(2.0), -largest, math.log(float(info.tiny)), least)
        yield from (0.5 * math.log(2.0), -0.5 * math.log(2.0), 1.5 * math.log(2.0), 20.0, 9.0)


def error_in_ulps(actual: float, exact: Any, kind: Any) -> float:
    """|actual - exact| in units of the last place of `exact`; 0 where both overflow."""
    info = np.finfo(kind)
    if not math.isfinite(actual):
        # The first number that rounds to infinity.
        limit = mpmath.mpf(float(info.max)) * (1 + mpmath.mpf(2) ** (-info.nmant - 2))
        return 0.0 if not math.isnan(actual) and actual * exact > 0 and abs(exact) >= limit else math.inf
    exponent = mpmath.frexp(exact)[1] - 1 if exact else info.minexp
    unit = mpmath.mpf(2) ** (max(exponent, info.minexp) - info.nmant)
    return float(abs(mpmath.mpf(actual) - exact) / unit)


@pytest.mark.parametrize(("name", "short"), CASES)
def test_errors_against_160_bits_stay_within_the_bound(
    name: str, short: str, program: native.NativeProgram
) -> None:
    worst = worst_error(name, short, program)
    assert worst[0] <= EXACT[name].ulps, worst


@pytest.mark.parametrize(("name", "short"), CASES)
def test_without_fused_multiply_add_errors_grow_to_two_units_at_most(
    name: str, short: str, program_without_fma: native.NativeProgram
) -> None:
    worst = worst_error(name, short, program_without_fma)
    assert worst[0] <= 2.0, worst


def worst_error(name: str, short: str, program: native.NativeProgram) -> tuple[float, float]:
    """The largest error in ulp and the argument where it is."""
    x = points(name, short, np.random.default_rng(7))
    if name.startswith("log"):
        x = x[x > -1] if name == "log1p" else np.abs(x[x != 0])
    y = run(program, name, short, x)
    limit = 800.0 if short == "f64" else 120.0
    grows = not name.startswith("log") and name != "exp2"
    with mpmath.workprec(160):
        worst = 0.0, 0.0
        for argument, value in zip(x.tolist(), y.tolist()):
            # Beyond the limit the value is what it is at the limit, and many digits would take long.
            held = min(max(argument, -limit), limit) if grows else min(max(argument, -1200.0), argument)
            held = min(held, 1200.0) if name == "exp2" else held
            exact = EXACT[name].function(mpmath.mpf(held))
            worst = max(worst, (error_in_ulps(value, exact, SHORT[short]), argument))
    return worst


@pytest.mark.parametrize(("name", "short"), CASES)
def test_special_arguments_give_what_ieee_and_numpy_say(
    name: str, short: str, program: native.NativeProgram
) -> None:
    x = np.array([argument for argument, _ in SPECIAL[name]] * 5, SHORT[short])
    expected = np.array([value for _, value in SPECIAL[name]] * 5, SHORT[short])
    actual = run(program, name, short, x)
    same = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
    same |= np.isnan(actual) & np.isnan(expected)
    assert same.all(), list(zip(x[~same], actual[~same]))


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sinh"])
def test_odd_functions_return_subnormal_arguments(
    name: str, short: str, program: native.NativeProgram
) -> None:
    info = np.finfo(SHORT[short])
    x = np.array([1, -1, 3, -5, 1023, 2**20 + 1], SHORT[short]) * info.smallest_subnormal
    assert run(program, name, short, x).tolist() == x.tolist()


def test_powers_of_two_are_exact(program: native.NativeProgram) -> None:
    for short, kind in SHORT.items():
        info = np.finfo(kind)
        n = np.arange(info.minexp - info.nmant, info.maxexp).astype(kind)
        powers = np.ldexp(kind(1), n.astype(np.int32))
        assert run(program, "exp2", short, n).tolist() == powers.tolist()
        assert run(program, "log2", short, powers).tolist() == n.tolist()


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2"])
@pytest.mark.parametrize("short", SHORT)
def test_sums_of_exponentials_are_numpys_within_a_few_units(name: str, short: str) -> None:
    source = f"""
def kernel(x, y, out, s0):
    for i in range(s0):
        out[i] = {name}(x[i], y[i])

def program(ip, fp):
    kernel(ptr_{short}(ip[0]), ptr_{short}(ip[1]), ptr_{short}(ip[2]), ip[3])
"""
    kind = SHORT[short]
    values = np.array([*np.linspace(-60, 60, 97), 0.0, -0.0, 1e30, -1e30, inf, -inf, nan], kind)
    x, y = (np.ravel(grid) for grid in np.meshgrid(values, values))
    out = np.empty_like(x)
    ip = np.array([x.ctypes.data, y.ctypes.data, out.ctypes.data, len(x)])
    native.load(native.compile_source(source))(ip.ctypes.data, ip.ctypes.data)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    eps = float(np.finfo(kind).eps)
    # Where the two terms nearly cancel, the error is one of the larger term.
    np.testing.assert_allclose(out, expected, rtol=4 * eps, atol=eps)


def test_every_program_is_tested() -> None:
    assert set(EXACT) | {"logaddexp", "logaddexp2"} == set(PROGRAMS)
    assert set(SPECIAL) == set(EXACT)


# Vector code ------------------------------------------------------------------------------------------------


def loop_source(expression: str, short: str) -> str:
    return f"""NOALIAS = ("kernel",)
def kernel(x, y, s0):
    for i in range(s0):
        y[i] = {expression}

def program(ip, fp):
    kernel(ptr_{short}(ip[0]), ptr_{short}(ip[1]), ip[2])
"""


@needs_vectors
@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("name", [*EXACT])
@pytest.mark.parametrize("spelling", ["{}", "math.{}"])
def test_a_loop_over_a_function_is_vector_code_without_calls(name: str, short: str, spelling: str) -> None:
    source = loop_source(f"{spelling.format(name)}(x[i])", short)
    record = native.compile_source(source)
    assert record.symbols == ()
    text = native.load(record).assembly()
    assert re.search(rf"vfn?m(add|sub)\d+p{'d' if short == 'f64' else 's'}\s.*%[yz]mm", text)


@needs_vectors
def test_a_reduction_of_a_chain_of_functions_is_vector_code_without_calls() -> None:
    source = """NOALIAS = ("kernel",)
def kernel(x, y, s0):
    total = 0.0
    for i in range(s0):
        total = sum_step(total, math.tanh(x[i]) * math.exp(x[i]) + math.log1p(x[i]))
    y[0] = total

def program(ip, fp):
    kernel(ptr_f64(ip[0]), ptr_f64(ip[1]), ip[2])
"""
    program = native.load(native.compile_source(source))
    assert program.record.symbols == ()
    assert re.search(r"vfn?m(add|sub)\d+pd\s.*%[yz]mm", program.assembly())
    x, y = np.linspace(0, 1, 1003), np.zeros(1)
    ip = np.array([x.ctypes.data, y.ctypes.data, len(x)])
    program(ip.ctypes.data, ip.ctypes.data)
    assert y[0] == pytest.approx(float(np.sum(np.tanh(x) * np.exp(x) + np.log1p(x))), rel=1e-13)
