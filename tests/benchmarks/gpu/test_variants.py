"""The variants of a row, and those of our own kernels that the check alone makes."""

from __future__ import annotations

import pytest

import tracejit as tj
from benchmarks.gpu.kernels import compile_kernels, kernels_of
from benchmarks.gpu.libraries import Library, open_library
from benchmarks.gpu.rows import ROWS, arguments_of, floor_of
from benchmarks.gpu.variants import FUSED, GUESTS, MAIN, SWEEP, SWEPT, VARIANTS, variants_of
from tracejit.codegen.cuda import elements

MANY = (2200,)  # elements that one block does not take alone


def test_each_variant_has_its_own_name() -> None:
    assert len(VARIANTS) == len(MAIN) + len(SWEEP) + len(GUESTS)


def test_rows_have_the_variants_that_their_machine_can_run() -> None:
    names = [v.name for v in variants_of("bce", "cupy", MAIN, is_device=False)]
    assert names == ["fused", "unfused", "by hand"]
    assert "C++ by NVRTC" in [v.name for v in variants_of("bce", "cupy", MAIN, is_device=True)]
    assert "C++ by NVRTC" not in [v.name for v in variants_of("chain", "cupy", MAIN, is_device=True)]
    assert [v.name for v in variants_of("mlp", "jax", MAIN, is_device=True)] == ["JAX"]
    assert variants_of("mlp", "cupy", SWEEP, is_device=True) == []


@pytest.mark.parametrize("count", SWEPT)
def test_kernels_of_the_sweep_take_so_many_elements_at_once(count: int) -> None:
    usual = elements.UNROLLED
    found = kernels_of("bce", MANY, "float32", VARIANTS[f"fused, {count} at once"])
    (launch,) = found.launches
    assert found.library_calls == 0 and usual == elements.UNROLLED
    loads = [line for line in launch.text.splitlines() if "= x0[e" in line]
    assert len(loads) == count + 1  # and one in the loop over what is left
    assert launch.blocks == -(-MANY[0] // (256 * count))


def test_kernels_with_array_arguments_take_arrays() -> None:
    (launch,) = kernels_of("bce", MANY, "float64", VARIANTS["fused, array arguments"]).launches
    (usual,) = kernels_of("bce", MANY, "float64", FUSED).launches
    assert launch.text == usual.text
    kinds = dict(zip(launch.parameters, launch.slots, strict=True))
    assert "float64[]" in kinds and not any(k == "*float64" for k in launch.parameters)


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_few_launches_and_moves_little(name: str) -> None:
    """Without matrix products: each argument is read once and each gradient written once."""
    shape = ROWS[name].on_device[-1]
    found = kernels_of(name, shape, "float32", FUSED)
    assert found.library_calls > 0 or len(found.launches) <= 2
    assert found.library_calls > 0 or found.bytes_moved < 1.01 * floor_of(name, shape, "float32")
    unfused = kernels_of(name, shape, "float32", VARIANTS["unfused"])
    assert len(unfused.launches) > len(found.launches) and unfused.bytes_moved > found.bytes_moved


def test_variants_of_ours_give_the_same_values() -> None:
    library = Library()
    arguments = library.arguments(arguments_of("bce", MANY, "float64"))
    value, gradient = tj.grad_jit(ROWS["bce"].workload().loss)(*arguments)
    for variant in SWEEP:
        with variant.within():
            found, slope = variant.build(ROWS["bce"].workload(), library)(*arguments)
        assert abs(found - value) < 1e-14 and abs(slope - gradient).max() < 1e-18


def test_torch_compiles_every_size_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, compiled = pytest.importorskip("torch"), []
    real = torch.compile

    def compiling(graph, inputs):
        compiled.append(name)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend=compiling, **options))
    library = open_library("torch", emulate=True)
    for name in ("bce", "softmax_cross_entropy"):  # functions of torch's own
        workload, (rows, *rest) = ROWS[name].workload(), ROWS[name].emulated[0]
        for k in range(9):
            step = VARIANTS["torch.compile"].build(workload, library)
            step(*library.arguments(arguments_of(name, (rows + k, *rest), "float32")))
            assert compiled.pop() == name and not compiled


QUICK = ("softmax_cross_entropy", "float32")  # in a few seconds
COMPILED = [
    pytest.param(name, dtype, marks=[] if (name, dtype) == QUICK else [pytest.mark.slow])
    for name in ROWS
    for dtype in ("float32", "float64")
]


@pytest.mark.cuda_compile
@pytest.mark.parametrize(("name", "dtype"), COMPILED)
def test_kernels_of_each_row_compile_at_its_largest_size(name: str, dtype: str) -> None:
    pytest.importorskip("numba_cuda")
    for variant in variants_of(name, "cupy", (*MAIN, *SWEEP), is_device=True):
        if variant.is_ours and variant.name != "unfused":
            found = compile_kernels(name, ROWS[name].on_device[-1], dtype, variant, (9, 0))
            assert found["compile_seconds"] is not None
