"""A graph and the arrays of a call enter; what each step moves, computes and takes leaves, and the ceilings.

The ceilings are what this machine can do, measured once.
"""

from tracejit.roofline.machine import Level, Machine, measured_machine
from tracejit.roofline.report import Roofline, StepRow, Variant, measure_roofline
from tracejit.roofline.work import Work, kernel_work, library_work

__all__ = [
    "Level",
    "Machine",
    "Roofline",
    "StepRow",
    "Variant",
    "Work",
    "kernel_work",
    "library_work",
    "measure_roofline",
    "measured_machine",
]
