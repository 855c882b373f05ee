"""Kernels at sizes around a warp, a block and several blocks, in all dtypes and layouts, in the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.codegen.cuda.emulated import (
    FLOATS,
    SIZES,
    check_function,
    device_program,
    printed,
    shape_of,
    traced,
)
from tests.codegen.cuda.skeletons import layer_norm, logistic, softmax_loss

Rng = np.random.Generator

WIDTHS = (1, 7, 31, 33, 300, 1100)
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")


def numbers(rng: Rng, shape: Any, dtype: str) -> Any:
    """Small integers, of which sums are exact."""
    return rng.integers(0, 2 if dtype == "?" else 5, shape).astype(dtype)


def slack(dtype: str) -> float:
    return 1e-12 if dtype == "f8" else 2e-5


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_chain_and_its_sums(n: int, dtype: str, rng: Rng) -> None:
    x, y = rng.normal(size=(2, n)).astype(dtype)
    program = check_function(
        lambda x, y: np.sum(np.tanh(x) * y + np.exp(-x * x)), x, y, tolerance=slack(dtype)
    )
    assert len(program.launches) == 1


@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_to_a_number(n: int, dtype: str, rng: Rng) -> None:
    x = numbers(rng, n, dtype)
    for reduce in (np.sum, np.prod, np.max, np.min, np.argmax, np.argmin, np.any, np.all):
        check_function(lambda x, reduce=reduce: reduce(x), x, gradient=False)


@pytest.mark.parametrize("n", (33, 257, 2500))
@pytest.mark.parametrize("where", ([5], [5, 30], [-1]))
def test_positions_of_nan_and_of_ties_are_the_first(n: int, where: list[int], rng: Rng) -> None:
    x = rng.integers(0, 3, n).astype(float)
    x[where] = np.nan
    for y in (x, np.nan_to_num(x)):
        program = check_function(lambda x: (np.argmax(x), np.argmin(x), np.max(x)), y, gradient=False)
    assert n < 2500 or shape_of(program)[0][1] > 1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", (3, 20))
def test_softmax_rows(rows: int, width: int, rng: Rng) -> None:
    rows = rows if width < 300 else 2
    check_function(softmax_loss, rng.normal(size=(rows, width)), rng.random((rows, width)), tolerance=1e-11)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_layer_norm_rows(width: int, dtype: str, rng: Rng) -> None:
    x, scale, shift = rng.normal(size=(3, width)), rng.normal(size=width), rng.normal(size=width)
    check_function(layer_norm, *[a.astype(dtype) for a in (x, scale, shift)], tolerance=50 * slack(dtype))


@pytest.mark.parametrize("width", (1, 5, 20, 40, 300))
@pytest.mark.parametrize("n", (1, 33, 257))
def test_a_regression_and_its_gradient_read_the_matrix_in_one_pass(n: int, width: int, rng: Rng) -> None:
    x, w, y = rng.normal(size=(n, width)), rng.normal(size=width), rng.random(n)
    program = check_function(lambda w: logistic(w, x, y), w, tolerance=1e-11)
    assert len(program.launches) <= 2


@pytest.mark.parametrize("shape", ((1, 1), (300, 5), (5, 300), (520, 3)))
@pytest.mark.parametrize("dtype", ("f8", "f4", "i4", "u1", "?"))
def test_reductions_over_rows_and_columns(shape: tuple[int, int], dtype: str, rng: Rng) -> None:
    x = numbers(rng, shape, dtype)
    check_function(
        lambda x: (x.sum(axis=0), x.max(axis=1), np.argmin(x, axis=0), np.argmax(x, axis=1)),
        x,
        gradient=False,
    )


@pytest.mark.parametrize("n", (1, 255, 257, 513))
@pytest.mark.parametrize("tail", ((), (2,)))
def test_scattered_sums_have_one_order(n: int, tail: tuple[int, ...], rng: Rng) -> None:
    table, index = rng.normal(size=(7, *tail)), rng.integers(-7, 7, n)
    program = check_function(lambda table: np.sum(np.tanh(table[index]) ** 2), table)
    assert all(lanes != 256 or blocks > 1 for lanes, blocks in shape_of(program) if n > 256)


@pytest.mark.parametrize("n", (1, 3, 300))
def test_small_products_stay_in_registers(n: int, rng: Rng) -> None:
    x, w, b = rng.normal(size=(n, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)
    y = rng.random((n, 3))

    def loss(w: Any, b: Any) -> Any:
        z = x @ w + b
        return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))

    check_function(loss, w, b)


@pytest.mark.parametrize("name", ("strided", "reversed", "fortran", "frozen", "broadcast"))
def test_inputs_as_they_lie(name: str, rng: Rng) -> None:
    x = rng.normal(size=(40, 33))
    x = {
        "strided": lambda: x[::2, ::3],
        "reversed": lambda: x[::-1, ::-1],
        "fortran": lambda: np.asfortranarray(x),
        "frozen": lambda: x,
        "broadcast": lambda: np.broadcast_to(x[:1], (40, 33)),
    }[name]()
    x.flags.writeable = False
    check_function(lambda x: np.sum(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) * x), x)
    check_function(lambda x: x.sum(axis=0) * x[1], x, gradient=False)


@pytest.mark.parametrize(
    "function",
    (
        lambda x: np.exp(x.T.reshape(6, -1)),
        lambda x: np.roll(x, 3, axis=1) * np.roll(x, -2, axis=0),
        lambda x: np.roll(x, 5) - x.T.reshape(x.shape)[::-1],
        lambda x: np.tile(x, (1, 3)) * np.repeat(x, 3, axis=1),
    ),
)
def test_elements_in_another_order(function: Any, rng: Rng) -> None:
    x = rng.normal(size=(12, 35))
    check_function(function, x, gradient=False)
    check_function(lambda x: np.sum(function(x) ** 2), x)


def test_nan_and_infinity_go_through(rng: Rng) -> None:
    x = rng.normal(size=(6, 50))
    x[0, 0], x[1, 3], x[2, 2], x[3, :] = np.nan, np.inf, -np.inf, 0.0
    check_function(softmax_loss, x, np.ones_like(x), tolerance=1e-11)
    check_function(lambda x: (x.max(), x.min(axis=1), np.sqrt(x), np.maximum(x, 0)), x, gradient=False)


@pytest.mark.parametrize("n", (1, 257, 3000))
def test_a_softmax_over_one_long_vector_is_cut_into_launches_of_many_blocks(n: int, rng: Rng) -> None:
    x = rng.normal(size=n)
    program = check_function(
        lambda x: np.sum(np.exp(x - x.max()) / np.exp(x - x.max()).sum() * x), x, tolerance=1e-11
    )
    assert n < 3000 or all(blocks > 1 for _, blocks in shape_of(program))


def test_an_index_out_of_range_is_an_error_with_the_users_line(rng: Rng) -> None:
    index = np.array([0, 7])
    with pytest.raises(IndexError, match="outside an axis of size 7"):
        check_function(lambda table, index: np.sum(table[index]), rng.normal(size=7), index)


def test_how_many_blocks_there_are_depends_on_sizes_alone(rng: Rng) -> None:
    program = check_function(lambda x: np.sum(x * x), rng.normal(size=5000))
    assert shape_of(program) == [(0, 5)]


def five_points(u: Any) -> Any:
    lap = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
    return np.sum(lap * lap)


def nine_points(u: Any) -> Any:
    rows = np.exp(u[2:] - u[:-2])
    return np.sum(rows[:, 2:] * rows[:, :-2])


# Fewer columns than threads take below one another, so many rows that some are left over, several blocks.
GRIDS = ((8, 64), (9, 65), (11, 63), (7, 300), (30, 257), (66, 130))


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("function", (five_points, nine_points))
@pytest.mark.parametrize("dtype", FLOATS)
def test_stencils_inside_and_beside_edges(
    function: Any, shape: tuple[int, int], dtype: str, rng: Rng
) -> None:
    u = rng.normal(size=shape).astype(dtype)
    program = check_function(function, u, tolerance=100 * slack(dtype))
    assert function is nine_points or len(program.launches) == 1


@pytest.mark.parametrize("shape", GRIDS)
def test_rows_below_one_another(shape: tuple[int, int], rng: Rng) -> None:
    x, rows, columns = rng.normal(size=shape), rng.normal(size=(shape[0], 1)), rng.normal(size=shape[1])
    kinds = [x, x[::-1, ::-1], np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]]
    for given in kinds:
        check_function(
            lambda x, r, c: np.exp(x * c) + r - np.arange(x.shape[0])[:, None],
            given,
            rows,
            columns,
            gradient=False,
        )
    check_function(lambda x, y: np.exp(x.T) * y, x, x.T.copy(), gradient=False)
    check_function(lambda x: (np.sum(x[1:] * x[:-1]), np.argmax(x[1:] - x[:-1])), x, gradient=False)
    check_function(lambda x: np.roll(x, 1, axis=0) * np.tril(x), x, gradient=False)
    check_function(lambda x, y: np.concatenate([x, y]) * 2, x, x + 1, gradient=False)


@pytest.mark.parametrize("shape", ((3, 9, 70), (2, 4, 8, 64)))
def test_rows_below_one_another_of_many_axes(shape: tuple[int, ...], rng: Rng) -> None:
    x = rng.normal(size=shape)
    check_function(lambda x: np.sum((x[1:, :-1, 2:] - x[:-1, 1:, :-2]) ** 2), x)
    check_function(lambda x: x.transpose(1, 0, *range(2, x.ndim)) * 2.0, x, gradient=False)


def test_rows_below_one_another_load_once_and_divide_once() -> None:
    """The loads of four residuals and their neighbours: 13 for one of them."""
    graph, arrays = traced(five_points, np.ones((40, 300), "f4"))
    (launch,) = printed(device_program(graph), arrays)
    inside, beside = launch.text.split("        else:\n")[:2]
    assert inside.count("= x0[") == 28 and inside.count("out1[") == 4
    assert " if " not in inside.split("if r0")[1] and inside.count("np.uint32(e)") == 1
    assert beside.split("e += ")[0].count("= x0[") == 25


def test_an_array_with_as_many_rows_as_threads_take(rng: Rng) -> None:
    def loss(x: Any) -> Any:
        return np.sum(np.sqrt(np.pad(x, ((0, 6), (0, 0))) ** 2 + 0.5))

    check_function(loss, rng.normal(size=(2, 64)), gradient=False)
