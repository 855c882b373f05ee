"""Starting the launches of a call on a CUDA device: their parameters in memory, and graphs of several.

A driver is given the address of an array of pointers, one for each parameter, and has copied what they point
to when it returns. The launches of a plan share one block of 8-byte words: a call writes each address once.
"""

from __future__ import annotations

import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import DeviceError
from tracejit.runtime.cuda.compiler import NO_CONTEXT, Driver, Node, Start

GRAPHED = 3  # launches in a row from which on a graph of them costs the host less
SIGHTS = 3  # of the same addresses on the same stream until a graph is made for them: it costs many launches
KEPT = 4  # graphs at a time, and
MADE = 16  # in all: where addresses go around among more, launches cost less

_MOST_SIGHTS = 64

Key = tuple[int, ...]


@dataclass(frozen=True)
class Ready:
    """A launch whose kernel is loaded, and where its parameters are among the values of a call."""

    name: str
    kernel: Any
    blocks: int
    threads: int
    places: Sequence[int]


class CudaRunner:
    """The parameters of one call at a time, in memory; see `plans.Runner`.

    parts: the launches between library calls; count: the values that a call fills in; constants: those behind
    """

    def __init__(
        self,
        driver: Driver,
        device: int,
        parts: Sequence[Sequence[Ready]],
        count: int,
        constants: Sequence[Any],
    ) -> None:
        self.driver, self.device = driver, device
        self.words = np.zeros(count + len(constants), np.uint64)
        for k, value in enumerate(constants, count):
            self.words[k : k + 1].view(np.uint8)[: value.nbytes] = np.frombuffer(value.tobytes(), np.uint8)
        self.memory = self.words.data
        self.pack = struct.Struct(f"{count}Q").pack_into
        self.pointers = [[self._point(x.places) for x in part] for part in parts]
        self.nodes = [
            [Node(x.kernel, x.blocks, x.threads, p.ctypes.data) for x, p in zip(part, pointers, strict=True)]
            for part, pointers in zip(parts, self.pointers, strict=True)
        ]
        self.starts = [
            [
                (driver.starter(n.kernel, n.blocks, n.threads), n.parameters, x.name)
                for x, n in zip(part, nodes, strict=True)
            ]
            for part, nodes in zip(parts, self.nodes, strict=True)
        ]
        self.stream: Any = None
        self.handle: int | None = None
        self.graphs: Graphs | None = None
        if any(len(part) >= GRAPHED for part in parts):
            self.graphs = Graphs(driver, self.nodes)
        self.found: Sequence[Any] | None = None

    def _point(self, places: Sequence[int]) -> np.ndarray[Any, Any]:
        return np.asarray(places, np.uint64) * np.uint64(8) + np.uint64(self.words.ctypes.data)

    def start(self, values: Sequence[int], stream: int) -> None:
        self.pack(self.memory, 0, *values)
        if stream != self.handle:
            self.stream, self.handle = self.driver.stream(stream), stream
        if self.graphs is not None:
            self.found = self.graphs.find((stream, *values))

    def run(self, number: int) -> None:
        if self.found is not None and self.found[number] is not None:
            if not self.driver.replay(self.found[number], self.stream):
                return
            self._launch_only()  # nothing of the graph was started
        stream = self.stream
        for start, parameters, name in self.starts[number]:
            code = start(stream, parameters, 0)[0]
            if code:
                self._refused(code, start, parameters, name)

    def _refused(self, code: int, start: Start, parameters: int, name: str) -> None:
        """A thread that used no device yet has no context, and gets one; every other error is raised."""
        if code == NO_CONTEXT:
            self.driver.use(self.device)
            code = start(self.stream, parameters, 0)[0]
        if code:
            raise DeviceError(
                f'target="cuda": the driver refuses to launch {name}: {self.driver.explain(code)}',
                hint="a kernel that ran before may have failed: CUDA reports it at whatever is called next",
            )

    def _launch_only(self) -> None:
        if self.graphs is not None:
            self.graphs.release()
        self.graphs = self.found = None


class Graphs:
    """Graphs of the launches of one runner, by the addresses and the stream of a call.

    Pools give the same few addresses in a loop, and to set the parameters of a graph anew costs as much as
    its launches: graphs are made for addresses that came back, all other calls launch. A runner serves one
    call at a time, so no two threads ever start one graph.
    """

    def __init__(self, driver: Driver, parts: Sequence[Sequence[Node]]) -> None:
        self.driver, self.parts = driver, parts
        self.sights: dict[Key, int] = {}
        self.kept: dict[Key, list[Any]] = {}
        self.made = 0
        weakref.finalize(self, _release, driver, self.kept).atexit = False

    def find(self, key: Key) -> list[Any] | None:
        """A graph for each part that is worth one, else None; None where these addresses have none."""
        found = self.kept.get(key)
        if found is not None or self.made >= MADE:
            return found
        sights = self.sights.get(key, 0) + 1
        if sights >= SIGHTS:
            self.sights.pop(key, None)
            return self._make(key)
        if len(self.sights) >= _MOST_SIGHTS:
            self.sights.clear()
        self.sights[key] = sights
        return None

    def _make(self, key: Key) -> list[Any] | None:
        """Graphs with the parameters that are in memory now."""
        self.made += 1
        graphs = [self.driver.graph(part) if len(part) >= GRAPHED else None for part in self.parts]
        if all(graph is None for graph in graphs):  # the driver makes none
            self.made = MADE
            return None
        if len(self.kept) >= KEPT:
            oldest = next(iter(self.kept))
            _release(self.driver, {oldest: self.kept.pop(oldest)})
        self.kept[key] = graphs
        return graphs

    def release(self) -> None:
        _release(self.driver, self.kept)


def _release(driver: Driver, kept: dict[Key, list[Any]]) -> None:
    for graphs in kept.values():
        for graph in graphs:
            if graph is not None:
                driver.release(graph)
    kept.clear()
