"""Loop nests of functions for the tests of the LLVM printer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import Graph, evaluate
from tracejit.runtime.executable import Executable, layout_of


@dataclass(frozen=True)
class Compiled:
    """A function's graph, its executable, and the arrays of one call."""

    graph: Graph
    executable: Executable
    arrays: Sequence[Any]

    @property
    def text(self) -> str:
        """The LLVM text for the layouts of the arrays."""
        layout = tuple(layout_of(np.asarray(a)) for a in self.arrays)
        return self.executable.print(layout, "llvm").text

    def assembly(self) -> str:
        self.executable(self.arrays)
        (bound,) = self.executable.bound.values()
        assert bound.native is not None
        return bound.native.assembly()

    def check(self, rtol: float = 1e-12) -> None:
        """The code does what the evaluator does."""
        expected = evaluate(self.graph, self.arrays)
        for mine, theirs in zip(self.executable(self.arrays), expected, strict=True):
            theirs = np.asarray(theirs)
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol)


def compiled(function: Callable[..., Any], *arguments: Any, fuse: bool = True) -> Compiled:
    record = record_call(function, arguments, {})
    executable = run_stages(record.graph, fuse, Config(cache_dir=None, printer="llvm")).executable
    return Compiled(record.graph, executable, record.arrays)
