"""Stand-ins for a CUDA driver, CuPy and torch: device memory is the host's, and launches go to the emulator.

The arrays refuse what real ones refuse: to become NumPy arrays on their own, and functions that CuPy lacks.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from tests.runtime.cuda.memory import Block, block_at, block_of, read_parameters, unpacked
from tracejit.api import devices
from tracejit.codegen.cuda.launches import Launch
from tracejit.config import Config
from tracejit.runtime.cuda import arrays, device
from tracejit.runtime.cuda.compiler import Cubin, Node
from tracejit.runtime.cuda.emulator import run_launch

# Functions of NumPy that CuPy answers for its arrays, among those that library calls may meet.
ANSWERED = (
    "argmax argmin broadcast_to concatenate cumprod cumsum diagonal empty_like flip max min moveaxis "
    "ones_like prod reshape sum swapaxes transpose tril triu zeros_like where copyto cholesky solve slogdet "
    "inv"
)


class Driver:
    """Runs launches in the emulator, from parameters in memory, as a driver is given them.

    calls: every call by name; refused: the error codes that the next launches give instead of running
    current: by thread, the device whose context is current; launches need one, and so does the memory
    """

    def __init__(self) -> None:
        self.compiled: list[str] = []
        self.launched: list[tuple[str, int, int]] = []
        self.calls: collections.Counter[str] = collections.Counter()
        self.known: dict[bytes, Launch] = {}
        self.refused: list[int] = []
        self.current: dict[int, int] = {}
        self.graphs: list[Graph] = []
        self.makes_graphs = True

    def architecture(self, device: int) -> tuple[int, int]:
        return (9, 0)

    def compile(self, launch: Launch, architecture: tuple[int, int]) -> Cubin:
        self.compiled.append(launch.text)
        code = repr((launch.text, launch.parameters, architecture)).encode()
        self.known[code] = launch
        return Cubin(code, launch.name, "// ptx")

    def load(self, cubin: Cubin, device: int) -> Any:
        self.use(device)
        return self.known[cubin.code], device

    def use(self, device: int) -> None:
        self.calls["use"] += 1
        self.current[threading.get_ident()] = device

    def stream(self, handle: int) -> Any:
        return handle

    def starter(self, kernel: Any, blocks: int, threads: int) -> Any:
        return functools.partial(self._start, kernel, blocks, threads)

    def _start(self, kernel: Any, blocks: int, threads: int, stream: Any, parameters: int, extra: int) -> Any:
        self.calls["launch"] += 1
        assert extra == 0
        if self.refused:
            return (self.refused.pop(0),)
        return (self._run(kernel, blocks, threads, stream, read_parameters(kernel[0], parameters)),)

    def _run(self, kernel: Any, blocks: int, threads: int, stream: Any, given: list[Any]) -> int:
        known, number = kernel  # of the same text; sizes and blocks may have been others
        if threading.get_ident() not in self.current:
            return 201
        launch = replace(known, blocks=blocks)
        assert threads == launch.threads
        self.launched.append((launch.name, number, stream))
        run_launch(launch, unpacked(launch, given, number))
        return 0

    def graph(self, nodes: Sequence[Node]) -> Any:
        self.calls["graph"] += 1
        if not self.makes_graphs:
            return None
        made = Graph([(n, read_parameters(n.kernel[0], n.parameters)) for n in nodes])
        self.graphs.append(made)
        return made

    def replay(self, graph: Graph, stream: Any) -> int:
        self.calls["replay"] += 1
        assert not graph.is_running and graph in self.graphs
        if self.refused:
            return self.refused.pop(0)
        graph.is_running = True
        for node, given in graph.nodes:
            self._run(node.kernel, node.blocks, node.threads, stream, given)
        graph.is_running = False
        return 0

    def release(self, graph: Graph) -> None:
        self.calls["release"] += 1
        self.graphs.remove(graph)

    def explain(self, code: int) -> str:
        return f"error {code}"


@dataclass(eq=False)
class Graph:
    """Launches with what their parameters were when the graph was made."""

    nodes: list[tuple[Node, list[Any]]]
    is_running: bool = False


# --- CuPy ---------------------------------------------------------------------------------------------------


class Pointer:
    def __init__(self, block: Block, ptr: int) -> None:
        self.block, self.ptr, self.device_id = block, ptr, block.number
        self.mem = types.SimpleNamespace(ptr=block.address)

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.block, self.ptr + offset)


class CupyArray(np.lib.mixins.NDArrayOperatorsMixin):
    __module__ = "cupy"

    def __init__(self, shape: Any, dtype: Any = float, memptr: Pointer | None = None) -> None:
        dtype = np.dtype(dtype)
        if memptr is None:
            block = Block(int(np.prod(shape)) * dtype.itemsize, CURRENT["device"])
            memptr = Pointer(block, block.address)
        self._hold(memptr.block.view(memptr.ptr, shape, dtype), memptr.block)

    def _hold(self, host: np.ndarray[Any, Any], block: Block) -> CupyArray:
        self.host, self.block = host, block
        return self

    dtype = property(lambda self: self.host.dtype)
    shape = property(lambda self: self.host.shape)
    strides = property(lambda self: self.host.strides)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    flags = property(lambda self: self.host.flags)
    data = property(lambda self: Pointer(self.block, self.host.__array_interface__["data"][0]))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.host.__array_interface__, version=3)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if not all(isinstance(x, _TAKEN) for x in inputs):
            return NotImplemented
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(_host(x) for x in out)
        found = getattr(ufunc, method)(*map(_host, inputs), **kwargs)
        return out[0] if out is not None else wrap(found)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, _TAKEN) for t in types):
            return NotImplemented
        if func.__name__ not in ANSWERED.split():
            raise TypeError(f"CuPy does not answer {func.__name__}")
        out = kwargs.get("out")
        args, kwargs = _deep(args), {k: _deep(v) for k, v in kwargs.items()}
        found = func(*args, **kwargs)
        return out if out is not None else _wrapped(found, args)

    def __getitem__(self, index: Any) -> Any:
        return self._view(self.host[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("CuPy takes no NumPy arrays")
        self.host[_index(index)] = _host(value)

    def _view(self, host: Any) -> CupyArray:
        if isinstance(host, np.ndarray) and np.may_share_memory(host, self.block.bytes):
            return CupyArray.__new__(CupyArray)._hold(host, self.block)
        return wrap(host)

    def reshape(self, *shape: Any) -> CupyArray:
        return self._view(self.host.reshape(*shape))

    def transpose(self, *axes: Any) -> CupyArray:
        return self._view(self.host.transpose(*axes))

    def view(self, dtype: Any) -> CupyArray:
        return self._view(self.host.view(dtype))

    def astype(self, dtype: Any) -> CupyArray:
        return wrap(self.host.astype(dtype))

    def copy(self, order: str = "C") -> CupyArray:
        return wrap(self.host.copy())

    def sort(self) -> None:
        self.host.sort()

    def tolist(self) -> Any:
        return self.host.tolist()

    def any(self) -> Any:
        return wrap(np.asarray(self.host.any()))

    def all(self) -> Any:
        return wrap(np.asarray(self.host.all()))

    def get(self) -> np.ndarray[Any, Any]:
        return self.host.copy()

    def __bool__(self) -> bool:
        return bool(self.host)

    @property
    def T(self) -> CupyArray:
        return self._view(self.host.T)


_TAKEN = (CupyArray, np.ndarray, np.generic, bool, int, float)


def wrap(host: Any) -> Any:
    """A copy of a NumPy array on the current device."""
    host = np.asarray(host)
    fresh = CupyArray(host.shape, host.dtype)
    fresh.host[...] = host
    return fresh


def _wrapped(found: Any, args: Sequence[Any]) -> Any:
    """What a function of NumPy found; views of an operand stay views."""
    if isinstance(found, tuple):
        return tuple(_wrapped(x, args) for x in found)
    block = block_of(found) if isinstance(found, np.ndarray) else None
    return wrap(found) if block is None else CupyArray.__new__(CupyArray)._hold(found, block)


def _host(x: Any) -> Any:
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError("CuPy takes no NumPy arrays")
    return x.host if isinstance(x, CupyArray) else x


def _deep(x: Any) -> Any:
    return type(x)(map(_deep, x)) if isinstance(x, (list, tuple)) else _host(x)


def _index(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(p, np.ndarray) for p in parts):
        raise IndexError("Unsupported type <class 'numpy.ndarray'>")
    return index


CURRENT: dict[str, int] = {"device": 0, "stream": 7}


@contextlib.contextmanager
def on_device(number: int) -> Iterator[None]:
    before, CURRENT["device"] = CURRENT["device"], number
    try:
        yield
    finally:
        CURRENT["device"] = before


@contextlib.contextmanager
def on_stream(handle: int) -> Iterator[None]:
    before, CURRENT["stream"] = CURRENT["stream"], handle
    try:
        yield
    finally:
        CURRENT["stream"] = before


def fake_cupy() -> types.ModuleType:
    cupy = types.ModuleType("cupy")
    cupy.__file__ = "/site-packages/cupy/__init__.py"

    def asarray(x: Any) -> Any:
        if isinstance(x, CupyArray):
            return x
        if hasattr(x, "__cuda_array_interface__"):
            shared = x.__cuda_array_interface__
            block = block_at(shared["data"][0])
            host = block.view(shared["data"][0], shared["shape"], shared["typestr"], shared["strides"])
            return CupyArray.__new__(CupyArray)._hold(host, block)
        return wrap(x)

    cupy.ndarray, cupy.empty, cupy.asarray = CupyArray, CupyArray, asarray
    cupy.asnumpy = lambda x: x.host.copy()
    cupy.from_dlpack = lambda x: x.as_cupy()
    cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDevice=lambda: CURRENT["device"]),
        Device=on_device,
        ExternalStream=lambda handle, number: on_stream(handle),
        get_current_stream=lambda: types.SimpleNamespace(ptr=CURRENT["stream"]),
    )
    return cupy


def _answered(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        found = function(*map(_deep, args), **kwargs)
        return tuple(map(wrap, found)) if isinstance(found, tuple) else wrap(found)

    return call


def fake_cupyx() -> list[tuple[str, types.ModuleType]]:
    cupyx, linalg = types.ModuleType("cupyx"), types.ModuleType("cupyx.scipy.linalg")
    cupyx.errstate = lambda linalg: contextlib.nullcontext()
    for name in ("lu_factor", "lu_solve", "solve_triangular"):
        setattr(linalg, name, _answered(getattr(scipy.linalg, name)))
    return [("cupyx", cupyx), ("cupyx.scipy.linalg", linalg)]


# --- torch --------------------------------------------------------------------------------------------------


class Dtype:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


class Tensor:
    __module__ = "torch"

    def __init__(self, array: CupyArray, is_cuda: bool = True, requires_grad: bool = False) -> None:
        self.array, self.is_cuda, self.requires_grad = array, is_cuda, requires_grad

    @property
    def dtype(self) -> Dtype:
        return getattr(sys.modules["torch"], str(self.array.dtype))

    is_negated = False
    layout = property(lambda self: sys.modules["torch"].strided)
    shape = property(lambda self: self.array.shape)
    device = property(lambda self: types.SimpleNamespace(index=self.array.block.number))

    def get_device(self) -> int:
        return self.array.block.number if self.is_cuda else -1

    def element_size(self) -> int:
        return self.array.dtype.itemsize

    def stride(self) -> tuple[int, ...]:
        return tuple(s // self.array.dtype.itemsize for s in self.array.strides)

    def is_contiguous(self) -> bool:
        return self.array.flags.c_contiguous

    def is_neg(self) -> bool:
        return self.is_negated

    def data_ptr(self) -> int:
        return self.array.data.ptr

    def detach(self) -> Tensor:
        return self

    def contiguous(self) -> Tensor:
        return self if self.is_contiguous() else self.clone()

    def clone(self) -> Tensor:
        return Tensor(self.array.copy())

    def untyped_storage(self) -> Any:
        return types.SimpleNamespace(data_ptr=lambda: self.array.block.address)

    def __dlpack__(self) -> Any:
        raise NotImplementedError

    def as_cupy(self) -> CupyArray:
        return self.array

    def cpu(self) -> Any:
        return types.SimpleNamespace(numpy=lambda: self.array.host.copy())

    def to(self, place: str) -> Tensor:
        return Tensor(self.array)

    def copy_(self, other: Tensor) -> None:
        self.array[...] = other.array

    def view(self, what: Any) -> Tensor:
        if isinstance(what, Dtype):
            return Tensor(self.array.view(what.name))
        return Tensor(self.array.reshape(what))

    def reshape(self, shape: Any) -> Tensor:
        return Tensor(self.array.reshape(shape))

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor(self.array[index])


Tensor.__qualname__ = Tensor.__name__ = "Tensor"


def _strided(shape: Any, strides: Any, dtype: str) -> CupyArray:
    made = CupyArray(shape, dtype)
    assert made.strides == tuple(s * made.dtype.itemsize for s in strides)
    return made


def fake_torch() -> types.ModuleType:
    torch = types.ModuleType("torch")
    torch.__file__ = "/site-packages/torch/__init__.py"
    for name in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "float16",
        "float32",
        "float64",
        "bfloat16",
    ):
        setattr(torch, name, Dtype(name))
    torch.Tensor, torch.strided = Tensor, object()
    torch.device = lambda kind, index: f"{kind}:{index}"
    torch.empty = lambda shape, dtype, device: Tensor(CupyArray(shape, dtype.name))
    torch.empty_strided = lambda shape, strides, dtype, device: Tensor(_strided(shape, strides, dtype.name))
    torch.equal = lambda a, b: bool((a.array.host == b.array.host).all())
    torch.from_numpy = lambda x: Tensor(wrap(x))
    torch.cuda = types.SimpleNamespace(
        current_device=lambda: CURRENT["device"],
        device=on_device,
        current_stream=lambda number: types.SimpleNamespace(cuda_stream=11),
    )
    return torch


# --- in place -----------------------------------------------------------------------------------------------


@pytest.fixture
def fake_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A driver, CuPy and torch that are not there; programs made meanwhile are not kept."""
    driver = Driver()
    for name, module in (("cupy", fake_cupy()), ("torch", fake_torch()), *fake_cupyx()):
        monkeypatch.setitem(sys.modules, name, module)
    forget_libraries()
    opened = device.CudaDevice(driver, Config(cache_dir=None))
    monkeypatch.setattr(device, "_device", lambda config: opened)
    yield driver
    forget_libraries()


def forget_libraries() -> None:
    for function in (arrays.cupy_memory, arrays.torch_memory, arrays.family_of_type):
        function.cache_clear()
    devices.forget_looks()
