"""From a schedule to source: loop nests of scalar statements, and the printers that write them down.

Enters: a `Schedule`. Leaves: a `Program` (kernels, arrays, memory plan) and its text for one set of layouts.
"""

from tracejit.codegen import llvm, numba_source
from tracejit.codegen.program import Program, build_program
from tracejit.codegen.table import ProgramText

__all__ = ["Program", "ProgramText", "build_program", "llvm", "numba_source"]
