"""`tj.cfunc`: scalar functions as C functions, called through ctypes and by SciPy."""

from __future__ import annotations

import ctypes
import gc
import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, ndimage

import tracejit as tj


def bell(x: Any) -> Any:
    return np.exp(-x * x)


def at(*numbers: float) -> Any:
    return len(numbers), (ctypes.c_double * len(numbers))(*numbers)


def test_a_function_of_one_number() -> None:
    c = tj.cfunc(bell, 1.0)
    assert c.ctypes(0.5) == tj.jit(bell)(0.5)
    assert ctypes.cast(c.ctypes, ctypes.c_void_p).value == c.address
    assert integrate.quad(c.low_level_callable, -np.inf, np.inf)[0] == pytest.approx(math.sqrt(math.pi))
    assert c.low_level_callable.signature == "double (double)"


def test_derivatives_of_any_order() -> None:
    cube = tj.grad(tj.grad(lambda x: x**4))
    assert tj.cfunc(cube, 1.0).ctypes(2.0) == 48.0
    loss = tj.grad_jit(lambda x: x**3)
    assert tj.cfunc(loss.value, 1.0).ctypes(2.0) == 8.0
    assert tj.cfunc(loss.grad, 1.0).ctypes(2.0) == 12.0


def test_several_numbers_for_nquad() -> None:
    c = tj.cfunc(lambda x, y: x * y**2, 1.0, 1.0)
    assert c.ctypes(*at(2.0, 3.0)) == 18.0
    assert c.low_level_callable.signature == "double (int, double *)"
    value = integrate.nquad(c.low_level_callable, [[0, 1], [0, 3]])[0]
    assert value == pytest.approx(0.5 * 9)


def test_arguments_of_quad() -> None:
    c = tj.cfunc(lambda x, a: np.cos(a * x), 1.0, 1.0)
    value = integrate.quad(c.low_level_callable, 0, 1, args=(2.0,))[0]
    assert value == pytest.approx(math.sin(2) / 2)


def test_an_array_of_numbers() -> None:
    c = tj.cfunc(lambda x: (x * x).sum(), np.zeros(6))
    assert c.ctypes(*at(*range(6))) == 55.0


@pytest.mark.parametrize(
    "example",
    [np.zeros(8)[::2], np.zeros(4)[::-1], np.broadcast_to(0.0, 4)],
    ids=["strided", "reversed", "0"],
)
def test_the_layout_of_an_example_does_not_matter(example: Any) -> None:
    assert tj.cfunc(lambda x: x[0] + 10 * x[3], example).ctypes(*at(1.0, 2.0, 3.0, 4.0)) == 41.0


def test_another_number_of_arguments_is_nan() -> None:
    for example in ((1.0, 1.0), (np.zeros(2),)):
        c = tj.cfunc(lambda *xs: xs[0].sum() if len(xs) == 1 else xs[0] * xs[1], *example)
        assert math.isnan(c.ctypes(*at(1.0, 2.0, 3.0)))


def test_user_data_is_read_at_each_call() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    c = tj.cfunc(lambda x, w: w[0] + w[1] * x + w[2] * x * x, 1.0, user_data=weights)
    assert c.low_level_callable.signature == "double (double, void *)"
    assert integrate.quad(c.low_level_callable, 0, 1)[0] == pytest.approx(3.0)
    weights[0] = 10.0
    assert integrate.quad(c.low_level_callable, 0, 1)[0] == pytest.approx(12.0)


def test_user_data_with_several_numbers() -> None:
    scale = np.array([[2.0, 3.0]])
    c = tj.cfunc(lambda x, y, s: x * s[0, 0] + y * s[0, 1], 1.0, 1.0, user_data=scale)
    assert c.low_level_callable.signature == "double (int, double *, void *)"
    assert integrate.nquad(c.low_level_callable, [[0, 1], [0, 1]])[0] == pytest.approx(2.5)


def test_a_filter_of_a_window(rng: np.random.Generator) -> None:
    def spread(window: Any) -> Any:
        return window.std() + window.max()

    image = rng.normal(size=(12, 9))
    c = tj.cfunc(spread, np.zeros(9))
    given = ndimage.generic_filter(image, c.filter_callable, size=3)
    np.testing.assert_allclose(given, ndimage.generic_filter(image, spread, size=3), rtol=1e-12)


def test_captured_arrays_are_read_at_each_call() -> None:
    offset = np.array([1.0, 2.0])
    c = tj.cfunc(lambda x: (x + offset).sum(), 1.0)
    assert c.ctypes(1.0) == 5.0
    offset[0] = 5.0
    assert c.ctypes(1.0) == 9.0


def test_float32_results_are_widened() -> None:
    assert tj.cfunc(lambda x: np.sqrt(x).astype("f4"), 1.0).ctypes(2.0) == np.float32(np.sqrt(2))


def test_an_index_out_of_range_is_nan() -> None:
    table = np.arange(4.0)
    c = tj.cfunc(lambda x, t: t[x.astype(int)] * 1.0, 1.0, user_data=table)
    address = ctypes.c_void_p(table.ctypes.data)
    assert c.ctypes(3.0, address) == 3.0
    assert math.isnan(c.ctypes(7.0, address))


def test_the_code_lives_as_long_as_any_way_to_call_it() -> None:
    function = tj.cfunc(bell, 1.0).ctypes
    low_level = tj.cfunc(lambda x: x * 2, 1.0).low_level_callable
    gc.collect()
    assert function(0.0) == 1.0
    assert integrate.quad(low_level, 0, 1)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ((1,), "the example of f must be floats, or one 1-d array of float64, got int"),
        ((), "the example of f must be floats, or one 1-d array of float64, got nothing"),
        ((np.zeros((2, 2)),), "got a 2-d array of float64"),
        ((np.zeros(2, "f4"),), "got a 1-d array of float32"),
        ((1.0, np.zeros(2)), "got float, a 1-d array of float64"),
    ],
)
def test_examples_that_c_code_cannot_give(example: tuple[Any, ...], message: str) -> None:
    def f(*xs: Any) -> Any:
        return xs[0]

    with pytest.raises(tj.ArgumentError) as caught:
        tj.cfunc(f, *example)
    assert message in str(caught.value)
    assert "hint: C code calls it with doubles: tj.cfunc(f, 1.0)" in str(caught.value)


def test_results_that_are_no_number() -> None:
    loss = tj.grad_jit(lambda x: x * x)
    with pytest.raises(
        tj.ShapeError, match=r"must give one number, got several results\n.*\.value or \.grad"
    ):
        tj.cfunc(loss, 1.0)
    with pytest.raises(tj.ShapeError, match="must give one number, got a 1-d array of float64"):
        tj.cfunc(lambda x: x * np.ones(3), 1.0)
    with pytest.raises(tj.ShapeError, match="must give one number, got None"):
        tj.cfunc(lambda x: None, 1.0)
    with pytest.raises(tj.DTypeError, match="must give a float, got a bool number"):
        tj.cfunc(lambda x: x > 0, 1.0)


def test_user_data_must_be_a_contiguous_array() -> None:
    for data in (1.0, np.zeros(4)[::2]):
        with pytest.raises(tj.ArgumentError, match="user_data of <lambda> must be a contiguous array"):
            tj.cfunc(lambda x, d: x, 1.0, user_data=data)  # type: ignore[arg-type]


def test_user_data_in_another_byte_order_is_refused() -> None:
    with pytest.raises(
        tj.DTypeError, match="user_data of <lambda> is >f8, in the byte order of other machines"
    ):
        tj.cfunc(lambda x, d: x * d[0], 1.0, user_data=np.zeros(2, ">f8"))


def test_a_filter_is_a_function_of_an_array() -> None:
    with pytest.raises(
        tj.ArgumentError, match="bell is a function of numbers, and a filter is one of an array"
    ):
        tj.cfunc(bell, 1.0).filter_callable


def test_steps_of_numpy_are_named() -> None:
    with pytest.raises(tj.UnsupportedError) as caught:
        tj.cfunc(lambda x: np.cumprod(x).sum(), np.ones(9))
    assert str(caught.value) == (
        "cfunc: <lambda> has steps that only NumPy can run: exclusive_cumprod\n"
        "  hint: write them in terms of other functions"
    )
