"""The scalar library in plain Python: the results and types of NumPy and `math`, special values included."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit.codegen.scalar_library import (
    FLOAT_DTYPES,
    INTEGER_DTYPES,
    SCALAR_FUNCTIONS,
    Memory,
    plain_namespace,
    plain_program,
)

NAMES: dict[str, Any] = plain_namespace()

FLOATS = [0.0, -0.0, 0.3, -0.7, 1.0, -1.0, 1.5, 2.5, -2.5, 3.0, 7.25, -100.5, 1e-300, 1e300]
SPECIALS = [math.inf, -math.inf, math.nan]


def same(actual: Any, expected: Any) -> bool:
    """Equal bits but for the sign and payload of nan."""
    if actual.dtype != expected.dtype:
        return False
    if np.isnan(expected):
        return bool(np.isnan(actual))
    return bool(actual == expected and np.signbit(actual) == np.signbit(expected))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize(
    "name",
    ["floor_divide", "remainder", "fmod", "hypot", "logaddexp", "logaddexp2", "heaviside", "copysign"]
    + ["maximum", "minimum", "fmax", "fmin", "nextafter"],
)
def test_functions_of_two_floats_are_numpys(name: str, kind: Callable[[float], Any]) -> None:
    with np.errstate(all="ignore"):
        for x in FLOATS + SPECIALS:
            for y in FLOATS + SPECIALS:
                expected = getattr(np, name)(kind(x), kind(y))
                assert same(NAMES[name](kind(x), kind(y)), expected), (x, y)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["sign", "absolute", "spacing", "rint", "trunc", "cbrt", "exp", "log"])
def test_functions_of_one_float_are_numpys(name: str, kind: Callable[[float], Any]) -> None:
    with np.errstate(all="ignore"):
        for x in FLOATS + SPECIALS:
            assert same(NAMES[name](kind(x)), getattr(np, name)(kind(x))), x


def test_float32_in_gives_float32_out_and_anything_else_float64() -> None:
    assert type(NAMES["tanh"](np.float32(0.5))) is np.float32
    assert type(NAMES["tanh"](0.5)) is np.float64
    assert type(NAMES["tanh"](np.int32(2))) is np.float64
    assert type(NAMES["hypot"](np.float32(3), np.float64(4))) is np.float64
    assert type(NAMES["maximum"](np.float32(3), 4.0)) is np.float64
    assert type(NAMES["sum_step"](np.float32(3), np.float64(4))) is np.float32


def test_rint_rounds_halves_to_even() -> None:
    assert [float(NAMES["rint"](x)) for x in (0.5, 1.5, 2.5, -0.5)] == [0.0, 2.0, 2.0, -0.0]


def test_the_gamma_family_has_limits_at_its_poles_and_no_exceptions() -> None:
    assert NAMES["lgamma"](-2.0) == math.inf
    assert NAMES["lgamma"](1e306) == math.inf
    assert NAMES["gamma"](0.0) == math.inf
    assert NAMES["gamma"](-0.0) == -math.inf
    assert NAMES["gamma"](200.0) == math.inf
    assert np.isnan(NAMES["gamma"](-3.0))
    assert np.isnan(NAMES["digamma"](-3.0))
    assert NAMES["digamma"](math.inf) == math.inf


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_fma_rounds_once(kind: Callable[[float], Any]) -> None:
    eps = np.finfo(kind(0)).eps
    x = kind(1) + eps
    assert NAMES["fma"](x, x, -kind(1)) == kind(2 * float(eps) + float(eps) ** 2)
    assert np.isnan(NAMES["fma"](kind(math.inf), kind(0), kind(1)))
    assert NAMES["fma"](kind(0), kind(1), kind(-0.0)) == 0


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_fma_beyond_the_largest_number_is_infinite(kind: Callable[[float], Any]) -> None:
    large, infinite = np.finfo(kind(0)).max, kind(math.inf)
    assert NAMES["fma"](large, large, kind(1)) == infinite
    assert NAMES["fma"](large, -large, kind(1)) == -infinite
    assert NAMES["fma"](large, large, -infinite) == -infinite  # the product is finite before it is rounded


@pytest.mark.parametrize("short", [*INTEGER_DTYPES])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_casts_of_floats_to_integers_truncate_as_astype_does(
    short: str, kind: Callable[[float], Any]
) -> None:
    info = np.iinfo(INTEGER_DTYPES[short])
    for x in [0.0, 0.9, 2.5, 100.7, -0.9, -1.5, -100.2, float(info.max // 2), float(info.min // 2)]:
        value = kind(x)
        if info.min <= x <= info.max:
            assert NAMES[f"to_{short}"](value) == np.array([value]).astype(INTEGER_DTYPES[short])[0], x


@pytest.mark.parametrize("short", [*INTEGER_DTYPES, *FLOAT_DTYPES, "bool"])
def test_casts_never_raise(short: str) -> None:
    cast = NAMES[f"to_{short}"]
    dtype = {**INTEGER_DTYPES, **FLOAT_DTYPES, "bool": "bool"}[short]
    for x in [1e300, -1e300, 3e9, -3e9, *SPECIALS, 2**63, -(2**63), np.uint64(2**64 - 1), True, np.int8(-1)]:
        assert cast(x).dtype == dtype


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
def test_integer_functions_are_numpys_zero_divisors_and_wide_shifts_included(dtype: str) -> None:
    info = np.iinfo(dtype)
    kind = np.dtype(dtype).type
    values = [
        kind(v)
        for v in (0, 1, 2, 3, 7, 100, info.max, info.min, info.max - 1, -1 % 2**8 if info.min else 0)
        if info.min <= v <= info.max
    ]
    pairs = {
        "int_floor_divide": np.floor_divide,
        "int_remainder": np.remainder,
        "int_fmod": np.fmod,
        "left_shift": np.left_shift,
        "right_shift": np.right_shift,
        "gcd": np.gcd,
        "maximum": np.maximum,
    }
    with np.errstate(all="ignore"):
        for name, function in pairs.items():
            for a in values:
                for b in values:
                    assert same(NAMES[name](a, b), function(a, b)), (name, a, b)


def test_integer_powers_wrap_and_negative_exponents_truncate() -> None:
    power = NAMES["int_pow"]
    assert power(np.int64(3), np.int64(41)) == np.power(np.int64(3), np.int64(41))
    assert power(np.int8(2), np.int8(7)) == -128
    assert [int(power(b, -3)) for b in (1, -1, 2, 0)] == [1, -1, 0, 0]


def test_select_takes_the_common_type_of_both_branches() -> None:
    assert type(NAMES["select"](True, np.float32(1), 2.0)) is np.float64
    assert NAMES["select"](np.bool_(False), np.int32(1), np.int32(2)) == 2


@pytest.mark.parametrize("dtype", [*INTEGER_DTYPES.values(), *FLOAT_DTYPES.values()])
def test_memory_reads_and_writes_where_an_address_points(dtype: str) -> None:
    x = np.arange(4).astype(dtype)
    memory = Memory(x.ctypes.data + 2 * x.itemsize, dtype)
    assert memory[-1] == x[1]
    assert memory[1].dtype == dtype
    memory[-2] = x.dtype.type(7)
    assert x[0] == 7


def test_a_kernel_runs_as_plain_python_on_arrays_and_on_addresses() -> None:
    source = """
def kernel_0(x, value, s0):
    acc = 0.0
    for i in range(s0):
        acc = sum_step(acc, math.log(x[i]) / x[i])
    value[0] = acc

def program(ip, fp):
    kernel_0(ptr_f64(ip[0]), ptr_f64(ip[1]), ip[2])
"""
    x, value = np.array([1.0, 2.0, 0.0]), np.zeros(1)
    ip, fp = np.array([x.ctypes.data, value.ctypes.data, 2]), np.zeros(1)
    plain_program(source)(ip.ctypes.data, fp.ctypes.data)
    assert value[0] == pytest.approx(math.log(2) / 2)
    ip[2] = 3  # log(0) / 0: no warning, no exception
    plain_program(source)(ip, fp)
    assert value[0] == -math.inf


def test_the_table_names_every_function_once() -> None:
    assert [entry.name for entry in SCALAR_FUNCTIONS.values()] == list(SCALAR_FUNCTIONS)
    functions = [entry.evaluate for entry in SCALAR_FUNCTIONS.values()]
    assert len(set(map(id, functions))) == len(functions)
