"""Loop nests printed as explicit vector LLVM IR: kernels enter, the text of one module leaves."""

from tracejit.codegen.llvm.program import print_program

__all__ = ["print_program"]
