"""The programs that the suite states elsewhere, as CUDA kernels in the emulator: lists are taken whole.

What grows with a size of its own is in `corpus`; here each program runs at the sizes that its list gives it,
and the users' programs of `test_cross_check` with each of their sizes changed in turn.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workload import NAMES, get_workload
from tests import golden_programs, test_cross_check, test_cross_check_matrices, test_nn, test_sizes
from tests.codegen.cuda import test_source
from tests.codegen.cuda.corpus import ITERATIONS, MOST, REFUSED, SIZES, elements_of, repeated
from tests.codegen.cuda.emulated import check_launches, device_program, lowered
from tests.ops import test_conformance
from tests.ops.tracing import trace_call
from tests.runtime.calls import test_entry
from tests.transforms import functions
from tests.transforms.checks import is_single
from tracejit.codegen.cuda.launches import iterations
from tracejit.ir import Graph
from tracejit.pytree import flatten

Stated = tuple[Callable[..., Any], tuple[Any, ...]]  # a transformed function, and its arguments

# Workloads at sizes that the emulator takes well below a second for.
SHAPES = {
    "tutorial": (5, 3),
    "curve_fit": (50,),
    "logistic_regression": (33, 5),
    "chain": (1000,),
    "black_scholes": (300,),
    "rosenbrock": (300,),
    "stencil": (33,),
    "total_variation": (33,),
    "mlp": (17,),
    "softmax_cross_entropy": (33, 10),
    "layer_norm": (33, 31),
    "attention": (33, 16),
    "gaussian_process": (20,),
    "oscillators": (33,),
}
# Compiled for 64 s; the same step, once, is in the list beside it.
TOO_LONG = {"runge_kutta_20"}


def _case(program: test_cross_check.Program) -> Stated:
    case = test_cross_check.Case(program)
    return tj.value_and_grad(case.f, argnums=case.argnums), case.args


def _gradient(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Stated:
    return tj.value_and_grad(function, argnums=tuple(range(len(arguments)))), arguments


def _workload(name: str) -> Stated:
    workload = get_workload(name)
    return tj.grad_jit(workload.loss, argnums=workload.argnums), workload.inputs(*SHAPES[name])


def _summed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return tj.grad_jit(lambda x: np.sum(np.sin(function(x))))


CROSS: dict[str, test_cross_check.Program] = {
    p.loss.__name__: p for p in test_cross_check.PROGRAMS if p.loss.__name__ not in TOO_LONG
}
# Name -> what makes the program and its arguments.
STATED: dict[str, Callable[[], Stated]] = {
    **{f"golden {name}": lambda p=p: p for name, p in golden_programs.PROGRAMS.items()},
    **{f"source {name}": lambda p=p: _gradient(*p) for name, p in test_source.CASES.items()},
    **{f"call {name}": lambda p=p: (tj.jit(p[0]), p[1]) for name, p in test_entry.CASES.items()},
    **{
        f"sizes {name}": lambda f=f, make=make, n=n: (f, make(n))
        for n, (name, (f, make)) in zip(itertools.cycle(SIZES), test_sizes.PROGRAMS.items())
    },
    **{f"nn {name}": lambda f=f: (_summed(f), (test_nn.X,)) for name, f in test_nn.FUNCTIONS.items()},
    **{
        f"function {f.__name__}": lambda f=f: (tj.grad_jit(f), (functions.POINT,))
        for f in functions.FUNCTIONS
    },
    **{f"matrices {p.loss.__name__}": lambda p=p: _case(p) for p in test_cross_check_matrices.PROGRAMS},
    **{f"cross {name}": lambda p=p: _case(p) for name, p in CROSS.items()},
    **{
        f"workload {name}": lambda name=name: _workload(name)
        for name in NAMES
        if "tracejit" not in get_workload(name).missing
    },
}
# The lists of programs that the suite has, and those that say nothing here, with the reason.
TAKEN = {
    "test_nn.FUNCTIONS",
    "transforms.functions.FUNCTIONS",
    "golden_programs.PROGRAMS",
    "test_cross_check.PROGRAMS",
    "test_cross_check_matrices.PROGRAMS",
    "test_sizes.PROGRAMS",
    "runtime.calls.test_entry.CASES",
    "codegen.cuda.test_source.CASES",
    "codegen.cuda.corpus.PROGRAMS",  # by test_corpus
    "ops.test_rules.CASES",  # by test_cases and test_corpus
    "test_halves.FUNCTIONS",  # by test_halves itself
}
NOT_TAKEN = {
    "runtime.test_intrinsics.CASES": "calls of LLVM's intrinsics",
    "benchmarks.test_gpu_check.CASES": "programs of the check on a device, run there in the emulator",
    "codegen.math.test_accuracy.CASES": "names of scalar functions, which the emulator takes from NumPy",
    "codegen.llvm.test_rows.FUNCTIONS": "forms of vector loops; their steps are rows of the case table",
    "codegen.cuda.test_mutants.PROGRAMS": "CUDA kernels with a fault put in",
    "codegen.cuda.skeletons.CASES": "CUDA kernels for the compiler, checked in the emulator beside",
}


def check_stated(name: str) -> None:
    """The launches give what the evaluator gives."""
    check_call(*STATED[name]())


def check_call(function: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """False where the graph is too large for the emulator."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph, arrays = lowered(function, *arguments)
    return check_graph(graph, arrays)


def check_graph(graph: Graph, arrays: Sequence[Any]) -> bool:
    program = device_program(graph)
    if elements_of(graph) > MOST or sum(iterations(p.kernel.body) for p in program.launches) > ITERATIONS:
        return False
    check_launches(program, graph, arrays, 1e-4 if is_single(graph) else 1e-10)
    return True


def sizes_of(name: str) -> list[int]:
    """The sizes that arguments of a user's program have."""
    leaves = flatten(test_cross_check.Case(CROSS[name]).args)[0]
    return sorted({d for x in leaves for d in np.shape(x) if d > 1})


def check_resized(name: str, d: int, n: int) -> bool:
    """A user's program with `n` for a size; False where it takes no such size, or the graph is too large."""
    case = test_cross_check.Case(CROSS[name])
    leaves, tree = flatten(case.args)
    arguments = tree.unflatten([repeated(x, d, n) if isinstance(x, np.ndarray) else x for x in leaves])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            case.f(*arguments)
        except REFUSED:
            return False
    return check_call(tj.value_and_grad(case.f, argnums=case.argnums), arguments)


def conformance_rows() -> Iterator[tuple[str, Callable[[], bool]]]:
    """The calls of NumPy's functions, by name."""
    for row in test_conformance.ROWS:
        call, arguments = row.values
        yield str(row.id), lambda call=call, arguments=arguments: _check_numpy_call(call, arguments)


def _check_numpy_call(call: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = trace_call(lambda *tracers: call(np, *tracers), arguments, "call")
    return check_graph(traced.graph, traced.arrays)
