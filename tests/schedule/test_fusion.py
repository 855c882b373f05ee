"""Schedules: which equations share a kernel, what is stored, what is computed again, in which order."""

from __future__ import annotations

import pytest

from tracejit.config import AUTO, Choices
from tracejit.ir import Var
from tracejit.ops.reading import read_graph
from tracejit.schedule import KernelStep, LibraryStep, Schedule, fusion, schedule_graph


def schedule_of(text: str, fuse: bool = True, choices: Choices = AUTO) -> Schedule:
    return schedule_graph(read_graph(text), fuse, choices)


def names(schedule: Schedule) -> list[list[str]]:
    """The primitives of each step, in order."""
    return [
        [e.primitive.name for e in step.group.eqns.values()]
        if isinstance(step, KernelStep)
        else [step.eqn.primitive.name]
        for step in schedule.steps
    ]


CHAIN = """
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = tanh(v0)
    v2: 'f64[20]' = exp(v1)
    v3: 'f64' = reduce_sum(v2, axes=(0,))
    v4: 'f64' = sqrt(v3)
    return (v4,)
"""


def test_a_chain_with_its_sum_and_what_follows_is_one_kernel() -> None:
    schedule = schedule_of(CHAIN)
    assert names(schedule) == [["tanh", "exp", "reduce_sum", "sqrt"]]
    (step,) = schedule.kernels
    assert [v.type.shape for v in step.stored] == [()]


def test_unfused_is_a_kernel_an_equation_in_order() -> None:
    schedule = schedule_of(CHAIN, fuse=False)
    assert names(schedule) == [["tanh"], ["exp"], ["reduce_sum"], ["sqrt"]]
    assert all(len(step.stored) == 1 for step in schedule.kernels)


def test_views_are_no_step_of_their_own() -> None:
    schedule = schedule_of(
        """
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = tanh(v0)
    v2: 'f64[4,5]' = reshape(v1, shape=(4, 5))
    v3: 'f64[5,4]' = permute(v2, axes=(1, 0))
    v4: 'f64[5,4]' = exp(v3)
    return (v4,)
""",
        fuse=False,
    )
    assert names(schedule) == [["tanh"], ["exp"]]


def test_a_library_call_stands_between_what_makes_its_operand_and_what_reads_its_result() -> None:
    schedule = schedule_of("""
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = tanh(v0)
    v2: 'f64[20]' = cumsum(v1, axis=0, reverse=False)
    v3: 'f64[20]' = multiply(v1, v2)
    v4: 'f64' = reduce_sum(v3, axes=(0,))
    return (v4,)
""")
    assert names(schedule) == [["tanh"], ["cumsum"], ["multiply", "reduce_sum"]]
    assert isinstance(schedule.steps[1], LibraryStep)


def test_groups_are_not_joined_around_a_third_one() -> None:
    schedule = schedule_of("""
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = tanh(v0)
    v2: 'f64[20]' = exp(v0)
    v3: 'f64[20]' = cumsum(v1, axis=0, reverse=False)
    v4: 'f64[20]' = multiply(v3, v0)
    v5: 'f64[20]' = add(v4, v2)
    return (v5, v1)
""")
    order = names(schedule)
    assert order.index(["cumsum"]) == 1
    assert sorted(name for step in order for name in step) == ["add", "cumsum", "exp", "multiply", "tanh"]


def test_a_pass_that_needs_a_total_is_a_kernel_of_its_own() -> None:
    schedule = schedule_of("""
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = exp(v0)
    v2: 'f64' = reduce_sum(v1, axes=(0,))
    v3: 'f64[20]' = broadcast(v2, dims=(), shape=(20,))
    v4: 'f64[20]' = divide(v1, v3)
    return (v4,)
""")
    assert [len(step.order) for step in schedule.kernels] == [1, 1]
    assert names(schedule)[0] == ["exp", "reduce_sum"]


CHEAP = """
def f(v0: 'f64[20]'):
    v1: 'f64[20]' = {name}(v0)
    v2: 'f64' = reduce_sum(v1, axes=(0,))
    v3: 'f64[20]' = broadcast(v2, dims=(), shape=(20,))
    v4: 'f64[20]' = divide(v1, v3)
    return (v4,)
"""


def test_cheap_values_are_computed_again_and_dear_ones_stored() -> None:
    cheap, dear = (schedule_of(CHEAP.format(name=name)) for name in ("negative", "exp"))
    assert names(cheap)[1] == ["negative", "divide"]
    assert names(dear)[1] == ["divide"]
    stored = [sorted(v.type.shape for v in step.stored) for step in (cheap.kernels[0], dear.kernels[0])]
    assert stored == [[()], [(), (20,)]]


def test_nothing_is_computed_again_that_an_output_needs_anyway() -> None:
    text = CHEAP.format(name="negative").replace("return (v4,)", "return (v4, v1)")
    assert names(schedule_of(text))[1] == ["divide"]


def test_either_answer_can_be_forced() -> None:
    text = CHEAP.format(name="negative")
    assert names(schedule_of(text, choices=Choices(recompute="store")))[1] == ["divide"]
    dear = CHEAP.format(name="exp")
    assert names(schedule_of(dear, choices=Choices(recompute="recompute")))[1] == ["exp", "divide"]


def test_arrays_that_leave_the_caches_are_worth_more_work() -> None:
    text = CHEAP.format(name="negative").replace(
        "v1: 'f64[20]' = negative(v0)",
        """v5: 'f64[20]' = negative(v0)
    v6: 'f64[20]' = add(v5, v5)
    v1: 'f64[20]' = multiply(v6, v5)""",
    )
    work = ["negative", "add", "multiply"]
    assert names(schedule_of(text))[1] == ["divide"]
    large = text.replace("[20]", "[20000000]").replace("(20,)", "(20000000,)")
    assert names(schedule_of(large))[1] == [*work, "divide"]


def test_long_bodies_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "MAX_EQUATIONS", 10)
    lines = [f"    v{k + 1}: 'f64[20]' = sin(v{k})" for k in range(35)]
    schedule = schedule_of("\n".join(["def f(v0: 'f64[20]'):", *lines, "    return (v35,)"]))
    assert max(len(step.group.eqns) for step in schedule.kernels) <= 10
    assert sum(len(step.group.eqns) for step in schedule.kernels) == 35
    assert len(schedule.kernels) == 4


def test_every_step_comes_after_what_it_reads() -> None:
    schedule = schedule_of(
        """
def f(v0: 'f64[20,20]'):
    v1: 'f64[20,20]' = tanh(v0)
    v2: 'f64[20,20]' = dot_general(v1, v0, batch=((), ()), contract=((1,), (0,)))
    v3: 'f64[20,20]' = permute(v2, axes=(1, 0))
    v4: 'f64[20,20]' = add(v3, v2)
    v5: 'f64[20]' = reduce_sum(v4, axes=(0,))
    v6: 'f64[20]' = cumsum(v5, axis=0, reverse=False)
    v7: 'f64[20]' = multiply(v6, v5)
    return (v7, v1)
"""
    )
    ready = set(schedule.graph.inputs)
    for step in schedule.steps:
        if isinstance(step, LibraryStep):
            needed = {a for a in step.eqn.inputs if isinstance(a, Var)}
            made = {step.eqn.out}
        else:
            needed = {v for v, _ in step.group.external_reads()}
            made = set(step.stored)
        assert needed <= ready
        ready |= made


def test_a_graph_that_computes_nothing_has_no_steps() -> None:
    assert schedule_of("def f(v0: 'f64[5]'):\n    return ()").steps == ()


JOINED = """
def f(v0: 'f64[30,64]', v1: 'f64[40,64]', v2: 'f64[64,64]'):
    v3: 'f64[70,64]' = concatenate(v0, v1, axis=0)
    v4: 'f64[70,64]' = dot_general(v3, v2, batch=((), ()), contract=((1,), (0,)))
    return (v4,)
"""


def test_a_product_of_a_joined_array_gets_a_copy_that_lies_as_a_matrix() -> None:
    assert names(schedule_of(JOINED)) == [["copy"], ["dot_general"]]
    assert names(schedule_of(JOINED, fuse=False)) == [["dot_general"]]


def test_a_product_reads_slices_and_permutations_where_they_lie() -> None:
    text = """
def f(v0: 'f64[8320]', v2: 'f64[64,64]'):
    v1: 'f64[64,130]' = reshape(v0, shape=(64, 130))
    v3: 'f64[64,70]' = slice(v1, sizes=(64, 70), starts=(0, 3), steps=(1, 1))
    v4: 'f64[70,64]' = permute(v3, axes=(1, 0))
    v5: 'f64[70,64]' = dot_general(v4, v2, batch=((), ()), contract=((1,), (0,)))
    return (v5,)
"""
    assert names(schedule_of(text)) == [["dot_general"]]


COLUMNS = """
def f(v0: 'f64[{n},64]', v1: 'f64[64]'):
    v2: 'f64[64]' = multiply(v1, v1)
    v3: 'f64[{n},64]' = broadcast(v2, dims=(1,), shape=({n}, 64))
    v4: 'f64[{n},64]' = exp(v0)
    v5: 'f64[{n},64]' = divide(v4, v3)
    return (v5,)
"""


def test_a_kernel_does_not_go_across_the_rows_of_large_arrays_for_the_sake_of_a_small_one() -> None:
    small, large = (schedule_of(COLUMNS.format(n=n)) for n in (100, 10000))
    assert [len(step.group.eqns) for step in small.kernels] == [3]
    assert sorted(names(large)) == [["exp", "divide"], ["multiply"]]
    (rows,) = [step for step in large.kernels if len(step.order) == 2]
    assert [rows.group.extents[axis] for axis in rows.order] == [10000, 64]
    always = schedule_of(COLUMNS.format(n=10000), choices=Choices(merge="always"))
    assert len(always.kernels) == 1
