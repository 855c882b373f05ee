"""From a schedule to source: loop nests of scalar statements, and the printers that write them down.

Enters: a `Schedule`. Leaves: a `Program` (kernels, arrays, memory plan) and its text for one set of layouts.
"""

from tracejit.codegen.numba_source import ProgramText, print_program
from tracejit.codegen.program import Program, build_program

__all__ = ["Program", "ProgramText", "build_program", "print_program"]
