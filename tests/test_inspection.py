"""`inspect`: the stages it shows are those that calls run, whatever made the function."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir import evaluate
from tracejit.ops.reading import read_graph

SCALE = np.array([0.5, 1.0, 2.0])


def loss(params: Any, x: Any, y: Any) -> Any:
    z = x @ params["w"] + params["b"] * SCALE
    return np.mean((np.tanh(z) - y) ** 2)


@pytest.fixture
def arguments(rng: np.random.Generator) -> tuple[Any, ...]:
    return {"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}, rng.normal(size=5), rng.normal(size=3)


def test_every_stage_stands_under_its_heading(arguments: tuple[Any, ...]) -> None:
    text = str(tj.inspect(tj.grad_jit(loss))(*arguments))
    headings = re.findall(r"^--- (.*) ---$", text, re.M)
    assert [re.sub(r"\d[\d,]*", "N", h).replace("equations", "equation") for h in headings] == [
        "loss: traced, N equation",
        "with its derivative, N equation",
        "passes, equation before and after",
        "after the passes, N equation",
        "schedule: N kernel, N library calls, N bytes moved",
        "memory: a call adds N bytes",
        "kernel source",
        "compiled",
    ]


def test_the_text_names_arguments_captured_arrays_results_and_lines(arguments: tuple[Any, ...]) -> None:
    found = tj.inspect(tj.grad_jit(loss))(*arguments)
    assert found.ir.splitlines()[0] == "# v0 = params['b'], v1 = params['w'], v2 = x, v3 = y, v4 = SCALE"
    assert 'z = x @ params["w"] + params["b"] * SCALE' in found.ir
    assert "read     SCALE" in found.schedule
    assert re.search(r"out\d +f64\[5,3\] +120 bytes +written +dloss/dparams\['w'\]", found.schedule)
    assert "for i in range(" in found.source


@pytest.mark.parametrize("stage", ["ir", "adjoint", "optimized"])
def test_graphs_are_python_that_reads_back_and_computes_the_results(
    stage: str, arguments: tuple[Any, ...]
) -> None:
    function = tj.grad_jit(loss)
    graph = read_graph(getattr(tj.inspect(function)(*arguments), stage))
    params, x, y = arguments
    results = evaluate(graph, [params["b"], params["w"], x, y, SCALE])
    value, grads = function(*arguments)
    np.testing.assert_allclose(results[0], value)
    if stage != "ir":
        np.testing.assert_allclose(results[1], grads["b"])
        np.testing.assert_allclose(results[2], grads["w"])


def test_counts_and_bytes_are_those_of_the_text(arguments: tuple[Any, ...]) -> None:
    found = tj.inspect(tj.grad_jit(loss))(*arguments)
    assert found.kernels == found.source.count("def kernel_")
    assert found.library_calls == found.schedule.count("library call:")
    assert (
        f"in all {found.bytes_moved:,} bytes moved; workspace of {found.workspace:,} bytes" in found.schedule
    )
    counts = {
        stage: len(re.findall(r"^    v\d+: ", text, re.M))
        for stage, text in (("traced", found.ir), ("adjoint", found.adjoint), ("optimized", found.optimized))
    }
    assert found.equation_counts == counts
    before, after = found.passes[0][1], found.passes[-1][2]
    assert (before, after) == (found.equation_counts["adjoint"], found.equation_counts["optimized"])
    assert all(a[2] == b[1] for a, b in zip(found.passes, found.passes[1:], strict=False))


def test_every_stage_has_its_seconds(arguments: tuple[Any, ...]) -> None:
    found = tj.inspect(tj.grad_jit(loss))(*arguments)
    stages = ["trace", "transform", "passes", "schedule", "lower", "print", "compile", "run"]
    assert list(found.timings) == stages
    assert all(seconds >= 0 for seconds in found.timings.values())
    shown = str(found).partition("--- compiled ---")[2]
    assert re.findall(r"^([a-z ]+?) +\d+\.\d\d ms$", shown, re.M) == [*stages, "in all"]


def test_where_no_kernel_runs_the_call_of_the_library_is_compiled_and_timed(rng: np.random.Generator) -> None:
    found = tj.inspect(np.matmul)(rng.normal(size=(40, 50)), rng.normal(size=(50, 60)))
    assert list(found.timings) == [
        "trace",
        "transform",
        "passes",
        "schedule",
        "lower",
        "print",
        "compile",
        "run",
    ]


def test_an_index_out_of_bounds_can_be_inspected() -> None:
    found = tj.inspect(lambda x, i: x[i])(np.ones(3), np.array([7]))
    assert found.kernels == 1
    assert "run" in found.timings


def test_the_kernels_shown_are_those_that_a_call_runs(arguments: tuple[Any, ...]) -> None:
    function = tj.grad_jit(loss)
    found = tj.inspect(function)(*arguments)
    assert found.origin in ("memory", "disk", "compiled")
    before = tj.cache_info()
    function(*arguments)
    after = tj.cache_info()
    assert (after.compiles, after.disk_hits) == (before.compiles, before.disk_hits)


def test_a_strided_argument_shows_the_kernel_with_strides() -> None:
    headers = [
        next(line for line in tj.inspect(np.tanh)(x).source.splitlines() if line.startswith("def kernel_0"))
        for x in (np.ones((4, 6)), np.ones((4, 12))[:, ::2])
    ]
    assert ["x0_s" in header for header in headers] == [False, True]


def test_unfused_functions_show_one_kernel_an_equation(arguments: tuple[Any, ...]) -> None:
    fused = tj.inspect(tj.grad_jit(loss))(*arguments)
    unfused = tj.inspect(tj.grad_jit(fuse=False)(loss))(*arguments)
    assert unfused.kernels > fused.kernels
    assert unfused.bytes_moved > fused.bytes_moved
    assert [name for name, _, _ in unfused.passes] == ["prepare_unfused"]


def test_plain_functions_and_jitted_ones_have_no_derivative_to_show() -> None:
    def square(x: Any) -> Any:
        return x * x

    plain = tj.inspect(square)(np.ones(3))
    assert plain.adjoint == plain.ir
    assert "with its derivative" not in str(plain)
    assert plain.source == tj.inspect(tj.jit(square))(np.ones(3)).source


def test_gradients_of_gradients_can_be_inspected() -> None:
    found = tj.inspect(tj.grad(tj.grad(lambda x: np.tanh(x) * x)))(0.5)
    assert "d<lambda>/dx" in found.schedule
    assert found.equation_counts["adjoint"] > found.equation_counts["traced"]


def test_methods_and_keyword_arguments_can_be_inspected() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = np.ones(3)

        @tj.grad_jit
        def loss(self, x: Any, power: Any = 2.0) -> Any:
            return np.sum((self.w * x) ** power)

    found = tj.inspect(Model().loss)(np.ones(3), power=3.0)
    assert found.name == "loss"
    assert found.ir.splitlines()[0] == "# v0 = x, v1 = power, v2 = self.w"


def test_a_function_that_only_calls_a_library_says_so(rng: np.random.Generator) -> None:
    found = tj.inspect(np.matmul)(rng.normal(size=(40, 50)), rng.normal(size=(50, 60)))
    assert (found.kernels, found.library_calls, found.source) == (0, 1, "")
    assert "dgemm" in found.assembly
    assert "library call: dot_general" in found.schedule
    assert "no kernels" in str(found)


def test_steps_that_run_range_by_range_together_are_named(rng: np.random.Generator) -> None:
    def layer(x: Any, w: Any) -> Any:
        return np.sum(np.tanh(x @ w))

    found = tj.inspect(tj.grad_jit(argnums=1)(layer))(rng.normal(size=(40, 50)), rng.normal(size=(50, 60)))
    assert found.workspace >= 40 * 60 * 8
    assert "region 0: 3 steps over 40 rows, 40 at a time, 1 strand" in found.schedule.splitlines()


def test_assembly_is_printed_when_it_is_asked_for() -> None:
    found = tj.inspect(np.tanh)(np.ones(3))
    assert "program" in found.assembly
    assert found.assembly is found.assembly


def test_nothing_is_kept_and_the_function_stays_as_it_was(arguments: tuple[Any, ...]) -> None:
    function = tj.grad_jit(loss)
    tj.inspect(function)(*arguments)
    before = tj.cache_info().traces
    function(*arguments)
    function(*arguments)
    assert tj.cache_info().traces == before + 1


def test_the_name_and_the_docstring_stay() -> None:
    def named(x: Any) -> Any:
        """What it does."""
        return x

    assert (tj.inspect(named).__name__, tj.inspect(named).__doc__) == ("named", "What it does.")


def test_the_compiled_module_is_shown_as_text(
    arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tj.inspect(tj.grad_jit(loss))(*arguments)
    assert "define internal void @kernel_0(" in found.llvm
    assert "define void @program(ptr %ip, ptr %fp)" in found.llvm
    monkeypatch.setenv("TRACEJIT_PRINTER", "numba")
    assert tj.inspect(tj.grad_jit(loss))(*arguments).llvm == ""
