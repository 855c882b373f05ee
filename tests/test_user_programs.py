"""What users do with compiled functions: odd arrays, loops over data, objects, threads, mistakes."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import os
import pickle
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.pytree import flatten


def loss(x: Any, w: Any) -> Any:
    return np.sum(np.tanh(x @ w)) + np.mean(x * x)


loss_and_grads = tj.grad_jit(loss, argnums=(0, 1))


def by_hand(x: Any, w: Any) -> Any:
    slope = 1 - np.tanh(x @ w) ** 2
    return loss(x, w), (slope @ w.T + 2 * x / x.size, x.T @ slope)


def agree(found: Any, expected: Any) -> None:
    """The same nesting, shapes and dtypes, and numbers that differ by rounding."""
    (a, tree), (b, expected_tree) = flatten(found), flatten(expected)
    assert tree == expected_tree
    for x, y in zip(a, b, strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11, strict=isinstance(y, np.ndarray))


def compiles() -> int:
    info = tj.cache_info()
    return info.compiles + info.disk_hits


# --- arrays as they come -----------------------------------------------------------------------------------


def unaligned(x: Any) -> Any:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    result = memory[1:].view(x.dtype).reshape(x.shape)
    result[:] = x
    return result


def read_only(x: Any) -> Any:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "reversed": lambda x: x[::-1, ::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
    "broadcast": lambda x: np.broadcast_to(x[0], x.shape),
    "overlapping": lambda x: np.lib.stride_tricks.sliding_window_view(x.ravel()[: x.shape[0] + 3], 4),
    "read-only": read_only,
    "unaligned": unaligned,
    "big-endian": lambda x: x.astype(">f8"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_may_lie_in_memory_in_any_way(layout: str, rng: np.random.Generator) -> None:
    x, w = LAYOUTS[layout](rng.standard_normal((6, 4))), rng.standard_normal((4, 3))
    native = x.astype("f8")
    before = native.copy()
    agree(loss_and_grads(x, w), by_hand(native, w))
    np.testing.assert_array_equal(x, before)


def test_the_same_array_may_be_given_twice(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 5))
    agree(loss_and_grads(x, x), by_hand(x, x))


def test_empty_data_gives_what_numpy_gives() -> None:
    value, (dx, dw) = loss_and_grads(np.zeros((0, 4)), np.ones((4, 3)))
    assert np.isnan(value)  # the mean of nothing
    assert dx.shape == (0, 4)
    np.testing.assert_array_equal(dw, np.zeros((4, 3)))


def test_0d_arrays_and_numbers_of_all_kinds_are_scalars() -> None:
    square = tj.grad_jit(lambda x: x * np.sin(x))
    slope = 0.5 * np.cos(0.5) + np.sin(0.5)
    for x, dtype in ((0.5, "f8"), (np.float64(0.5), "f8"), (np.array(0.5), "f8"), (np.float32(0.5), "f4")):
        value, gradient = square(x)
        assert (value.dtype, gradient.dtype, np.shape(gradient)) == (dtype, dtype, ())
        np.testing.assert_allclose(gradient, slope, rtol=1e-6)
        assert isinstance(gradient, np.ndarray) == isinstance(x, np.ndarray)


def test_nan_and_infinity_go_the_way_they_go_in_numpy() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0])

    def f(x: Any) -> Any:
        some = x[1:]
        parts = [np.exp(x), 1 / x, np.sqrt(x), x - x, np.maximum(x, 0), np.sign(x), np.arctan2(x, -x), x**0]
        return [*parts, x.max(), np.fmax(x, 0), np.argmax(x), np.isfinite(x), some.sum(), some.min(), x == x]

    with np.errstate(all="ignore"):
        expected = f(x)
    for a, b in zip(tj.jit(f)(x), expected, strict=True):
        np.testing.assert_array_equal(a, b)
        if np.asarray(b).dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(a)[b == b], np.signbit(b)[b == b])


def test_a_branch_that_is_not_taken_still_poisons_the_gradient() -> None:
    def unguarded(x: Any) -> Any:
        return np.sum(np.where(x > 0, np.sqrt(x), 0.0))

    def guarded(x: Any) -> Any:
        return np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0))

    x = np.array([0.0, 4.0])
    # 0 * inf, as in JAX and autograd; the inner np.where keeps the derivative of the root finite.
    np.testing.assert_array_equal(tj.grad(unguarded)(x), [np.nan, 0.25])
    np.testing.assert_array_equal(tj.grad(guarded)(x), [0.0, 0.25])


def test_integers_floats_and_single_precision_mix_as_in_numpy() -> None:
    def f(x: Any, n: Any, s: Any) -> Any:
        return x * n, x**2 + n**2, n / 3, n // 2, s * x + 1, s * n, 2**n, x**-2 * True

    x, n = np.array([0.5, 1.5, 2.5]), np.array([1, 2, 3])
    compiled = tj.jit(f)
    for s in (2.0, np.float32(2.0), np.float64(2.0), 2, np.int8(2), True):
        agree(compiled(x, n, s), f(x, n, s))
        single = compiled(x.astype("f4"), n, s)
        assert [a.dtype for a in single] == [a.dtype for a in f(x.astype("f4"), n, s)]


def test_python_integers_may_be_larger_than_any_dtype_next_to_floats() -> None:
    x = np.array([0.5, 1.5])
    agree(tj.jit(lambda x: x * 10**30)(x), x * 10**30)
    with pytest.raises(OverflowError, match="too large for int64; pass it as a float"):
        tj.jit(lambda n: n + 1)(2**63)


# --- loops and sizes ---------------------------------------------------------------------------------------


def test_a_loop_over_batches_of_changing_size_compiles_once(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def fit(w: Any, x: Any, y: Any) -> Any:
        return np.mean((x @ w - y) ** 2)

    true, w = rng.standard_normal(7), np.zeros(7)
    fit(w, rng.standard_normal((50, 7)), np.zeros(50))
    before = compiles()
    for step in range(120):
        x = rng.standard_normal((20 + step % 31, 7))
        _, gradient = fit(w, x, x @ true)
        w -= 0.2 * gradient
    assert compiles() == before
    np.testing.assert_allclose(w, true, atol=1e-3)


def test_a_branch_on_a_shape_is_taken_for_each_shape(rng: np.random.Generator) -> None:
    def f(x: Any) -> Any:
        if x.ndim == 1:
            return x.sum()
        return x.mean() if len(x) > 3 else x.max(axis=0)

    compiled = tj.jit(f)
    for shape in ((5,), (2, 2), (6, 2), (3, 3), (5,)):
        x = rng.standard_normal(shape)
        agree(compiled(x), f(x))


def test_recursion_that_ends_is_traced() -> None:
    def halves(x: Any) -> Any:
        n = len(x) // 2
        return x[0] ** 2 if len(x) == 1 else halves(x[:n]) * 2 + halves(x[n:])

    x = np.arange(1.0, 9.0)
    agree(tj.grad_jit(halves)(x)[0], halves(x))


def test_a_step_size_that_changes_is_an_argument_and_compiles_nothing_new() -> None:
    step = tj.jit(lambda x, rate: x - rate * x**3)
    step(np.ones(5), 0.1)
    before = tj.cache_info()
    for rate in (0.2, 0.3, 1.0, 0.0):
        step(np.ones(5), rate)
    after = tj.cache_info()
    assert (after.traces, after.compiles, after.disk_hits) == (
        before.traces,
        before.compiles,
        before.disk_hits,
    )


# --- what a function can see -------------------------------------------------------------------------------

module = ModuleType("module")
module.__dict__.update(weights=np.ones(3), factor=2.0)


def follows(f: Callable[..., Any], change: Callable[[int], Any]) -> None:
    """The compiled function gives what the plain one gives, before and after three changes."""
    compiled, x = tj.jit(f), np.array([1.0, 2.0, 3.0])
    for k in range(4):
        np.testing.assert_allclose(compiled(x), f(x))
        change(k)


def test_modules_without_a_file_are_looked_into() -> None:
    follows(lambda x: x * module.weights * module.factor, lambda k: setattr(module, "factor", 3.0 + k))
    follows(lambda x: x * module.weights, lambda k: setattr(module, "weights", np.arange(3.0) * k))


def test_object_arrays_are_containers() -> None:
    parts = np.empty(2, object)
    parts[:] = [np.ones(3), 2.0]
    follows(lambda x: x * parts[0] * parts[1], lambda k: parts.__setitem__(1, 3.0 + k))
    follows(lambda x: x * parts[0] * parts[1], lambda k: parts[0].__imul__(2))


c = np.array([3, 1, 2])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * len(np.unique(c)),
        lambda x: [x, 2 * x, 3 * x, 4 * x, 5 * x, 6 * x, 7 * x][c[0]],
        lambda x: {1: x, 2: 2 * x, 3: 3 * x}.get(int(c.min()), 4 * x),
        lambda x: x * round(c.mean()),
        lambda x: x * (not c[0] > 4),
        lambda x: x * (4 in c),
        lambda x: x * len(c[c > 3]),
        lambda x: x * all(c > 1),
        lambda x: sum(x * [1, 5, 7, 2, 8, 3, 4][k] for k in c.tolist()),
        lambda x: (lambda k: [x, 2 * x, 3 * x][k])(c.argmax()),
    ],
)
def test_numbers_that_python_makes_of_a_captured_array_follow_its_content(f: Callable[..., Any]) -> None:
    c[:] = [3, 1, 2]
    follows(f, lambda k: c.__setitem__(k % 3, c[k % 3] + 1))


def test_attributes_of_an_object_are_read_at_each_call() -> None:
    class Model:
        bias = 1.0

        def __init__(self, scale: float) -> None:
            self.w = np.full(3, scale)
            self.options = {"power": 2}

        @tj.grad_jit
        def loss(self, x: Any) -> Any:
            return np.sum((x * self.w) ** self.options["power"]) + self.bias

        @classmethod
        @tj.jit
        def shifted(cls, x: Any) -> Any:
            return x + cls.bias

        @staticmethod
        @tj.jit
        def doubled(x: Any) -> Any:
            return 2 * x

    models = [Model(float(k)) for k in range(4)]
    for k, model in enumerate(models):
        agree(model.loss(np.ones(3)), (np.float64(3.0 * k * k + 1), np.full(3, 2.0 * k * k)))
    first, last = models[0], models[-1]
    last.w[:] = 2
    agree(last.loss.value(np.ones(3)), np.float64(13.0))
    last.w = np.ones(3)
    last.options["power"] = 3
    agree(last.loss.grad(np.ones(3)), np.full(3, 3.0))
    Model.bias = 10.0
    agree(last.loss.value(np.ones(3)), np.float64(13.0))
    agree(first.shifted(np.ones(2)), np.full(2, 11.0))
    agree(Model.doubled(1.5), np.float64(3.0))


def test_partials_callable_objects_and_lambdas_are_functions_too() -> None:
    class Scaled:
        def __init__(self) -> None:
            self.a = np.arange(3.0)

        def __call__(self, x: Any) -> Any:
            return np.sum(x * self.a)

    def f(a: Any, b: Any, *, c: Any = 1.0) -> Any:
        return np.sum(a * b) * c

    x, scaled = np.ones(3), Scaled()
    agree(tj.grad(functools.partial(f, np.arange(3.0), c=2.0))(x), 2 * np.arange(3.0))
    gradient = tj.grad(scaled)
    agree(gradient(x), np.arange(3.0))
    scaled.a = np.full(3, 7.0)
    agree(gradient(x), np.full(3, 7.0))
    agree([tj.grad(lambda x, k=k: k * x * x)(1.0) for k in range(3)], [np.float64(2.0 * k) for k in range(3)])


# --- arguments and results ---------------------------------------------------------------------------------


def test_deep_parameters_come_back_in_their_nesting() -> None:
    params: Any = {"a": [np.ones(2), (3.0, None)], "b": {"c": {"d": [[np.full(2, 2.0)]]}}, 7: ()}

    def f(p: Any) -> Any:
        return np.sum(p["a"][0] * p["b"]["c"]["d"][0][0]) * p["a"][1][0]

    expected = {
        "a": [np.full(2, 6.0), (np.float64(4.0), None)],
        "b": {"c": {"d": [[np.full(2, 3.0)]]}},
        7: (),
    }
    agree(tj.grad(f)(params), expected)
    many = {f"w{k}": float(k) for k in range(50)}
    assert tj.grad(lambda p: sum(v * v for v in p.values()))(many)["w7"] == 14.0


def test_results_of_all_kinds_come_back_as_arrays_and_never_share_memory() -> None:
    captured = np.ones(3)

    def f(x: Any, n: Any) -> Any:
        return {"same": x, "twice": (x, x), "view": x[::-1], "n": n, "kept": captured, "none": None, "k": 2.5}

    x, n = np.arange(3.0), np.array([1, 2])
    compiled = tj.jit(f)
    found = compiled(x, n)
    agree(found, f(x, n) | {"k": np.float64(2.5)})
    for array in flatten(found)[0]:
        if array.ndim:
            array[0] = 99
    agree((x, n, captured), (np.arange(3.0), np.array([1, 2]), np.ones(3)))
    agree(compiled(x, n)["kept"], np.ones(3))


def test_generators_and_lists_in_place_of_arrays_are_explained() -> None:
    with pytest.raises(tj.ArgumentError, match="xs is a generator, which can be read only once"):
        tj.jit(lambda xs: sum(xs))(x for x in [1.0, 2.0])
    assert tj.jit(lambda xs: sum(xs))([1.0, 2.0]) == 3.0
    for f in (np.sum, np.array, np.asarray):
        with pytest.raises(tj.TracerError, match=r"join values with np\.stack"):
            tj.jit(lambda xs, f=f: f(xs), static_argnames="f")([1.0, 2.0])


def test_printing_and_rounding_a_traced_value_say_what_it_is() -> None:
    def f(x: Any) -> Any:
        print(x, f"{x[0]:.3f}", [x])
        return round(x[0], 1)

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert tj.jit(f)(np.array([0.26, 1.0])) == 0.3
    assert text.getvalue() == "Tracer(f64[2]) Tracer(f64) [Tracer(f64[2])]\n"
    with pytest.raises(tj.TracerError, match=r"int\(\)"):
        tj.jit(lambda x: round(x))(1.5)


def test_an_exception_inside_comes_out_and_the_next_call_is_right() -> None:
    settings = SimpleNamespace(fails=True)

    @tj.grad_jit
    def f(x: Any) -> Any:
        if settings.fails:
            raise KeyError("mine")
        return np.sum(x**2)

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            f(np.ones(2))
    settings.fails = False
    agree(f.grad(np.ones(2)), np.full(2, 2.0))


# --- together with others ----------------------------------------------------------------------------------


def test_scipys_optimizers_take_the_function_as_it_is() -> None:
    optimize = pytest.importorskip("scipy.optimize")

    @tj.grad_jit
    def rosenbrock(x: Any) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    start = np.zeros(6)
    for method in ("BFGS", "L-BFGS-B"):
        found = optimize.minimize(rosenbrock, start, jac=True, method=method)
        np.testing.assert_allclose(found.x, 1, atol=1e-3)
    found = optimize.minimize(rosenbrock.value, start, jac=rosenbrock.grad)
    np.testing.assert_allclose(found.x, 1, atol=1e-3)
    product = tj.jit(lambda x, p: tj.jvp(rosenbrock.grad, (x,), (p,))[1])
    found = optimize.minimize(rosenbrock, start, jac=True, hessp=product, method="trust-ncg")
    np.testing.assert_allclose(found.x, 1, atol=1e-6)


def test_threads_share_a_function(rng: np.random.Generator) -> None:
    data = [(rng.standard_normal((n, 4)), rng.standard_normal((4, 3))) for n in range(5, 13)]
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for step in range(20):
                x, w = data[(k + step) % len(data)]
                agree(loss_and_grads(x, w), by_hand(x, w))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


class Doubling:
    """An object with a method, and with a compiled function among its attributes."""

    def __init__(self) -> None:
        self.factor = 2.0
        self.square = tj.jit(lambda x: x * x)

    @tj.grad_jit
    def loss(self, x: Any) -> Any:
        return self.factor * np.sum(x)


half_mean = tj.jit(functools.partial(np.multiply, 0.5))


def test_functions_are_copied_and_sent_to_other_processes_by_name(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((6, 4)), rng.standard_normal((4, 3))
    for f in (loss_and_grads, loss_and_grads.grad, loss_and_grads.value):
        for copied in (pickle.loads(pickle.dumps(f)), copy.copy(f), copy.deepcopy(f)):
            agree(copied(x, w), f(x, w))
    agree(pickle.loads(pickle.dumps(half_mean))(3.0), np.float64(1.5))
    model = Doubling()
    assert model.square(3.0) == 9.0
    other = copy.deepcopy(model)
    other.factor = 5.0
    assert (model.loss.value(np.ones(2)), other.loss.value(np.ones(2)), other.square(3.0)) == (4.0, 10.0, 9.0)
    bound = copy.deepcopy(model.loss)
    model.factor = 0.0
    agree(bound.grad(np.ones(2)), np.full(2, 2.0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_old_functions_and_new_ones(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((6, 4)), rng.standard_normal((4, 3))
    loss_and_grads(x, w)
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            agree(loss_and_grads(2 * x, w), by_hand(2 * x, w))
            assert tj.grad(lambda x: x**5 + np.exp(x))(0.0) == 1.0
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


# --- long programs -----------------------------------------------------------------------------------------


def orbit(x: Any, steps: int) -> Any:
    """A loop over numbers taken from an array: chains of hundreds of operations on scalars."""
    a, b, total = x[0], x[1], 0.0
    for _ in range(steps):
        a = a + 0.1 * (x[2] - b * a)
        b = b + 0.1 * (a * x[3] - b)
        total = total + (a - x[4]) ** 2
    return total


def sliced_at_the_end(x: Any, steps: int) -> Any:
    y = x
    for _ in range(steps):
        y = np.tanh(y) * 1.01
    return np.sum(y[1:] * y[:-1])


@pytest.mark.parametrize("function", [orbit, sliced_at_the_end], ids=lambda f: f.__name__)
def test_a_long_loop_is_unrolled_without_end_of_the_stack(
    function: Callable[[Any, int], Any], rng: np.random.Generator
) -> None:
    x, direction = rng.uniform(0.1, 1.0, 5), rng.standard_normal(5)
    value, gradient = tj.grad_jit(lambda x: function(x, 150))(x)
    agree(value, function(x, 150))
    step = 1e-6
    slope = (function(x + step * direction, 150) - function(x - step * direction, 150)) / (2 * step)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-6)
