"""Groups: axes that become one, equations that share a nest, and the orders in which the nest can run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tracejit.ir import Eqn, Graph, Var
from tracejit.ops.reading import read_graph
from tracejit.passes.rewriting import drop_dead
from tracejit.schedule.access import is_virtual, reaches
from tracejit.schedule.group import Group, epilogue_results, extend, loop_order, merge, single
from tracejit.schedule.normalize import give_outputs_arrays, storage_owner


def groups_of(text: str) -> tuple[Graph, list[Group], dict[Var, Eqn]]:
    """The graph, a group for each of its equations that is computed, and who defines what."""
    graph = read_graph(text)
    definitions = {e.out: e for e in graph.eqns}
    groups = [single(k, e, definitions) for k, e in enumerate(graph.eqns) if not is_virtual(e)]
    return graph, groups, definitions


def merged(text: str) -> Group | None:
    """All equations in one group, merged from the last to the first."""
    _, groups, _ = groups_of(text)
    result: Group | None = groups.pop()
    while groups and result is not None:
        result = merge(groups.pop(), result)
    return result


def extents(group: Group, axes: Sequence[int]) -> list[int]:
    return [group.extents[a] for a in axes]


# --- merging ------------------------------------------------------------------------------------------


def test_a_reader_runs_along_the_axes_of_what_it_reads() -> None:
    group = merged("""
def f(v0: 'f64[6,8]'):
    v1: 'f64[6,8]' = tanh(v0)
    v2: 'f64[8,6]' = permute(v1, axes=(1, 0))
    v3: 'f64[8,6]' = exp(v2)
    return (v3,)
""")
    assert group is not None
    first, second = (group.computed[e.out] for e in group.eqns.values())
    assert first is not None and second == first[::-1]
    assert sorted(group.extents.values()) == [6, 8]


def test_an_array_and_its_transpose_cannot_be_read_in_one_nest() -> None:
    assert (
        merged("""
def f(v0: 'f64[6,6]'):
    v1: 'f64[6,6]' = tanh(v0)
    v2: 'f64[6,6]' = permute(v1, axes=(1, 0))
    v3: 'f64[6,6]' = add(v1, v2)
    return (v3,)
""")
        is None
    )


def test_an_input_may_be_read_in_two_ways() -> None:
    group = merged("""
def f(v0: 'f64[6,6]'):
    v1: 'f64[6,6]' = permute(v0, axes=(1, 0))
    v2: 'f64[6,6]' = add(v0, v1)
    v3: 'f64[6,6]' = tanh(v2)
    return (v3,)
""")
    assert group is not None
    assert len(list(group.external_reads())) == 2


@pytest.mark.parametrize(
    ("size", "view"),
    [
        (8, "slice(v1, sizes=(6,), starts=(2,), steps=(1,))"),
        (5, "unslice(v1, shape=(6,), starts=(0,), steps=(1,))"),
    ],
)
def test_picked_elements_of_a_computed_array_need_all_of_it_first(size: int, view: str) -> None:
    text = f"""
def f(v0: 'f64[{size}]'):
    v1: 'f64[{size}]' = tanh(v0)
    v2: 'f64[6]' = {view}
    v3: 'f64[6]' = exp(v2)
    return (v3,)
"""
    assert merged(text) is None


def test_siblings_are_joined_along_the_array_that_both_read() -> None:
    group = merged("""
def f(v0: 'f64[6,8]', v1: 'f64[6]'):
    v2: 'f64[6,8]' = tanh(v0)
    v3: 'f64[6]' = reduce_sum(v0, axes=(1,))
    return (v2, v3)
""")
    assert group is not None
    assert sorted(group.extents.values()) == [6, 8]


def test_arrays_without_anything_in_common_stay_apart() -> None:
    assert (
        merged("""
def f(v0: 'f64[6]', v1: 'f64[6]'):
    v2: 'f64[6]' = tanh(v0)
    v3: 'f64[6]' = exp(v1)
    return (v2, v3)
""")
        is None
    )


def test_a_scatter_is_complete_only_when_the_nest_has_run() -> None:
    assert (
        merged("""
def f(v0: 'f64[6]', v1: 'i64[6]'):
    v2: 'f64[6]' = scatter_add(v0, v1, shape=(6,))
    v3: 'f64[6]' = exp(v2)
    return (v3,)
""")
        is None
    )


def test_extending_in_place_is_merging() -> None:
    text = """
def f(v0: 'f64[6,8]'):
    v1: 'f64[6,8]' = tanh(v0)
    v2: 'f64[8,6]' = permute(v1, axes=(1, 0))
    v3: 'f64[8,6]' = exp(v2)
    return (v3,)
"""
    _, (first, second), _ = groups_of(text)
    together = merge(first, second)
    assert extend(first, second)
    assert together is not None
    assert together.computed == first.computed
    assert together.domains == first.domains
    assert list(together.eqns) == list(first.eqns)


def test_the_larger_group_keeps_the_names_of_its_axes_and_the_order_is_that_of_the_older_ones() -> None:
    text = """
def f(v0: 'f64[6,6]'):
    v1: 'f64[6,6]' = tanh(v0)
    v2: 'f64[6,6]' = exp(v1)
    v3: 'f64[6]' = reduce_sum(v2, axes=(1,))
    return (v2, v3)
"""
    _, groups, _ = groups_of(text)
    first, (second, third) = groups[0], groups[1:]
    reader = merge(second, third)
    assert reader is not None
    together = merge(first, reader)
    assert together is not None
    assert set(together.extents) == set(reader.extents)
    assert set(together.ages.values()) == set(first.ages.values())
    order = loop_order(together)
    assert order is not None
    assert [together.ages[axis] for axis in order] == sorted(first.ages.values())


def test_a_group_is_not_extended_by_new_axes_or_by_readers_of_reductions() -> None:
    for text in (
        """
def f(v0: 'f64[6]'):
    v1: 'f64[6]' = tanh(v0)
    v2: 'f64[6,8]' = broadcast(v1, dims=(0,), shape=(6, 8))
    v3: 'f64[6,8]' = exp(v2)
    return (v3,)
""",
        """
def f(v0: 'f64[6,8]'):
    v1: 'f64[6]' = reduce_sum(v0, axes=(1,))
    v2: 'f64[6]' = exp(v1)
    return (v2,)
""",
    ):
        _, (first, second), _ = groups_of(text)
        assert not extend(first, second)


# --- order --------------------------------------------------------------------------------------------


def order_of(text: str) -> list[int] | None:
    """The extents of the loops, the outermost first; None where no nest holds everything."""
    group = merged(text)
    assert group is not None
    order = loop_order(group)
    return None if order is None else extents(group, order)


def test_rows_are_outside_of_what_is_reduced_along_them_and_used_again() -> None:
    text = """
def f(v0: 'f64[{shape}]'):
    v1: 'f64[{kept}]' = reduce_max(v0, axes=({axis},))
    v2: 'f64[{shape}]' = broadcast(v1, dims=({dim},), shape=({shape}))
    v3: 'f64[{shape}]' = subtract(v0, v2)
    return (v3,)
"""
    # The reduction and its reader pass along the row one after the other, each on an axis of its own.
    assert order_of(text.format(shape="6, 8", kept=6, axis=1, dim=0)) == [6, 8, 8]
    assert order_of(text.format(shape="6, 8", kept=8, axis=0, dim=1)) == [8, 6, 6]


@pytest.mark.parametrize(("kept", "axis"), [(8, 0), (6, 1)])
def test_without_constraints_the_contiguous_axis_is_the_innermost(kept: int, axis: int) -> None:
    text = f"""
def f(v0: 'f64[6,8]'):
    v1: 'f64[{kept}]' = reduce_sum(v0, axes=({axis},))
    return (v1,)
"""
    assert order_of(text) == [6, 8]


def test_a_total_that_a_loop_needs_leaves_no_order() -> None:
    assert (
        order_of("""
def f(v0: 'f64[6]'):
    v1: 'f64' = reduce_sum(v0, axes=(0,))
    v2: 'f64[6]' = broadcast(v1, dims=(), shape=(6,))
    v3: 'f64[6]' = divide(v0, v2)
    return (v3,)
""")
        is None
    )


def test_scalars_behind_a_total_run_after_the_loops() -> None:
    group = merged("""
def f(v0: 'f64[6]'):
    v1: 'f64' = reduce_sum(v0, axes=(0,))
    v2: 'f64' = exp(v1)
    v3: 'f64' = tanh(v2)
    return (v3,)
""")
    assert group is not None
    assert {v.type.shape for v in epilogue_results(group)} == {()}
    assert len(epilogue_results(group)) == 2
    assert loop_order(group) is not None


def test_a_nest_of_scalars_has_no_loops() -> None:
    assert (
        order_of("""
def f(v0: 'f64'):
    v1: 'f64' = exp(v0)
    v2: 'f64' = tanh(v1)
    return (v2,)
""")
        == []
    )


# --- views --------------------------------------------------------------------------------------------


def test_a_chain_of_views_reaches_the_arrays_below() -> None:
    graph, _, definitions = groups_of("""
def f(v0: 'f64[6,1,8]', v1: 'f64[8,6]'):
    v2: 'f64[6,8]' = reshape(v0, shape=(6, 8))
    v3: 'f64[8,6]' = permute(v2, axes=(1, 0))
    v4: 'f64[16,6]' = concatenate(v3, v1, axis=0)
    return (v3, v4)
""")
    (one,) = reaches(graph.outputs[0], definitions)
    assert (one.base, one.dims) == (graph.inputs[0], (1, None, 0))
    found = reaches(graph.outputs[1], definitions)
    assert [r.base for r in found] == list(graph.inputs)
    assert [r.dims for r in found] == [None, None]


def test_outputs_that_no_equation_owns_are_copied() -> None:
    graph = read_graph("""
def f(v0: 'f64[6]'):
    v1: 'f64[6]' = tanh(v0)
    v2: 'f64[2,3]' = reshape(v1, shape=(2, 3))
    v3: 'f64[6]' = exp(v1)
    return (v0, v1, v1, v2, const(1.0, 'f64'))
""")
    settled = give_outputs_arrays(graph)
    definitions = {e.out: e for e in settled.eqns}
    owners = [storage_owner(a, definitions) for a in settled.outputs]
    assert None not in owners
    assert len(set(owners)) == len(owners)
    assert settled.outputs[1] is graph.outputs[1]
    assert [str(a.type) for a in settled.outputs] == [str(a.type) for a in graph.outputs]


def test_equations_that_no_output_needs_are_dropped() -> None:
    graph = drop_dead(
        read_graph("""
def f(v0: 'f64[6]'):
    v1: 'f64[6]' = tanh(v0)
    v2: 'f64[6]' = exp(v0)
    v3: 'f64[6]' = sin(v2)
    return (v1,)
""")
    )
    assert [e.primitive.name for e in graph.eqns] == ["tanh"]
