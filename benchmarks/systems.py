"""The systems that are compared: how each is woken, given its arrays, and made to give value and gradients.

Each is a class with the same five methods, so that a worker treats all alike; libraries are imported by the
methods only, so that a process holds no system but its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import Workload, with_modules

Call = Callable[..., Any]


class System:
    """What is common: NumPy arrays in, `(value, (gradients, ...))` out, nothing to wake.

    label: the heading of its column
    packages: what must be installed
    keeps_code: compiled code survives the process, so a first call in a new process is measured too
    note: what is measured, in a few words
    first_call: seconds, where `build` knows better than the clock around it what the first call took
    """

    label = ""
    packages: tuple[str, ...] = ()
    keeps_code = False
    note = ""
    first_call: float | None = None

    def wake(self) -> None:
        """Import and use the library once, so that its start is not taken for the workload's first call."""

    def convert(self, workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments in the system's own type."""
        return args

    def build(self, workload: Workload) -> Call:
        """The function of value and gradients; nothing need be compiled before its first call."""
        raise NotImplementedError

    def to_numpy(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        """A result as a value and a tuple of gradients, in NumPy's types."""
        value, gradients = result
        return value, tuple(gradients) if isinstance(gradients, (tuple, list)) else (gradients,)

    def kept_bytes(self, workload: Workload, args: tuple[Any, ...]) -> int:
        """Bytes that the system keeps between calls and uses in each of them."""
        return 0


class Tracejit(System):
    label = "tracejit"
    packages = ("numba",)
    keeps_code = True
    note = "grad_jit of the plain source"
    fuse = True

    def wake(self) -> None:
        import tracejit as tj

        step = tj.grad_jit(lambda x: np.sum(x), fuse=self.fuse)
        # The second call is the first that goes the fast way, whose code is the same for all programs.
        step(np.ones(7))
        step(np.ones(7))
        tj.jit(lambda x: x @ x, fuse=self.fuse)(np.ones((40, 40)))  # loads SciPy's BLAS

    def build(self, workload: Workload) -> Call:
        import tracejit as tj

        return tj.grad_jit(workload.loss, argnums=workload.argnums, fuse=self.fuse)

    def kept_bytes(self, workload: Workload, args: tuple[Any, ...]) -> int:
        import tracejit as tj

        return tj.inspect(self.build(workload))(*args).workspace


class TracejitUnfused(Tracejit):
    label = "unfused"
    keeps_code = False
    note = "tracejit with fuse=False: a kernel an operation"
    fuse = False


class NumpyByHand(System):
    label = "NumPy"
    note = "value and gradient derived and written by hand in NumPy; the reference of all checks"

    def build(self, workload: Workload) -> Call:
        return workload.by_hand


class NumbaByHand(System):
    label = "hand"
    packages = ("numba",)
    note = "the same fused by hand in Numba, with polynomial mathematics: the limit"

    def wake(self) -> None:
        from benchmarks import hand_math

        hand_math.kernel(lambda x: x + 1.0)(1.0)

    def build(self, workload: Workload) -> Call:
        return workload.implementations["numba"]()

    def to_numpy(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        return result[0], tuple(result[1:])


class Jax(System):
    label = "JAX"
    packages = ("jax",)
    keeps_code = True
    note = "jit(value_and_grad), float64, written as JAX's own functions and checkpoints make it fastest"

    def wake(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        # Without these its cache on disk leaves out programs that compile quickly.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        jax.block_until_ready(jax.jit(jax.value_and_grad(lambda x: x.sum()))(jax.numpy.ones(7)))
        jax.block_until_ready(jax.jit(lambda x: x @ x)(jax.numpy.ones((40, 40))))

    def convert(self, workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        import jax.numpy as jnp

        return args if workload.takes_numpy else tuple(jnp.asarray(a) for a in args)

    def loss(self, workload: Workload) -> Call:
        if "jax" in workload.implementations:
            return workload.implementations["jax"]()
        return plain_in_jax(workload)

    def build(self, workload: Workload) -> Call:
        import jax

        call = jax.jit(jax.value_and_grad(self.loss(workload), workload.argnums))
        ready = jax.block_until_ready
        if workload.takes_numpy:
            return lambda *args: jax.tree.map(np.asarray, call(*args))
        return lambda *args: ready(call(*args))

    def to_numpy(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        return np.asarray(result[0]), tuple(np.asarray(g) for g in result[1])


class JaxPlain(Jax):
    label = "JAX plain"
    keeps_code = False
    note = "the plain source with jax.numpy under the name np; a loop as a default scan"

    def loss(self, workload: Workload) -> Call:
        if "jax-plain" in workload.implementations:
            return workload.implementations["jax-plain"]()
        return plain_in_jax(workload)


def plain_in_jax(workload: Workload) -> Call:
    """The plain source on JAX's modules."""
    import jax.numpy
    import jax.scipy

    return with_modules(workload.loss, np=jax.numpy, linalg=jax.scipy.linalg, special=jax.scipy.special)


class Torch(System):
    label = "torch"
    packages = ("torch",)
    note = "eager, torch.autograd.grad"

    def wake(self) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("BENCHMARK_THREADS", "1")))
        x = torch.ones(7, dtype=torch.float64, requires_grad=True)
        torch.autograd.grad(self.compiled(lambda x: (x * x).sum())(x), x)

    def compiled(self, loss: Call) -> Call:
        return loss

    def convert(self, workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        if workload.takes_numpy:
            return args
        tensors = [torch.from_numpy(np.array(a)) for a in args]
        return tuple(t.requires_grad_(k in workload.argnums) for k, t in enumerate(tensors))

    def build(self, workload: Workload) -> Call:
        import torch

        loss = self.compiled(workload.implementations["torch"]())
        gradient, positions = torch.autograd.grad, workload.argnums

        def step(*args: Any) -> Any:
            value = loss(*args)
            return value, gradient(value, [args[k] for k in positions])

        def step_of_numpy(*args: Any) -> Any:
            tensors = [torch.from_numpy(a) for a in args]
            for k in positions:
                tensors[k].requires_grad_()
            value, gradients = step(*tensors)
            return value.detach().numpy(), tuple(g.numpy() for g in gradients)

        return step_of_numpy if workload.takes_numpy else step

    def to_numpy(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        if isinstance(result[0], np.ndarray):
            return result
        return result[0].detach().numpy(), tuple(g.numpy() for g in result[1])


class TorchCompile(Torch):
    label = "torch.compile"
    keeps_code = True
    note = "torch.compile of the eager form, static shapes"

    def compiled(self, loss: Call) -> Call:
        import torch

        return torch.compile(loss, dynamic=False)


class Pytensor(System):
    label = "PyTensor"
    packages = ("pytensor",)
    keeps_code = True
    note = "pytensor.function of value and gradients, its Numba or its C back end, whichever is faster"
    modes = ("NUMBA", "FAST_RUN")

    def wake(self) -> None:
        import pytensor
        import pytensor.tensor as pt

        x = pt.dvector()
        for mode in self.modes:
            pytensor.function([x], [x.sum(), x + 1], mode=mode)(np.ones(7))

    def convert(self, workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(np.asarray(a) for a in args)

    def build(self, workload: Workload) -> Call:
        functions: dict[str, Call] = {}
        chosen: dict[tuple[Any, ...], Call] = {}

        def step(*args: Any) -> Any:
            key = tuple([a.shape for a in args])
            if key not in chosen:
                chosen[key] = self.fastest(workload, args, functions)
            value, *gradients = chosen[key](*args)
            return value, gradients

        return step

    def fastest(self, workload: Workload, args: tuple[Any, ...], functions: dict[str, Call]) -> Call:
        """The better of the back ends at this size, as three warm calls show; `functions` keeps both."""
        found: list[tuple[float, float, Call]] = []
        for mode in self.modes:
            started = time.perf_counter()
            if mode not in functions:
                functions[mode] = self.function(workload, args, mode)
            function = functions[mode]
            function(*args)
            compiled = time.perf_counter()
            for _ in range(3):
                function(*args)
            found.append((time.perf_counter() - compiled, compiled - started, function))
        _, self.first_call, function = min(found, key=lambda entry: entry[0])
        return function

    def function(self, workload: Workload, args: tuple[Any, ...], mode: str) -> Call:
        """One graph, compiled by one back end; sizes are symbols, so one serves all sizes."""
        import pytensor
        import pytensor.tensor as pt

        symbols = [pt.TensorType(a.dtype, (None,) * a.ndim)() for a in args]
        if "pytensor" in workload.implementations:
            loss = workload.implementations["pytensor"]()
        else:
            loss = with_modules(workload.loss, np=pt, special=pt)
        value = loss(*symbols)
        gradients = pytensor.grad(value, [symbols[k] for k in workload.argnums])
        return pytensor.function(
            symbols, [value, *gradients], mode=mode, trust_input=True, on_unused_input="ignore"
        )


class Autograd(System):
    label = "autograd"
    packages = ("autograd",)
    note = "HIPS autograd of the plain source"

    def wake(self) -> None:
        import autograd
        import autograd.numpy
        import autograd.scipy.linalg
        import autograd.scipy.special

        autograd.value_and_grad(lambda x: autograd.numpy.sum(x * x))(np.ones(7))

    def build(self, workload: Workload) -> Call:
        import autograd

        loss = with_modules(
            workload.loss,
            np=autograd.numpy,
            linalg=autograd.scipy.linalg,
            special=autograd.scipy.special,
        )
        return autograd.value_and_grad(loss, argnum=workload.argnums)


class Casadi(System):
    label = "CasADi"
    packages = ("casadi",)
    note = (
        "an MX graph with its reverse derivative, as C code where there is a compiler, called through buffers"
    )

    def wake(self) -> None:
        import casadi

        x = casadi.MX.sym("x")
        casadi.Function("wake", [x], [x * x])(1.0)

    def convert(self, workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(np.asarray(a, dtype=np.float64) for a in args)

    def build(self, workload: Workload) -> Call:
        loss = workload.implementations["casadi"]()
        functions: dict[tuple[Any, ...], Any] = {}

        def step(*args: Any) -> Any:
            key = tuple([a.shape for a in args])
            if key not in functions:
                functions[key] = self.function(workload, loss, args).buffer()
            buffer, run = functions[key]
            for k, a in enumerate(args):
                buffer.set_arg(k, memoryview(a))
            results = [np.empty(()), *[np.empty_like(args[k]) for k in workload.argnums]]
            for k, r in enumerate(results):
                buffer.set_res(k, memoryview(r))
            run()
            return results[0], results[1:]

        return step

    def function(self, workload: Workload, loss: Call, args: tuple[Any, ...]) -> Any:
        import casadi

        symbols = [casadi.MX.sym(f"x{k}", *np.shape(a)) for k, a in enumerate(args)]
        value = loss(*symbols)
        gradients = [casadi.densify(casadi.gradient(value, symbols[k])) for k in workload.argnums]
        compiler = next(filter(shutil.which, ("gcc", "clang")), None)
        options: dict[str, Any] = {}
        if compiler is not None:
            # Its files go to the working directory, which is the cache of the run.
            flags = {"compiler": compiler, "flags": ["-O3", "-march=native"]}
            options = {"jit": True, "compiler": "shell", "jit_options": flags}
        return casadi.Function("step", symbols, [casadi.densify(value), *gradients], options)


SYSTEMS: dict[str, System] = {
    "tracejit": Tracejit(),
    "unfused": TracejitUnfused(),
    "numba": NumbaByHand(),
    "numpy": NumpyByHand(),
    "jax": Jax(),
    "jax-plain": JaxPlain(),
    "torch": Torch(),
    "torch-compile": TorchCompile(),
    "pytensor": Pytensor(),
    "autograd": Autograd(),
    "casadi": Casadi(),
}

# The implementation that a system cannot do without; the others run the plain source where they have none.
_NEEDS = {"numba": "numba", "torch": "torch", "torch-compile": "torch", "casadi": "casadi"}


def why_missing(name: str, workload: Workload) -> str | None:
    """Why a system has no time in a row, or None where it can be measured."""
    if name in workload.missing:
        return workload.missing[name]
    if name == "unfused" and "tracejit" in workload.missing:
        return workload.missing["tracejit"]
    if name == "jax-plain" and not {"jax", "jax-plain"} & set(workload.implementations):
        return "what the column JAX measures is the plain source"
    absent = [p for p in SYSTEMS[name].packages if importlib.util.find_spec(p) is None]
    if absent:
        return f"{', '.join(absent)} is not installed"
    if name in _NEEDS and _NEEDS[name] not in workload.implementations:
        raise LookupError(f"{workload.title} has neither a program for {name!r} nor a reason why not")
    return None


def versions(name: str) -> dict[str, str]:
    """Versions of what a system runs on."""
    found = {}
    for package in ("numpy", *SYSTEMS[name].packages):
        found[package] = importlib.metadata.version(package)
    return found
