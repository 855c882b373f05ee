"""`target=`: what each function makes of it, and the errors that say what is missing on a machine."""

from __future__ import annotations

import importlib
import importlib.util

import numba
import numpy as np
import pytest

import tracejit as tj
from tracejit.config import Config
from tracejit.runtime.cuda import compiler, device

HAS_NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None


def square(x):
    return (x * x).sum()


def loss(w, x):
    return np.tanh(x @ w).mean()


W, X = np.linspace(-1, 1, 3), np.linspace(0, 1, 12).reshape(4, 3)


def test_grad_and_value_and_grad_and_jit_take_it() -> None:
    assert tj.grad(square, target="cuda-emu")(W).tolist() == [-2.0, 0.0, 2.0]
    value, gradient = tj.value_and_grad(square, target="cuda-emu")(W)
    assert (type(value), value, gradient.tolist()) == (np.float64, 2.0, [-2.0, 0.0, 2.0])
    assert tj.jit(square, target="cuda-emu")(W) == 2.0


def test_numbers_and_zero_dimensional_arrays_come_back_as_on_the_processor() -> None:
    for x in (3.0, np.float64(3.0), np.array(3.0)):
        found, expected = (tj.grad(lambda x: x**2, target=t)(x) for t in ("cuda-emu", "cpu"))
        assert type(found) is type(expected) and found == expected


def test_compiled_callers_reach_it_through_python() -> None:
    f = tj.grad_jit(loss, target="cuda-emu")

    @numba.njit
    def step(w, x):
        return f(w, x)

    value, gradient = step(W, X)
    expected = tj.grad_jit(loss)(W, X)
    np.testing.assert_allclose(value, expected[0], rtol=1e-14)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-14)


def text_of(error: type[Exception], call) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_threads_are_refused_with_another_target() -> None:
    assert text_of(tj.ArgumentError, lambda: tj.grad_jit(square, target="cuda", threads=2)) == (
        'grad_jit: threads=2 is for target="cpu", got target="cuda"\n'
        "  hint: leave threads out: the threads of a device follow from the sizes of the arrays"
    )


def test_what_measures_this_processor_is_refused_with_another_target() -> None:
    f = tj.grad_jit(loss, target="cuda-emu")
    calls = {
        "autotune": lambda: tj.autotune(f)(W, X),
        "compare": lambda: tj.compare(f)(W, X),
        "roofline": lambda: tj.inspect(f)(W, X).roofline,
    }
    for what, call in calls.items():
        assert text_of(tj.UnsupportedError, call) == (
            f'{what} measures this processor, and loss has target="cuda-emu"\n'
            "  hint: leave target out to measure here; python -m benchmarks.gpu_check measures a device"
        )


def test_c_functions_are_refused() -> None:
    assert text_of(tj.UnsupportedError, lambda: tj.cfunc(tj.jit(square, target="cuda-emu"), W)) == (
        'cfunc: square has target="cuda-emu", which C code cannot call\n'
        "  hint: leave target out: C functions run on this processor"
    )


def test_checks_and_drawings_work_with_it() -> None:
    f = tj.grad_jit(loss, target="cuda-emu")
    tj.check_grads(f, (W, X), order=1)
    assert "tanh" in str(tj.draw(f)(W, X))


def test_an_array_of_a_device_is_refused_by_other_targets() -> None:
    class Elsewhere:
        __cuda_array_interface__ = None
        dtype, shape = np.dtype(float), (3,)

    assert text_of(tj.ArgumentError, lambda: tj.grad_jit(square)(Elsewhere())) == (
        "square: argument x is a tests.Elsewhere on a CUDA device\n"
        '  hint: leave it there with target="cuda", or copy it to the host'
    )
    assert text_of(tj.ArgumentError, lambda: tj.grad_jit(square, target="cuda-emu")(Elsewhere())) == (
        'target="cuda-emu" takes NumPy arrays, got a tests.Elsewhere\n'
        '  hint: copy it to the host first, or use target="cuda"'
    )


def test_inspect_shows_the_launches_and_their_memory() -> None:
    found = tj.inspect(tj.grad_jit(loss, target="cuda-emu"))(W, X)
    assert found.source.startswith("# 1 blocks of 256 threads\ndef kernel_0(x1, x0, ")
    assert found.memory.added_bytes == 32 and found.kernels == 1
    assert found.assembly == "" and found.llvm == ""
    assert "target cuda-emu: NumPy's memory\ncopied to the device at each call: nothing" in str(found)


# --- what is missing ----------------------------------------------------------------------------------------

INSTALL = (
    '  hint: pip install "tracejit[cuda13]" (CUDA 13) or "tracejit[cuda12]" (CUDA 12); '
    'target="cuda-emu" steps the same kernels on this processor'
)


@pytest.fixture
def unopened():
    compiler.open_driver.cache_clear()
    device._device.cache_clear()
    yield
    compiler.open_driver.cache_clear()
    device._device.cache_clear()


def test_without_the_packages_the_error_names_the_extra(unopened, monkeypatch) -> None:
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(compiler, "import_module", missing)
    assert text_of(tj.UnsupportedError, lambda: tj.grad_jit(square, target="cuda")(W)) == (
        "target=\"cuda\": its packages cannot be imported (No module named 'numba.cuda')\n" + INSTALL
    )


def test_with_numbas_own_target_alone_the_error_names_the_extra(unopened, monkeypatch) -> None:
    class BuiltIn:
        implementation = "Built-in"

    monkeypatch.setattr(compiler, "import_module", lambda name: BuiltIn)
    assert text_of(tj.UnsupportedError, lambda: tj.grad_jit(square, target="cuda")(W)) == (
        "target=\"cuda\": its packages cannot be imported (No module named 'numba_cuda')\n" + INSTALL
    )


def test_without_a_device_the_error_names_the_emulator(unopened, monkeypatch) -> None:
    class Core:
        implementation = "NVIDIA"

        @staticmethod
        def Device(number: int):
            raise RuntimeError("no CUDA-capable device is detected\nand more")

    monkeypatch.setattr(compiler, "import_module", lambda name: Core)
    assert text_of(tj.UnsupportedError, lambda: tj.grad_jit(square, target="cuda")(W)) == (
        'target="cuda": no CUDA device can be used (no CUDA-capable device is detected)\n'
        '  hint: target="cuda-emu" steps the same kernels on this processor'
    )


@pytest.mark.cuda_compile
@pytest.mark.skipif(not HAS_NUMBA_CUDA, reason='numba-cuda is not installed: pip install ".[cuda-check]"')
def test_inspect_shows_ptx_where_numba_cuda_is() -> None:
    ptx = tj.inspect(tj.grad_jit(loss, target="cuda-emu"))(W, X).ptx
    assert ".target sm_90" in ptx and ".entry" in ptx


def test_opening_the_emulator_needs_nothing() -> None:
    assert isinstance(device.open_device(Config(target="cuda-emu")), device.EmulatedDevice)


def test_sums_in_any_order_are_a_setting_of_the_program() -> None:
    index = np.arange(3000) % 7
    for transform in (tj.jit, tj.grad, tj.value_and_grad, tj.grad_jit):
        for target in ("cpu", "cuda-emu"):
            found = [
                transform(lambda w: np.sum(w[index] ** 2), target=target, deterministic=flag)(np.ones(7))
                for flag in (True, False)
            ]
            for x, y in zip(*map(np.atleast_1d, map(_last, found)), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-14)


def _last(found):
    return found[-1] if isinstance(found, tuple) else found


def test_deterministic_is_true_or_false() -> None:
    with pytest.raises(tj.errors.ArgumentError) as caught:
        tj.grad_jit(square, deterministic="no")
    assert str(caught.value) == (
        "grad_jit: deterministic='no' is neither True nor False\n"
        "  hint: deterministic=False lets a device add floats in any order"
    )
