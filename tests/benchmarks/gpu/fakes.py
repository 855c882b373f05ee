"""A device that is not there, for the check: CuPy, torch and JAX answer from the host."""

from __future__ import annotations

import json
import sys
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import tracejit as tj
from benchmarks.gpu import ceilings, cpp_kernel, rows, stages, timing, tools, variants
from benchmarks.gpu.check import Check
from benchmarks.gpu.session import Item, Session
from benchmarks.gpu.worker import MARK, Process
from tests.runtime.cuda.fakes import CupyArray, Driver, Tensor, fake_cupy, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.memory import block_at
from tracejit.config import Config
from tracejit.runtime.cuda import device

NOT_KEPT = Config(cache_dir=None)
SIZES = {"bce": ((50,),), "chain": ((60,),)}


class Core:
    """cuda.core: loads the kernels in C++ and runs that of cross-entropy as NumPy would."""

    LEGACY_DEFAULT_STREAM = 0

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.ObjectCode = types.SimpleNamespace(
            from_cubin=lambda code: types.SimpleNamespace(get_kernel=lambda name: name)
        )
        self.Stream = types.SimpleNamespace(from_handle=lambda handle: handle)
        self.Device = _Stream
        self.LaunchConfig = lambda grid, block: grid

    def launch(self, stream: Any, grid: int, kernel: str, *arguments: Any) -> None:
        self.launched.append(kernel)
        if kernel != "bce":
            return
        *addresses, n, scale = arguments
        shapes = ((int(n),),) * 3 + ((),)
        z, y, gradient, value = (
            block_at(address).view(address, shape, type(scale)) for address, shape in zip(addresses, shapes)
        )
        e = np.exp(-np.abs(z))
        value[...] = (np.maximum(z, 0) - y * z + np.log1p(e)).sum() * scale
        gradient[...] = (np.where(z >= 0, 1, e) / (1 + e) - y) * scale


class CheckDriver(Driver):
    """The driver of ours, with cuda.core."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Core()


class _Stream:
    """A device, its stream, a graph's builder and the graph: whatever is asked for."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self


class Event:
    def __init__(self, enable_timing: bool = True) -> None:
        self.seconds = 0.0

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.seconds - self.seconds)


def device_cupy() -> types.ModuleType:
    """`fake_cupy` with what the check asks besides: events, memory, NumPy's functions under its own name."""
    cupy = fake_cupy()

    def function(name: str) -> Any:
        found = getattr(np, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: wrap(
            found(*map(_host, args), **{k: _host(v) for k, v in kwargs.items()})
        )

    class Pool:
        def malloc(self, size: int) -> Any:
            return types.SimpleNamespace(memset=lambda value, size: None)

        def free_all_blocks(self) -> None:
            pass

    properties = {"name": b"Fake", "major": 9, "minor": 0, "multiProcessorCount": 4}
    runtime = cupy.cuda.runtime
    runtime.deviceSynchronize = lambda: None
    runtime.memGetInfo = lambda: (2**20, 2**21)
    runtime.getDeviceProperties = lambda number: properties
    runtime.driverGetVersion = runtime.runtimeGetVersion = lambda: 13000
    cupy.cuda.Event, cupy.cuda.MemoryPool = Event, Pool
    cupy.cuda.get_elapsed_time = lambda start, end: start.elapsed_time(end)
    cupy.cuda.get_allocator, cupy.cuda.set_allocator = lambda: None, lambda allocator: None
    cupy.get_default_memory_pool = Pool
    cupy.RawKernel = lambda text, name: lambda grid, block, arguments: None
    cupy.__getattr__ = function
    return cupy


def _host(x: Any) -> Any:
    return x.host if isinstance(x, CupyArray) else x


def device_torch(torch: types.ModuleType) -> None:
    """What the check asks of torch besides; a loss is a pair that `grad` knows how to differentiate."""

    class Loss(Tensor):
        arguments: Any = ()

    def loss(z: Tensor, y: Tensor) -> Tensor:
        value, gradients = rows._bce_by_hand(z.array.host, y.array.host)
        found = Loss(wrap(value))
        found.arguments = gradients
        return found

    torch.as_tensor = lambda x, device: Tensor(wrap(x))
    torch.compile = lambda f, dynamic, fullgraph: f
    torch.compiler = types.SimpleNamespace(reset=lambda: None)
    torch.autograd = types.SimpleNamespace(
        grad=lambda value, tensors: tuple(Tensor(wrap(g)) for g in value.arguments)
    )
    torch.backends = types.SimpleNamespace(cuda=types.SimpleNamespace(matmul=types.SimpleNamespace()))
    torch.version = types.SimpleNamespace(cuda="13.0")
    cuda = torch.cuda
    cuda.is_available, cuda.synchronize, cuda.empty_cache = (lambda: True), (lambda: None), (lambda: None)
    cuda.Event = Event
    torch.loss = loss


def device_jax() -> list[tuple[str, types.ModuleType]]:
    """JAX whose arrays are NumPy's and whose gradients are tracejit's."""
    jax, scipy_ = types.ModuleType("jax"), types.ModuleType("jax.scipy")
    jax.numpy, jax.scipy = np, scipy_
    scipy_.linalg, scipy_.special = scipy.linalg, scipy.special
    jax.config = types.SimpleNamespace(update=lambda name, value: None)
    jax.default_backend = lambda: "gpu"
    jax.devices = lambda: ["fake"]
    jax.block_until_ready = lambda x: x
    jax.jit = lambda f: f
    jax.value_and_grad = lambda f, argnums: tj.value_and_grad(f, argnums=argnums)
    return [("jax", jax), ("jax.numpy", np), ("jax.scipy", scipy_)]


OUTPUTS = {
    "pytest -m gpu": ("a.py::b PASSED [ 50%]\na.py::c[x] PASSED   [100%]\n== 2 passed in 1.0s ==\n", 0),
    "memcheck": ("case stencil float32: ok\n========= ERROR SUMMARY: 0 errors\n", 0),
    "racecheck": ("========= RACECHECK SUMMARY: 0 hazards displayed\n", 0),
    "plots": ("ratios.svg\n", 0),
}


def run_within(commands: Any, scratch: Path, left: Any) -> dict[str, tuple[str, int | None]]:
    assert left() > 0
    return {name: OUTPUTS[name] for name in commands}


# Answers an item by what it says.
PROGRAM = f"""
import json, os, sys, time
for line in sys.stdin:
    item = json.loads(line)
    if item["do"] == "sleep":
        time.sleep(60)
    if item["do"] == "end":
        os._exit(3)
    print({MARK!r} + json.dumps({{"did": item["do"]}}), flush=True)
"""


class Program(Process):
    """A process without a session."""

    def command(self, kind: str, scratch: Path) -> list[str]:
        return [sys.executable, "-c", PROGRAM]


class InProcess:
    """A worker that needs no process; items and answers are turned into text all the same."""

    # Variants change how kernels are printed for as long as they are built: one at a time in a process.
    lock = threading.Lock()

    def __init__(self, session: Session) -> None:
        self.session = session

    def ask(self, item: Item, seconds: float) -> Item:
        with self.lock:
            found = self.session.answer(json.loads(json.dumps(item)))
        return json.loads(json.dumps(found))

    def close(self) -> None:
        pass


def open_in_process(check: Check, kind: str) -> InProcess:
    return InProcess(Session(kind, check.emulate, check.scratch))


@pytest.fixture
def check_device(
    fake_device: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[CheckDriver]:
    """A device with small sizes, on which the check runs in this process; no tools of others are there."""
    driver = CheckDriver()
    monkeypatch.setattr(device, "_device", lambda config: device.CudaDevice(driver, NOT_KEPT))
    monkeypatch.setattr("tracejit.runtime.cuda.compiler.open_driver", lambda: driver)
    special = types.ModuleType("cupyx.scipy.special")
    scipy_ = sys.modules["cupyx"].scipy = types.ModuleType("cupyx.scipy")
    scipy_.special = special
    modules = [
        ("cupy", device_cupy()),
        ("cupyx.scipy", scipy_),
        ("cupyx.scipy.special", special),
        *device_jax(),
    ]
    for name, module in modules:
        monkeypatch.setitem(sys.modules, name, module)
    torch = sys.modules["torch"]
    device_torch(torch)
    for name in ("mean", "sum", "all"):
        method = getattr(np.ndarray, name)
        monkeypatch.setattr(
            CupyArray, name, lambda self, *a, m=method, **k: wrap(m(self.host, *a, **k)), raising=False
        )
    for name in ("repeat", "requires_grad_"):
        monkeypatch.setattr(Tensor, name, lambda self, *args: self, raising=False)
    monkeypatch.setattr(Tensor, "numel", lambda self: self.array.size, raising=False)
    monkeypatch.setattr(rows, "_bce_torch", lambda: torch.loss)
    compile_cpp = lambda text, architecture: b"cpp" + text.encode()  # noqa: E731
    monkeypatch.setattr(cpp_kernel, "COMPILERS", {"nvrtc": compile_cpp, "nvcc": compile_cpp})
    monkeypatch.setattr(ceilings, "compile_by_nvrtc", compile_cpp)
    monkeypatch.setattr(ceilings, "CALLS", 5)
    monkeypatch.setattr("benchmarks.gpu.session.CALLS", 2)
    monkeypatch.setattr(timing, "WARM", 1)
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(timing, "MOST_CALLS", 1)
    monkeypatch.setattr("benchmarks.gpu.session.HOST_SIZE", 64)
    for name, sizes in SIZES.items():
        monkeypatch.setitem(rows.ROWS, name, replace(rows.ROWS[name], on_device=sizes))
    monkeypatch.setattr(Check, "open_worker", open_in_process)
    monkeypatch.setattr(stages, "is_installed", lambda name: True)
    monkeypatch.setattr(tools, "is_installed", lambda name: True)
    for module in (stages, tools):
        monkeypatch.setattr(module, "run_within", run_within)
    for module in (stages, tools, variants):
        monkeypatch.setattr(module, "toolkit_program", lambda name: f"/bin/{name}")
    yield driver
