"""Memory plans: every array with its place, its steps and its origin; the totals add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.memory_plan import ALIGNMENT
from tracejit.codegen.places import MemoryPlan, plan_of
from tracejit.codegen.program import build_program
from tracejit.ops.reading import read_graph
from tracejit.schedule.fusion import schedule_graph

LAYERS = """
def f(v0: 'f64[40,50]', v1: 'f32[50,60]'):
    v2: 'f64[50,60]' = convert(v1, dtype='f64')
    v3: 'f64[40,60]' = dot_general(v0, v2, batch=((), ()), contract=((1,), (0,)))
    v4: 'f64[40,60]' = tanh(v3)
    return (v4,)
"""


def plan(text: str = LAYERS, fuse: bool = True) -> MemoryPlan:
    return plan_of(build_program(schedule_graph(read_graph(text), fuse=fuse)), ("a", "b"), ("f",))


def test_every_array_has_a_line_with_its_place_and_its_steps() -> None:
    assert str(plan()).splitlines() == [
        "steps: 0 kernel_0, 1 dot_general, 2 kernel_1",
        "array  kind       type         bytes      at  steps  uses  origin",
        "x0     argument   f64[40,50]  16,000          1      .r.   a",
        "x1     argument   f32[50,60]  12,000          0      r..   b",
        "out0   result     f64[40,60]  19,200          2      ..w   f",
        "tmp0   temporary  f64[50,60]  24,000       0  0-1    wr.",
        "tmp1   temporary  f64[40,60]  19,200  24,000  1-2    .wr",
        "workspace of 43,200 bytes, full in step 1: 0 (0.0%) of alignment, 0 unused;"
        " without sharing 43,200 bytes",
        "a call adds 62,400 bytes: 19,200 of results + 43,200 of workspace",
    ]


CHAIN = """
def f(v0: 'f64[9]'):
    v1: 'f64[9]' = exp(v0)
    v2: 'f64[9]' = tanh(v1)
    v3: 'f64[9]' = sin(v2)
    v4: 'f64[9]' = multiply(v3, v3)
    return (v4,)
"""


def test_the_bytes_of_the_workspace_are_arrays_alignment_and_what_is_unused() -> None:
    found = plan(CHAIN, fuse=False)
    assert found.workspace == 2 * 128  # three temporaries of 72 bytes, two alive at a time
    assert found.temporary_bytes == 3 * 72
    assert found.alignment_bytes == 2 * (128 - 72)
    alive = [p for p in found.residents if p.is_alive(found.peak)]
    assert sum(p.nbytes for p in alive) + found.alignment_bytes + found.unused_bytes == found.workspace
    assert found.added_bytes == 72 + 256


@pytest.mark.parametrize("fuse", [True, False])
def test_arrays_alive_in_one_step_do_not_overlap(fuse: bool, rng: np.random.Generator) -> None:
    def rows(x: Any, w: Any) -> Any:
        z = np.tanh(x @ w)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return np.sum(p * np.cumsum(p, axis=1)) + np.sum(z * z)

    found = tj.inspect(tj.grad_jit(argnums=(0, 1), fuse=fuse)(rows))(
        rng.normal(size=(40, 60)), rng.normal(size=(60, 50))
    ).memory
    assert found.residents
    for step in range(len(found.steps)):
        ends = 0
        for place in sorted((p for p in found.residents if p.is_alive(step)), key=lambda p: p.offset or 0):
            assert place.offset is not None
            assert place.offset % ALIGNMENT == 0
            assert place.offset >= ends
            ends = place.offset + place.nbytes
        assert ends <= found.workspace


def test_the_users_line_stands_behind_a_temporary(rng: np.random.Generator) -> None:
    def layer(x: Any, w: Any) -> Any:
        return np.sum(np.tanh(x @ w))

    found = tj.inspect(tj.grad_jit(argnums=1)(layer))(rng.normal(size=(40, 50)), rng.normal(size=(50, 60)))
    places = [p for p in found.memory.places if p.kind in ("temporary", "tile")]
    assert {p.type.shape for p in places} == {(40, 60)}
    assert all("return np.sum(np.tanh(x @ w))" in p.origin for p in places)
    assert [p.origin for p in found.memory.places if p.kind == "argument"] == ["x", "w"]
    assert found.memory.workspace == found.workspace
    assert str(found.memory) in str(found)


def test_a_region_has_one_step_and_its_tiles_lie_in_its_own_memory(rng: np.random.Generator) -> None:
    def layer(x: Any, w: Any) -> Any:
        return np.sum(np.tanh(x @ w))

    found = tj.inspect(tj.grad_jit(argnums=1)(layer))(rng.normal(size=(4000, 50)), rng.normal(size=(50, 60)))
    plan = found.memory
    if len(plan.steps) > 1:
        pytest.skip("matrix products are not calls in native code here")
    assert plan.steps[0].startswith("(dot_general + kernel_0 + dot_general by ")
    (area,) = [p for p in plan.places if p.name.startswith("area")]
    tiles = [p for p in plan.places if p.kind == "tile"]
    assert tiles
    for tile in tiles:
        assert tile.is_inside
        assert tile.type.shape[0] < 4000
        assert area.offset <= tile.offset
        assert tile.offset + tile.nbytes <= area.offset + area.nbytes
    assert sum(p.padded for p in plan.residents if p.is_alive(plan.peak)) == plan.workspace


def test_rows_kept_by_a_kernel_and_arguments_that_nobody_reads_are_listed() -> None:
    def f(x: Any, unused: Any) -> Any:
        e = np.exp(np.exp(x) - np.max(np.exp(x), axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    found = tj.inspect(f)(np.ones((4, 3000)), np.ones(2)).memory
    assert {p.kind for p in found.places} >= {"argument", "result"}
    (unused,) = [p for p in found.places if p.origin == "unused"]
    assert (unused.lifetime, unused.uses) == ("unused", {})
    assert all("kept between passes" in p.origin for p in found.places if p.kind == "row")


def test_a_program_without_temporaries_adds_its_results() -> None:
    found = tj.inspect(np.tanh)(np.ones(10)).memory
    assert (found.workspace, found.output_bytes, found.added_bytes) == (0, 80, 80)
    assert str(found).splitlines()[-1] == "a call adds 80 bytes: 80 of results + 0 of workspace"
