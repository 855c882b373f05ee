"""A call's way from the user's arrays to the arguments of launches and back, without a driver."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.halves import each_half, half, same_bits
from tests.runtime.cuda.fakes import CURRENT, CupyArray, Driver, Dtype, Tensor, on_device, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.steps import data, loss, same
from tracejit.codegen.cuda import launches, scatter
from tracejit.errors import ArgumentError, IndexOutOfBoundsError, UnsupportedError
from tracejit.ir import bfloat16


def test_cupy_arrays_stay_on_their_device(fake_device: Driver, rng: np.random.Generator) -> None:
    arguments = data(rng)
    value, gradient = tj.grad_jit(loss, target="cuda")(*map(wrap, arguments))
    assert type(value) is CupyArray and value.shape == ()
    expected = tj.grad_jit(loss)(*arguments)
    same(value.host, expected[0])
    same(gradient.host, expected[1])
    assert {(number, stream) for _, number, stream in fake_device.launched} == {(0, 7)}


def test_a_second_call_compiles_nothing_and_traces_nothing(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    f(*map(wrap, data(rng)))
    compiled, traces = len(fake_device.compiled), tj.cache_info().traces
    f(*map(wrap, data(rng)))
    assert (len(fake_device.compiled), tj.cache_info().traces) == (compiled, traces)


def test_torch_tensors_come_back_as_torch_tensors_on_torchs_stream(fake_device: Driver, rng) -> None:
    arguments = data(rng)
    value, gradient = tj.grad_jit(loss, target="cuda")(*(Tensor(wrap(x)) for x in arguments))
    assert type(value) is Tensor and type(gradient) is Tensor
    same(gradient.array.host, tj.grad_jit(loss)(*arguments)[1])
    assert {stream for *_, stream in fake_device.launched} == {11}


def test_numpy_arrays_are_copied_there_and_back(fake_device: Driver, rng) -> None:
    arguments = data(rng)
    value, gradient = tj.grad_jit(loss, target="cuda")(*arguments)
    assert type(value) is np.float64 and type(gradient) is np.ndarray
    same(gradient, tj.grad_jit(loss)(*arguments)[1])


def test_strided_arrays_are_read_where_they_are(fake_device: Driver, rng) -> None:
    w, x, y = data(rng)
    f = tj.grad_jit(loss, target="cuda")
    wide, long = wrap(np.repeat(x, 2, axis=1)), wrap(np.repeat(y, 3))
    same(f(wrap(w), wide[:, ::2], long[::3])[1].host, tj.grad_jit(loss)(w, x, y)[1])
    turned = wrap(np.ascontiguousarray(x.T))
    same(f(wrap(w), turned.T, wrap(y))[1].host, tj.grad_jit(loss)(w, x, y)[1])
    same(f(wrap(w[::-1].copy())[::-1], wrap(x), wrap(y))[1].host, tj.grad_jit(loss)(w, x, y)[1])


def test_results_go_where_out_says(fake_device: Driver, rng) -> None:
    arguments = data(rng)
    expected = tj.grad_jit(loss)(*arguments)[1]
    f = tj.grad_jit(loss, target="cuda")
    on_cupy = tuple(map(wrap, arguments))
    place = wrap(np.zeros(4))
    assert f(*on_cupy, out=place)[1] is place
    same(place.host, expected)
    gaps = wrap(np.zeros(8))
    f(*on_cupy, out=gaps[::2])
    same(gaps.host[::2], expected)
    assert not gaps.host[1::2].any()
    host = np.zeros(4)
    assert f(*arguments, out=host)[1] is host
    same(host, expected)
    tensor = Tensor(wrap(np.zeros(4)))
    assert f(*(Tensor(x) for x in on_cupy), out=tensor)[1] is tensor
    same(tensor.array.host, expected)


def test_out_that_shares_memory_with_an_argument_is_refused(fake_device: Driver, rng) -> None:
    w, x, y = map(wrap, data(rng))
    with pytest.raises(ArgumentError, match="out shares memory with an argument"):
        tj.grad_jit(loss, target="cuda")(w, x, y, out=w)


def test_the_device_of_the_arrays_is_used(fake_device: Driver, rng) -> None:
    arguments = data(rng)
    with on_device(1):
        there = tuple(map(wrap, arguments))
    value, gradient = tj.grad_jit(loss, target="cuda")(*there)
    assert value.block.number == gradient.block.number == 1 and CURRENT["device"] == 0
    assert {number for _, number, _ in fake_device.launched} == {1}


def test_arrays_on_two_devices_are_an_error(fake_device: Driver, rng) -> None:
    w, x, y = map(wrap, data(rng))
    with on_device(1):
        w = wrap(np.ones(4))
    with pytest.raises(ArgumentError) as caught:
        tj.grad_jit(loss, target="cuda")(w, x, y)
    assert str(caught.value) == (
        'target="cuda": arrays on device 1 and on device 0 in one call\n  hint: copy them to one device first'
    )


def test_arrays_of_two_libraries_are_an_error(fake_device: Driver, rng) -> None:
    w, x, y = map(wrap, data(rng))
    with pytest.raises(ArgumentError) as caught:
        tj.grad_jit(loss, target="cuda")(Tensor(w), x, y)
    assert str(caught.value) == (
        'target="cuda": arrays of torch and of CuPy in one call\n'
        "  hint: convert some of them, as with cupy.from_dlpack(x) or torch.from_dlpack(x)"
    )


def test_a_tensor_of_complex_numbers_is_an_error(fake_device: Driver) -> None:
    class Complex(Tensor):
        dtype = property(lambda self: Dtype("complex64"))

    with pytest.raises(ArgumentError, match=r"a tensor of torch\.complex64 is not supported"):
        tj.jit(lambda x: x + 1, target="cuda")(Complex(wrap(np.zeros(3))))


@each_half
@pytest.mark.parametrize("kind", ["CuPy", "torch", "NumPy"])
def test_floats_of_two_bytes_come_and_go_as_they_are(
    fake_device: Driver, rng: np.random.Generator, short: str, kind: str
) -> None:
    def f(x, w):
        z = np.tanh(x) @ w
        return (z * z).sum()

    x, w = rng.normal(size=(40, 30)).astype(half(short)), rng.normal(size=(30, 20)).astype(half(short))
    give = {"CuPy": wrap, "torch": lambda a: Tensor(wrap(a)), "NumPy": lambda a: a}[kind]
    value, gradients = tj.grad_jit(f, argnums=(0, 1), target="cuda")(give(x), give(w))
    exact = tj.grad_jit(f, argnums=(0, 1))(x.astype("f4"), w.astype("f4"))
    for mine, theirs in zip((value, *gradients), (exact[0], *exact[1]), strict=True):
        mine = mine.array.host if kind == "torch" else mine.host if kind == "CuPy" else mine
        assert mine.dtype == half(short)
        cancels = 1e-6 * float(np.abs(theirs).max())  # float32's own error in products of matrices
        rounding = 2.0**-8 if short == "bf16" else 2.0**-11
        np.testing.assert_allclose(mine.astype("f4"), theirs, rtol=rounding, atol=cancels)


@each_half
@pytest.mark.parametrize("kind", ["CuPy", "torch"])
def test_halves_of_numpy_numbers_and_casts_go_with_arrays_of_a_device(
    fake_device: Driver, rng: np.random.Generator, short: str, kind: str
) -> None:
    x, w = rng.normal(size=40).astype("f4"), rng.normal(size=40).astype(half(short))
    there = wrap(x) if kind == "CuPy" else Tensor(wrap(x))

    def host(found: Any) -> Any:
        return found.host if kind == "CuPy" else found.array.host

    product = host(tj.jit(lambda x, w, c: x * w * c, target="cuda")(there, w, half(short).type(3)))
    assert same_bits(product, x * w.astype("f4") * np.float32(3))
    rounded = host(tj.jit(lambda x: x.astype(half(short)), target="cuda")(there))
    assert same_bits(rounded, x.astype(half(short)))


def test_tensors_of_bfloat16_need_the_package_that_numpy_has_it_from(
    fake_device: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(Tensor):
        dtype = property(lambda self: __import__("torch").bfloat16)

    bfloat16.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(UnsupportedError) as caught:
        tj.jit(lambda x: x + 1, target="cuda")(Short(wrap(np.zeros(3))))
    bfloat16.cache_clear()
    assert str(caught.value) == (
        "bfloat16: NumPy knows this dtype from the package ml_dtypes, which is not installed\n"
        "  hint: pip install ml_dtypes, or use float16 or float32"
    )


def test_an_index_out_of_range_is_reported_with_the_users_line(fake_device: Driver) -> None:
    f = tj.jit(lambda x, i: x[i], target="cuda")
    same(f(wrap(np.arange(3.0)), wrap(np.array([2, 0]))).host, [2.0, 0.0])
    with pytest.raises(IndexOutOfBoundsError, match="axis of size 3"):
        f(wrap(np.arange(3.0)), wrap(np.array([2, 3])))


def test_matrix_products_are_calls_of_cupy(fake_device: Driver, rng) -> None:
    def mlp(v, w, x):
        return (np.tanh(x @ v) @ w).sum()

    v, w, x = rng.normal(size=(40, 50)), rng.normal(size=(50, 30)), rng.normal(size=(70, 40))
    expected = tj.grad_jit(mlp, argnums=(0, 1))(v, w, x)
    f = tj.grad_jit(mlp, argnums=(0, 1), target="cuda")
    assert tj.inspect(f)(wrap(v), wrap(w), wrap(x)).library_calls > 0
    value, (dv, dw) = f(wrap(v), wrap(w), wrap(x))
    same(value.host, expected[0])
    np.testing.assert_allclose(dv.host, expected[1][0], rtol=1e-10)
    np.testing.assert_allclose(dw.host, expected[1][1], rtol=1e-10)
    _, (dv, dw) = f(*(Tensor(wrap(x)) for x in (v, w, x)))
    np.testing.assert_allclose(dv.array.host, expected[1][0], rtol=1e-10)


def test_inspect_says_what_is_copied_and_how_launches_are_cut(fake_device: Driver, rng) -> None:
    w, x, y = data(rng)
    found = tj.inspect(tj.grad_jit(loss, target="cuda"))(wrap(w), x, wrap(y))
    assert "copied to the device at each call: x" in str(found)
    assert "# 1 blocks of 256 threads\ndef kernel_0(" in found.source


def test_empty_arrays_and_zero_dimensional_ones(fake_device: Driver) -> None:
    f = tj.grad_jit(lambda x: (x * x).sum(), target="cuda")
    value, gradient = f(wrap(np.zeros(0)))
    assert value.host == 0 and gradient.shape == (0,)
    assert tj.grad(lambda x: x**3, target="cuda")(wrap(np.array(2.0))).host == 12.0
    rows = tj.jit(lambda x: np.exp(x) / np.exp(x).sum(axis=0), target="cuda", fuse=False)
    assert rows(wrap(np.zeros((3, 0)))).shape == (3, 0)


def spd(rng: np.random.Generator, n: int) -> np.ndarray:
    a = rng.normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


LIBRARY = {
    "cholesky": (lambda a, b: (np.linalg.cholesky(a) * b).sum()),
    "solve": lambda a, b: np.linalg.solve(a, b).sum(),
    "inverse and determinant": lambda a, b: (np.linalg.inv(a) * b).sum() + np.linalg.slogdet(a)[1],
    "determinant": lambda a, b: np.linalg.det(a) + b.sum(),
    "running sums": lambda a, b: (np.cumsum(a, axis=0) * b).sum(),
    "running products": lambda a, b: (np.cumprod(b, axis=1) * a).sum(),
    "a product of parts": lambda a, b: ((a[:, ::-1] @ np.concatenate([b, b * 2], axis=1)) ** 2).sum(),
    "a product with positions": lambda a, b: (a @ np.ones(b.shape) @ b).sum(),
    "a product with constants": lambda a, b: (a @ np.concatenate([np.full((1, 40), 2.0), b[1:]]) @ b).sum(),
    "diagonals": lambda a, b: (np.diag(np.diag(a)) @ b @ np.diag(np.diag(b, 1), 1)).sum(),
    "batches": lambda a, b: (np.linalg.solve(np.stack([a, 2 * a]), np.stack([b, b])) ** 2).sum(),
    "einsum": lambda a, b: np.einsum("ij,kj,kl->il", a, b, b).sum(),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_library_calls_take_cupys_arrays(fake_device: Driver, rng, name: str) -> None:
    n = 40
    a, b = spd(rng, n), rng.normal(size=(n, n)) / n + 1.0
    expected = tj.grad_jit(LIBRARY[name], argnums=(0, 1))(a, b)
    value, gradients = tj.grad_jit(LIBRARY[name], argnums=(0, 1), target="cuda")(wrap(a), wrap(b))
    np.testing.assert_allclose(value.host, expected[0], rtol=1e-9)
    for x, y in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(x.host, y, rtol=1e-7, atol=1e-9 * np.abs(y).max())


def test_a_singular_matrix_is_an_error_with_the_users_line(fake_device: Driver) -> None:
    with pytest.raises(tj.LinAlgError, match="Singular matrix\n  in <lambda>"):
        tj.jit(lambda a: np.linalg.inv(a), target="cuda")(wrap(np.zeros((3, 3))))


@pytest.mark.parametrize("kind", (wrap, lambda x: Tensor(wrap(x))))
def test_the_updates_of_a_large_table_are_sorted_where_they_are(
    fake_device: Driver, rng: np.random.Generator, kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scatter, "copies_ns", lambda *_: np.inf)
    monkeypatch.setattr(launches, "SMALL", 0)
    table, index = rng.normal(size=40), rng.integers(0, 40, 100)
    f = tj.grad_jit(lambda table, index: np.sum(np.sin(table[index])), target="cuda")
    _, gradient = f(kind(table), kind(index))
    assert type(gradient) is type(kind(table))
    expected = np.zeros(40)
    np.add.at(expected, index, np.cos(table[index]))
    same(getattr(gradient, "array", gradient).host, expected)
    assert "out1_codes.sort()" in str(tj.inspect(f)(kind(table), kind(index)).source)
