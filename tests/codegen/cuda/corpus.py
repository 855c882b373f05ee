"""Programs, and rows of the case table, at sizes around a warp, a block and several blocks, in the emulator.

`python -m tests.codegen.cuda.corpus --all` takes every size of every row; the tests of CI take some of each.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workload import get_workload
from tests import golden_programs, test_nn, test_user_programs
from tests.codegen.cuda.emulated import FLOATS, SIZES, check_launches, device_program
from tests.halves import half
from tests.interop.losses import layouts
from tests.ops.cases.case import Case, integers, normal, uniform
from tests.ops.test_rules import ROWS, moving
from tests.ops.tracing import Traced, trace_call
from tests.test_halves import units
from tests.transforms import functions
from tests.transforms.checks import float_outputs, is_single, random_like
from tracejit import nn
from tracejit.codegen.cuda.launches import iterations
from tracejit.ir import Graph, is_floating
from tracejit.pytree import flatten
from tracejit.transforms import vjp_graph

HALVES = ("f16", "bf16")
MOST = 30_000  # elements of all results of a row's equations together
ITERATIONS = 10_000  # of all loops of a row

# --- rows of the case table, larger -------------------------------------------------------------------------

ELEMENTWISE = ("arithmetic", "bits", "comparison", "rounding", "special", "transcendental")
REFUSED = (ValueError, TypeError, IndexError, NotImplementedError, ZeroDivisionError)
# Products of more numbers overflow, at another place in another order, and are nan times the zero among them.
LARGEST = {"reduction-reduce_prod-long-with-zero": 257}
FIXED = ("factorization", "linalg")  # matrices that repeat their rows are singular, and libraries do the work


Grow = Callable[[int], "Case | None"]  # None where the arguments would be too large


def resized_rows(name: str, case: Case) -> Iterator[tuple[str, Grow]]:
    """The ways in which a row may grow: each size that its arguments have, repeated up to another one."""
    family = name.partition("-")[0]
    arrays = [a for a in case.args if isinstance(a, np.ndarray) and a.ndim]
    if family in FIXED or not arrays or any(a.size == 0 for a in arrays):
        return
    if family in ELEMENTWISE:
        yield f"{name}[n]", lambda n: _with(case, lambda x: np.resize(x.ravel(), n))
        return
    largest = LARGEST.get(name, MOST)
    for d in sorted({d for a in arrays for d in a.shape if d > 1}):
        yield f"{name}[{d}->n]", lambda n, d=d: _grown(case, arrays, d, n) if n <= largest else None


def _grown(case: Case, arrays: Sequence[Any], d: int, n: int) -> Case | None:
    if max(math.prod(n if size == d else size for size in a.shape) for a in arrays) > MOST:
        return None
    return _with(case, lambda x: repeated(x, d, n))


def _with(case: Case, change: Callable[[Any], Any]) -> Case:
    args = tuple(change(a) if isinstance(a, np.ndarray) and a.ndim else a for a in case.args)
    return replace(case, args=args)


def repeated(x: Any, d: int, n: int) -> Any:
    """The array with `n` in place of each size `d`."""
    for axis in [k for k, size in enumerate(x.shape) if size == d]:
        x = np.take(x, np.arange(n) % d, axis=axis)
    return x


def check_case(case: Case | None, single: bool = False) -> bool:
    """The row's value and gradient; False where NumPy itself refuses these sizes, or they are too large."""
    if case is None:
        return False
    args = tuple(a.astype("f4") if single and _is_double(a) else a for a in case.args)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = _traced(case, args)
        if traced is None or elements_of(traced.graph) > MOST or not _is_taken(case, args):
            return False
    graph, arrays = traced.graph, traced.arrays
    if case.order and moving(case):
        rng = np.random.default_rng(0)
        cts = [random_like(rng, a) for a in float_outputs(graph)]
        graph, arrays = vjp_graph(graph, moving(case)), (*arrays, *cts)
    program = device_program(graph)
    if sum(iterations(launch.kernel.body) for launch in program.launches) > ITERATIONS:
        return False
    check_launches(program, graph, arrays, 1e-4 if is_single(graph) else 1e-10)
    return True


def _traced(case: Case, args: Sequence[Any]) -> Traced | None:
    """The row as a graph; None where it says something that does not fit these sizes."""
    try:
        return trace_call(case.call, args, case.op)
    except REFUSED:
        if case.expected is None and _is_taken(case, args):
            raise
        return None


def _is_taken(case: Case, args: Sequence[Any]) -> bool:
    """Does NumPy take these sizes?"""
    try:
        (case.expected or case.call)(*args)
    except REFUSED:
        return False
    return True


def elements_of(graph: Graph) -> int:
    """Of the results of all equations together."""
    return sum(math.prod(e.out.type.shape) for e in graph.eqns)


def _is_double(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.float64


# --- programs -----------------------------------------------------------------------------------------------

LABELS = integers(0, 3, max(SIZES))


def _made(name: str) -> Callable[[int], tuple[Any, ...]]:
    """The arguments of a workload whose one size grows."""
    return lambda n: get_workload(name).inputs(n)


def _wide(name: str) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: get_workload(name).inputs(3, n)


def _tall(name: str) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: get_workload(name).inputs(n, 3)


def _matrix(n: int) -> tuple[Any, ...]:
    return (normal(3, n),)


def _summed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loss whose cotangents are not all alike."""
    return lambda *args: sum(
        np.sum(np.sin(y + 1.0) * y) for y in flatten(function(*args))[0] if is_floating(y.dtype)
    )


def _workload(name: str) -> Callable[..., Any]:
    return lambda *args: get_workload(name).loss(*args)


def _example(module: str, name: str, nested: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """A function of an example, which imports what only examples need; `nested`: the arguments it takes."""

    def call(*args: Any) -> Any:
        function = getattr(import_module(f"examples.{module}"), name)
        return getattr(function, "value", function)(*nested(*args))

    return call


def _pair(a: Any, b: Any, *rest: Any) -> tuple[Any, ...]:
    return ((a, b), *rest)


def _labelled(a: Any, b: Any, c: Any, d: Any, x: Any) -> tuple[Any, ...]:
    return {"hidden": {"w": a, "b": b}, "output": {"w": c, "b": d}}, x, LABELS[: len(x)]


DOUBLING = test_user_programs.Doubling()


def tutorial(w: Any, b: Any, x: Any, y: Any) -> Any:
    return golden_programs.tutorial({"w": w, "b": b}, x, y)


# Losses of float arguments, each with its arguments at a size.
PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    **{
        f"nn {name}": (_summed(f), _matrix)
        for name, f in test_nn.FUNCTIONS.items()
        if not any(word in name for word in ("scaled", "entropy", "mse", "huber"))
    },
    "nn entropy": (lambda x: nn.cross_entropy(x, LABELS[: len(x)]), lambda n: (normal(n, 3),)),
    "nn huber": (lambda x, y: nn.huber(x, y, delta=0.5), lambda n: (normal(n), normal(n, seed=1))),
    **{f"function {f.__name__}": (f, lambda n: (normal(n),)) for f in functions.FUNCTIONS[:2]},
    "tutorial": (tutorial, lambda n: (normal(5, 3), normal(3), normal(n, 5), uniform(0, 1, n, 3))),
    "chain": (golden_programs.chain, lambda n: (normal(n), 0.7, 0.1)),
    "softmax": (
        lambda x: golden_programs.softmax_cross_entropy(x, LABELS[: len(x)]),
        lambda n: (normal(n, 4),),
    ),
    "mlp": (
        lambda a, b, c, d, x, y: golden_programs.mlp([(a, b), (c, d)], x, y),
        lambda n: (normal(4, 6), normal(6), normal(6, 2), normal(2), normal(n, 4), normal(n, 2)),
    ),
    "regression": (
        golden_programs.logistic_regression,
        lambda n: (normal(n), normal(3, n), uniform(0, 1, 3)),
    ),
    "five points": (golden_programs.five_points, lambda n: (normal(4, n),)),
    "standardise": (_summed(golden_programs.standardise), lambda n: (normal(n, 3),)),
    "embedding": (lambda t: golden_programs.embedding(t, LABELS[: len(t)]), lambda n: (normal(n, 2),)),
    "running": (_summed(golden_programs.running), lambda n: (normal(n),)),
    "joined": (golden_programs.joined, lambda n: (normal(2, n), normal(1, n))),
    "branches": (golden_programs.branches, lambda n: (normal(n),)),
    "turned": (_summed(golden_programs.turned), lambda n: (normal(n, 2),)),
    "attention": (
        _summed(golden_programs.attention),
        lambda n: (normal(1, 2, n), normal(1, 3, n), normal(1, 3, n)),
    ),
    **{
        f"workload {name}": (_workload(name), make(name))
        for make, names in (
            (_made, ("chain", "rosenbrock", "black_scholes", "curve_fit")),
            (_wide, ("layer_norm", "logistic_regression", "attention")),
            (_tall, ("layer_norm", "logistic_regression")),
        )
        for name in names
    },
    "user loss": (test_user_programs.loss, lambda n: (normal(n, 4), normal(4, 3))),
    "user orbit": (
        lambda x: np.sum(test_user_programs.orbit(x, 5)),
        lambda n: (uniform(0.1, 1.0, 5, n),),
    ),
    "user slices": (lambda x: test_user_programs.sliced_at_the_end(x, 3), lambda n: (normal(n),)),
    "user methods": (
        lambda x: DOUBLING.loss.value(test_user_programs.half_mean(DOUBLING.square(x))),
        lambda n: (normal(n),),
    ),
    "example device": (
        _example("train_on_device", "loss", _pair),
        lambda n: (normal(3), normal(), normal(n, 3), uniform(0, 1, n)),
    ),
    "example digits": (
        _example("mlp_digits", "loss", _labelled),
        lambda n: (normal(5, 4), normal(4), normal(4, 3), normal(3), normal(n, 5)),
    ),
    "example oscillators": (
        _summed(_example("oscillators", "swing", lambda *args: (*args, 2))),
        lambda n: (uniform(1, 3, n), uniform(0, 1, n), normal(n), normal(n, seed=1)),
    ),
}
WITHOUT_HALVES = {"example oscillators"}  # `tj.scan` refuses floats of two bytes
# Matrices that lie in memory in any way, made from one of 4 columns.
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    **{f"user {name}": make for name, make in test_user_programs.LAYOUTS.items()},
    **{f"interop {name}": lambda x, name=name: layouts(x)[name] for name in layouts(np.ones((2, 4)))},
}


def check_program(name: str, n: int, dtype: str) -> bool:
    """Value and gradients are the processor's; False where the function takes no such size."""
    loss, make = PROGRAMS[name]
    arguments = make(n)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loss(*arguments)
        except (ValueError, IndexError):
            return False  # a maximum of nothing
    to = half(dtype) if dtype in HALVES else np.dtype(dtype)
    check_loss(loss, [x.astype(to) if _is_double(x) else x for x in arguments], dtype)
    return True


def check_layout(name: str, n: int) -> None:
    """A matrix of about so many rows that lies in this way: value and gradients are the processor's."""
    check_loss(lambda x, y: np.sum(np.tanh(x) * y[0]), [LAYOUTS[name](normal(n, 4)), normal(4)], "f8")


def check_loss(loss: Callable[..., Any], arguments: Sequence[Any], dtype: str) -> None:
    """Two bytes are rounded to, once, from what float32 gives."""
    wrt = tuple(k for k, x in enumerate(arguments) if is_floating(np.asarray(x).dtype))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = (
            flatten(tj.grad_jit(loss, argnums=wrt, target=target)(*arguments))[0]
            for target in ("cuda-emu", "cpu")
        )
    tolerance = 1e-10 if dtype == "f8" else 2e-4
    for x, wanted in zip(found, expected, strict=True):
        assert x.dtype == wanted.dtype
        numbers = wanted.astype(float)
        scale = float(np.max(np.abs(numbers), initial=1.0, where=np.isfinite(numbers)))
        slack = tolerance * scale + (units(dtype, numbers) if dtype in HALVES else 0.0)
        is_close = np.isclose(x.astype(float), numbers, rtol=tolerance, atol=slack, equal_nan=True)
        assert is_close.all(), f"{x} is not {wanted}"


# --- all of them --------------------------------------------------------------------------------------------


def grown_rows() -> list[tuple[str, Grow]]:
    return [row for name, case in ROWS for row in resized_rows(name, case)]


def every_check() -> Iterator[tuple[str, Callable[[], bool]]]:
    for name, grow in grown_rows():
        for n in SIZES:
            for dtype in FLOATS:
                yield f"{name} n={n} {dtype}", lambda g=grow, n=n, d=dtype: check_case(g(n), d == "f4")
    for name in PROGRAMS:
        for n in SIZES:
            for dtype in FLOATS if name in WITHOUT_HALVES else FLOATS + HALVES:
                yield f"{name} n={n} {dtype}", lambda name=name, n=n, d=dtype: check_program(name, n, d)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check every size of every row and program, or every k-th check; returns 1 if any fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.codegen.cuda.corpus", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every check, not every seventh")
    parser.add_argument("--only", default="", help="checks whose name has this in it")
    options = parser.parse_args(arguments)
    checks = [(name, check) for name, check in every_check() if options.only in name]
    done = failures = 0
    for name, run in checks[:: 1 if options.all else 7]:
        try:
            done += run()
        except Exception as error:
            failures += 1
            print(f"{name}: {type(error).__name__}: {str(error).strip()[:300]}", flush=True)
    print(f"{done} checks, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
