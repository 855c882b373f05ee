"""Repeated calls on device arrays: what they reuse, what they see, and what they ask of the driver."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.fakes import Driver, Tensor, on_device, on_stream, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.steps import data, loss, plans_of, same
from tracejit.api.programs import Programs
from tracejit.errors import ArgumentError, DeviceError, IndexOutOfBoundsError
from tracejit.runtime.cuda.plans import Constants


def test_calls_alike_share_one_plan_and_one_block_of_parameters(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    for _ in range(4):
        arguments = data(rng)
        same(f(*map(wrap, arguments))[1].host, tj.grad_jit(loss)(*arguments)[1])
    (plan,) = plans_of(f)
    assert len(plan.runners) == 1 and len(f._programs.prepared) == 1


def test_a_repeated_call_asks_the_driver_for_its_launches_alone(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [wrap(x) for x in data(rng)]
    f(*arguments)
    fake_device.calls.clear()
    f(*arguments)
    (plan,) = plans_of(f)
    assert fake_device.calls == {"launch": len(plan.device_program.launches)}


def test_a_repeated_call_allocates_outputs_and_one_workspace(
    fake_device: Driver, rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [wrap(x) for x in data(rng, 600)]
    f(*arguments)
    made: list[Any] = []
    (plan,) = plans_of(f)
    workspace = plan.make_workspace
    monkeypatch.setattr(plan, "makers", [lambda m=m: made.append(m) or m() for m in plan.makers])
    monkeypatch.setattr(plan, "make_workspace", lambda: made.append(workspace) or workspace())
    monkeypatch.setattr(plan.library, "upload", lambda *x: pytest.fail("copied from the host"))
    f(*arguments)
    assert len(made) == 3  # the value, the gradient, and what blocks leave for the last one


def test_dtype_shape_strides_and_nesting_are_seen(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(lambda p, x: ((x * p["w"] + p["b"]) ** 2).sum(), target="cuda")
    g = tj.grad_jit(lambda p, x: ((x * p["w"] + p["b"]) ** 2).sum())
    for _ in range(2):
        for n in (3, 4):
            for dtype in (np.float64, np.float32):
                long = rng.normal(size=(4 * n)).astype(dtype)
                p = {"w": rng.normal(size=n).astype(dtype), "b": dtype(0.5)}
                on_device = {"w": wrap(p["w"]), "b": wrap(p["b"])}
                for step in (1, 2, 3, -1):
                    x, there = long[::step][:n], wrap(long)[::step][:n]
                    found, expected = f(on_device, there), g(p, x)
                    assert found[1]["w"].dtype == dtype
                    np.testing.assert_allclose(found[1]["w"].host, expected[1]["w"], rtol=1e-5)


def test_a_plan_follows_the_current_stream_and_the_device_of_the_arrays(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = data(rng, 600)  # with a ticket, of which there is one a stream
    expected = tj.grad_jit(loss)(*arguments)[1]
    there = {}
    for number in (0, 1):
        with on_device(number):
            there[number] = [wrap(x) for x in arguments]
    for _ in range(3):
        for number in (0, 1):
            for stream in (7, 8):
                fake_device.launched.clear()
                with on_stream(stream):
                    same(f(*there[number])[1].host, expected)
                assert {x[1:] for x in fake_device.launched} == {(number, stream)}
    assert len(plans_of(f)) == 2
    assert all(plan.tickets.keys() == {7, 8} for plan in plans_of(f))


def test_each_thread_has_a_ticket_on_the_stream_that_is_its_own(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [wrap(x) for x in data(rng, 600)]
    with on_stream(2):
        f(*arguments)
        thread = threading.Thread(target=f, args=arguments)
        thread.start()
        thread.join()
    (plan,) = plans_of(f)
    assert len(plan.tickets) == 2


def test_torch_tensors_are_served_by_plans_too(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    for _ in range(3):
        arguments = data(rng)
        gradient = f(*(Tensor(wrap(x)) for x in arguments))[1]
        assert type(gradient) is Tensor
        same(gradient.array.host, tj.grad_jit(loss)(*arguments)[1])
        same(f(*map(wrap, arguments))[1].host, tj.grad_jit(loss)(*arguments)[1])
    assert {plan.library.name for plan in plans_of(f)} == {"torch", "CuPy"}


def test_numbers_captured_arrays_and_guards_are_seen_by_prepared_calls(fake_device: Driver, rng) -> None:
    box = {"scale": rng.normal(size=3), "power": 2}
    scale = rng.normal(size=3)

    @tj.jit(target="cuda")
    def f(x, a):
        return x ** box["power"] * scale + a * box["scale"]

    x = rng.normal(size=3)
    for a in (2.0, 2.0, 3.0):
        same(f(wrap(x), a).host, x**2 * scale + a * box["scale"])
    scale[:] = 5.0
    same(f(wrap(x), 3.0).host, x**2 * 5.0 + 3.0 * box["scale"])
    box["scale"] = rng.normal(size=3)
    same(f(wrap(x), 3.0).host, x**2 * 5.0 + 3.0 * box["scale"])
    box["power"] = 3
    for _ in range(3):
        same(f(wrap(x), 3.0).host, x**3 * 5.0 + 3.0 * box["scale"])
    same(f(wrap(x), 3).host, x**3 * 5.0 + 3.0 * box["scale"])


def test_a_number_that_is_the_same_object_is_copied_once_a_stream(
    fake_device: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, x, rate = tj.jit(lambda x, a: x * a, target="cuda"), wrap(np.ones(3)), 0.125
    for _ in range(3):
        f(x, rate)
    (plan,) = plans_of(f)
    copies: list[Any] = []
    upload = plan.library.upload
    monkeypatch.setattr(plan.library, "upload", lambda *given: copies.append(given) or upload(*given))
    for stream in (7, 7, 8, 8):
        with on_stream(stream):
            same(f(x, rate).host, np.full(3, 0.125))
    assert len(copies) == 1  # on the stream where it was not yet
    for other in (0.25, -0.0, 0.0):
        same(np.copysign(1.0, f(x, other).host) * (other or 1.0), np.copysign(1.0, other) * (other or 1.0))
    assert len(copies) == 4


def test_strides_that_are_no_whole_elements_are_copied_at_each_call(fake_device: Driver) -> None:
    f = tj.jit(lambda x: x + 1.0, target="cuda")
    packed = wrap(np.zeros(4, np.dtype([("a", np.float32), ("x", np.float64)])))
    for k in range(3):
        packed.host["x"][:] = k
        same(f(packed._view(packed.host["x"])).host, np.full(4, k + 1.0))


def test_keyword_and_static_arguments_are_seen(fake_device: Driver, rng) -> None:
    f = tj.jit(lambda x, n, y=1.0: x**n + y, static_argnames="n", target="cuda")
    x = rng.normal(size=3)
    for _ in range(3):
        same(f(wrap(x), 2).host, x**2 + 1.0)
        same(f(wrap(x), 3, y=2.0).host, x**3 + 2.0)


def test_keywords_in_any_order_are_served_and_defaults_are_left_to_the_general_way(
    fake_device: Driver, rng
) -> None:
    def weighted(p, x, *, scale, y=2.0):
        return (p["a"] * x * scale + p["b"] * y).sum()

    f, g = tj.grad_jit(weighted, target="cuda"), tj.grad_jit(weighted)
    for _ in range(3):
        a, b, x, scale, y = rng.normal(size=(5, 3))
        p, there = {"b": b, "a": a}, {"b": wrap(b), "a": wrap(a)}
        expected = g(p, x, scale=scale, y=y)[1]
        for found in (
            f(there, wrap(x), scale=wrap(scale), y=wrap(y)),
            f(there, wrap(x), y=wrap(y), scale=wrap(scale)),
            f(x=wrap(x), y=wrap(y), p=there, scale=wrap(scale)),
        ):
            same(found[1]["a"].host, expected["a"])
            same(found[1]["b"].host, expected["b"])
        same(f(there, wrap(x), scale=wrap(scale))[1]["b"].host, g(p, x, scale=scale)[1]["b"])
    assert len(f._programs.prepared) == 4

    h = tj.grad_jit(lambda x, y=3.0: (x * y).sum(), argnums=1, target="cuda")
    for _ in range(3):
        same(h(wrap(np.ones(2)))[1].host, 2.0)
        same(h(wrap(np.ones(2)), 4.0)[1].host, 2.0)


def test_forgotten_programs_are_forgotten_by_prepared_calls(fake_device: Driver) -> None:
    factor = 2.0
    f = tj.jit(lambda x: x * factor, target="cuda")
    for _ in range(3):
        f(wrap(np.ones(3)))
    f.clear()
    assert not f._programs.prepared
    same(f(wrap(np.ones(3))).host, [2.0] * 3)


def test_threads_take_parameters_of_their_own(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [data(rng) for _ in range(4)]
    there = [[wrap(x) for x in some] for some in arguments]
    expected = [tj.grad_jit(loss)(*some)[1] for some in arguments]
    f(*there[0])
    (plan,) = plans_of(f)
    found: list[Any] = [None] * 4
    barrier = threading.Barrier(4)
    start = plan.new_runner

    def work(k: int) -> None:
        fake_device.use(0)
        barrier.wait()
        for _ in range(3):
            found[k] = f(*there[k])[1].host

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, wanted in zip(found, expected, strict=True):
        same(x, wanted)
    assert start is plan.new_runner and 1 <= len(plan.runners) <= 4


def test_a_call_within_a_call_has_parameters_of_its_own(
    fake_device: Driver, rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    f = tj.grad_jit(loss, target="cuda")
    one, two = data(rng), data(rng)
    there = [wrap(x) for x in two]
    f(*map(wrap, one))
    run, inner = Driver._run, []

    def interrupted(self: Driver, *given: Any) -> int:
        if not inner:
            inner.append(None)
            inner[0] = f(*there)[1].host
        return run(self, *given)

    monkeypatch.setattr(Driver, "_run", interrupted)
    same(f(*map(wrap, one))[1].host, tj.grad_jit(loss)(*one)[1])
    same(inner[0], tj.grad_jit(loss)(*two)[1])


def test_a_thread_that_used_no_device_gets_its_context(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [wrap(x) for x in data(rng)]
    expected, found = f(*arguments)[1].host, []
    thread = threading.Thread(target=lambda: found.append(f(*arguments)[1].host))
    thread.start()
    thread.join()
    same(found[0], expected)


def test_a_launch_that_the_driver_refuses_is_an_error_that_says_why(fake_device: Driver, rng) -> None:
    f = tj.grad_jit(loss, target="cuda")
    arguments = [wrap(x) for x in data(rng)]
    expected = f(*arguments)[1].host
    fake_device.refused.append(700)
    with pytest.raises(DeviceError) as caught:
        f(*arguments)
    assert str(caught.value) == (
        'target="cuda": the driver refuses to launch kernel_0: error 700\n'
        "  hint: a kernel that ran before may have failed: CUDA reports it at whatever is called next"
    )
    same(f(*arguments)[1].host, expected)


def test_of_several_failing_checks_the_first_is_reported(fake_device: Driver) -> None:
    def pick(x, i, j):
        return x[i] + x[:4][j]

    x, good, bad = np.arange(5.0), np.array([0, 1]), np.array([7, 9])
    for target in ("cuda", "cuda-emu"):
        f = tj.jit(pick, target=target)
        put: Any = wrap if target == "cuda" else np.asarray
        for _ in range(2):
            f(put(x), put(good), put(good))
            with pytest.raises(IndexOutOfBoundsError, match="axis of size 5"):
                f(put(x), put(bad), put(bad))
            with pytest.raises(IndexOutOfBoundsError, match="axis of size 4"):
                f(put(x), put(good), put(bad))


def test_a_constant_is_there_once_and_kinds_are_kept_apart() -> None:
    constants = Constants(3)
    one, same_one = constants.place(np.int64(1)), constants.place(np.int64(1))
    assert (one, same_one) == (3, 3)
    assert constants.place(np.float32(1.0)) == 4 and constants.place(np.float64(-0.0)) == 5
    assert constants.place(np.float64(0.0)) == 6 and len(constants.values) == 4


# --- `out=` and static arguments ----------------------------------------------------------------------------


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each call that looks for a program by the types of its arguments."""
    found: list[None] = []
    find = Programs.find
    monkeypatch.setattr(Programs, "find", lambda self, key: found.append(None) or find(self, key))
    return found


@pytest.mark.parametrize("kind", [wrap, lambda x: Tensor(wrap(x))], ids=["CuPy", "torch"])
def test_repeated_calls_write_to_out_at_once(fake_device: Driver, rng, kind, general: list[None]) -> None:
    f = tj.grad_jit(lambda p, x: (np.tanh(p["w"]) * x * p["b"]).sum(), target="cuda")
    for k in range(5):
        w, b, x = rng.normal(size=(3, 40))
        out = {"b": kind(np.zeros(40)), "w": kind(np.zeros(40))}
        general.clear()
        value, found = f({"w": kind(w), "b": kind(b)}, kind(x), out=out)
        assert found["w"] is out["w"] and found["b"] is out["b"]
        assert k < 2 or not general
        expected = tj.grad_jit(lambda p, x: (np.tanh(p["w"]) * x * p["b"]).sum())({"w": w, "b": b}, x)
        for name in ("w", "b"):
            same(getattr(found[name], "array", found[name]).host, expected[1][name])
        same(getattr(value, "array", value).host, expected[0])
    f({"w": kind(w), "b": kind(b)}, kind(x), out=None)


def test_out_is_looked_at_in_repeated_calls_as_in_the_first(fake_device: Driver, general: list[None]) -> None:
    f, x = tj.jit(lambda x: (x * 2, x + 1), target="cuda"), wrap(np.arange(6.0))
    place = wrap(np.zeros(24))
    for _ in range(3):
        general.clear()
        one, two = f(x, out=(place[:6], place[6:12]))
        same(one.host, np.arange(6) * 2.0)
        same(two.host, np.arange(6) + 1.0)
    assert not general
    for bad, message in (
        ((place[:6], place[5:11]), r"out\[1\] shares memory with out\[0\]"),
        ((x, place[:6]), r"out\[0\] shares memory with an argument"),
        ((place[:6], wrap(np.zeros(7))), "but the result there is"),
        ((place[:6], wrap(np.zeros(6, "f4"))), "but the result there is"),
        ([place[:6], place[6:12]], "out must be nested like the results"),
        ((place[:6], np.zeros(6)), r"out has an array of NumPy's, and results are CuPy's"),
    ):
        for _ in range(2):
            with pytest.raises(ArgumentError, match=message):
                f(x, out=bad)
    for _ in range(3):  # interleaved, and with gaps: right, whoever serves them
        f(x, out=(place[:12:2], place[1:13:2]))
        same(place.host[:12].reshape(6, 2).T, [np.arange(6) * 2.0, np.arange(6) + 1.0])
    with on_device(1):
        elsewhere = wrap(np.zeros(6))
    with pytest.raises(ArgumentError, match="arrays on device 0 and on device 1 in one call"):
        f(x, out=(place[:6], elsewhere))


def test_out_stands_beside_keywords_numbers_and_captured_arrays(fake_device: Driver, general) -> None:
    data = np.arange(3.0)
    f = tj.jit(lambda x, a, y=0.0: x * data * a + y, target="cuda")
    for a in (2.0, 3.0, 4.0, 5.0):
        for order in ({"a": a, "y": 1.0}, {"y": 1.0, "a": a}):
            general.clear()
            place = wrap(np.zeros(3))
            assert f(wrap(np.ones(3)), **order, out=place) is place
            same(place.host, data * a + 1.0)
            assert a < 4.0 or not general


def test_a_parameter_called_out_is_an_argument(fake_device: Driver) -> None:
    f = tj.jit(lambda x, out: x * out, target="cuda")
    for _ in range(3):
        same(f(wrap(np.ones(3)), out=wrap(np.full(3, 2.0))).host, [2.0] * 3)


def test_static_arguments_tell_calls_apart(fake_device: Driver, rng, general: list[None]) -> None:
    f = tj.grad_jit(
        lambda x, n, mode="sum": getattr(np, mode)(x**n), static_argnames=("n", "mode"), target="cuda"
    )
    x = rng.normal(size=30)
    for _ in range(3):
        general.clear()
        for n in (2, 2.0, 3):
            same(f(wrap(x), n)[1].host, n * x ** (n - 1))
            same(f(wrap(x), n=n)[1].host, n * x ** (n - 1))
            same(f(wrap(x), n, "mean")[1].host, n * x ** (n - 1) / 30)
            same(f(wrap(x), mode="mean", n=n)[1].host, n * x ** (n - 1) / 30)
            place = wrap(np.zeros(30))
            assert f(wrap(x), n, mode="mean", out=place)[1] is place
            same(place.host, n * x ** (n - 1) / 30)
    assert not general
    with pytest.raises(ArgumentError, match="static argument n is a list, which cannot be hashed"):
        f(wrap(x), [2])


def test_a_static_argument_between_others_keeps_their_order(fake_device: Driver, general) -> None:
    f = tj.jit(lambda a, n, b, c: a * n + b - c, static_argnames="n", target="cuda")
    for _ in range(3):
        general.clear()
        a, b, c = (wrap(np.full(3, x)) for x in (1.0, 10.0, 100.0))
        same(f(a, 2, b, c).host, [-88.0] * 3)
        same(f(a, c=c, n=2, b=b).host, [-88.0] * 3)
        same(f(a, n=(1, 2)[1], c=c, b=b).host, [-88.0] * 3)
    assert not general
