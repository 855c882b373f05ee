"""The steps of a schedule: loop nests, nests that run row by row side by side, and library calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracejit.config import AUTO, Choices
from tracejit.ir import Eqn, Graph, Var
from tracejit.schedule.group import Group


@dataclass(frozen=True)
class KernelStep:
    """One loop nest: its group, the axes outermost first, and the results that go to memory."""

    group: Group
    order: tuple[int, ...]
    stored: frozenset[Var]

    @property
    def parts(self) -> tuple[KernelStep, ...]:
        return (self,)


@dataclass(frozen=True)
class StreamStep:
    """Loop nests that run side by side, a row of each at a time; rows of results wait in rings for readers.

    parts: the nests, makers before readers
    lags: for each part how many rows it runs behind the first
    rings: for each result that never goes to memory how many of its rows are kept, a power of two
    """

    parts: tuple[KernelStep, ...]
    lags: tuple[int, ...]
    rings: Mapping[Var, int]

    @property
    def stored(self) -> frozenset[Var]:
        """What goes to memory."""
        return frozenset(v for part in self.parts for v in part.stored if v not in self.rings)


@dataclass(frozen=True)
class LibraryStep:
    """One call of `primitive.evaluate` on stored arrays (or views of them) into a buffer."""

    eqn: Eqn


Step = KernelStep | StreamStep | LibraryStep


@dataclass(frozen=True)
class Schedule:
    """The normalised graph, who defines what, the steps in order, and what was forced of the choices."""

    graph: Graph
    definitions: Mapping[Var, Eqn]
    steps: tuple[Step, ...]
    choices: Choices = AUTO

    @property
    def kernels(self) -> list[KernelStep | StreamStep]:
        return [s for s in self.steps if not isinstance(s, LibraryStep)]
