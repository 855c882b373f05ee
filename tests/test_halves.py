"""float16 and bfloat16 as users meet them: values and gradients are float32's, rounded once, everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.halves import each_half, half, same_bits
from tracejit.errors import ArgumentError, DTypeError, UnsupportedError

WAYS: dict[str, dict[str, Any]] = {
    "fused": {},
    "unfused": {"fuse": False},
    "emulated": {"target": "cuda-emu"},
}
each_way = pytest.mark.parametrize("way", WAYS)
TABLE_ROWS = np.array([3, 0, 3, 1])


def softmax_loss(x: Any, w: Any) -> Any:
    z = x @ w
    return -tj.nn.log_softmax(z, axis=1)[:, 0].mean()


def layer_norm(x: Any, g: Any) -> Any:
    away = x - x.mean(axis=1, keepdims=True)
    return (away / np.sqrt((away**2).mean(axis=1, keepdims=True) + 1e-8) * g).sum()


def embedding(table: Any, x: Any) -> Any:
    return (np.tanh(table[TABLE_ROWS]) * x[:4, :6]).sum()


def elementwise(x: Any, y: Any) -> Any:
    return (np.exp(-x * x) * y[:5].mean() + np.maximum(x, 0.3) + np.abs(x) ** 1.5).sum()


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "softmax": (softmax_loss, ((12, 9), (9, 7))),
    "layer norm": (layer_norm, ((5, 33), (33,))),
    "embedding": (embedding, ((8, 6), (4, 6))),
    "elementwise": (elementwise, ((37,), (11,))),
}


def units(short: str, x: Any) -> Any:
    """The distance between neighbours of the dtype at each number."""
    digits, least = (7, -133) if short == "bf16" else (10, -24)
    _, exponent = np.frexp(np.abs(x).astype(float))
    return 2.0 ** np.maximum(exponent - 1 - digits, least)


@each_way
@each_half
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_float32_rounded_once(
    name: str, short: str, way: str, rng: np.random.Generator
) -> None:
    function, shapes = FUNCTIONS[name]
    arguments = [rng.normal(size=s).astype(half(short)) for s in shapes]
    value, gradients = tj.grad_jit(function, argnums=(0, 1), **WAYS[way])(*arguments)
    exact = tj.grad_jit(function, argnums=(0, 1))(*(x.astype("f8") for x in arguments))
    for mine, theirs in zip((value, *gradients), (exact[0], *exact[1]), strict=True):
        assert mine.dtype == half(short)
        # Half a unit is the rounding; the rest is float32's own error near a middle and in sums that cancel.
        slack = 0.51 * units(short, theirs) + 1e-6 * np.abs(theirs).max()
        assert (np.abs(mine.astype("f8") - theirs) <= slack).all()


def matmul_loss(x: Any, w: Any) -> Any:
    return np.tanh(x @ w).sum()


def rows_loss(x: Any, w: Any) -> Any:
    """Softmax of a layer norm, of each row."""
    away = x - x.mean(axis=1, keepdims=True)
    normal = away / np.sqrt((away * away).mean(axis=1, keepdims=True) + 1e-5)
    return (tj.nn.softmax(normal, axis=1) * w).sum()


def gather_loss(x: Any, k: Any) -> Any:
    return (x[k] ** 2).sum()


def sized(name: str, n: int, rng: np.random.Generator) -> tuple[Callable[..., Any], list[Any]]:
    if name == "gather":
        return gather_loss, [rng.normal(size=(n, 3)), rng.integers(0, n, size=2 * n)]
    if name == "rows":
        return rows_loss, [rng.normal(size=(3, n)), rng.normal(size=(3, n))]
    return matmul_loss, [rng.normal(size=(n, 5)), rng.normal(size=(5, 4))]


@each_half
@pytest.mark.parametrize("n", [1, 33, 257])
@pytest.mark.parametrize("name", ["matmul", "rows", "gather"])
def test_every_size_of_work_on_cuda_is_that_of_float32_rounded_once(
    name: str, n: int, short: str, rng: np.random.Generator
) -> None:
    function, arrays = sized(name, n, rng)
    arrays = [x if x.dtype.kind == "i" else x.astype(half(short)) for x in arrays]
    wrt = tuple(k for k, x in enumerate(arrays) if x.dtype.kind != "i")
    value, gradients = tj.grad_jit(function, argnums=wrt, target="cuda-emu")(*arrays)
    wide = [x if x.dtype.kind == "i" else x.astype("f8") for x in arrays]
    exact = tj.grad_jit(function, argnums=wrt)(*wide)
    for mine, theirs in zip((value, *gradients), (exact[0], *exact[1]), strict=True):
        assert mine.dtype == half(short)
        # Rows of one element have no variance: what is divided by its root is float32's error, a hundredfold.
        slack = 0.51 * units(short, theirs) + 1e-5 * np.abs(theirs).max() + 1e-6
        assert (np.abs(mine.astype("f8") - theirs) <= slack).all()


@each_way
@each_half
def test_halves_float32_python_numbers_and_integers_mix(
    short: str, way: str, rng: np.random.Generator
) -> None:
    x, w = rng.normal(size=33).astype(half(short)), rng.normal(size=33).astype("f4")
    n, k = rng.integers(-9, 9, size=33).astype("i1"), rng.integers(0, 9, size=33).astype("i4")

    def f(x: Any, w: Any, n: Any, k: Any) -> Any:
        return (np.sin(x * 0.1 + n) * w + 2 * k - True).sum()

    options = {"argnums": (0, 1), **WAYS[way]}
    value, (dx, dw) = tj.grad_jit(f, **options)(x, w, n, k)
    exact, (ex, ew) = tj.grad_jit(f, argnums=(0, 1))(x.astype("f8"), w.astype("f8"), n, k)
    assert (value.dtype, dx.dtype, dw.dtype) == (np.float64, half(short), np.float32)  # as NumPy: f16 and i4
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(dw, ew, rtol=1e-5, atol=1e-6)
    assert (np.abs(dx.astype("f8") - ex) <= 0.51 * units(short, ex) + 1e-6).all()


@each_way
@each_half
def test_other_dtypes_promote_as_numpy_promotes_them(short: str, way: str) -> None:
    x = np.linspace(-2, 2, 9).astype(half(short))
    multiply = tj.jit(lambda a, b: a * b, **WAYS[way])
    for other, expected in (("f4", "f4"), ("f8", "f8"), ("i1", x.dtype), ("?", x.dtype), ("i2", "f4")):
        found = multiply(x, np.ones(9, other))
        assert found.dtype == np.dtype(expected)
        np.testing.assert_array_equal(found.astype("f4"), x.astype("f4"))
    gradient = tj.grad(lambda a, b: (a * b).sum(), **WAYS[way])(x, np.full(9, 1 / 3, "f4"))
    assert same_bits(gradient, np.full(9, 1 / 3, "f4").astype(half(short)))


@each_way
@each_half
def test_python_numbers_keep_the_dtype_and_their_own_digits(short: str, way: str) -> None:
    x = np.array([1000.0, 2000.0]).astype(half(short))
    found = tj.jit(lambda a: a * 1e-8 * 1e8 + 0.0, **WAYS[way])(x)
    assert same_bits(found, x)


@each_way
def test_a_cast_of_the_user_rounds_where_it_stands(way: str) -> None:
    x = np.array([0.1, 1e6, 2049.0, 1e-8, 65519.9], "f4")
    with np.errstate(all="ignore"):
        expected = x.astype("f2").astype("f4") - x
    np.testing.assert_array_equal(tj.jit(lambda a: a.astype("f2").astype("f4") - a, **WAYS[way])(x), expected)
    (gradient,) = (tj.grad(lambda a: (a.astype("f2") * np.float16(3)).sum(), **WAYS[way])(x[:1]),)
    assert gradient.dtype == np.float32 and gradient[0] == 3


@each_way
def test_a_loss_beyond_float16_is_infinite_and_its_gradient_is_not(way: str) -> None:
    x = np.full(3000, 30.0, "f2")
    value, gradient = tj.grad_jit(lambda a: (a * a).sum(), **WAYS[way])(x)
    assert value == np.inf and value.dtype == np.float16
    np.testing.assert_array_equal(gradient, np.full(3000, 60.0, "f2"))
    assert tj.jit(lambda a: (a * a).mean(), **WAYS[way])(x) == 900


@each_half
def test_numbers_of_both_dtypes_are_arguments(short: str) -> None:
    cube = tj.grad_jit(lambda a: a * a * a)
    for _ in range(4):  # from the second call on by a plan
        value, gradient = cube(half(short).type(1.5))
        assert (value, gradient) == (3.375, 6.75)
        assert type(value) is type(gradient) is half(short).type


@each_half
def test_results_go_to_given_arrays_and_strided_ones_are_read(short: str) -> None:
    f = tj.grad_jit(lambda a: (np.exp(a) * 0.5).sum())
    x = np.linspace(-1, 1, 60).astype(half(short))
    expected = f(x[::3].copy())[1]
    for _ in range(3):
        out = np.zeros(20, half(short))
        assert f(x[::3], out=out)[1] is out
        assert same_bits(out, expected)


@each_half
def test_second_derivatives_and_products_keep_the_dtype(short: str) -> None:
    x = np.array([1.0, 2.0, -3.0]).astype(half(short))
    twice = tj.grad(lambda y: tj.grad(lambda a: (a**3).sum())(y).sum())(x)
    assert same_bits(twice, (6 * x.astype("f4")).astype(half(short)))
    _, tangent = tj.jvp(lambda a: a * a, (x,), (x,))
    assert same_bits(tangent, (2 * x.astype("f4") ** 2).astype(half(short)))


def test_float16_and_bfloat16_have_no_common_dtype() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(DTypeError) as caught:
        tj.jit(lambda x, y: x * y)(np.ones(2, "f2"), np.ones(2, ml_dtypes.bfloat16))
    message = str(caught.value).splitlines()
    assert message[0] == "multiply: bfloat16 and float16 have no common dtype"
    assert message[-1] == "  hint: convert one of them, or both with x.astype(np.float32)"


@each_half
def test_kernels_move_two_bytes_an_element(short: str) -> None:
    stages = tj.inspect(lambda x: np.exp(x) * 2)(np.ones(1000).astype(half(short)))
    assert "4,000 bytes moved" in str(stages)


@each_half
def test_derivatives_agree_with_differences(short: str) -> None:
    x = np.linspace(-1, 1, 9).astype(half(short))
    tj.check_grads(lambda x: (x * x * x).sum(), (x,), order=2)


@each_half
def test_directions_of_other_dtypes_are_converted(short: str) -> None:
    wide = np.array([1.0, 2.0], "f4")
    direction = np.array([3.0, 0.5]).astype(half(short))
    _, pushed = tj.jvp(lambda x: x * x, (wide,), (direction,))
    np.testing.assert_array_equal(pushed, np.array([6.0, 2.0], "f4"))
    _, pulled = tj.jvp(lambda x: x * x, (direction,), (wide,))
    assert same_bits(pulled, np.array([6.0, 2.0]).astype(half(short)))


@each_half
def test_an_out_of_another_dtype_is_an_error_that_says_how_to_make_one(short: str) -> None:
    x = np.ones(3, half(short))
    with pytest.raises(ArgumentError) as caught:
        tj.jit(lambda x: x * 2)(x, out=np.zeros(3, "f4"))
    name = "np.float16" if short == "f16" else "ml_dtypes.bfloat16"
    assert str(caught.value).splitlines()[-1] == f"  hint: give an array of that type: np.empty((3,), {name})"


@each_way
@each_half
def test_a_cast_inside_a_loop_over_time_rounds_at_each_step(short: str, way: str) -> None:
    def f(x: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            state = (state * np.float32(1.1)).astype(half(short)).astype("f4")
            return state, state

        return tj.scan(step, x, length=5)[1]

    x = np.linspace(-3, 3, 7).astype("f4")
    expected, state = [], x
    for _ in range(5):
        state = (state * np.float32(1.1)).astype(half(short)).astype("f4")
        expected.append(state)
    np.testing.assert_array_equal(tj.jit(f, **WAYS[way])(x), expected)


@each_way
@each_half
def test_a_loop_over_time_on_them_is_an_error(short: str, way: str) -> None:
    x = np.ones(3, half(short))
    loop = tj.grad_jit(lambda x: tj.scan(lambda s, _: (s * 2, None), x, length=5)[0].sum(), **WAYS[way])
    with pytest.raises(UnsupportedError) as caught:
        loop(x)
    message = str(caught.value).splitlines()
    assert message[0] == f"tj.scan: a loop or branch on {x.dtype} is not supported"
    assert message[-1] == "  hint: convert the operands first: x.astype(np.float32)"


@each_way
@each_half
def test_a_loop_with_a_condition_on_them_is_an_error(short: str, way: str) -> None:
    x = np.ones(3, half(short))
    with pytest.raises(UnsupportedError) as caught:
        tj.jit(lambda x: tj.while_loop(lambda s: s < 9, lambda s: s * 2, x, 5)[0], **WAYS[way])(x)
    message = str(caught.value).splitlines()
    assert message[0] == f"tj.while_loop: a loop or branch on {x.dtype} is not supported"
