"""`tj.scan`: a loop that stays a loop gives what the Python loop gives, from one kernel for any length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.error_rows import Row, text_of
from tests.pendulums import arguments, swing
from tracejit.pytree import flatten


def oscillate(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
    """A loss of the last state and of the path."""
    (q, p), path = swing(k, q, p, dt, pushes)
    return (q * q + p).sum() + (path * path).sum()


def oscillate_in_python(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
    total = 0.0
    for push in pushes:
        p = p - dt * k * np.sin(q) + push
        q = q + dt * p
        total = total + (q * q).sum()
    return (q * q + p).sum() + total


def assert_same(got: Any, expected: Any, tolerance: float = 1e-11) -> None:
    for a, b in zip(flatten(got)[0], flatten(expected)[0], strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype and np.shape(a) == np.shape(b)
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * max(1.0, np.max(np.abs(b), initial=0))
        )


# --- the same as the Python loop -------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 31, 32, 33, 257])
def test_value_and_gradients_are_those_of_the_unrolled_loop(n: int, target: str) -> None:
    args = arguments(n, 5)
    got = tj.grad_jit(oscillate, argnums=(0, 1, 2, 3, 4), target=target)(*args)
    assert_same(got, tj.grad_jit(oscillate_in_python, argnums=(0, 1, 2, 3, 4))(*args))


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
def test_float32_stays_float32(target: str) -> None:
    args = arguments(40, 6, "f4")
    got = tj.grad_jit(oscillate, argnums=(0, 1), target=target)(*args)
    assert got[0].dtype == np.float32
    assert_same(got, tj.grad_jit(oscillate_in_python, argnums=(0, 1))(*args), 2e-5)


def test_strands_and_threads_change_nothing() -> None:
    args = arguments(6000, 4)
    one = tj.grad_jit(oscillate, argnums=(0, 3), threads=1)(*args)
    two = tj.grad_jit(oscillate, argnums=(0, 3), threads=2)(*args)
    assert all(np.array_equal(a, b) for a, b in zip(flatten(one)[0], flatten(two)[0], strict=True))
    assert_same(one, tj.grad_jit(oscillate, argnums=(0, 3), fuse=False)(*args))


@pytest.mark.parametrize("printer", ["llvm", "numba"])
def test_both_printers_agree_with_plain_numpy(printer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEJIT_PRINTER", printer)
    args = arguments(11, 5)
    got = tj.jit(oscillate)(*args)
    np.testing.assert_allclose(got, oscillate(*args), rtol=1e-13)


def mixed(a: Any, x: Any) -> Any:
    """Counts, truth values and numbers with nan and inf among them, in a dict."""

    def step(state: Any, x: Any) -> Any:
        seen = state["seen"] | (state["a"] > 1)
        a = np.where(seen, state["a"] * np.float32(0.5), state["a"] + x)
        return {"a": a, "count": state["count"] + seen, "seen": seen}, (a * state["count"], seen, x)

    return tj.scan(step, {"a": a, "count": np.arange(a.size), "seen": np.zeros(a.shape, bool)}, x)


@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"target": "cuda-emu"}])
def test_nan_integers_and_truth_values_are_carried_as_they_are(options: Any) -> None:
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=37).astype("f4"), rng.normal(size=(11, 37)).astype("f4")
    a[3], a[5], x[2, 7] = np.nan, np.inf, -np.inf
    for got, want in zip(flatten(tj.jit(mixed, **options)(a, x))[0], flatten(mixed(a, x))[0], strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
@pytest.mark.parametrize("shape", [(2, 3), (5, 40), (33, 9)])
def test_the_state_may_have_axes_and_the_rows_any_strides(shape: tuple[int, int], target: str) -> None:
    rng = np.random.default_rng(0)
    start, column = rng.normal(size=shape), rng.normal(size=shape[0])
    rows = rng.normal(size=(shape[1] * 2, 6)).T[::-1, ::2]

    def in_one(start: Any, column: Any, rows: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            t, y = state
            y = y * np.cos(t) + column[:, None] * row
            return (t + 0.1, y), (t, y.T)

        (t, y), (times, turned) = tj.scan(step, (0.0, start), rows)
        return (y**3).sum() + times.sum() + (turned * turned).sum() * t

    def in_python(start: Any, column: Any, rows: Any) -> Any:
        t, y, total = 0.0, start, 0.0
        times = 0.0
        for k in range(rows.shape[0]):
            times += t
            y = y * np.cos(t) + column[:, None] * rows[k]
            total = total + (y * y).sum()
            t += 0.1
        return (y**3).sum() + times + total * t

    got = tj.grad_jit(in_one, argnums=(0, 1, 2), target=target)(start, column, rows)
    assert_same(got, tj.grad_jit(in_python, argnums=(0, 1, 2))(start, column, rows))


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
def test_no_step_gives_the_start_and_no_rows(target: str) -> None:
    def run(x: Any, rows: Any) -> Any:
        return tj.scan(lambda x, row: (x + row, (x > 0, row)), x, rows)

    x, rows = np.ones(3), np.zeros((0, 3), np.float32)
    for got in (run(x, rows), tj.jit(run, target=target)(x, rows)):
        carry, (signs, copies) = got
        np.testing.assert_array_equal(carry, x)
        assert signs.shape == (0, 3) and signs.dtype == bool
        assert copies.shape == (0, 3) and copies.dtype == np.float32


def test_second_derivatives_are_those_of_the_unrolled_loop() -> None:
    k, q, p, dt, pushes = arguments(3, 4)

    def twice(f: Callable[..., Any]) -> Any:
        slope = tj.grad(lambda k, q, dt: f(k, q, p, dt, pushes), argnums=0)
        return tj.grad(lambda k, q, dt: (slope(k, q, dt) * q).sum(), argnums=(0, 1, 2))(k, q, dt)

    assert_same(twice(oscillate), twice(oscillate_in_python), 1e-9)


def test_a_product_with_the_jacobian_is_that_of_the_unrolled_loop() -> None:
    args = arguments(4, 5)
    tangents = tuple(np.ones_like(a) for a in args)
    assert_same(tj.jvp(oscillate, args, tangents), tj.jvp(oscillate_in_python, args, tangents))


# --- steps that are no work on elements ------------------------------------------------------------------


def recurrent(h: Any, w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = np.tanh(w @ h + x)
        return h, h.sum()

    h, sums = tj.scan(step, h, xs)
    return (h * h).sum() + sums.sum()


def recurrent_in_python(h: Any, w: Any, xs: Any) -> Any:
    total = 0.0
    for x in xs:
        h = np.tanh(w @ h + x)
        total = total + h.sum()
    return (h * h).sum() + total


def test_a_matrix_product_in_the_step_is_written_out() -> None:
    rng = np.random.default_rng(0)
    args = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=(6, 4))
    got = tj.grad(recurrent, argnums=(0, 1, 2))(*args)
    assert_same(got, tj.grad(recurrent_in_python, argnums=(0, 1, 2))(*args))
    assert "body=step" not in tj.inspect(tj.jit(recurrent))(*args).optimized


def test_what_every_step_computes_alike_is_computed_once_and_is_no_obstacle() -> None:
    def run(x: Any, w: Any) -> Any:
        return tj.scan(lambda x, _: (x * (w @ w)[0] + w.sum() + np.arange(3), None), x, length=50)[0]

    x, w = np.ones(3), np.full((3, 3), 0.1)
    inspected = tj.inspect(tj.jit(run))(x, w)
    assert inspected.ir.count("dot_general(") == 1
    assert "body=step" in inspected.optimized
    np.testing.assert_allclose(tj.jit(run)(x, w), run(x, w), rtol=1e-13)


def test_a_loop_in_a_loop_is_a_kernel_in_each_step() -> None:
    def inner(x: Any) -> Any:
        return tj.scan(lambda x, _: (np.sin(x) + 0.1, None), x, length=3)[0]

    def run(x: Any) -> Any:
        return tj.scan(lambda x, _: (inner(x) * 2, None), x, length=2)[0].sum()

    x = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(tj.jit(run)(x), run(x), rtol=1e-14)
    tj.check_grads(run, (x,))


# --- one kernel, for any length --------------------------------------------------------------------------


def test_a_loop_is_one_kernel_forward_and_one_backward() -> None:
    def loss(k: Any, q: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            q, p = state
            p = p - 0.01 * k * q
            return (q + 0.01 * p, p), None

        return (tj.scan(step, (q, q), length=100)[0][0] ** 2).sum()

    inspected = tj.inspect(tj.grad_jit(loss))(np.ones(50), np.ones(50))
    text = str(inspected)
    assert "kernel_0 over i[50], 100 steps of time" in text
    assert "kernel_1 over i[50], 100 steps of time" in text
    assert "kernel_2" not in text
    assert "x double>" in inspected.llvm


def test_another_length_and_another_size_run_the_same_machine_code() -> None:
    f = tj.grad_jit(oscillate, argnums=(0, 3))
    f(*arguments(100, 50))
    before = tj.cache_info()
    args = arguments(90, 1000)
    assert_same(f(*args), tj.grad_jit(oscillate, argnums=(0, 3), fuse=False)(*args), 1e-6)
    f(*arguments(110, 300))
    after = tj.cache_info()
    assert after.traces == before.traces + 3
    assert after.compiles + after.disk_hits == before.compiles + before.disk_hits + 1  # that of fuse=False


def test_a_text_shows_the_step_as_a_function() -> None:
    def decay(x: Any) -> Any:
        return tj.scan(lambda x, _: (x * 0.5, None), x, length=9)[0]

    text = tj.inspect(tj.jit(decay))(np.ones(7)).optimized
    assert "def step(v0: 'f64'):" in text
    assert "scan(v0, body=step, carries=1, result=0, reverse=False, scanned=0, shape=(7,), steps=9)" in text


def test_a_captured_array_is_read_at_each_call() -> None:
    rates = np.full(3, 0.5)
    f = tj.jit(lambda x: tj.scan(lambda x, _: (x * rates, None), x, length=2)[0])
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 0.25))
    rates[:] = 2.0
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 4.0))


def test_a_result_may_take_the_memory_of_the_start() -> None:
    f = tj.jit(lambda x, rows: tj.scan(lambda x, row: (x * 0.5 + row, x), x, rows), donate=("x", "rows"))
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=19), rng.normal(size=(5, 19))
    expected = tj.scan(lambda x, row: (x * 0.5 + row, x), x, rows)
    for got, want in zip(f(x.copy(), rows.copy()), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_gradient_through_a_loop_passes_the_check() -> None:
    tj.check_grads(oscillate, arguments(3, 4))


@pytest.mark.filterwarnings("default")
def test_value_and_gradients_are_those_of_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def loss(k: Any, q: Any, p: Any, dt: Any, pushes: Any) -> Any:
        def step(state: Any, push: Any) -> Any:
            q, p = state
            p = p - dt * k * jax.numpy.sin(q) + push
            q = q + dt * p
            return (q, p), q

        (q, p), path = jax.lax.scan(step, (q, p), pushes)
        return (q * q + p).sum() + (path * path).sum()

    args = arguments(9, 20)
    expected = jax.value_and_grad(loss, (0, 1, 2, 3, 4))(*args)
    got = tj.value_and_grad(oscillate, (0, 1, 2, 3, 4))(*args)
    for a, b in zip(flatten(got)[0], flatten(expected)[0], strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-8)


# --- errors ----------------------------------------------------------------------------------------------

X = np.ones(3)


def run(f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = 3) -> Any:
    return tj.jit(lambda: tj.scan(f, init, xs, length))()


WHERE = "  in <lambda>, test_api_scan.py:N:  return tj.jit(lambda: tj.scan(f, init, xs, length))()"

ROWS: dict[str, Row] = {
    "no length": Row(
        tj.ArgumentError,
        lambda: run(lambda c, x: (c, x), X, None, None),
        f"scan: without xs the number of steps is not known\n{WHERE}\n  hint: pass length=...",
    ),
    "a length below 0": Row(
        tj.ArgumentError,
        lambda: run(lambda c, x: (c, x), X, None, -1),
        f"scan: length must be an integer from 0 on, got -1\n{WHERE}",
    ),
    "lengths that differ": Row(
        tj.ShapeError,
        lambda: run(lambda c, x: (c, x), X, {"a": X, "b": X[1:]}, None),
        f"scan: the numbers of steps differ, 3 by xs['a'], 2 by xs['b']\n{WHERE}",
    ),
    "xs without an axis": Row(
        tj.ShapeError,
        lambda: run(lambda c, x: (c, x), X, 1.0),
        f"scan: xs has no axis to step along\n{WHERE}\n"
        "  hint: make an array of a list of numbers: np.array(xs); f may read a number as it is",
    ),
    "no pair": Row(
        tj.ArgumentError,
        lambda: run(lambda c, x: c, X),
        f"scan: f must return a pair (carry, y), not one array\n{WHERE}\n"
        "  hint: return carry, None where there is no y",
    ),
    "another nesting": Row(
        tj.ArgumentError,
        lambda: run(lambda c, x: ([c], x), X),
        f"scan: the carry changes its nesting, at the top: a leaf against list of 1\n{WHERE}",
    ),
    "another shape": Row(
        tj.ShapeError,
        lambda: run(lambda c, x: ({"q": c["q"].sum()}, x), {"q": X}),
        f"scan: the carry['q'] goes into a step as f64[3] and comes out as f64\n{WHERE}\n"
        "  hint: start with an array of the shape that the step gives",
    ),
    "another dtype": Row(
        tj.DTypeError,
        lambda: run(lambda c, x: (c + 1.5, x), np.arange(3)),
        f"scan: the carry goes into a step as i64[3] and comes out as f64[3]\n{WHERE}\n"
        "  hint: start with that dtype, or convert what the step gives with .astype(...)",
    ),
    "too much to be written out": Row(
        tj.UnsupportedError,
        lambda: run(lambda c, x: (c / c.sum(), x), X, None, 10_001),
        "scan: a step does not compute each element by itself (reduce_sum is in it), and 10001 steps of 3 "
        "equations are too many to be written out, 20000 at most\n"
        "  in <lambda>, test_api_scan.py:N:  lambda: run(lambda c, x: (c / c.sum(), x), X, None, 10_001),\n"
        "  hint: let the state be one element's own, or scan over fewer steps",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_an_error_says_what_is_wrong_where_and_what_to_do(row: Row) -> None:
    assert text_of(row.call, row.kind) == row.expected


def test_the_loop_in_python_checks_what_is_carried_too() -> None:
    with pytest.raises(tj.ShapeError, match="the carry goes into a step as f64"):
        tj.scan(lambda c, x: (c.sum(), x), X, length=2)


@pytest.mark.parametrize(
    ("ys", "kind", "message"),
    [
        ((1.0, X), tj.ShapeError, r"scan: y is f64 after the first step and f64\[3\] later"),
        ((1.0, 1), tj.DTypeError, "scan: y is f64 after the first step and i64 later"),
        ((1.0, (1.0,)), tj.ArgumentError, "scan: y changes its nesting, at the top"),
    ],
)
def test_the_loop_in_python_stacks_what_is_alike(ys: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        tj.scan(lambda c, _: (c + 1, ys[c]), 0, length=2)


def test_numbers_of_python_are_carried_as_in_a_compiled_loop() -> None:
    def run(x: Any) -> Any:
        return tj.scan(lambda c, _: ((c[0] * x[0], c[1] + 1), c[1]), (1.0, 2), length=3)

    x = np.array([0.1], "f4")
    for got, want in zip(flatten(run(x))[0], flatten(tj.jit(run)(x))[0], strict=True):
        assert type(got) is type(want)
        np.testing.assert_array_equal(got, want)
