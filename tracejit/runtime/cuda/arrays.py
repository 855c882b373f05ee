"""Whose arrays a call has, and the memory that goes with them.

A `Library` owns device memory: results and temporaries come from its pool, and launches run on its current
stream. CuPy and torch are libraries. Every other kind of array (Numba's, JAX's, whatever has
`__cuda_array_interface__`, and NumPy's) is a guest: CuPy views it, or holds a copy of it, for the call, and
results are handed back in its kind.

No library is imported for its arrays to be known: who has an array of a library has loaded it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from tracejit.codegen.loops import CONTIGUOUS, SCATTERED, held_dtype
from tracejit.errors import ArgumentError, UnsupportedError
from tracejit.ir import bfloat16, is_bfloat16

Shape = tuple[int, ...]
Facts = tuple[np.dtype[Any], Shape]

INSTALL = 'pip install "tracejit[cuda13]" (CUDA 13) or "tracejit[cuda12]" (CUDA 12)'
CALLS = "matrix products, factorisations and sorts"  # what CuPy is asked for
HOST = (np.ndarray, np.generic, bool, int, float)  # what lies in the host's memory


class Library(Protocol):
    """Arrays on devices and how to reach and make them.

    pointer: what launches take for an array
    look: what tells arrays apart, at little cost: dtype, shape, strides, device
    address: of an array's first element
    may_write: may a result take the memory of an argument?
    """

    @property
    def name(self) -> str: ...
    def facts(self, x: Any) -> Facts: ...
    @property
    def look(self) -> Callable[[Any], Hashable]: ...
    def strides(self, x: Any) -> Shape: ...
    def is_compact(self, x: Any) -> bool: ...
    @property
    def pointer(self) -> Callable[[Any], Any]: ...
    @property
    def address(self) -> Callable[[Any], int]: ...
    def may_write(self, x: Any) -> bool: ...
    def device(self, x: Any) -> int: ...
    @property
    def current_device(self) -> Callable[[], int]: ...
    def on(self, device: int) -> AbstractContextManager[Any]: ...
    @property
    def stream(self) -> Callable[[int], int]: ...
    def maker(self, shape: Shape, dtype: np.dtype[Any], device: int) -> Callable[[], Any]: ...
    def compact(self, x: Any) -> Any: ...
    def upload(self, block: np.ndarray[Any, Any], device: int) -> Any: ...
    def download(self, x: Any) -> np.ndarray[Any, Any]: ...
    def assign(self, target: Any, x: Any) -> None: ...
    def part(self, block: Any, offset: int, shape: Shape, dtype: np.dtype[Any]) -> Any: ...
    def pointers(self, block: Any, parts: Sequence[tuple[int, Shape, np.dtype[Any]]]) -> list[Any]: ...
    def for_cupy(self, x: Any) -> Any: ...
    def calls(self, device: int) -> AbstractContextManager[tuple[Any, Any]]: ...


class NumpyMemory:
    """The emulator's library: launches take the arrays themselves. What is fresh is poisoned, so that what is
    read before it is written shows."""

    name = "NumPy"
    look = attrgetter("dtype", "shape")

    def facts(self, x: Any) -> Facts:
        return x.dtype, x.shape

    def strides(self, x: Any) -> Shape:
        return x.strides

    def is_compact(self, x: Any) -> bool:
        return x.flags.c_contiguous

    def pointer(self, x: Any) -> Any:
        return x

    def address(self, x: Any) -> int:
        return x.__array_interface__["data"][0]

    def may_write(self, x: Any) -> bool:
        return x.flags.writeable

    def device(self, x: Any) -> int:
        return 0

    def current_device(self) -> int:
        return 0

    def on(self, device: int) -> AbstractContextManager[Any]:
        return nullcontext()

    def stream(self, device: int) -> int:
        return 0

    def maker(self, shape: Shape, dtype: np.dtype[Any], device: int) -> Callable[[], Any]:
        def make() -> Any:
            fresh = np.empty(shape, dtype)
            fresh.reshape(-1).view(np.uint8)[...] = 0xFF
            return fresh

        return make

    def compact(self, x: Any) -> Any:
        return x.copy(order="C")

    def upload(self, block: np.ndarray[Any, Any], device: int) -> Any:
        return block

    def download(self, x: Any) -> np.ndarray[Any, Any]:
        return x

    def assign(self, target: Any, x: Any) -> None:
        target[...] = x

    def part(self, block: Any, offset: int, shape: Shape, dtype: np.dtype[Any]) -> Any:
        return np.ndarray(shape, dtype, block, offset)

    def pointers(self, block: Any, parts: Sequence[tuple[int, Shape, np.dtype[Any]]]) -> list[Any]:
        return [self.part(block, *place) for place in parts]

    def for_cupy(self, x: Any) -> Any:
        return x

    def calls(self, device: int) -> AbstractContextManager[tuple[Any, Any]]:
        return nullcontext((None, np.asarray))


class CupyMemory:
    """CuPy's arrays, from its pool."""

    name = "CuPy"
    look = attrgetter("dtype", "shape", "strides", "data.device_id")
    pointer = address = attrgetter("data.ptr")

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.current_device: Callable[[], int] = cupy.cuda.runtime.getDevice
        self.current_stream = cupy.cuda.get_current_stream

    def facts(self, x: Any) -> Facts:
        return x.dtype, x.shape

    def strides(self, x: Any) -> Shape:
        return x.strides

    def is_compact(self, x: Any) -> bool:
        return x.flags.c_contiguous

    def may_write(self, x: Any) -> bool:
        return True

    def device(self, x: Any) -> int:
        return x.data.device_id

    def on(self, device: int) -> AbstractContextManager[Any]:
        return nullcontext() if self.current_device() == device else self.cupy.cuda.Device(device)

    def stream(self, device: int) -> int:
        return self.current_stream().ptr

    def maker(self, shape: Shape, dtype: np.dtype[Any], device: int) -> Callable[[], Any]:
        return functools.partial(self.cupy.ndarray, shape, dtype)

    def compact(self, x: Any) -> Any:
        return x.copy(order="C")

    def upload(self, block: np.ndarray[Any, Any], device: int) -> Any:
        return self.cupy.asarray(block)

    def download(self, x: Any) -> np.ndarray[Any, Any]:
        return self.cupy.asnumpy(x)

    def assign(self, target: Any, x: Any) -> None:
        target[...] = x

    def part(self, block: Any, offset: int, shape: Shape, dtype: np.dtype[Any]) -> Any:
        return self.cupy.ndarray(shape, dtype, block.data + offset)

    def pointers(self, block: Any, parts: Sequence[tuple[int, Shape, np.dtype[Any]]]) -> list[int]:
        start = block.data.ptr
        return [start + offset for offset, _, _ in parts]

    def for_cupy(self, x: Any) -> Any:
        return x

    def calls(self, device: int) -> AbstractContextManager[tuple[Any, Any]]:
        return _cupy_calls(self.cupy)


class TorchMemory:
    """Torch's tensors, from its caching allocator; library calls see them through CuPy, on torch's stream."""

    name = "torch"

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.current_device: Callable[[], int] = torch.cuda.current_device
        # What torch's own generated code asks, at a tenth of the price of a Stream object.
        raw = getattr(getattr(torch, "_C", None), "_cuda_getCurrentRawStream", None)
        self.stream: Callable[[int], int] = raw or self._stream
        names = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
        known = [n for n in (*names, "float16", "float32", "float64") if hasattr(torch, n)]
        self.dtypes = {getattr(torch, n): np.dtype(n) for n in known}
        self.own = {dtype: own for own, dtype in self.dtypes.items()}
        if not hasattr(torch, "uint16"):
            self.own[np.dtype(np.uint16)] = torch.int16  # memory for the bits of halves

    def facts(self, x: Any) -> Facts:
        if x.layout is not self.torch.strided or x.is_neg():
            kind, how = ("sparse", "x.to_dense()") if not x.is_neg() else ("negated later", "x.resolve_neg()")
            raise ArgumentError(
                f'target="cuda": a tensor that is {kind} has no memory that a kernel could read',
                hint=f"convert it first: {how}",
            )
        found = self.dtypes.get(x.dtype)
        if found is None and x.dtype is self.torch.bfloat16:  # NumPy's own is loaded when it is met
            found = self.dtypes[x.dtype] = bfloat16()
        if found is None:
            raise ArgumentError(
                f'target="cuda": a tensor of {x.dtype} is not supported',
                hint="convert it first, as with x.float(), and the results back",
            )
        return found, tuple(x.shape)

    def own_dtype(self, dtype: np.dtype[Any]) -> Any:
        """Torch's object for a dtype; a bfloat16 of NumPy's may come before any tensor of it."""
        return self.torch.bfloat16 if is_bfloat16(dtype) else self.own[dtype]

    def look(self, x: Any) -> Hashable:
        strides = None if x.is_contiguous() else x.stride()
        return x.dtype, x.shape, strides, x.get_device(), x.is_neg()

    def strides(self, x: Any) -> Shape:
        size = x.element_size()
        return tuple(size * s for s in x.stride())

    def is_compact(self, x: Any) -> bool:
        return x.is_contiguous()

    def pointer(self, x: Any) -> int:
        return x.data_ptr()

    address = pointer

    def may_write(self, x: Any) -> bool:
        return not x.requires_grad  # what autograd knows of a tensor would no longer be true

    def device(self, x: Any) -> int:
        return x.device.index

    def on(self, device: int) -> AbstractContextManager[Any]:
        return nullcontext() if self.current_device() == device else self.torch.cuda.device(device)

    def _stream(self, device: int) -> int:
        return self.torch.cuda.current_stream(device).cuda_stream

    def maker(self, shape: Shape, dtype: np.dtype[Any], device: int) -> Callable[[], Any]:
        place = self.torch.device("cuda", device)
        strides = tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))
        own = self.own_dtype(dtype)
        return functools.partial(self.torch.empty_strided, shape, strides, dtype=own, device=place)

    def compact(self, x: Any) -> Any:
        return x.detach().contiguous()

    def upload(self, block: np.ndarray[Any, Any], device: int) -> Any:
        return self.torch.from_numpy(block).to(f"cuda:{device}")

    def download(self, x: Any) -> np.ndarray[Any, Any]:
        return x.cpu().numpy()

    def assign(self, target: Any, x: Any) -> None:
        target.copy_(x)

    def part(self, block: Any, offset: int, shape: Shape, dtype: np.dtype[Any]) -> Any:
        size = math.prod(shape) * dtype.itemsize
        return block[offset : offset + size].view(self.own_dtype(dtype)).view(shape)

    def pointers(self, block: Any, parts: Sequence[tuple[int, Shape, np.dtype[Any]]]) -> list[int]:
        start = block.data_ptr()
        return [start + offset for offset, _, _ in parts]

    def for_cupy(self, x: Any) -> Any:
        return load_cupy(CALLS).from_dlpack(x.detach())

    @contextmanager
    def calls(self, device: int) -> Generator[tuple[Any, Any]]:
        cupy = load_cupy(CALLS)
        stream = cupy.cuda.ExternalStream(self.stream(device), device)
        with cupy.cuda.Device(device), stream, _cupy_calls(cupy) as found:
            yield found


@contextmanager
def _cupy_calls(cupy: Any) -> Generator[tuple[Any, Any]]:
    """CuPy's `scipy.linalg` and `asarray`; a matrix without a result is an error, as in NumPy.

    UnsupportedError where CuPy finds no cuBLAS or cuSOLVER.
    """
    try:
        linalg = import_module("cupyx.scipy.linalg")
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise UnsupportedError(
            f'target="cuda": {CALLS} need libraries that CuPy cannot load ({reason})', hint=INSTALL
        ) from None
    with import_module("cupyx").errstate(linalg="raise"):
        yield linalg, cupy.asarray


@dataclass(frozen=True)
class Guest:
    """A kind of array that CuPy views or copies for a call.

    adopt: a CuPy array from one; give: one from a CuPy array; copies: whether these copy
    takes_out: whether results can be written to arrays of the kind
    """

    name: str
    adopt: Callable[[Any, Any], Any]
    give: Callable[[Any, Any], Any]
    copies: bool = False
    takes_out: bool = True


def _from_interface(cupy: Any, x: Any) -> Any:
    return cupy.asarray(x)  # which also waits for the stream that the interface names


def _from_dlpack(cupy: Any, x: Any) -> Any:
    return cupy.from_dlpack(x)


NUMPY = Guest("NumPy", _from_interface, lambda cupy, x: cupy.asnumpy(x), copies=True)
NUMBA = Guest("Numba", _from_interface, lambda cupy, x: sys.modules["numba.cuda"].as_cuda_array(x))
JAX = Guest("JAX", _from_dlpack, lambda cupy, x: sys.modules["jax.dlpack"].from_dlpack(x), takes_out=False)
OTHERS = Guest("CuPy", _from_interface, lambda cupy, x: x)

Family = CupyMemory | TorchMemory | Guest


def load_cupy(purpose: str) -> Any:
    """CuPy, imported; UnsupportedError where it is not installed."""
    try:
        return import_module("cupy")
    except ImportError as error:
        raise UnsupportedError(
            f'target="cuda": {purpose} need CuPy, which cannot be imported ({error})', hint=INSTALL
        ) from None


@functools.cache
def cupy_memory() -> CupyMemory:
    return CupyMemory(load_cupy("arrays"))


@functools.cache
def torch_memory() -> TorchMemory:
    return TorchMemory(sys.modules["torch"])


@functools.lru_cache(maxsize=64)
def family_of_type(cls: type) -> Family | None:
    """The family of arrays of a class; None for what is no array of a device."""
    if issubclass(cls, HOST):
        return None
    top = cls.__module__.partition(".")[0]
    if top == "cupy":
        return cupy_memory()
    if any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in cls.__mro__):
        return torch_memory()
    if top in ("jax", "jaxlib"):
        return JAX
    if top in ("numba", "numba_cuda") and hasattr(cls, "__cuda_array_interface__"):
        return NUMBA
    return OTHERS if hasattr(cls, "__cuda_array_interface__") else None


def look_of(cls: type) -> Callable[[Any], Hashable] | None:
    """`Library.look` for arrays of a class; None where no plan serves these.

    Of NumPy's arrays each call takes a copy.
    """
    family = family_of_type(cls)
    if family is None:
        return NumpyMemory.look if cls is np.ndarray else None
    return None if isinstance(family, Guest) else family.look


def facts_of(x: Any) -> Facts | None:
    """dtype and shape of an array on a device; None for anything else.

    >>> facts_of(np.zeros(3)) is None
    True
    """
    family = family_of_type(type(x))
    if family is None:
        return None
    if isinstance(family, Guest):
        return (np.dtype(x.dtype), tuple(x.shape)) if _is_on_device(x, family) else None
    if isinstance(family, TorchMemory) and not x.is_cuda:
        return None
    return family.facts(x)


def _is_on_device(x: Any, family: Guest) -> bool:
    if family is not JAX:
        return True
    return all(d.platform in ("gpu", "cuda") for d in x.devices())


def is_read_only(x: Any) -> bool:
    """Is it an array of a device that nobody may write to, or that autograd forbids to?"""
    family = family_of_type(type(x))
    if family is None:
        return False
    if isinstance(family, Guest):
        return not family.takes_out or bool(x.__cuda_array_interface__["data"][1])
    return not family.may_write(x)


def twin(x: Any) -> Any:
    """A NumPy array with the address, sizes and strides of a device array, to be compared and never read."""
    if isinstance(x, np.ndarray):
        return x
    facts = facts_of(x)
    if facts is None:
        return x
    family = family_of_type(type(x))
    is_readonly = is_read_only(x)
    if isinstance(family, Guest):
        x = family.adopt(cupy_memory().cupy, x)
        family = cupy_memory()
    assert family is not None
    pointer, strides = family.pointer(x), family.strides(x)
    stored = held_dtype(facts[0])  # bfloat16 has no letter of its own
    interface = {
        "version": 3,
        "typestr": stored.str,
        "shape": facts[1],
        "strides": strides,
        "data": (pointer, is_readonly),
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface)).view(facts[0])


@functools.lru_cache(maxsize=1024)
def stand_in(dtype: np.dtype[Any], shape: Shape) -> np.ndarray[Any, Any]:
    """An array of the type without memory: what a trace looks at in place of one on a device."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def layout(shape: Shape, strides: Shape, itemsize: int) -> int:
    """`layout_of` for an array that NumPy does not know.

    >>> layout((4, 6), (48, 8), 8), layout((6, 4), (8, 48), 8), layout((4, 3), (48, 16), 8)
    (-1, 0, -2)
    """
    if 0 in shape:
        return CONTIGUOUS
    expected, is_compact = itemsize, True
    for n, s in zip(reversed(shape), reversed(strides)):
        if n > 1 and s != expected:
            is_compact = False
        expected *= n
    if is_compact:
        return CONTIGUOUS
    axes = [d for d, (n, s) in enumerate(zip(shape, strides)) if n > 1 and s == itemsize]
    return axes[-1] if axes else SCATTERED
