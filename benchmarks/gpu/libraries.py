"""Where arrays are and how work on them is timed: CuPy, torch and JAX on a device, or all on this processor.

What needs a device lies here: making arrays, waiting, events. The rest of the check is the same in both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from benchmarks.gpu.rows import Arguments

Run = Callable[[], Any]
PART = 2**13  # elements of a large result that are looked at: the first, the last, and so many in between


class Library:
    """NumPy: arrays on this processor, times by its clock.

    name: also that of the process in which its variants run
    xp: the module that has NumPy's functions for its arrays
    """

    name = "cupy"
    is_device = False
    target = "cuda-emu"
    xp: Any = np

    def describe(self) -> dict[str, str]:
        """Versions and devices as the library sees them."""
        return {"device": "emulated: no time here says anything about a device"}

    def array(self, x: Any) -> Any:
        return self.xp.asarray(x)

    def repeat(self, x: Any, times: int) -> Any:
        """Copies of `x` one after another along its first axis."""
        return self.xp.tile(x, (times, *[1] * (x.ndim - 1)))

    def arguments(self, given: Arguments) -> tuple[Any, ...]:
        """Those of a row, as long as they should be."""
        found = [self.array(x) for x in given.arrays]
        return tuple(self.repeat(x, given.times) if given.is_repeated(k) else x for k, x in enumerate(found))

    def to_numpy(self, x: Any) -> np.ndarray[Any, Any]:
        return np.asarray(x)

    def sample(self, x: Any) -> np.ndarray[Any, Any]:
        """A result on the host, of large ones some elements."""
        flat = x.reshape(-1)
        size = flat.shape[0]
        if size <= 4 * PART:
            return self.to_numpy(flat)
        parts = (flat[:PART], flat[size - PART :], flat[:: size // (2 * PART)])
        return np.concatenate([self.to_numpy(part) for part in parts])

    def wait(self, result: Any = None) -> None:
        """Until all work on the device, or that on a result, is done."""

    def seconds(self, run: Run) -> float:
        """Of all that `run` has the device do; `run` returns what comes last."""
        started = time.perf_counter()
        self.wait(run())
        return time.perf_counter() - started

    def release(self) -> None:
        """Give memory that nobody uses back to the device."""

    def free_bytes(self) -> float:
        """Of the device, while nothing else runs there: CuPy's process is asked first."""
        return 2.0**30

    @contextlib.contextmanager
    def poisoned(self) -> Generator[None]:
        """Fresh memory is all ones meanwhile, which are nan."""
        yield

    def bits_equal(self, a: Any, b: Any) -> bool:
        return self.sample(a).tobytes() == self.sample(b).tobytes()


def _between(run: Run, start: Any, end: Any, milliseconds: Callable[[Any, Any], float]) -> float:
    """Seconds between two events on the current stream, with what `run` puts there."""
    start.record()
    run()
    end.record()
    end.synchronize()
    return milliseconds(start, end) * 1e-3


class Cupy(Library):
    """CuPy's arrays on a device, and the driver by which kernels are launched there."""

    is_device = True
    target = "cuda"

    def __init__(self) -> None:
        """Raises UnsupportedError where there is no device or a package is missing."""
        from tracejit.runtime.cuda.arrays import load_cupy
        from tracejit.runtime.cuda.compiler import open_driver

        self.driver: Any = open_driver()
        self.xp = load_cupy("the arrays of this check")

    def describe(self) -> dict[str, str]:
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        free, total = runtime.memGetInfo()
        return {
            "device": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "multiprocessors": str(properties["multiProcessorCount"]),
            "driver takes CUDA": str(runtime.driverGetVersion()),
            "CuPy's runtime": str(runtime.runtimeGetVersion()),
            "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        }

    def to_numpy(self, x: Any) -> np.ndarray[Any, Any]:
        return self.xp.asnumpy(x)

    def wait(self, result: Any = None) -> None:
        self.xp.cuda.runtime.deviceSynchronize()

    def seconds(self, run: Run) -> float:
        cuda = self.xp.cuda
        return _between(run, cuda.Event(), cuda.Event(), cuda.get_elapsed_time)

    def release(self) -> None:
        self.xp.get_default_memory_pool().free_all_blocks()

    def free_bytes(self) -> float:
        return float(self.xp.cuda.runtime.memGetInfo()[0])

    @contextlib.contextmanager
    def poisoned(self) -> Generator[None]:
        cuda = self.xp.cuda
        pool = cuda.MemoryPool()

        def all_ones(size: int) -> Any:
            memory = pool.malloc(size)
            memory.memset(0xFF, size)
            return memory

        before = cuda.get_allocator()
        cuda.set_allocator(all_ones)
        try:
            yield
        finally:
            cuda.set_allocator(before)

    def bits_equal(self, a: Any, b: Any) -> bool:
        first, second = (x.reshape(-1).view(np.uint8) for x in (a, b))
        return bool((first == second).all())


class Torch(Library):
    """torch's tensors; its own events, on its current stream."""

    name = "torch"

    def __init__(self, is_device: bool) -> None:
        """Raises ImportError where torch cannot be imported, RuntimeError where it sees no device."""
        import torch

        self.torch, self.is_device = torch, is_device
        if is_device and not torch.cuda.is_available():
            raise RuntimeError("torch sees no CUDA device")
        self.place = "cuda" if is_device else "cpu"
        self.target = "cuda" if is_device else "cuda-emu"
        torch.backends.cuda.matmul.allow_tf32 = False

    def describe(self) -> dict[str, str]:
        return {"torch's CUDA": str(self.torch.version.cuda)}

    def array(self, x: Any) -> Any:
        return self.torch.as_tensor(x, device=self.place)

    def repeat(self, x: Any, times: int) -> Any:
        return x.repeat(times, *[1] * (x.ndim - 1))

    def to_numpy(self, x: Any) -> np.ndarray[Any, Any]:
        return x.detach().cpu().numpy()

    def wait(self, result: Any = None) -> None:
        if self.is_device:
            self.torch.cuda.synchronize()

    def seconds(self, run: Run) -> float:
        if not self.is_device:
            return super().seconds(run)
        event = self.torch.cuda.Event
        return _between(run, event(enable_timing=True), event(enable_timing=True), event.elapsed_time)

    def release(self) -> None:
        if self.is_device:
            self.torch.cuda.empty_cache()


class Jax(Library):
    """JAX's arrays, with 64 bits. Its streams are its own: the host's clock times it, to the end."""

    name = "jax"

    def __init__(self, is_device: bool) -> None:
        """Raises ImportError where JAX cannot be imported, RuntimeError where it sees no device."""
        import jax

        self.jax, self.xp, self.is_device = jax, jax.numpy, is_device
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_default_matmul_precision", "highest")
        if is_device and jax.default_backend() not in ("gpu", "cuda"):
            raise RuntimeError(f"JAX sees no CUDA device, only {jax.default_backend()}")
        self.target = "cuda" if is_device else "cuda-emu"

    def describe(self) -> dict[str, str]:
        return {"JAX's devices": ", ".join(map(str, self.jax.devices()))}

    def wait(self, result: Any = None) -> None:
        self.jax.block_until_ready(result)


def open_library(name: str, emulate: bool) -> Library:
    """The one whose process this is; raises what its constructor does where it is not there."""
    if name == "torch":
        return Torch(not emulate)
    if name == "jax":
        return Jax(not emulate)
    return Library() if emulate else Cupy()
