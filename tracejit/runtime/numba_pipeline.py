"""Kernel source enters, an LLVM module with one entry `void program(int64*, double*)` leaves.

Numba types and lowers the functions; a short pipeline of its passes, contexts that load only what kernels
need, and one LLVM module for all functions make that several times faster than `@njit`. Importing this module
imports Numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import cgutils, compiler, cpu, typed_passes, types, untyped_passes
from numba.core.codegen import CodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.imputils import builtin_registry as builtin_lowerings
from numba.core.typing import mathdecl, templates
from numba.core.typing.context import Context
from numba.core.typing.templates import signature

from tracejit.codegen.scalar_library import plain_namespace
from tracejit.runtime import intrinsics

ENTRY = "program"
ENTRY_ARGUMENTS = (types.CPointer(types.int64), types.CPointer(types.float64))

# The passes of Numba that a kernel needs: no closures, no rewrites, no literal propagation, no object mode.
# Without SSA reconstruction, quadratic in the length of a function, a variable has one type throughout.
PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list[Any]:
        manager = PassManager("tracejit")
        for step in PASSES:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


@cache
def _builtin_types() -> templates.Registry:
    """Numba's operators and builtin functions; its methods and attributes would import all of its library."""
    registry = templates.Registry()
    registry.functions = list(templates.builtin_registry.functions)
    registry.globals = list(templates.builtin_registry.globals)
    return registry


_PIPELINE: Any = _Pipeline


class _TypingContext(Context):
    """Numba's types for builtins and `math`, ours for the scalar library and the functions of one program."""

    compilation: Compilation | None = None

    def _load_builtins(self) -> None:
        self.install_registry(_builtin_types())

    def load_additional_registries(self) -> None:
        self.install_registry(mathdecl.registry)
        self.install_registry(intrinsics.TYPES)

    def resolve_value_type(self, val: Any) -> Any:
        if isinstance(val, FunctionType) and self.compilation is not None:
            found = self.compilation.function_type(val) or self._lookup_global(val)
            if found is not None:
                return found
        return super().resolve_value_type(val)


class _TargetContext(cpu.CPUContext):
    """Numba's CPU lowerings for numbers, ranges and `math`, without arrays, strings and all the rest."""

    def load_additional_registries(self) -> None:
        for name in ("builtins", "iterators", "numbers", "rangeobj", "tupleobj"):
            import_module(f"numba.cpython.{name}")  # each adds to Numba's registry of builtins
        self.install_registry(import_module("numba.cpython.mathimpl").registry)
        self.install_registry(intrinsics.LOWERINGS)
        self.install_registry(builtin_lowerings)

    def post_lowering(self, mod: Any, library: Any) -> None:
        """Numba links its reference counting here, which kernels have no use for."""

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        compilation = self.typing_context.compilation
        key = fn.typing_key if isinstance(fn, types.Function) else None
        if compilation is not None and key in compilation.functions:
            return lambda builder, args, loc=None: compilation.call(self, builder, key, sig.args, args)
        if key in intrinsics.OPERATORS:
            return lambda builder, args, loc=None: intrinsics.emit_operator(self, builder, key, sig, args)
        return super().get_function(fn, sig, _firstcall)


class _Library(CodeLibrary):
    """Where Numba puts code: one LLVM module for every function of a program, finished elsewhere."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.module = codegen._create_empty_module(name)

    def create_ir_module(self, name: str) -> Any:
        return self.module

    def add_ir_module(self, ir_module: Any) -> None:
        assert ir_module is self.module

    def add_linking_library(self, library: Any) -> None:
        raise NotImplementedError(f"kernel source reached a part of Numba that links {library}")

    def finalize(self) -> None:
        raise NotImplementedError

    def get_function(self, name: str) -> Any:
        return self.module.get_global(name)

    def get_llvm_str(self) -> Any:
        return str(self.module)

    def get_asm_str(self) -> Any:
        raise NotImplementedError


class Compilation:
    """The functions of one program on their way into one LLVM module, each compiled when first called."""

    def __init__(self, functions: dict[FunctionType, bool]) -> None:
        self.functions = functions  # function -> whether its pointer arguments are pairwise disjoint
        self.typing_context, self.target_context = _contexts()
        self.library = _Library(self.target_context.codegen(), "tracejit")
        self.failure: Exception | None = (
            None  # the innermost; Numba wraps it in "no implementation of kernel_0"
        )
        self._compiled: dict[tuple[Any, tuple[Any, ...]], Any] = {}
        self._function_types: dict[FunctionType, Any] = {}

    def function_type(self, function: FunctionType) -> Any | None:
        """The Numba type of one of the program's own functions; calling it compiles the function."""
        if function not in self.functions:
            return None
        if function not in self._function_types:

            def generic(template: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
                try:
                    return signature(self.compile(function, args).signature.return_type, *args)
                except Exception as error:
                    self.failure = self.failure or error
                    raise

            template = type(
                function.__name__, (templates.AbstractTemplate,), {"key": function, "generic": generic}
            )
            self._function_types[function] = types.Function(template)
        return self._function_types[function]

    def compile(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Type and lower `function` for argument types `args` into the module, once."""
        key = (function, args)
        if key not in self._compiled:
            flags: Any = compiler.Flags()
            flags.no_compile = True
            flags.no_cpython_wrapper = True
            flags.no_cfunc_wrapper = True
            flags.enable_pyobject = False
            flags.error_model = "numpy"
            flags.noalias = self.functions.get(function, False)
            result = self._compiled[key] = compiler.compile_extra(
                self.typing_context,
                self.target_context,
                function,
                args,
                None,
                flags,
                {},
                library=self.library,
                pipeline_class=_PIPELINE,
            )
            if function in self.functions:
                # Kernels apart compile sooner, keep `noalias` and their names; a call costs a nanosecond.
                self.library.module.get_global(result.fndesc.mangled_name).attributes.add("noinline")
        return self._compiled[key]

    def call(self, context: Any, builder: Any, function: Any, args: Any, operands: list[Any]) -> Any:
        """Emit a call of `function` compiled for argument types `args`; no kernel raises, so no status."""
        result = self.compile(function, tuple(args))
        callee = context.declare_function(builder.module, result.fndesc)
        _, value = context.call_conv.call_function(
            builder, callee, result.signature.return_type, tuple(args), operands
        )
        return value

    def finish(self, program: FunctionType) -> str:
        """Compile `program` with the C entry around it and return the module's text."""
        module = self.library.module
        pointers = [self.target_context.get_value_type(t) for t in ENTRY_ARGUMENTS]
        self.compile(program, ENTRY_ARGUMENTS)
        entry = ir.Function(module, ir.FunctionType(ir.VoidType(), pointers), name=ENTRY)
        builder = ir.IRBuilder(entry.append_basic_block())
        self.call(self.target_context, builder, program, ENTRY_ARGUMENTS, list(entry.args))
        builder.ret_void()
        _hide_all_but(entry)
        return cgutils.normalize_ir_text(str(module))


def _hide_all_but(entry: ir.Function) -> None:
    """Internal linkage lets LLVM drop what it inlined, and Numba's unused environment pointers."""
    for value in entry.module.global_values:
        is_function = isinstance(value, ir.Function) and not value.is_declaration and value is not entry
        if is_function or (isinstance(value, ir.GlobalVariable) and value.linkage == "common"):
            value.linkage = "internal"


_CONTEXTS: list[tuple[_TypingContext, _TargetContext]] = []


def _contexts() -> tuple[_TypingContext, _TargetContext]:
    """The process's contexts, made on first use; the caller holds Numba's compiler lock."""
    if not _CONTEXTS:
        typing_context = _TypingContext()
        _CONTEXTS.append((typing_context, _TargetContext(typing_context)))
    return _CONTEXTS[0]


def lower_source(source: str, filename: str) -> str:
    """The LLVM text of kernel source that defines `program(ip, fp)` and the functions it calls.

    `NOALIAS = ("kernel_0", ...)` at the top of the source names functions whose pointers never overlap.
    """
    names: dict[str, Any] = {**plain_namespace(), "math": math, "__name__": "tracejit_kernels"}
    own = set(names)
    exec(compile(source, filename, "exec"), names)
    disjoint = names.get("NOALIAS", ())
    functions = {
        value: name in disjoint
        for name, value in names.items()
        if name not in own and isinstance(value, FunctionType) and name != ENTRY
    }
    with global_compiler_lock:
        compilation = Compilation(functions)
        compilation.typing_context.compilation = compilation
        try:
            return compilation.finish(names[ENTRY])
        except Exception as error:
            raise (compilation.failure or error) from None
        finally:
            compilation.typing_context.compilation = None
