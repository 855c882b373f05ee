"""Index expressions: their normal form, what is known of their values, and the guards made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracejit.schedule.index import AxisRef, Guard, Index, Loaded, Quotient, Remainder, strongest

EXTENTS = {0: 7, 1: 5, 2: 3}
I, J, K = (Index.factor(AxisRef(a)) for a in EXTENTS)


def value_of(index: Index, at: dict[int, int]) -> int:
    """The number that an expression stands for when the loops are `at` these iterations."""
    total = index.constant
    for factor, coefficient in index.terms:
        if isinstance(factor, AxisRef):
            value = at[factor.axis]
        else:
            assert isinstance(factor, (Quotient, Remainder))
            inner = value_of(factor.numerator, at)
            value = inner // factor.divisor if isinstance(factor, Quotient) else inner % factor.divisor
        total += coefficient * value
    return total


def expressions() -> st.SearchStrategy[Any]:
    """Pairs of an expression and the function of the iterations that it was built from."""
    leaf = st.one_of(
        st.integers(-9, 9).map(lambda n: (Index.of(n), lambda at: n)),
        st.sampled_from([0, 1, 2]).map(lambda a: (Index.factor(AxisRef(a)), lambda at: at[a])),
    )

    def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        pairs = st.tuples(inner, inner)
        scaled = st.tuples(inner, st.integers(-4, 4))
        divided = st.tuples(inner, st.integers(1, 6))
        return st.one_of(
            pairs.map(lambda p: (p[0][0] + p[1][0], lambda at: p[0][1](at) + p[1][1](at))),
            pairs.map(lambda p: (p[0][0] - p[1][0], lambda at: p[0][1](at) - p[1][1](at))),
            scaled.map(lambda p: (p[0][0] * p[1], lambda at: p[0][1](at) * p[1])),
            divided.map(lambda p: (p[0][0] // p[1], lambda at: p[0][1](at) // p[1])),
            divided.map(lambda p: (p[0][0] % p[1], lambda at: p[0][1](at) % p[1])),
        )

    return st.recursive(leaf, grown, max_leaves=8)


ITERATIONS = st.fixed_dictionaries({a: st.integers(0, n - 1) for a, n in EXTENTS.items()})


@given(expressions(), ITERATIONS)
def test_an_expression_has_the_value_of_what_it_was_built_from(built: Any, at: dict[int, int]) -> None:
    index, meaning = built
    assert value_of(index, at) == meaning(at)


@given(expressions(), ITERATIONS)
def test_values_lie_within_the_bounds(built: Any, at: dict[int, int]) -> None:
    index, _ = built
    bounds = index.bounds(EXTENTS)
    assert bounds is not None
    assert bounds[0] <= value_of(index, at) <= bounds[1]


@given(expressions(), ITERATIONS)
def test_a_guard_or_its_negation_holds(built: Any, at: dict[int, int]) -> None:
    index, _ = built
    guard = index >= 2
    assert (value_of(guard.index, at) >= 0) != (value_of(guard.negated().index, at) >= 0)
    assert guard.negated().negated() == guard


@given(st.lists(expressions(), max_size=4), ITERATIONS)
def test_the_strongest_guards_say_what_all_of_them_say(built: list[Any], at: dict[int, int]) -> None:
    guards = [index >= k for k, (index, _) in enumerate(built)]
    guards += [guard.index + 1 >= 0 for guard in guards]

    def hold(some: Any) -> bool:
        return all(value_of(g.index, at) >= 0 for g in some)

    assert hold(strongest(guards)) == hold(guards)


def test_equal_expressions_are_one_key() -> None:
    assert len({I * 3 + J, J + I * 2 + I, J + 3 * I + 1 - 1}) == 1
    assert len({I + J, I - J, I + J + 1, I}) == 4
    assert len({(I + 1) // 5, (1 + I) // 5}) == 1
    assert len({I // 5, I % 5}) == 2


def test_terms_that_cancel_leave_nothing() -> None:
    assert (I - I).terms == () and (I * 0).terms == ()
    assert (I + J - J).single_axis() == (0, 1, 0)


def test_exact_divisions_leave_no_quotient() -> None:
    assert (6 * I + 12 * J + 18) // 6 == I + 2 * J + 3
    assert Index() == (6 * I + 12) % 6
    assert isinstance((6 * I + 1).__floordiv__(6).terms[0][0], Quotient)
    assert (I, Index()) == (I // 1, I % 1)


def test_expressions_know_their_axes() -> None:
    index = (I + 2 * J) // 5 + K % 2
    assert index.axes == {0, 1, 2}
    assert index.single_axis() is None
    assert (3 - 2 * K).single_axis() == (2, -2, 3)
    assert Index.factor(Loaded("scalar")).axes == frozenset()


def test_loaded_indices_are_found_at_any_depth() -> None:
    loaded = Index.factor(Loaded("scalar"))
    assert ((loaded + I) % 5 + J).loaded == ("scalar",)
    assert (loaded + 1).bounds(EXTENTS) is None


def test_bounds_are_exact_for_sums_over_loops() -> None:
    assert (2 * I - J + 1).bounds(EXTENTS) == (-3, 13)
    assert ((3 * I + K) // 3).bounds(EXTENTS) == (0, 6)
    assert (I % 4).bounds(EXTENTS) == (0, 3)
    assert I.bounds({0: 0}) == (0, 0)


def test_guards_are_true_only_where_no_loop_can_change_them() -> None:
    assert Index.of(3) >= 3
    assert not (Index.of(2) >= 3)
    assert not (I >= 0)
    assert (I >= 0).always_holds(EXTENTS)
    assert (I < 7).always_holds(EXTENTS)
    assert not (I < 6).always_holds(EXTENTS)


def test_comparisons_are_inequalities_with_zero() -> None:
    assert (I > 2) == Guard(">=", I - 3)
    assert (I <= J) == Guard(">=", J - I)
    assert (I < 4) == Guard(">=", 3 - I)
    assert (I % 2 == 0).op == "=="


def test_an_equation_has_no_guard_for_its_negation() -> None:
    with pytest.raises(ValueError, match="only inequalities"):
        (I % 2 == 0).negated()
