"""Equations know the user's line, and the operation of that line which they came out of."""

from __future__ import annotations

from typing import Any

import numpy as np

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.ir import Builder, Eqn, Source, building, calling


def equations(function: Any, *args: Any) -> tuple[Eqn, ...]:
    return record_call(function, args, {}).graph.eqns


def call_names(eqns: tuple[Eqn, ...]) -> list[str]:
    return [e.source.call.name for e in eqns if e.source is not None and e.source.call is not None]


def test_all_equations_of_one_operation_share_its_call() -> None:
    eqns = equations(lambda x: np.mean(x) + 1.0, np.ones(3))
    assert call_names(eqns) == ["np.mean", "np.mean", "add"]
    calls = [e.source.call for e in eqns if e.source is not None]
    assert calls[0] is calls[1]


def test_two_operations_of_one_name_are_two_calls() -> None:
    first, second = equations(lambda x: np.tanh(np.tanh(x)), np.ones(3))
    assert first.source is not None and second.source is not None
    assert first.source == second.source
    assert first.source.call is not second.source.call
    assert first.source.offset < second.source.offset


def test_a_function_of_the_library_is_one_operation() -> None:
    eqns = equations(tj.nn.softmax, np.ones(3))
    assert set(call_names(eqns)) == {"softmax"}
    assert len(eqns) > 3


def test_derivatives_carry_the_line_and_their_order() -> None:
    source = equations(tj.grad(lambda x: np.tanh(x)), 1.0)[-1].source
    assert source is not None and source.call is not None
    assert (source.call.name, source.call.order) == ("np.tanh", 1)
    assert "np.tanh(x)" in source.text


def test_the_derivative_of_a_call_is_one_object_and_a_line_without_a_call_stays() -> None:
    source = equations(np.tanh, 1.0)[0].source
    assert source is not None
    assert source.derivative().call is source.derivative().call
    bare = Source("f", "f.py", 1)
    assert bare.derivative() is bare


def test_the_outermost_name_wins_and_ends_with_its_block() -> None:
    with building(Builder("f")) as builder:
        with calling("outer"):
            with calling("inner"):
                assert builder.call is not None and builder.call.name == "outer"
            assert builder.call is not None
        assert builder.call is None


def test_a_name_outside_a_trace_is_no_one_s() -> None:
    with calling("nothing"):
        pass


def test_an_error_inside_a_call_ends_it() -> None:
    with building(Builder("f")) as builder:
        try:
            with calling("failing"):
                raise ValueError
        except ValueError:
            pass
        assert builder.call is None
