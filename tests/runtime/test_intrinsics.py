"""The compiled scalar library: every name gives what plain Python gives, for every type that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tracejit.codegen.scalar_library import (
    FLOAT_DTYPES,
    INTEGER_DTYPES,
    SCALAR_FUNCTIONS,
    Address,
    Cast,
    plain_program,
)
from tracejit.runtime import native

SHORT = {**INTEGER_DTYPES, **FLOAT_DTYPES}
FLOAT_VALUES = [0.0, -0.0, 0.3, -0.7, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, 7.25, -100.5, 1e-30, 1e30, 200.0]
SPECIALS = [math.inf, -math.inf, math.nan]
INTEGER_ONLY = {"int_floor_divide", "int_remainder", "int_fmod", "left_shift", "right_shift", "gcd", "lcm"}
INTEGER_ONLY |= {"int_pow"}
BINARY = {
    "pow_",
    "hypot",
    "atan2",
    "nextafter",
    "fmod",
    "remainder",
    "floor_divide",
    "logaddexp",
    "logaddexp2",
}
BINARY |= {"heaviside", "copysign", "sum_step", "prod_step", "maximum", "minimum", "fmax", "fmin", "ldexp"}
BINARY |= {"erf_given"}
BINARY |= {"logical_and", "logical_or", "logical_xor", *INTEGER_ONLY}
TERNARY = {"fma", "select"}
# Functions between floats of two bytes and float32 take one dtype each.
TAKES = {"read_f16": "u16", "read_bf16": "u16", "write_f16": "f32", "write_bf16": "f32", "odd_f32": "f64"}
# Functions whose last bits are the C library's; all others must agree exactly.
ULPS = {
    "pow_": 4,
    "logaddexp": 4,
    "logaddexp2": 4,
    "gamma": 16,
    "lgamma": 64,
    "digamma": 64,
    "fma": 0,
}
EXACT_PREFIXES = ("to_", "int_", "logical_", "is")
EXACT = {
    "floor",
    "ceil",
    "trunc",
    "rint",
    "copysign",
    "sqrt",
    "remainder",
    "floor_divide",
    "fmod",
    "nextafter",
}
EXACT |= {
    "sum_step",
    "prod_step",
    "select",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "absolute",
    "sign",
    "signbit",
}
EXACT |= {"spacing", "heaviside", "ldexp", "fma", *INTEGER_ONLY, *TAKES}


@dataclass(frozen=True)
class Case:
    """One function on arguments of one dtype."""

    name: str
    short: str

    @property
    def kernel(self) -> str:
        return f"k_{self.name}_{self.short}"

    @property
    def arity(self) -> int:
        return 3 if self.name in TERNARY else 2 if self.name in BINARY else 1

    def arguments(self) -> list[np.ndarray[Any, Any]]:
        dtype = np.dtype(SHORT[self.short])
        if dtype.kind == "f":
            first = np.array(FLOAT_VALUES + SPECIALS, dtype)
        else:
            info = np.iinfo(dtype)
            known = [v for v in (0, 1, 2, 3, 7, 8, 63, 100, -1, -2, -7) if v >= info.min]
            first = np.array([*known, info.min, info.max, info.max - 1], dtype)
        if self.name == "erf_given":
            with np.errstate(all="ignore"):
                return [first, np.exp(-first * first)]
        grids = np.meshgrid(*[first] * min(self.arity, 2), indexing="ij")
        flat = [grid.ravel() for grid in grids]
        return flat if self.arity < 3 else [*flat, np.roll(flat[0], 1)]

    @property
    def result(self) -> str:
        """The dtype that the plain function gives, as a name such as f64 or u8."""
        args = [values[0] for values in self.arguments()]
        dtype = SCALAR_FUNCTIONS[self.name].evaluate(*args).dtype
        return {"bool": "u8"}.get(dtype.name) or next(s for s, name in SHORT.items() if name == dtype.name)

    def source(self) -> str:
        """A kernel over arrays, and its call with arrays at consecutive places of `ip`."""
        names = ["a", "b", "c"][: self.arity]
        call = ", ".join(f"{x}[i]" for x in names)
        if self.name == "select":
            call = "a[i] > b[i], b[i], c[i]"
        if self.name == "ldexp":
            call = "a[i], to_i64(b[i])"
        return f"""
def {self.kernel}({", ".join(names)}, out, s0):
    for i in range(s0):
        out[i] = to_{self.result}({self.name}({call}))
"""


def all_cases() -> Iterator[Case]:
    for name, entry in SCALAR_FUNCTIONS.items():
        if isinstance(entry.form, Address):
            continue
        if name in TAKES:
            yield Case(name, TAKES[name])
            continue
        integers = (
            ["i64", "u64", "i32", "i8", "u8"] if entry.result != "float" or name in INTEGER_ONLY else []
        )
        if isinstance(entry.form, Cast):
            integers = [*INTEGER_DTYPES]
        floats = [] if name in INTEGER_ONLY else [*FLOAT_DTYPES]
        for short in [*floats, *integers]:
            yield Case(name, short)


CASES = list(all_cases())


def run_all(program: Any) -> dict[Case, np.ndarray[Any, Any]]:
    outputs: dict[Case, np.ndarray[Any, Any]] = {}
    numbers: list[int] = []
    keep: list[Any] = []
    for case in CASES:
        arguments = case.arguments()
        outputs[case] = np.zeros(len(arguments[0]), SHORT[case.result])
        keep.append(arguments)
        numbers += [x.ctypes.data for x in [*arguments, outputs[case]]] + [len(arguments[0])]
    ip, fp = np.array(numbers, np.int64), np.zeros(1)
    program(ip.ctypes.data, fp.ctypes.data)
    return outputs


def whole_source() -> str:
    calls: list[str] = []
    position = 0
    for case in CASES:
        pointers = [f"ptr_{case.short}(ip[{position + k}])" for k in range(case.arity)]
        pointers.append(f"ptr_{case.result}(ip[{position + case.arity}])")
        calls.append(f"    {case.kernel}({', '.join(pointers)}, ip[{position + case.arity + 1}])")
        position += case.arity + 2
    return "\n".join([*[case.source() for case in CASES], "def program(ip, fp):", *calls, ""])


@pytest.fixture(scope="module")
def compiled() -> dict[Case, np.ndarray[Any, Any]]:
    return run_all(native.load(native.compile_source(whole_source())))


@pytest.fixture(scope="module")
def plain() -> dict[Case, np.ndarray[Any, Any]]:
    return run_all(plain_program(whole_source()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.short}")
def test_compiled_and_plain_agree(case: Case, compiled: Any, plain: Any) -> None:
    actual, expected = compiled[case], plain[case]
    both_nan = (actual != actual) & (expected != expected)
    exact = case.name in EXACT or case.name.startswith(EXACT_PREFIXES)
    if exact:
        right = (actual == expected) | both_nan
    else:
        ulps = ULPS.get(case.name, 2)
        right = (
            both_nan
            | (actual == expected)
            | np.isclose(
                actual,
                expected,
                rtol=ulps * np.finfo(actual.dtype).eps,
                atol=np.finfo(actual.dtype).smallest_subnormal,
            )
        )
    wrong = [(*[x[i] for x in case.arguments()], actual[i], expected[i]) for i in np.flatnonzero(~right)]
    assert not wrong, wrong[:10]


def test_the_library_and_the_compiler_know_the_same_names() -> None:
    from tracejit.runtime import intrinsics

    intrinsics.check_tables()
