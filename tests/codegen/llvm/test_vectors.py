"""Vector code: loops around the number of lanes, element types, layouts, and what the machine code has."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.llvm.programs import compiled
from tracejit.codegen.llvm import module

EXTENTS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100]
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")


def chain(x: Any) -> Any:
    return np.sum(np.tanh(2.0 * x + 0.5) * np.exp(-x * x) + np.log1p(x * x))


def steps(count: int) -> Callable[[Any], Any]:
    def many(x: Any) -> Any:
        for k in range(count):
            x = np.tanh(x) * 1.01 + 0.1 * k
        return np.sum(x)

    return many


# --- extents and element types ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", EXTENTS)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_a_loop_of_any_length(n: int, dtype: str, rng: np.random.Generator) -> None:
    compiled(tj.grad_jit(chain), rng.standard_normal(n).astype(dtype)).check(1e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("n", EXTENTS)
@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "i8", "u8", "?"])
def test_integers_and_truth_values_of_any_length(n: int, dtype: str, rng: np.random.Generator) -> None:
    x, y = (rng.integers(0, 2 if dtype == "?" else 100, n).astype(dtype) for _ in range(2))
    compiled(
        lambda x, y: (np.sum(x), np.any(x > y), np.maximum(x, y), x & y, np.where(x == y, x, y)), x, y
    ).check()


@pytest.mark.parametrize("n", [1, 7, 8, 9, 40])
def test_a_maximum_is_nan_where_one_element_is(n: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal(n)
    for at in (0, n // 2, n - 1):
        y = x.copy()
        y[at] = np.nan
        compiled(lambda x: (np.max(x), np.min(x), np.argmax(x)), y).check()
    compiled(lambda x: (np.max(x), np.min(x), np.argmax(x), np.argmin(x)), x).check()


def test_the_first_of_equal_extremes_is_found(rng: np.random.Generator) -> None:
    x = rng.integers(0, 3, 50).astype(float)
    compiled(lambda x: (np.argmax(x), np.argmin(x)), x).check()


def test_narrow_types_fill_a_vector_with_more_lanes(rng: np.random.Generator) -> None:
    assert "<16 x float>" in compiled(tj.grad_jit(chain), rng.standard_normal(40).astype("f4")).text
    assert "<8 x double>" in compiled(tj.grad_jit(chain), rng.standard_normal(40)).text
    bytes_only = compiled(lambda x, y: x + y, *(rng.integers(0, 9, 90).astype("u1") for _ in range(2)))
    assert "<32 x i8>" in bytes_only.text


def test_masks_are_in_the_rest_of_a_loop_only(rng: np.random.Generator) -> None:
    text = compiled(lambda x: np.exp(x) + 1.0, rng.standard_normal(100)).text
    assert len(re.findall(r"= call .*@llvm.masked.load", text)) == 1
    assert len(re.findall(r"= load <8 x double>, ptr %\w+, align 8", text)) == 1


def test_short_rows_repeat_what_is_left_and_store_without_masks(rng: np.random.Generator) -> None:
    """Rows of 13: a vector of the first 8, and one of the last 8; the sum counts each once."""
    program = compiled(lambda x: (np.exp(x) + 1.0, np.sum(x)), rng.standard_normal((21, 13)))
    assert "llvm.masked" not in program.text
    program.check()
    short = compiled(lambda x: np.exp(x) + 1.0, rng.standard_normal((21, 7)))
    assert "llvm.masked.store" in short.text
    short.check()


def test_what_a_loop_changes_it_does_not_do_twice(rng: np.random.Generator) -> None:
    columns = compiled(lambda x: (np.exp(x).sum(axis=0), np.exp(x)), rng.standard_normal((21, 13)))
    assert "llvm.masked.store" in columns.text
    columns.check()


@pytest.mark.parametrize("shape", [(9, 9), (9, 10), (9, 11), (9, 17), (12, 40)])
def test_borders_run_one_by_one_and_count_once(shape: tuple[int, int], rng: np.random.Generator) -> None:
    def padded(x: Any) -> Any:
        y = np.pad(x[1:-1, 1:-1] * 0.3, ((1, 1), (1, 1))) + x
        return y, np.sum(y), np.max(y), np.prod(1 + 0.01 * y)

    compiled(padded, rng.standard_normal(shape)).check()


# --- memory -------------------------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "contiguous": (lambda x: x, False),
    "columns": (lambda x: np.hstack([x, x])[:, 3 : 3 + x.shape[1]], False),
    "rows": (lambda x: np.repeat(x, 2, 0)[::2], False),
    "rows backwards": (lambda x: x[::-1], False),
    "every other column": (lambda x: np.repeat(x, 2, 1)[:, ::2], True),
    "columns backwards": (lambda x: x[:, ::-1], True),
    "repeated": (lambda x: np.broadcast_to(x[:, :1], x.shape), True),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_elements_side_by_side_are_loaded_as_a_vector(name: str, rng: np.random.Generator) -> None:
    turn, gathers = LAYOUTS[name]
    program = compiled(tj.grad_jit(lambda x: np.sum(np.tanh(x) ** 2)), turn(rng.standard_normal((21, 13))))
    assert ("@llvm.masked.gather" in program.text) == gathers
    program.check()


def test_a_column_major_matrix_is_summed_down_its_columns(rng: np.random.Generator) -> None:
    program = compiled(lambda x: np.sum(np.exp(x)), np.asfortranarray(rng.standard_normal((21, 13))))
    assert "@llvm.masked.gather" not in program.text
    program.check()


def test_a_reversed_view_inside_the_function_is_loaded_backwards(rng: np.random.Generator) -> None:
    program = compiled(lambda x: x[::-1] * x, rng.standard_normal(50))
    assert "gather" not in program.text
    assert "shufflevector" in program.text
    program.check()


# --- elementary functions in place or called ----------------------------------------------------------------


def test_few_uses_are_copied_into_the_loop_and_many_are_called(rng: np.random.Generator) -> None:
    x = rng.standard_normal(30)
    for count, attributes in ((4, module.INLINED), (60, module.OUTLINED)):
        program = compiled(tj.grad_jit(steps(count)), x)
        (header,) = (
            line
            for line in program.text.splitlines()
            if line.startswith("define internal <8 x double> @tanh")
        )
        assert header.endswith(f"{attributes} {{")
        program.check(1e-9)


def test_equal_calls_count_once(rng: np.random.Generator) -> None:
    text = compiled(lambda x: np.exp(x) + np.exp(x) * x, rng.standard_normal(30)).text
    assert len(re.findall(r"= call <8 x double> @exp", text)) == 2  # the loop and its rest


# --- machine code -------------------------------------------------------------------------------------------


@on_x86
def test_the_loop_is_packed_arithmetic_without_calls(rng: np.random.Generator) -> None:
    assembly = compiled(tj.grad_jit(chain), rng.standard_normal(1000)).assembly()
    packed = len(re.findall(r"\bv?(?:add|sub|mul|div|fn?m(?:add|sub)\d+)pd\b", assembly))
    single = len(re.findall(r"\bv?(?:add|sub|mul|div|fn?m(?:add|sub)\d+)sd\b", assembly))
    assert packed > 60
    assert single < packed / 5
    assert not re.findall(r"\bcall\w*\s+\*?\w*(?:exp|tanh|log)", assembly)


@on_x86
def test_float32_runs_in_float32(rng: np.random.Generator) -> None:
    assembly = compiled(lambda x: np.exp(x) * x, rng.standard_normal(1000).astype("f4")).assembly()
    assert re.search(r"\bv?mulps\b", assembly)
    assert not re.search(r"\bv?(?:mul|add)pd\b", assembly)
