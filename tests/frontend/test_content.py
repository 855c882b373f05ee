"""Which functions could have branched on the content of an array, judged by their bytecode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit.frontend.content import may_read_content, nested_codes

data = np.ones(3)
flag = True
name = "mean"
limits: dict[str, Any] = {"a": 1}


def plain(x: Any) -> Any:
    return np.sum(x * data)


def loops(x: Any) -> Any:
    total = 0.0
    for k in range(3):
        total = total + x * k
    return [total for _ in (1, 2)]


def branches_on_a_global(x: Any) -> Any:
    return x if flag else -x


def branches_on_a_parameter(x: Any, training: bool = False) -> Any:
    if training:
        x = x * 2
    if x is None:
        return 0
    if not training and name == "mean" and limits.size > 0:
        return x
    return x * 3


def branches_on_a_shape(x: Any) -> Any:
    if data.ndim == 1:
        return x
    return data.shape


def handles_errors(x: Any) -> Any:
    try:
        return x * 2
    except ValueError:
        return x


def uses_with(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return x * data


def branches_on_an_element(x: Any) -> Any:
    return x if data[0] > 1 else -x


def branches_on_a_reduction(x: Any) -> Any:
    if data.max() > 1:
        return x
    return -x


def branches_on_a_local(x: Any) -> Any:
    m = data.sum()
    if m:
        return x
    return -x


def branches_on_the_array(x: Any) -> Any:
    return x if data else -x


def converts(x: Any) -> Any:
    return x * float(data[0])


def asserts(x: Any) -> Any:
    assert data.any()
    return x


def branches_in_a_lambda(x: Any) -> Any:
    pick = lambda a: x if a else -x  # noqa: E731
    return pick(data[0])


def filters(x: Any) -> Any:
    return [x for d in data if d > 0]


def counts(x: Any) -> Any:
    return [x for _ in range(3)]


def judge(function: Callable[..., Any], has_integers: bool = False) -> bool:
    code = function.__code__
    parameters = frozenset(code.co_varnames[: code.co_argcount])
    return may_read_content(list(nested_codes(code)), frozenset({"data"}), parameters, has_integers)


@pytest.mark.parametrize(
    "function",
    [
        plain,
        loops,
        branches_on_a_global,
        branches_on_a_parameter,
        branches_on_a_shape,
        handles_errors,
        uses_with,
    ],
)
def test_names_constants_and_shapes_do_not_depend_on_content(function: Callable[..., Any]) -> None:
    assert not judge(function)


@pytest.mark.parametrize(
    "function",
    [
        branches_on_an_element,
        branches_on_a_reduction,
        branches_on_a_local,
        branches_on_the_array,
        converts,
        asserts,
        branches_in_a_lambda,
        filters,
    ],
)
def test_elements_and_what_is_computed_of_them_do(function: Callable[..., Any]) -> None:
    assert judge(function)


def test_a_range_may_depend_on_an_integer_array() -> None:
    assert not judge(counts)
    assert judge(counts, has_integers=True)
