"""The ways to a value and its gradients that are compared: ours, CuPy by hand, CUDA C++, torch, JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import tracejit as tj
from benchmarks.gpu.cpp_kernel import CppStep
from benchmarks.gpu.libraries import Library
from benchmarks.gpu.rows import ROWS
from benchmarks.gpu.toolkit import toolkit_program
from benchmarks.systems import Jax
from benchmarks.workload import Workload, with_modules
from tracejit.codegen.cuda import elements, launches
from tracejit.runtime.cuda import executable

Call = Callable[..., Any]
Build = Callable[[Workload, Library], Call]

SWEPT = (1, 2, 4, 8)  # elements of a thread at once
SWEPT_ROWS = ("bce", "chain", "black_scholes")


@dataclass(frozen=True)
class Variant:
    """One way, on the arrays of one library.

    rows: for which it is there; None: for all
    within: what holds while a step is built and called for the first time
    on_device: whether it needs one
    """

    name: str
    library: str
    build: Build
    is_ours: bool = False
    rows: tuple[str, ...] | None = None
    within: Callable[[], AbstractContextManager[Any]] = nullcontext
    on_device: bool = False


def _ours(workload: Workload, library: Library, fuse: bool = True) -> Call:
    return tj.grad_jit(workload.loss, argnums=workload.argnums, fuse=fuse, target=library.target)


def _by_hand(workload: Workload, library: Library) -> Call:
    """The gradient derived by hand, in the library's own functions."""
    if not library.is_device:
        return workload.by_hand
    import cupy
    import cupyx.scipy.special

    return with_modules(workload.by_hand, np=cupy, special=cupyx.scipy.special)


def _cpp(workload: Workload, library: Library, compiler: str) -> Call:
    return CppStep(library, compiler)


def _torch(workload: Workload, library: Library, is_compiled: bool) -> Call:
    import torch

    loss = workload.implementations["torch"]()
    if is_compiled:
        # torch keeps 8 compiled forms of a code object, which functions of its own share, and then runs
        # another one eagerly: none is left from other sizes, and what is not compiled as a whole is an error.
        torch.compiler.reset()
        loss = torch.compile(loss, dynamic=False, fullgraph=True)
    gradient, positions = torch.autograd.grad, workload.argnums

    def step(*args: Any) -> Any:
        for k in positions:
            args[k].requires_grad_()
        value = loss(*args)
        return value, gradient(value, [args[k] for k in positions])

    return step


def _jax(workload: Workload, library: Library) -> Call:
    import jax

    return jax.jit(jax.value_and_grad(Jax().loss(workload), workload.argnums))


# --- other kernels of ours ----------------------------------------------------------------------------------


@contextlib.contextmanager
def unrolled(count: int) -> Generator[None]:
    """Threads take `count` elements of a map at once, in kernels that are printed meanwhile."""
    with patch.object(elements, "UNROLLED", count), patch.object(launches, "UNROLLED", count):
        yield


@contextlib.contextmanager
def array_arguments() -> Generator[None]:
    """Kernels that are printed meanwhile take Numba's arrays instead of addresses."""
    print_launch = executable.print_launch

    def printed(*args: Any, **kwargs: Any) -> Any:
        found = print_launch(*args, **kwargs)
        slots = zip(found.parameters, found.slots, strict=True)
        kinds = tuple(f"{k[1:]}[]" if k[0] == "*" and s[0] == "array" else k for k, s in slots)
        return replace(found, parameters=kinds)

    with patch.object(executable, "print_launch", printed):
        yield


FUSED = Variant("fused", "cupy", _ours, is_ours=True)
MAIN = (
    FUSED,
    Variant("unfused", "cupy", partial(_ours, fuse=False), is_ours=True),
    Variant("by hand", "cupy", _by_hand),
    Variant("C++ by NVRTC", "cupy", partial(_cpp, compiler="nvrtc"), rows=("bce",), on_device=True),
    Variant("C++ by nvcc", "cupy", partial(_cpp, compiler="nvcc"), rows=("bce",), on_device=True),
    Variant("torch", "torch", partial(_torch, is_compiled=False)),
    Variant("torch.compile", "torch", partial(_torch, is_compiled=True)),
    Variant("JAX", "jax", _jax),
)
SWEEP = (
    *[
        replace(FUSED, name=f"fused, {n} at once", rows=SWEPT_ROWS, within=partial(unrolled, n))
        for n in SWEPT
    ],
    replace(FUSED, name="fused, array arguments", rows=SWEPT_ROWS, within=array_arguments),
)
# Ours on the arrays of others, which matters for the host alone.
GUESTS = (
    replace(FUSED, name="fused, torch's arrays", library="torch", on_device=True),
    replace(FUSED, name="fused, JAX's arrays", library="jax", on_device=True),
)
VARIANTS = {v.name: v for v in (*MAIN, *SWEEP, *GUESTS)}


def variants_of(row: str, library: str, chosen: Sequence[Variant], is_device: bool) -> list[Variant]:
    """Those of a library that there are for a row."""
    has_torch = "torch" in ROWS[row].workload().implementations
    return [
        v
        for v in chosen
        if v.library == library
        and (v.rows is None or row in v.rows)
        and (is_device or not v.on_device)
        and (v.library != "torch" or v.is_ours or has_torch)
        and (v.name != "C++ by nvcc" or toolkit_program("nvcc") is not None)
    ]
