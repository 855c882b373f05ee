"""What `gpu_check` compares: workloads at the sizes of a device, in each library it is measured against.

A device is reached through CuPy; `--emulate` puts NumPy and `target="cuda-emu"` in its place.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.systems import plain_in_jax
from benchmarks.workload import Workload, get_workload, normal

Call = Callable[..., Any]
SMALL = 2**16  # rows that are made on the host; longer arrays on the device repeat them


# --- rows ---------------------------------------------------------------------------------------------------


def _bce(z: Any, y: Any) -> Any:
    return (np.logaddexp(0.0, z) - y * z).mean()


def _bce_by_hand(z: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    return (np.logaddexp(0.0, z) - y * z).mean(), ((1.0 / (1.0 + np.exp(-z)) - y) / z.size,)


def _bce_torch() -> Any:
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits


def _bce_workload() -> Workload:
    return Workload(
        "binary cross-entropy with logits",
        _bce,
        _bce_by_hand,
        lambda n: (normal(n), (normal(n, seed=1) > 0) * 1.0),
        (),
        {"torch": _bce_torch},
    )


@dataclass(frozen=True)
class Row:
    """A workload of the table and its sizes, small to large.

    grows: whether the first axis of every argument that has it may be repeated on the device
    """

    workload: Callable[[], Workload]
    on_device: tuple[tuple[int, ...], ...]
    emulated: tuple[tuple[int, ...], ...]
    grows: bool = True

    def sizes(self, is_device: bool) -> tuple[tuple[int, ...], ...]:
        """The shapes that `Workload.inputs` takes."""
        return self.on_device if is_device else self.emulated


def _row(name: str, on_device: Any, emulated: Any, grows: bool = True) -> Row:
    return Row(lambda: get_workload(name), tuple(on_device), (emulated,), grows)


LINE = ((10**4,), (2**20,), (2**24,), (2**27,))
ROWS: dict[str, Row] = {
    "bce": Row(_bce_workload, LINE, ((300,), (2100,))),
    "chain": _row("chain", LINE, (300,)),
    "black_scholes": _row("black_scholes", LINE, (300,)),
    "logistic_regression": _row("logistic_regression", ((10**4, 16), (2**20, 16), (2**23, 16)), (70, 5)),
    "softmax_cross_entropy": _row("softmax_cross_entropy", ((10**4, 128), (2**20, 128)), (33, 10)),
    "layer_norm": _row("layer_norm", ((10**4, 512), (2**18, 512)), (20, 33)),
    "stencil": _row("stencil", ((100,), (1024,), (4096,)), (17,), grows=False),
    "mlp": _row("mlp", ((1024,), (2**16,)), (8,)),
    "attention": _row("attention", ((256, 64), (4096, 64)), (9, 4), grows=False),
}


def inputs_of(row: Row, workload: Workload, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
    """The arguments on the host, floats in one dtype; of at most `SMALL` rows where they can be repeated."""
    first = math.gcd(shape[0], SMALL) if row.grows and shape[0] > SMALL else shape[0]
    found = workload.inputs(first, *shape[1:])
    return tuple(np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None) for x in found)


def bytes_floor(workload: Workload, arguments: tuple[Any, ...]) -> int:
    """Bytes that any program moves: every argument is read and every gradient written once."""
    sizes = [math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in arguments]
    return sum(sizes) + sum(sizes[k] for k in workload.argnums)


# --- the machine --------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """Where the arrays are: CuPy on a device, or NumPy."""

    xp: Any
    is_device: bool
    target: str

    @classmethod
    def open(cls, emulate: bool) -> Machine:
        """Raises UnsupportedError where there is no device or a package is missing."""
        if emulate:
            return cls(np, False, "cuda-emu")
        from tracejit.runtime.cuda.arrays import load_cupy
        from tracejit.runtime.cuda.compiler import open_driver

        open_driver()
        return cls(load_cupy("the arrays of this check"), True, "cuda")

    def describe(self) -> dict[str, str]:
        """The device, its driver and memory."""
        if not self.is_device:
            return {"device": "emulated: no time here says anything about a device"}
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(self.xp.cuda.runtime.getDevice())
        free, total = runtime.memGetInfo()
        return {
            "device": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "driver takes CUDA": str(runtime.driverGetVersion()),
            "CuPy's runtime": str(runtime.runtimeGetVersion()),
            "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        }

    def array(self, x: Any) -> Any:
        return self.xp.asarray(x)

    def zeros(self, n: int, dtype: str) -> Any:
        return self.xp.zeros(n, dtype)

    def copy(self, target: Any, source: Any) -> None:
        target[...] = source

    def grown(self, row: Row, host: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The arguments where the machine computes, as long as they should be."""
        arrays = [self.array(x) for x in host]
        if not row.grows or shape[0] <= SMALL:
            return tuple(arrays)
        first = math.gcd(shape[0], SMALL)
        times = shape[0] // first
        repeat = self.xp.tile
        return tuple(
            repeat(x, (times, *[1] * (x.ndim - 1))) if x.ndim and x.shape[0] == first else x for x in arrays
        )

    def synchronize(self) -> None:
        if self.is_device:
            self.xp.cuda.runtime.deviceSynchronize()

    def release(self) -> None:
        """Give memory that nobody uses back to the device, for the next library."""
        if self.is_device:
            self.xp.get_default_memory_pool().free_all_blocks()

    def time(self, call: Call, calls: int) -> float:
        """Seconds of a call between two events of the current stream; by the clock without a device."""
        if not self.is_device:
            started = time.perf_counter()
            call()
            return time.perf_counter() - started
        for _ in range(5):
            call()
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        self.synchronize()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return self.xp.cuda.get_elapsed_time(start, end) * 1e-3 / calls


# --- variants -----------------------------------------------------------------------------------------------


@dataclass
class Variant:
    """One way to a value and its gradients, on arrays of its own library."""

    name: str
    workload: Workload
    machine: Machine
    is_ours: bool = False
    kept: dict[str, Any] = field(default_factory=dict[str, Any])

    def convert(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arrays of CuPy (NumPy where emulated) as the library's own, without a copy."""
        return tuple(self.machine.array(x) for x in arguments)

    def build(self) -> Call:
        raise NotImplementedError

    def wait(self, result: Any) -> None:
        self.machine.synchronize()

    def time(self, call: Call, calls: int) -> float:
        return self.machine.time(call, calls)

    def to_numpy(self, result: Any) -> list[np.ndarray[Any, Any]]:
        value, gradients = result
        return [self.on_host(x) for x in (value, *gradients)]

    def on_host(self, x: Any) -> np.ndarray[Any, Any]:
        return self.machine.xp.asnumpy(x) if self.machine.is_device else np.asarray(x)


class Ours(Variant):
    """tracejit."""

    def build(self) -> Call:
        fuse = self.name == "fused"
        workload = self.workload
        return tj.grad_jit(workload.loss, argnums=workload.argnums, fuse=fuse, target=self.machine.target)


class ByHand(Variant):
    """The gradient derived by hand, in CuPy's own functions, which answer for NumPy's."""

    def build(self) -> Call:
        return self.workload.by_hand


class Torch(Variant):
    """Eager, or torch.compile of the eager form."""

    def convert(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        device = "cuda" if self.machine.is_device else "cpu"
        tensors = [torch.as_tensor(x, device=device) for x in arguments]
        return tuple(t.requires_grad_(k in self.workload.argnums) for k, t in enumerate(tensors))

    def build(self) -> Call:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        loss = self.workload.implementations["torch"]()
        if self.name == "torch.compile":
            loss = torch.compile(loss, dynamic=False)

        def step(*args: Any) -> Any:
            value = loss(*args)
            return value, torch.autograd.grad(value, [args[k] for k in self.workload.argnums])

        return step

    def on_host(self, x: Any) -> np.ndarray[Any, Any]:
        return x.detach().cpu().numpy()


class Jax(Variant):
    """jit(value_and_grad), with 64 bits; its stream is its own, so the host's clock times it, to the end."""

    def convert(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_default_matmul_precision", "highest")
        return tuple(jax.numpy.asarray(super(Jax, self).on_host(x)) for x in arguments)

    def build(self) -> Call:
        import jax

        own = self.workload.implementations.get("jax")
        loss = own() if own is not None else plain_in_jax(self.workload)
        return jax.jit(jax.value_and_grad(loss, self.workload.argnums))

    def wait(self, result: Any) -> None:
        import jax

        jax.block_until_ready(result)

    def time(self, call: Call, calls: int) -> float:
        for _ in range(5):
            self.wait(call())
        started = time.perf_counter()
        result = None
        for _ in range(calls):
            result = call()
        self.wait(result)
        return (time.perf_counter() - started) / calls

    def on_host(self, x: Any) -> np.ndarray[Any, Any]:
        return np.asarray(x)


def variants_of(workload: Workload, machine: Machine) -> list[Variant]:
    """Those that this machine has; the fused step comes first."""
    found: list[Variant] = [Ours("fused", workload, machine, is_ours=True)]
    found.append(Ours("unfused", workload, machine, is_ours=True))
    found.append(ByHand("CuPy by hand" if machine.is_device else "NumPy by hand", workload, machine))
    if not machine.is_device:
        return found
    if _can_import("torch") and "torch" in workload.implementations:
        found += [Torch("torch", workload, machine), Torch("torch.compile", workload, machine)]
    if _can_import("jax"):
        found.append(Jax("JAX", workload, machine))
    return found


def _can_import(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
