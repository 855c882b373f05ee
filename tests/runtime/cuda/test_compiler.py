"""Compiling for a device that is not there, and who may import what compiles."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.errors import InternalError, UnsupportedError
from tracejit.runtime.cuda import DeviceExecutable, compiler
from tracejit.runtime.cuda.compiler import compile_launch, parameter_places, versions
from tracejit.runtime.cuda.plans import Constants

ROOT = Path(__file__).parents[3]
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason='numba-cuda is not installed: pip install ".[cuda-check]"',
)


def test_one_module_alone_names_numbas_cuda_target_and_nvidias_runtime() -> None:
    names = (
        'import_module("numba.cuda',
        'import_module("cuda.core',
        'import_module("cuda.bindings',
        "from numba import cuda",
        "import numba.cuda",
    )
    found = {
        path.name
        for path in (ROOT / "tracejit").rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in names)
    }
    assert found == {"compiler.py"}


def test_the_emulator_loads_no_library_of_cuda() -> None:
    program = (
        "import sys, numpy as np, tracejit as tj\n"
        "tj.grad(lambda x: (x * x).sum(), target='cuda-emu')(np.ones(3))\n"
        "print([m for m in ('cupy', 'torch', 'jax', 'numba', 'cuda') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_versions_are_those_of_installed_packages() -> None:
    assert all(isinstance(v, str) for v in versions().values())


@pytest.mark.cuda_compile
@needs_compiler
@pytest.mark.parametrize("architecture", [(8, 0), (9, 0), (12, 0)])
def test_a_launch_becomes_a_cubin_without_a_device(architecture: tuple[int, int]) -> None:
    text = (
        "def double(x, n):\n    i = cuda.threadIdx.x\n    if i < n:\n        x[i] = x[i] * np.float32(2.0)\n"
    )
    launch = Launch("double", text, ("*float32", "int64"), (("array", None), ("size", 3)), 1, 256, ())
    cubin = compile_launch(launch, architecture)
    assert cubin.code[:4] == b"\x7fELF" and cubin.entry.encode() in cubin.code
    assert f".target sm_{architecture[0]}{architecture[1]}" in cubin.ptx and ".f64" not in cubin.ptx


BITS = re.compile(r"\.param \.[a-z](\d+) ")


@pytest.mark.cuda_compile
@needs_compiler
def test_parameters_in_memory_have_the_sizes_that_compiled_kernels_read() -> None:
    @tj.grad_jit(target="cuda-emu")
    def loss(x, table, k, scale):
        return ((x * np.float32(0.3) * scale + table[k]) ** 2).mean() + (k > 2).sum()

    k = np.arange(3000) % 7
    arguments = (np.ones(3000, np.float32), np.ones(7, np.float32), k, np.float32(2.0))
    seen: set[str] = set()
    program = loss.program_of(*arguments)
    assert isinstance(program.run, DeviceExecutable)
    for launch in program.run.launches((CONTIGUOUS,) * 4):
        constants = Constants(len(launch.parameters))
        places = parameter_places(launch, range(len(launch.parameters)), constants.place)
        sizes: list[int] = []
        for place in places:
            filled = place < constants.count
            kind = (
                launch.parameters[place] if filled else constants.values[place - constants.count].dtype.name
            )
            sizes.append(8 if kind[0] == "*" or kind.endswith("[]") else np.dtype(kind).itemsize)
        ptx = compile_launch(launch, (9, 0)).ptx
        declared = ptx[ptx.index(".entry") : ptx.index(")", ptx.index(".entry"))]
        assert [int(bits) // 8 for bits in BITS.findall(declared)] == sizes
        seen |= {slot[0] for slot in launch.slots} | set(launch.parameters)
    assert seen >= {"ticket", "status", "array", "size", "float32", "int32[]"}


DOUBLE = Launch(
    "double", "def double(x):\n    x[0] = x[0] * np.float32(2.0)\n", ("*float32",), (), 1, 256, ()
)


@pytest.mark.parametrize("library", ["libnvrtc", "libnvvm", "libnvJitLink"])
def test_a_toolkit_that_is_not_all_there_names_the_extra(monkeypatch, library: str) -> None:
    class DynamicLibNotFoundError(RuntimeError):
        """As cuda.pathfinder's."""

    def find(name: str, found: Any) -> Any:
        if name == library:
            raise DynamicLibNotFoundError(f'Failure finding "{library}.so": not there\nwhere it looked')
        return found

    def compiled(*args: Any, **options: Any) -> Any:
        try:
            find("libnvvm", None)
        except RuntimeError as error:
            raise ValueError("wrapped") from error
        return find("libnvrtc", (".visible .entry double(", None))

    linker = SimpleNamespace(version=lambda: find("libnvJitLink", (13, 0)))
    types_ = SimpleNamespace(void=lambda *kinds: kinds, CPointer=lambda kind: kind, float32=None)
    modules = {"numba.cuda.libdevice": None, "numba.types": types_, "cuda.bindings.nvjitlink": linker}
    monkeypatch.setattr(compiler, "_packages", lambda: (SimpleNamespace(compile=compiled), None))
    monkeypatch.setattr(compiler, "import_module", modules.__getitem__)
    with pytest.raises(UnsupportedError, match="a library of the CUDA toolkit is missing") as caught:
        compile_launch(DOUBLE, (9, 0))
    assert f'(Failure finding "{library}.so": not there)' in str(caught.value)
    assert 'pip install "tracejit[cuda13]"' in str(caught.value)


def test_packages_that_are_not_there_name_the_extra(monkeypatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{name.replace('.', '_')}'")

    monkeypatch.setattr(compiler, "import_module", missing)
    with pytest.raises(UnsupportedError, match="No module named 'numba_cuda'") as caught:
        compile_launch(DOUBLE, (9, 0))
    assert 'pip install "tracejit[cuda13]"' in str(caught.value) and "cuda-emu" in str(caught.value)


def test_packages_that_do_not_fit_each_other_name_the_extra(monkeypatch) -> None:
    def breaks(name: str) -> Any:
        raise AttributeError("module 'numba.cuda.types' has no attribute 'NPDatetime'")

    monkeypatch.setattr(compiler, "import_module", breaks)
    with pytest.raises(UnsupportedError, match=r"\(AttributeError: module 'numba.cuda.types'") as caught:
        compile_launch(DOUBLE, (9, 0))
    assert 'pip install "tracejit[cuda13]"' in str(caught.value)


@pytest.mark.cuda_compile
@needs_compiler
def test_text_that_does_not_compile_is_an_internal_error_with_the_text() -> None:
    launch = Launch("wrong", "def wrong(x):\n    x[0] = y\n", ("*float32",), (("array", None),), 1, 256, ())
    with pytest.raises(InternalError, match="does not compile") as caught:
        compile_launch(launch, (9, 0))
    assert "x[0] = y" in str(caught.value)


@pytest.mark.cuda_compile
@needs_compiler
def test_every_launch_of_a_step_compiles() -> None:
    def loss(w, x, y):
        z = x @ w
        return (np.logaddexp(0, z) - y * z).mean()

    found = tj.inspect(tj.grad_jit(loss, target="cuda-emu"))(np.ones(7), np.ones((3000, 7)), np.ones(3000))
    assert found.ptx.count(".visible .entry") == found.source.count("\ndef ")


@pytest.mark.cuda_compile
@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_with_cupy_and_no_driver_there_is_an_error_of_ours() -> None:
    program = (
        "import numpy as np, tracejit as tj\n"
        "from tracejit.runtime.cuda.arrays import cupy_memory, facts_of\n"
        "assert cupy_memory().name == 'CuPy' and facts_of(np.zeros(3)) is None\n"
        "try:\n"
        "    tj.grad_jit(lambda x: (x * x).sum(), target='cuda')(np.ones(3))\n"
        "except tj.TracejitError as error:\n"
        "    print(error)\n"
    )
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=hidden, capture_output=True, text=True, timeout=120
    )
    assert "no CUDA device can be used" in done.stdout, done.stdout + done.stderr
    assert 'target="cuda-emu"' in done.stdout
