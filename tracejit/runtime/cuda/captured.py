"""Arrays that a function uses besides its arguments: on a device as they are, NumPy's as kept copies."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.frontend.guards import bits_of, is_writeable
from tracejit.ir import ArrayType, check_dtype
from tracejit.runtime.cuda.arrays import (
    CupyMemory,
    Guest,
    Library,
    TorchMemory,
    cupy_memory,
    facts_of,
    family_of_type,
)

PER_THREAD_STREAM = 2  # the handle under which every thread finds a stream of its own
MOST_COPIES = 64


class Arrays:
    """See `ir.builder.Elsewhere`."""

    def type_of(self, x: Any) -> ArrayType | None:
        facts = facts_of(x)
        return None if facts is None else ArrayType(facts[1], check_dtype(facts[0]))

    def memory_of(self, x: Any) -> Hashable:
        family = family_of_type(type(x))
        if isinstance(family, TorchMemory):
            return x.untyped_storage().data_ptr() if x.is_cuda else None
        if isinstance(family, CupyMemory):
            return x.data.mem.ptr
        if family is None or facts_of(x) is None:
            return None
        return x.__cuda_array_interface__["data"][0] if family.takes_out else (family.name, id(x))

    def unchanged(self, x: Any) -> Callable[[], bool]:
        family = family_of_type(type(x))
        if isinstance(family, Guest) and not family.takes_out:
            return lambda: True  # nobody can write to it
        if isinstance(family, TorchMemory):
            return _Tensor(x, family).is_unchanged
        memory = cupy_memory()
        seen = family.adopt(memory.cupy, x) if isinstance(family, Guest) else x
        return _Array(seen, memory).is_unchanged


class _Array:
    """A CuPy array, and its bytes as they were, which tell nan and -0.0 apart."""

    def __init__(self, array: Any, library: CupyMemory | TorchMemory) -> None:
        self.array, self.library = array, library
        with self.here():
            self.was = self.content().copy()

    def here(self) -> AbstractContextManager[Any]:
        return self.library.on(self.library.device(self.array))

    def content(self) -> Any:
        x = self.array
        return (x if x.flags.c_contiguous else x.copy(order="C")).reshape(-1).view(np.uint8)

    def is_unchanged(self) -> bool:
        with self.here():
            return bool((self.content() == self.was).all())


class _Tensor(_Array):
    """The same of torch's."""

    library: TorchMemory

    def __init__(self, array: Any, library: TorchMemory) -> None:
        self.array, self.library = array, library
        with self.here():
            self.was = self.content().clone()

    def content(self) -> Any:
        return self.array.detach().contiguous().reshape(-1).view(self.library.torch.uint8)

    def is_unchanged(self) -> bool:
        with self.here():
            return self.library.torch.equal(self.content(), self.was)


def stream_key(stream: int) -> Hashable:
    """A stream by its handle; of the one that is every thread's own, which thread's it is."""
    return (stream, threading.get_ident()) if stream == PER_THREAD_STREAM else stream


@dataclass(frozen=True)
class _Copy:
    """What lies on a device, of which array, and its bits then; None where nobody can write to the array."""

    array: weakref.ref[np.ndarray[Any, Any]]
    bits: np.ndarray[Any, Any] | None
    there: Any

    def is_valid(self, now: np.ndarray[Any, Any]) -> bool:
        return self.bits is None or np.array_equal(bits_of(now), self.bits)


class Copies:
    """Copies of NumPy arrays on devices, one a stream, kept until their array changes or is no more.

    What was copied on one stream may not have arrived for another.
    """

    def __init__(self) -> None:
        self.known: dict[Hashable, _Copy] = {}

    def find(self, library: Library, device: int, x: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> Any:
        """The copy of an array, made now if the array is not as it was."""
        with library.on(device):
            key = (id(x), dtype, library.name, device, stream_key(library.stream(device)))
            known = self.known.get(key)
            if known is not None and known.array() is x and known.is_valid(np.asarray(x, dtype)):
                return known.there
            content = np.array(x, dtype, order="C")
            given = content.reshape(-1).view(np.uint8) if x.size else np.zeros(1, np.uint8)
            there = library.part(library.upload(given, device), 0, x.shape, dtype)
        watch = weakref.ref(x, lambda _: self.known.pop(key, None))
        self.known[key] = _Copy(watch, bits_of(content) if is_writeable(x) else None, there)
        for oldest in list(self.known)[:-MOST_COPIES]:
            self.known.pop(oldest, None)
        return there
