"""Numba's CUDA target and NVIDIA's runtime: the only module that imports either, and only when it is called.

Numba makes PTX, nvJitLink makes a cubin for the device's own architecture from it; neither needs a driver or
a device. A driver is never given PTX, which it would refuse if its CUDA is older than the toolkit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.errors import InternalError, UnsupportedError
from tracejit.runtime.cuda.arrays import INSTALL

PACKAGES = ("numba-cuda", "cuda-core", "cuda-bindings", "numba")
TOGETHER = 2  # blocks that a multiprocessor runs at a time, where their registers suffice
EMULATE = 'target="cuda-emu" steps the same kernels on this processor'
NO_CONTEXT = 201  # CUDA_ERROR_INVALID_CONTEXT: the thread used no device yet

# Takes a stream, the address of pointers to the parameters, and 0; gives the driver's error code first.
Start = Callable[[Any, int, int], Sequence[int]]


@dataclass(frozen=True)
class Cubin:
    """Machine code of one kernel for one architecture; `entry` is its name in there."""

    code: bytes
    entry: str
    ptx: str


class Node(NamedTuple):
    """One launch of a graph: a loaded kernel, its grid, and the address of pointers to its parameters."""

    kernel: Any
    blocks: int
    threads: int
    parameters: int


class Driver(Protocol):
    """What a device is reached by; tests put one in place that runs launches on this processor.

    Error codes are the driver's, 0 where all is well. Parameters are copied before a function returns.
    """

    def architecture(self, device: int) -> tuple[int, int]: ...
    def compile(self, launch: Launch, architecture: tuple[int, int]) -> Cubin: ...
    def load(self, cubin: Cubin, device: int) -> Any: ...
    def use(self, device: int) -> None: ...
    def stream(self, handle: int) -> Any: ...
    def starter(self, kernel: Any, blocks: int, threads: int) -> Start: ...
    def graph(self, nodes: Sequence[Node]) -> Any: ...
    def replay(self, graph: Any, stream: Any) -> int: ...
    def release(self, graph: Any) -> None: ...
    def explain(self, code: int) -> str: ...


class _Kernel(NamedTuple):
    """A loaded kernel by the names that the driver has for it; `owner` keeps it loaded."""

    owner: Any
    function: Any
    kernel: Any


class CudaDriver:
    """NVIDIA's: cuda.core loads kernels, and cuda.bindings launches them, with parameters that lie ready.

    A launch by cuda.core would wrap each argument anew. A kernel is given to `cuLaunchKernel` as a function:
    the driver takes either, and runs it in the context that is current.
    """

    def __init__(self, core: Any, bindings: Any) -> None:
        self.core, self.bindings = core, bindings
        self.streams: dict[int, Any] = {}

    def architecture(self, device: int) -> tuple[int, int]:
        major, minor = self.core.Device(device).compute_capability
        return int(major), int(minor)

    def compile(self, launch: Launch, architecture: tuple[int, int]) -> Cubin:
        return compile_launch(launch, architecture)

    def load(self, cubin: Cubin, device: int) -> _Kernel:
        self.use(device)
        owner = self.core.ObjectCode.from_cubin(cubin.code).get_kernel(cubin.entry)
        handle = int(owner.handle)
        return _Kernel(owner, self.bindings.CUfunction(handle), self.bindings.CUkernel(handle))

    def use(self, device: int) -> None:
        """Make the context current that the array library uses, too: the device's primary one."""
        self.core.Device(device).set_current()

    def stream(self, handle: int) -> Any:
        found = self.streams.get(handle)
        if found is None:
            # 0 would be another stream where the bindings are told to use a default stream a thread.
            found = self.bindings.CUstream(handle or int(self.bindings.CU_STREAM_LEGACY))
            self.streams[handle] = found
        return found

    def starter(self, kernel: _Kernel, blocks: int, threads: int) -> Start:
        return partial(self.bindings.cuLaunchKernel, kernel.function, blocks, 1, 1, threads, 1, 1, 0)

    def graph(self, nodes: Sequence[Node]) -> Any:
        """An executable graph that runs the nodes one after another; None where the driver makes none."""
        cuda = self.bindings
        code, graph = cuda.cuGraphCreate(0)
        last: list[Any] = []
        for node in nodes:
            wanted = cuda.CUDA_KERNEL_NODE_PARAMS()
            wanted.kern = node.kernel.kernel
            wanted.gridDimX, wanted.gridDimY, wanted.gridDimZ = node.blocks, 1, 1
            wanted.blockDimX, wanted.blockDimY, wanted.blockDimZ = node.threads, 1, 1
            wanted.kernelParams = node.parameters
            if not code:
                code, added = cuda.cuGraphAddKernelNode(graph, last, len(last), wanted)
                last = [added]
        found = None
        if not code:
            code, found = cuda.cuGraphInstantiate(graph, 0)
        if graph is not None:
            cuda.cuGraphDestroy(graph)
        return None if code else found

    def replay(self, graph: Any, stream: Any) -> int:
        return self.bindings.cuGraphLaunch(graph, stream)[0]

    def release(self, graph: Any) -> None:
        self.bindings.cuGraphExecDestroy(graph)

    def explain(self, code: int) -> str:
        """Name and text of an error, as `CUDA_ERROR_INVALID_VALUE (invalid argument)`."""
        result = self.bindings.CUresult(code)
        name, text = self.bindings.cuGetErrorName(result)[1], self.bindings.cuGetErrorString(result)[1]
        return f"{(name or b'CUDA error').decode()} ({(text or str(code).encode()).decode()})"


@cache
def open_driver() -> CudaDriver:
    """The driver, where the packages are installed and there is a device; else UnsupportedError."""
    core = _packages()[1]
    try:
        bindings = import_module("cuda.bindings.driver")
        core.Device(0).compute_capability  # noqa: B018
    except Exception as error:  # the driver's, the loader's, or cuda.core's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedError(
            f'target="cuda": no CUDA device can be used ({reason})', hint=EMULATE
        ) from None
    return CudaDriver(core, bindings)


def _packages() -> tuple[Any, Any]:
    """Numba's CUDA target and cuda.core; UnsupportedError where they are not installed."""
    try:
        cuda = import_module("numba.cuda")
        if getattr(cuda, "implementation", "") != "NVIDIA":  # the one inside Numba, which is not kept up
            raise ImportError("No module named 'numba_cuda'")
        return cuda, import_module("cuda.core")
    except Exception as error:  # versions that do not fit each other raise whatever they meet
        reason = f"{'' if isinstance(error, ImportError) else f'{type(error).__name__}: '}{error}"
        raise UnsupportedError(
            f'target="cuda": its packages cannot be imported ({reason})', hint=f"{INSTALL}; {EMULATE}"
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
    """Compile for a compute capability such as (9, 0); UnsupportedError where packages are missing."""
    cuda, _ = _packages()
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
            launch_bounds=(launch.threads, TOGETHER),
        )
    except Exception as error:
        _check_toolkit(error)
        raise InternalError(f"a CUDA kernel does not compile: {error}\n{launch.text}") from error
    entry = re.search(r"\.visible \.entry (\S+)\(", ptx)
    assert entry is not None
    return Cubin(link(ptx, architecture).code, entry.group(1), ptx)


def _check_toolkit(error: BaseException | None) -> None:
    """UnsupportedError where a library of the CUDA toolkit was not found."""
    while error is not None:
        if type(error).__name__ in ("DynamicLibNotFoundError", "NvvmSupportError"):
            reason = (str(error).strip() or "of its compiler").splitlines()[0]
            raise UnsupportedError(
                f'target="cuda": a library of the CUDA toolkit is missing ({reason})',
                hint=f"{INSTALL}; {EMULATE}",
            ) from None
        error = error.__cause__ or error.__context__


@dataclass(frozen=True)
class Machine:
    """Machine code, the registers of a thread, bytes that do not fit them, and those of its stack."""

    code: bytes
    registers: int
    spilled: int
    stack: int


def link(ptx: str, architecture: tuple[int, int]) -> Machine:
    """PTX to machine code, for fewer blocks at a time where registers would not hold all numbers.

    Left to itself the assembler takes all registers that it can use, for values that it could as well load
    or compute again, and the multiprocessor has too few threads to hide how long memory takes.
    """
    found = _link_as_it_is(ptx, architecture)
    if not found.spilled:
        return found
    return _link_as_it_is(re.sub(r"\.minnctapersm\s+\d+", "", ptx), architecture)


def _link_as_it_is(ptx: str, architecture: tuple[int, int]) -> Machine:
    core = _packages()[1]
    try:
        import_module("cuda.bindings.nvjitlink").version()
    except Exception as error:  # cuda.core would have the driver link, which may refuse the PTX
        _check_toolkit(error)
        raise
    options = core.LinkerOptions(arch=f"sm_{architecture[0]}{architecture[1]}", verbose=True)
    linker = core.Linker(core.ObjectCode.from_ptx(ptx.encode()), options=options)
    code = linker.link("cubin").code
    log = linker.get_info_log()
    registers = re.findall(r"Used (\d+) registers", log)
    spilled, stack = [
        sum(map(int, re.findall(rf"(\d+) bytes {what}", log))) for what in ("spill", "stack frame")
    ]
    return Machine(code, int(registers[-1]) if registers else 0, spilled, stack)


def _signature(launch: Launch) -> Any:
    types = import_module("numba.types")

    def kind(p: str) -> Any:
        if p.endswith("[]"):
            return getattr(types, p[:-2])[::1]
        return types.CPointer(getattr(types, p[1:])) if p[0] == "*" else getattr(types, p)

    return types.void(*map(kind, launch.parameters))


def parameter_places(
    launch: Launch, places: Sequence[int], constant: Callable[[Any], int]
) -> tuple[int, ...]:
    """Where the parameters of the compiled kernel are, from where its arguments are.

    constant: the place of a NumPy scalar
    An array of one axis is seven parameters, the first two of which are unused: two owners, the number of
    elements, the size of one, the address, then the elements and the step in bytes along its axis.
    """
    found: list[int] = []
    for kind, place in zip(launch.parameters, places, strict=True):
        if kind.endswith("[]"):
            one, size = constant(np.int64(1)), constant(np.int64(np.dtype(kind[:-2]).itemsize))
            zero = constant(np.int64(0))
            found += [zero, zero, one, size, place, one, size]
        else:
            found.append(place)
    return tuple(found)
