"""Numba's CUDA target and NVIDIA's runtime: the only module that imports either, and only when it is called.

Numba makes PTX, nvJitLink makes a cubin for the device's own architecture from it; neither needs a driver or
a device. A driver is never given PTX, which it would refuse if its CUDA is older than the toolkit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.errors import InternalError, UnsupportedError
from tracejit.runtime.cuda.arrays import INSTALL

PACKAGES = ("numba-cuda", "cuda-core", "cuda-bindings", "numba")
EMULATE = 'target="cuda-emu" steps the same kernels on this processor'


@dataclass(frozen=True)
class Cubin:
    """Machine code of one kernel for one architecture; `entry` is its name in there."""

    code: bytes
    entry: str
    ptx: str


class Driver(Protocol):
    """What a device is reached by; tests put one in place that runs launches on this processor."""

    def architecture(self, device: int) -> tuple[int, int]: ...
    def compile(self, launch: Launch, architecture: tuple[int, int]) -> Cubin: ...
    def load(self, cubin: Cubin, device: int) -> Any: ...
    def grid(self, blocks: int, threads: int) -> Any: ...
    def stream(self, handle: int) -> Any: ...
    def launch(self, stream: Any, grid: Any, kernel: Any, arguments: Sequence[Any]) -> None: ...


class CudaDriver:
    """NVIDIA's, by way of cuda.core."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.streams: dict[int, Any] = {}

    def architecture(self, device: int) -> tuple[int, int]:
        major, minor = self.core.Device(device).compute_capability
        return int(major), int(minor)

    def compile(self, launch: Launch, architecture: tuple[int, int]) -> Cubin:
        return compile_launch(launch, architecture)

    def load(self, cubin: Cubin, device: int) -> Any:
        self.core.Device(device).set_current()  # the context that the array library uses, too
        return self.core.ObjectCode.from_cubin(cubin.code).get_kernel(cubin.entry)

    def grid(self, blocks: int, threads: int) -> Any:
        return self.core.LaunchConfig(grid=blocks, block=threads)

    def stream(self, handle: int) -> Any:
        found = self.streams.get(handle)
        if found is None:
            core = self.core
            found = core.LEGACY_DEFAULT_STREAM if handle == 0 else core.Stream.from_handle(handle)
            self.streams[handle] = found
        return found

    def launch(self, stream: Any, grid: Any, kernel: Any, arguments: Sequence[Any]) -> None:
        self.core.launch(stream, grid, kernel, *arguments)


@cache
def open_driver() -> CudaDriver:
    """The driver, where the packages are installed and there is a device; else UnsupportedError."""
    core = _packages()[1]
    try:
        core.Device(0).compute_capability  # noqa: B018
    except Exception as error:  # the driver's, the loader's, or cuda.core's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedError(
            f'target="cuda": no CUDA device can be used ({reason})', hint=EMULATE
        ) from None
    return CudaDriver(core)


def _packages() -> tuple[Any, Any]:
    """Numba's CUDA target and cuda.core; UnsupportedError where they are not installed."""
    try:
        cuda = import_module("numba.cuda")
        if getattr(cuda, "implementation", "") != "NVIDIA":  # the one inside Numba, which is not kept up
            raise ImportError("No module named 'numba_cuda'")
        return cuda, import_module("cuda.core")
    except ImportError as error:
        raise UnsupportedError(
            f'target="cuda": its packages cannot be imported ({error})', hint=f"{INSTALL}; {EMULATE}"
        ) from None


@cache
def versions() -> dict[str, str]:
    """Of all packages that the machine code depends on; nothing is imported."""
    from importlib import metadata

    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name in PACKAGES or name.startswith(("nvidia-nvvm", "nvidia-nvjitlink", "cuda-toolkit")):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def compile_launch(launch: Launch, architecture: tuple[int, int]) -> Cubin:
    """Compile for a compute capability such as (9, 0); UnsupportedError where the packages are missing."""
    cuda, core = _packages()
    names: dict[str, Any] = {"cuda": cuda, "np": np, "math": math}
    names["libdevice"] = import_module("numba.cuda.libdevice")
    exec(compile(launch.text, f"<{launch.name}>", "exec"), names)
    try:
        ptx, _ = cuda.compile(
            names[launch.name],
            _signature(launch),
            cc=architecture,
            device=False,
            abi="numba",
            launch_bounds=launch.threads,
        )
    except Exception as error:
        raise InternalError(f"a CUDA kernel does not compile: {error}\n{launch.text}") from error
    entry = re.search(r"\.visible \.entry (\S+)\(", ptx)
    assert entry is not None
    options = core.LinkerOptions(arch=f"sm_{architecture[0]}{architecture[1]}")
    linked = core.Linker(core.ObjectCode.from_ptx(ptx.encode()), options=options).link("cubin")
    return Cubin(linked.code, entry.group(1), ptx)


def _signature(launch: Launch) -> Any:
    types = import_module("numba.types")

    def kind(p: str) -> Any:
        if p.endswith("[]"):
            return getattr(types, p[:-2])[::1]
        return types.CPointer(getattr(types, p[1:])) if p[0] == "*" else getattr(types, p)

    return types.void(*map(kind, launch.parameters))


def as_parameters(launch: Launch, arguments: Sequence[Any]) -> list[Any]:
    """What a kernel is given: an array of one axis is seven parameters, the first two of which are unused."""
    given: list[Any] = []
    for kind, x in zip(launch.parameters, arguments, strict=True):
        if kind.endswith("[]"):
            item = np.dtype(kind[:-2]).itemsize
            one, size = np.int64(1), np.int64(item)
            given += [0, 0, one, size, x, one, size]
        else:
            given.append(x)
    return given
