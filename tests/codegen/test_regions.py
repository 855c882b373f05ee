"""Regions: however a loop is cut, and whoever runs the parts, results are the same and memory is small."""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracejit as tj
from benchmarks.workload import get_workload
from tests.golden_programs import PROGRAMS
from tests.schedule.random_graphs import Program, check_same, random_program
from tracejit.api.record import record_call
from tracejit.codegen import work
from tracejit.codegen.program import build_program
from tracejit.codegen.ranges import LINE_BYTES, Ranged
from tracejit.codegen.regions import Execution, RangedProduct
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import evaluate
from tracejit.ops.reading import read_graph
from tracejit.passes import optimize
from tracejit.runtime import blas, executable
from tracejit.schedule.fusion import schedule_graph

SEEDS = st.integers(0, 2**40)
law = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=25,
    deadline=None,
)


@pytest.fixture
def many_strands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of a few iterations are cut, as large ones are."""
    monkeypatch.setattr(work, "STRAND_NS", 1e-6)
    monkeypatch.setattr(work, "BLOCK_ELEMENTS", 3)
    monkeypatch.setattr(work, "LEAST_STRAND", 1)


def bits(results: list[Any]) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in results]


def program_of(seed: int) -> Program | None:
    rng = np.random.default_rng(seed)
    return random_program(lambda n: int(rng.integers(n)), gradient=seed % 2 == 0, steps=12)


@pytest.mark.usefixtures("many_strands")
@law
@given(SEEDS)
def test_results_do_not_depend_on_how_loops_are_cut(seed: int) -> None:
    program = program_of(seed)
    if program is None or not program.is_tame:
        return
    expected = evaluate(program.graph, program.arrays)
    for tile, limit in ((0, 4), (None, 0), (1, 1), (2, 0), (None, 16)):
        config = Config(cache_dir=None, tile=tile, threads=1, literal_limit=limit)
        check_same(program, run_stages(program.graph, True, config).executable(program.arrays), expected)


@pytest.mark.parametrize("register_bytes", [16, 32])
@settings(law, max_examples=15)
@given(SEEDS)
def test_results_do_not_depend_on_the_width_of_registers(register_bytes: int, seed: int) -> None:
    program = program_of(seed)
    if program is None or not program.is_tame:
        return
    expected = evaluate(program.graph, program.arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executable, "register_bytes", lambda: register_bytes)
        found = run_stages(program.graph, True, Config(cache_dir=None)).executable(program.arrays)
    check_same(program, found, expected)


def test_only_loops_that_wait_for_their_own_results_take_several_registers_a_value(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(executable, "register_bytes", lambda: 32)
    x = rng.standard_normal(1000)
    plain = tj.inspect(tj.grad_jit(lambda x: np.sum((x[1:] - x[:-1]) ** 2)))(x).llvm
    assert "<4 x double>" in plain and "<8 x double>" not in plain
    assert "<8 x double>" in tj.inspect(tj.grad_jit(lambda x: np.sum(np.exp(x))))(x).llvm
    assert "<8 x double>" in tj.inspect(tj.jit(over_time))(x).llvm


@pytest.mark.usefixtures("many_strands")
@law
@given(SEEDS)
def test_results_are_the_same_bits_for_any_number_of_threads(seed: int) -> None:
    program = program_of(seed)
    if program is None or not program.is_tame:
        return
    found: set[tuple[bytes, ...]] = set()
    for threads in (1, 2, 3, 8):
        config = Config(cache_dir=None, threads=threads, literal_limit=0)
        made_for = run_stages(program.graph, True, config).executable
        found |= {tuple(bits(made_for(program.arrays))) for _ in range(3)}
    assert len(found) == 1


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("many_strands")
def test_known_programs_are_the_same_bits_for_any_number_of_threads(name: str) -> None:
    function, arguments = PROGRAMS[name]
    found: set[tuple[bytes, ...]] = set()
    record = record_call(function, arguments, {})
    arrays = [np.asarray(a) for a in record.arrays]
    for threads in (1, 2, 3, 8):
        made_for = run_stages(record.graph, record.fuse, threads=threads).executable
        found |= {tuple(bits(made_for(arrays))) for _ in range(5)}
    assert len(found) == 1


# --- what is cut, and how ---------------------------------------------------------------------------------


def made(text: str, **choices: Any) -> Any:
    graph = optimize(read_graph(text))
    return build_program(schedule_graph(graph), Execution(ranges=True, **choices))


SUM = """
def f(v0: 'f64[1000000]'):
    v1: 'f64[1000000]' = tanh(v0)
    v2: 'f64' = reduce_sum(v1, axes=(0,))
    return (v2,)
"""


def test_a_long_loop_is_cut_by_its_size_and_not_by_the_threads_there_are() -> None:
    cuts = set()
    for threads in (1, 2, 64):
        (region,) = made(SUM, threads=threads, most_threads=threads).regions.values()
        cuts.add((region.strands, region.chunk, region.tile, tuple(region.blocks.values())))
        assert region.workers == min(threads, region.strands)
    ((strands, chunk, _, (block,)),) = cuts
    assert 1 < strands <= work.MOST_STRANDS and (strands - 1) * chunk < 1_000_000 <= strands * chunk
    assert chunk % block == 0


def over_time(x: Any) -> Any:
    return tj.scan(lambda y, _: (y * y - x, None), x, length=1000)[0].sum()


def test_a_loop_over_time_is_cut_in_whole_vectors_of_which_a_strand_may_have_few(
    rng: np.random.Generator,
) -> None:
    record = record_call(tj.jit(over_time), (rng.standard_normal(1000),), {})
    (region,) = run_stages(record.graph, record.fuse).executable.program.regions.values()
    assert region.blocks == {0: work.WHOLE_VECTORS}
    assert region.chunk % work.WHOLE_VECTORS == 0 and region.strands > 4


def test_a_short_loop_is_one_strand() -> None:
    (region,) = made(SUM.replace("1000000", "1000")).regions.values()
    assert (region.strands, region.chunk) == (1, 1000)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_columns_summed_by_rows_have_a_copy_for_each_thread(threads: int) -> None:
    text = """
def f(v0: 'f64[100000,30]'):
    v1: 'f64[100000,30]' = exp(v0)
    v2: 'f64[30]' = reduce_sum(v1, axes=(0,))
    return (v2,)
"""
    (region,) = made(text, threads=threads, most_threads=threads).regions.values()
    (step,) = region.steps
    assert isinstance(step, Ranged) and len(step.private) == 1
    (copies,) = region.copies.values()
    assert region.strands > 5 and copies.shape == (threads * 256,)  # 30 numbers on whole cache lines


@pytest.mark.parametrize(("n", "least"), [(100, work.LEAST_STRAND), (1000, work.LEAST_WIDE_TILE)])
def test_strands_of_a_matrix_product_have_many_rows(n: int, least: int) -> None:
    """BLAS packs the right matrix for each of them: 64 strands took half as long again as one."""
    text = f"""
def f(v0: 'f64[1000,{n}]', v1: 'f64[{n},{n}]'):
    v2: 'f64[1000,{n}]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))
    return (v2,)
"""
    (region,) = made(text, products=True).regions.values()
    assert region.strands > 1 and region.chunk == least


def test_few_threads_have_copies_of_large_arrays() -> None:
    text = """
def f(v0: 'f64[1000,1000000]'):
    v1: 'f64[1000,1000000]' = exp(v0)
    v2: 'f64[1000000]' = reduce_sum(v1, axes=(0,))
    return (v2,)
"""
    (region,) = made(text, threads=64, most_threads=64).regions.values()
    assert region.strands > region.workers == work.MOST_COPIES


NETWORK = """
def f(v0: 'f64[{n},64]', v1: 'f64[64,128]', v2: 'f64[128,10]'):
    v3: 'f64[{n},128]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))
    v4: 'f64[{n},128]' = tanh(v3)
    v5: 'f64[{n},10]' = dot_general(v4, v2, batch=((), ()), contract=((1,), (0,)))
    v6: 'f64[{n},10]' = exp(v5)
    v7: 'f64[128,10]' = dot_general(v4, v6, batch=((), ()), contract=((0,), (0,)))
    v8: 'f64' = reduce_sum(v6, axes=(0, 1))
    return (v7, v8)
"""


def test_layers_of_a_network_share_tiles_of_rows() -> None:
    program = made(NETWORK.format(n=4096), products=True)
    (region,) = program.regions.values()
    assert [type(s) for s in region.steps].count(RangedProduct) == 3
    assert len(region.steps) == 5 and program.is_native
    assert [b.shape for b in region.tiles] == [(4096, 128), (4096, 128), (4096, 10), (4096, 10)]
    assert region.tile < 1000 and region.area_bytes <= 2 * work.TILE_BYTES


def test_a_strand_that_ends_early_joins_its_copy_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first strands are the longest, and there are more threads than processors: bits do not change."""
    monkeypatch.setattr(work, "STRAND_NS", 1e-6)
    monkeypatch.setattr(work, "COPY_SHARE", 1e6)
    x = np.random.default_rng(2).standard_normal((3000, 40))
    x[:1000] *= 1e30  # an angle so large takes another road
    found = {bits([tj.jit(lambda x: np.sum(np.sin(x), axis=0), threads=t)(x)])[0] for t in (1, 2, 7, 33)}
    assert len(found) == 1
    for _ in range(200):
        found.add(tj.jit(lambda x: np.sum(np.sin(x), axis=0), threads=7)(x).tobytes())
    assert len(found) == 1


def test_the_memory_of_a_network_does_not_grow_with_the_batch() -> None:
    programs = [made(NETWORK.format(n=n), products=True, threads=1) for n in (1024, 65536, 2**22)]
    small, large, larger = [p.workspace for p in programs]
    partials = work.MOST_STRANDS * LINE_BYTES
    assert large <= small + partials and larger <= large + partials


def deep_network(params: Any, x: Any, y: Any) -> Any:
    for w, b in params[:-1]:
        x = np.tanh(x @ w + b)
    w, b = params[-1]
    return np.mean((x @ w + b - y) ** 2)


def deep_arguments(rows: int) -> tuple[Any, ...]:
    widths = (50, 200, 70, 20)
    params = [(np.ones((m, n)), np.ones(n)) for m, n in itertools.pairwise(widths)]
    return params, np.ones((rows, widths[0])), np.ones((rows, widths[-1]))


MLP = get_workload("mlp")
NETWORKS = {
    "the benchmarks'": (tj.grad_jit(MLP.loss, argnums=MLP.argnums), MLP.inputs),
    "three layers": (tj.grad_jit(deep_network), deep_arguments),
}


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_adds_to_a_large_batch_what_it_adds_to_a_small_one(name: str, threads: int) -> None:
    function, arguments = NETWORKS[name]
    added: list[int] = []
    for rows in (1024, 4096, 65536, 200_000):
        record = record_call(function, arguments(rows), {})
        program = run_stages(record.graph, record.fuse, threads=threads).executable.program
        assert all(region.workers == threads for region in program.regions.values())
        results = sum(v.type.nbytes for v in program.outputs)
        added.append(program.workspace)
    assert max(added) <= added[0] + results
    # What grows at all is a line for each strand: 64 of them at most.
    assert max(added) - added[0] <= work.MOST_STRANDS * LINE_BYTES


def test_a_result_that_the_next_step_needs_whole_ends_a_region() -> None:
    program = made(
        """
def f(v0: 'f64[200,200]', v1: 'f64[200,200]'):
    v2: 'f64[200,200]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))
    v3: 'f64[200,200]' = dot_general(v2, v2, batch=((), ()), contract=((1,), (0,)))
    return (v3,)
""",
        products=True,
    )
    assert [len(r.steps) for r in program.regions.values()] == [1, 1]


def test_no_tiles_where_none_are_wanted() -> None:
    program = made(NETWORK.format(n=4096), products=True, join=False)
    assert all(len(r.steps) == 1 and not r.tiles for r in program.regions.values())


# --- what users see ---------------------------------------------------------------------------------------


def network(params: Any, x: Any, y: Any) -> Any:
    (w1, b1), (w2, b2) = params
    return np.mean((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2)


def network_arguments(rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
    shapes = ((20, 30), (30,), (30, 5), (5,))
    w1, b1, w2, b2 = (rng.standard_normal(s) for s in shapes)
    return [(w1, b1), (w2, b2)], rng.standard_normal((rows, 20)), rng.standard_normal((rows, 5))


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("rows", [5, 63, 64, 65, 1000, 5000])
def test_a_network_in_tiles_has_the_gradients_of_one_without(rows: int, rng: np.random.Generator) -> None:
    params, x, y = network_arguments(rng, rows)
    value, grads = tj.grad_jit(network)(params, x, y)
    expected, unfused = tj.grad_jit(network, fuse=False)(params, x, y)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(itertools.chain(*grads), itertools.chain(*unfused), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_wrong_numbers_of_threads_are_refused() -> None:
    for threads in (0, -1, 1.5, True, "2"):
        with pytest.raises(tj.ArgumentError, match="threads must be a whole number of 1 or more, got"):
            tj.grad_jit(network, threads=threads)  # pyright: ignore[reportArgumentType]
        with pytest.raises(tj.ArgumentError, match="set_threads: threads must be"):
            tj.set_threads(threads)  # pyright: ignore[reportArgumentType]


def test_numbers_of_threads_may_be_numpys(rng: np.random.Generator) -> None:
    x = rng.standard_normal(100)
    assert tj.jit(np.sum, threads=np.int64(2))(x) == tj.jit(np.sum)(x)  # pyright: ignore[reportArgumentType]


def test_the_process_number_of_threads_changes_for_functions_that_exist(rng: np.random.Generator) -> None:
    f, x = tj.jit(lambda x: np.sum(np.exp(x))), rng.standard_normal(300_000)
    results = {f(x).tobytes()}
    before = tj.set_threads(1)
    try:
        for threads in (1, 2, 5):
            tj.set_threads(threads)
            assert tj.get_threads() == threads
            results.add(f(x).tobytes())
    finally:
        tj.set_threads(before)
    assert tj.get_threads() == before and len(results) == 1


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_calls_of_several_python_threads_at_once_give_the_same_bits(rng: np.random.Generator) -> None:
    f, arguments = tj.grad_jit(network, threads=4), network_arguments(rng, 3000)
    expected = bits([f(*arguments)[0]])
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: bits([f(*arguments)[0]]), range(120)))
    assert all(x == expected for x in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_a_fork_runs_on_threads_of_its_own(rng: np.random.Generator) -> None:
    f, arguments = tj.grad_jit(network, threads=3), network_arguments(rng, 3000)
    expected = bits([f(*arguments)[0]])
    child = os.fork()
    if not child:
        os._exit(0 if bits([f(*arguments)[0]]) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- exactness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", ["positive", "of both signs"])
def test_long_sums_are_as_exact_as_numpys_by_pairs(dtype: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    total = tj.jit(lambda x: np.sum(x))
    theirs: list[float] = []
    ours: list[float] = []
    for _ in range(4):
        x = rng.random(10_000_000) if kind == "positive" else rng.standard_normal(10_000_000)
        x = x.astype(dtype)
        exact = math.fsum(x)
        theirs.append(float(np.sum(x)) - exact)
        ours.append(float(total(x)) - exact)
    assert np.linalg.norm(ours) <= 4 * np.linalg.norm(theirs)


def test_columns_sums_are_as_exact_as_numpys() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((1_000_000, 3))
    exact = np.sum(x.astype(np.longdouble), axis=0)
    ours = np.abs(tj.jit(lambda x: np.sum(x, axis=0))(x) - exact)
    theirs = np.abs(np.sum(x, axis=0) - exact)
    assert np.all(ours <= 4 * np.maximum(theirs, np.spacing(np.float64(exact))))
