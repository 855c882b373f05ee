"""Where launches run: a CUDA device, or the emulator; and how the arrays of a call come there and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Protocol

import numpy as np

from tracejit.codegen.cuda.launches import Launch
from tracejit.config import Config
from tracejit.errors import ArgumentError
from tracejit.ops.value import class_name
from tracejit.runtime.cuda.arrays import (
    HOST,
    NUMPY,
    CupyMemory,
    Family,
    Guest,
    Library,
    NumpyMemory,
    cupy_memory,
    facts_of,
    family_of_type,
    is_read_only,
)
from tracejit.runtime.cuda.captured import Copies, stream_key
from tracejit.runtime.cuda.compiler import Driver, open_driver, parameter_places
from tracejit.runtime.cuda.emulator import run_launch
from tracejit.runtime.cuda.kernels import find_cubin
from tracejit.runtime.cuda.plans import NOWHERE, Constants, Plan, Runner, Step
from tracejit.runtime.cuda.runners import CudaRunner, Ready

Order = Callable[[int], Sequence[int]]
Serve = Callable[..., list[Any] | None]  # of arrays, and of those for outputs by number

DTypes = Sequence[np.dtype[Any]]

_ALIGNED = 256  # bytes: what arrays in a block of several start at


@dataclass
class Given:
    """What is known of a program's inputs.

    captured: which are no arguments, but known to the function: what lies in the host's memory of these stays
        on the device
    """

    dtypes: Sequence[np.dtype[Any]]
    captured: Container[int] = ()


@dataclass
class Visit:
    """The arrays of one call where launches can read them.

    fixed: inputs whose memory no result may take: copies, and what nobody may write to
    give: the user's kind of array from one of the library's; take: the reverse, for arrays of `out=`, None
        where only a copy can fill these
    """

    library: Library
    device: int
    inputs: list[Any]
    fixed: set[int] = field(default_factory=set[int])
    give: Callable[[Any], Any] | None = None
    take: Callable[[Any], Any] | None = None


class Device(Protocol):
    """Memory and launches, in order."""

    def enter(self, arrays: Sequence[Any], given: Given, into: Mapping[int, Any]) -> Visit: ...
    def prepare(
        self, parts: Sequence[Sequence[Step]], constants: Constants, device: int
    ) -> Callable[[], Runner]: ...
    def serve(self, plan: Plan, run: Serve, arrays: Sequence[Any], given: Given) -> Serve | None: ...
    def architecture(self, device: int) -> tuple[int, int]: ...


class EmulatedDevice:
    """Arrays are NumPy's and launches go to the emulator.

    order: in which the blocks of a launch run, by their number; None: from the last to the first
    """

    def __init__(self, order: Order | None = None) -> None:
        self.library = NumpyMemory()
        self.order = order

    def enter(self, arrays: Sequence[Any], given: Given, into: Mapping[int, Any]) -> Visit:
        for x in (*arrays, *into.values()):
            if family_of_type(type(x)) is not None:
                raise ArgumentError(
                    f'target="cuda-emu" takes NumPy arrays, got a {class_name(x)}',
                    hint='copy it to the host first, or use target="cuda"',
                )
        inputs = [np.asarray(x, dtype) for x, dtype in zip(arrays, given.dtypes, strict=True)]
        return Visit(self.library, 0, inputs, {k for k, x in enumerate(inputs) if x is not arrays[k]})

    def prepare(
        self, parts: Sequence[Sequence[Step]], constants: Constants, device: int
    ) -> Callable[[], Runner]:
        return partial(_EmulatedRunner, parts, constants.values, self.order)

    def serve(self, plan: Plan, run: Serve, arrays: Sequence[Any], given: Given) -> Serve | None:
        return None

    def architecture(self, device: int) -> tuple[int, int]:
        return (9, 0)


class _EmulatedRunner:
    """See `plans.Runner`: the values are the arrays themselves."""

    def __init__(
        self, parts: Sequence[Sequence[Step]], constants: Sequence[Any], order: Order | None
    ) -> None:
        self.parts, self.constants, self.order = parts, constants, order
        self.values: list[Any] = []

    def start(self, values: list[Any], stream: int) -> None:
        self.values = [*values, *self.constants]

    def run(self, number: int) -> None:
        for step in self.parts[number]:
            order = None if self.order is None else self.order(step.launch.blocks)
            run_launch(step.launch, [self.values[k] for k in step.places], order)


@dataclass
class _Block:
    """Small host values as they lie on a device, and from what bytes they were copied."""

    data: bytes
    array: Any


@dataclass
class CudaDevice:
    """CUDA devices: arrays stay where they are, others are copied; kernels are for the architecture."""

    driver: Driver
    config: Config
    kernels: dict[tuple[str, tuple[str, ...], int], Any] = field(default_factory=dict)
    blocks: dict[tuple[Any, ...], _Block] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    lock: Any = field(default_factory=threading.Lock)

    def enter(self, arrays: Sequence[Any], given: Given, into: Mapping[int, Any]) -> Visit:
        family, device = _common_place([*arrays, *into.values()])
        if family is not NUMPY and _hosts([*into.values()]):
            raise ArgumentError(
                f"target=\"cuda\": out has an array of NumPy's, and results are {family.name}'s",
                hint=f"give an array of {family.name}'s, on the device of the arguments",
            )
        if isinstance(family, Guest):
            visit = _as_guests(family, arrays)
        else:
            visit = Visit(family, device if device is not None else family.current_device(), list(arrays))
        hosts = _hosts(visit.inputs)
        visit.fixed.update(hosts)
        kept, sent = _kept_and_sent(hosts, given)
        self._find_copies(visit.library, visit.device, visit.inputs, kept, given.dtypes)
        if sent:
            self._upload(visit.library, visit.device, visit.inputs, sent, given.dtypes)
        return visit

    def _find_copies(
        self, library: Library, device: int, inputs: list[Any], kept: Sequence[int], dtypes: DTypes
    ) -> None:
        """Put copies in place that stay on the device."""
        for k in kept:
            inputs[k] = self.copies.find(library, device, inputs[k], dtypes[k])

    def _upload(
        self, library: Library, device: int, inputs: list[Any], hosts: Sequence[int], dtypes: DTypes
    ) -> None:
        """Copy inputs on the host to the device at once; what is as in the last call is there."""
        values = [np.asarray(inputs[k], dtypes[k]) for k in hosts]
        offsets, size = [], 0
        for x in values:
            offsets.append(size)
            size += -(-x.nbytes // _ALIGNED) * _ALIGNED
        packed = np.zeros(max(size, 1), np.uint8)
        for x, offset in zip(values, offsets):
            packed[offset : offset + x.nbytes] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        with library.on(device):
            block = self._block(library, device, packed)
            for k, x, offset in zip(hosts, values, offsets):
                inputs[k] = library.part(block, offset, x.shape, x.dtype)

    def _block(self, library: Library, device: int, packed: np.ndarray[Any, Any]) -> Any:
        if packed.nbytes > 16 * _ALIGNED:
            return library.upload(packed, device)
        stream = stream_key(library.stream(device))
        key, data = (library.name, device, stream, packed.nbytes), packed.tobytes()
        kept = self.blocks.get(key)
        if kept is None or kept.data != data:
            kept = self.blocks[key] = _Block(data, library.upload(packed, device))
        return kept.array

    def prepare(
        self, parts: Sequence[Sequence[Step]], constants: Constants, device: int
    ) -> Callable[[], Runner]:
        ready = [[self._ready(step, constants, device) for step in part] for part in parts]
        return partial(CudaRunner, self.driver, device, ready, constants.count, constants.values)

    def _ready(self, step: Step, constants: Constants, device: int) -> Ready:
        launch = step.launch
        places = parameter_places(launch, step.places, constants.place)
        return Ready(launch.name, self.load(launch, device), launch.blocks, launch.threads, places)

    def load(self, launch: Launch, device: int) -> Any:
        """The driver's name for a launch's kernel, which is loaded once a device."""
        key = (launch.text, launch.parameters, device)
        with self.lock:
            kernel = self.kernels.get(key)
            if kernel is None:
                cubin = find_cubin(launch, self.driver, self.driver.architecture(device), self.config)
                kernel = self.kernels[key] = self.driver.load(cubin, device)
        return kernel

    def serve(self, plan: Plan, run: Serve, arrays: Sequence[Any], given: Given) -> Serve | None:
        kept, sent = _kept_and_sent(_hosts(arrays), given)
        library, number, dtypes = plan.library, plan.number, given.dtypes

        def find_and_run(arrays: Sequence[Any], targets: Mapping[int, Any] = NOWHERE) -> list[Any] | None:
            inputs = list(arrays)
            self._find_copies(library, number, inputs, kept, dtypes)
            return run(inputs, targets)

        run_all = find_and_run if kept else run
        return self._serve_hosts(plan, run_all, arrays, dtypes, sent) if sent else run_all

    def _serve_hosts(
        self, plan: Plan, run: Serve, arrays: Sequence[Any], dtypes: DTypes, hosts: Sequence[int]
    ) -> Serve:
        """Copy what lies in the host's memory; numbers only if they are other objects than before."""
        changes = any(isinstance(arrays[k], np.ndarray) for k in hosts)
        kept: list[Any] = [None]  # the stream of the last copy, and numbers with what they became there

        def copy_and_run(arrays: Sequence[Any], targets: Mapping[int, Any] = NOWHERE) -> list[Any] | None:
            inputs, known = list(arrays), kept[0]
            with plan.library.on(plan.number):
                stream = stream_key(plan.library.stream(plan.number))
            if known is None or known[0] != stream or not all(inputs[k] is x for k, x, _ in known[1]):
                self._upload(plan.library, plan.number, inputs, hosts, dtypes)
                kept[0] = None if changes else (stream, [(k, arrays[k], inputs[k]) for k in hosts])
                return run(inputs, targets)
            for k, _, there in known[1]:
                inputs[k] = there
            return run(inputs, targets)

        return copy_and_run

    def architecture(self, device: int) -> tuple[int, int]:
        return self.driver.architecture(device)


def _hosts(arrays: Sequence[Any]) -> list[int]:
    """Which arrays and numbers lie in the host's memory."""
    return [k for k, x in enumerate(arrays) if isinstance(x, HOST)]


def _kept_and_sent(hosts: Sequence[int], given: Given) -> tuple[list[int], list[int]]:
    """Which of the arrays on the host have copies that stay on the device, and which are copied each time."""
    kept = [k for k in hosts if k in given.captured]
    return kept, [k for k in hosts if k not in given.captured]


def _as_guests(family: Guest, arrays: Sequence[Any]) -> Visit:
    memory: CupyMemory = cupy_memory()
    cupy = memory.cupy
    inputs = [family.adopt(cupy, x) if family_of_type(type(x)) is family else x for x in arrays]
    on_device = next((x for x in inputs if family_of_type(type(x)) is not None), None)
    number = memory.device(on_device) if on_device is not None else memory.current_device()
    take = None if family.copies else partial(family.adopt, cupy)
    fixed = {k for k, x in enumerate(arrays) if is_read_only(x)}
    return Visit(memory, number, inputs, fixed, partial(family.give, cupy), take)


def _common_place(arrays: Sequence[Any]) -> tuple[Family, int | None]:
    """Whose arrays these are and on which device; ArgumentError where they disagree."""
    found: Family | None = None
    place: int | None = None
    for x in arrays:
        family = family_of_type(type(x))
        if family is None or (not isinstance(family, CupyMemory) and facts_of(x) is None):
            continue
        if found is not None and family.name != found.name:
            raise ArgumentError(
                f'target="cuda": arrays of {found.name} and of {family.name} in one call',
                hint="convert some of them, as with cupy.from_dlpack(x) or torch.from_dlpack(x)",
            )
        if found is not family and not isinstance(
            found, Guest
        ):  # a guest of CuPy among CuPy's own arrays is still one
            found = family
        if not isinstance(family, Guest):
            number = family.device(x)
            if place is not None and number != place:
                raise ArgumentError(
                    f'target="cuda": arrays on device {place} and on device {number} in one call',
                    hint="copy them to one device first",
                )
            place = number
    return (found, place) if found is not None else (NUMPY, None)


def open_device(config: Config) -> Device:
    """What runs launches for a target; raises UnsupportedError where it is not there."""
    return _emulated() if config.target == "cuda-emu" else _device(config)


@cache
def _emulated() -> EmulatedDevice:
    return EmulatedDevice()


@cache
def _device(config: Config) -> CudaDevice:
    return CudaDevice(open_driver(), config)
