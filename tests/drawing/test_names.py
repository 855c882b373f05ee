"""Names of variables are given only where the statement leaves no doubt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.drawing.names import canonical, label_of, shorten, word_of


def values(function: Callable[..., Any], *args: Any) -> list[str]:
    """The variables in the figure of a function, each with the operation that it is the result of."""
    figure = tj.draw(function)(*args).figure
    made = {b: a for a, b in figure.edges if figure.nodes[b].kind == "value"}
    return [f"{node.label} = {made[node.id]}" for node in figure.nodes.values() if node.kind == "value"]


ONES = np.ones(3)


def test_the_outermost_operation_of_a_statement_is_the_variable() -> None:
    def f(a: Any, b: Any) -> Any:
        c = a + b + a
        d: Any = c * c + a * b
        return d - c

    assert values(f, ONES, 2 * ONES) == ["c = plus_2", "d = plus_3"]


def test_statements_over_many_lines_are_read_whole() -> None:
    def f(a: Any, b: Any) -> Any:
        # fmt: off
        total = (
            a * b
            + b
        )
        # fmt: on
        return np.exp(total)

    assert values(f, ONES, ONES) == ["total = plus"]


def test_methods_ufuncs_indexing_and_comparisons_are_recognised() -> None:
    def f(a: Any) -> Any:
        s = a.sum()
        m = np.abs(a)
        first = a[0]
        turned = a.T
        mask = a > s
        return np.where(mask, m, turned) + first

    assert values(f, np.ones((2, 2))) == [
        "s = sum",
        "m = absolute",
        "first = indexing",
        "turned = transpose",
        "mask = greater",
    ]


def test_augmented_assignment_of_a_scalar_names_the_new_value() -> None:
    def f(a: Any, b: Any) -> Any:
        total = a.sum()
        total += b.sum()
        return np.exp(total)

    assert values(f, ONES, ONES) == ["total = sum", "total = plus"]


def test_additions_inside_a_builtin_are_not_the_addition_of_the_statement() -> None:
    def f(a: Any, b: Any) -> Any:
        total = a.sum() + sum(x.sum() for x in (a, b))
        return np.exp(total)

    assert values(f, ONES, ONES) == ["total = plus_3"]


def test_nothing_is_named_where_a_function_of_the_users_stands_between() -> None:
    def helper(a: Any) -> Any:
        return a + a

    def f(a: Any) -> Any:
        y = helper(a) if a.ndim else a
        u, v = a * 2.0, a * 3.0
        return y + u + v

    assert values(f, ONES) == []


def test_code_without_a_file_has_no_variables() -> None:
    names: dict[str, Any] = {}
    exec("def f(a):\n    b = a + a\n    return b * a\n", names)
    assert values(names["f"], ONES) == []


@pytest.mark.parametrize(
    ("name", "word", "label"),
    [
        ("np.add", "plus", "+"),
        ("matmul", "times", "*"),
        ("truediv", "over", "/"),
        ("np.linalg.norm", "norm", "norm"),
        ("binary_cross_entropy_with_logits", "CE", "CE"),
        ("cross_entropy", "CE", "CE"),
        ("indexing", "indexing", "[ ]"),
    ],
)
def test_operations_have_a_symbol_and_a_word(name: str, word: str, label: str) -> None:
    assert (word_of(canonical(name)), label_of(canonical(name))) == (word, label)


def test_paths_are_shortened_only_where_the_end_is_unique() -> None:
    assert shorten(["params['w']", "params['b']", "x"]) == ["w", "b", "x"]
    assert shorten(["a['w']", "b['w']", "w"]) == ["a['w']", "b['w']", "w"]
    assert shorten(["layers[0]", "layers[1]"]) == ["layers[0]", "layers[1]"]
    assert shorten(["p['long name']", "self.w"]) == ["p['long name']", "w"]
