"""What runs together: equations in loop nests and library calls, views resolved, results given arrays.

Enters: an optimised `Graph`. Leaves: a `Schedule`, whose kernel steps `tracejit.codegen` lowers.
"""

from tracejit.schedule.fusion import schedule_graph
from tracejit.schedule.group import Group
from tracejit.schedule.steps import KernelStep, LibraryStep, Schedule, StreamStep

__all__ = ["Group", "KernelStep", "LibraryStep", "Schedule", "StreamStep", "schedule_graph"]
