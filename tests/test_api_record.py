"""`record_call`: the names and graphs of one call, before anything is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.api.record import record_call
from tracejit.errors import ShapeError

OFFSET = np.ones(2)


def affine(params: Any, x: Any, *, shift: float = 0.0) -> Any:
    return np.sum(params["w"] * x + params["b"] + OFFSET) + shift


ARGUMENTS = ({"w": np.ones(2), "b": np.ones(2)}, np.ones(2))


def test_inputs_are_arguments_by_path_keywords_and_captured_arrays() -> None:
    record = record_call(affine, ARGUMENTS, {"shift": 2.0})
    assert record.inputs == ("params['b']", "params['w']", "x", "shift", "OFFSET")
    assert len(record.arrays) == len(record.graph.inputs) == 5
    assert record.arrays[-1] is OFFSET


def test_a_plain_function_counts_as_jitted() -> None:
    record = record_call(affine, ARGUMENTS, {})
    assert (record.name, record.outputs, record.wrt) == ("affine", ("affine",), ())
    assert record.traced is record.graph
    assert record.base is affine


@pytest.mark.parametrize(
    ("transformed", "outputs", "wrt"),
    [
        (tj.grad_jit(affine), ("affine", "daffine/dparams['b']", "daffine/dparams['w']"), (0, 1)),
        (tj.grad(affine, argnums=1), ("daffine/dx",), (2,)),
        (
            tj.value_and_grad(affine, argnums=(1, 0)),
            ("affine", "daffine/dx", "daffine/dparams['b']", "daffine/dparams['w']"),
            (2, 0, 1),
        ),
        (tj.grad_jit(affine).value, ("affine",), ()),
    ],
)
def test_outputs_are_the_value_and_the_gradients_by_path(
    transformed: Any, outputs: tuple[str, ...], wrt: tuple[int, ...]
) -> None:
    record = record_call(transformed, ARGUMENTS, {})
    assert (record.outputs, record.wrt) == (outputs, wrt)
    assert len(record.graph.outputs) == len(outputs)


def test_auxiliary_results_have_their_paths() -> None:
    def with_aux(x: Any) -> Any:
        return np.sum(x), {"double": 2.0 * x}

    record = record_call(tj.grad_jit(has_aux=True)(with_aux), (np.ones(2),), {})
    assert record.outputs == ("with_aux", "with_aux[1]['double']", "dwith_aux/dx")
    assert record.results == record.outputs[:2]
    assert record_call(tj.grad(with_aux, has_aux=True), (np.ones(2),), {}).outputs == record.outputs[1:]


def test_the_users_own_function_is_found_under_transformations() -> None:
    assert record_call(tj.jit(tj.grad(affine)), ARGUMENTS, {}).base is affine


def test_errors_are_those_of_the_call() -> None:
    with pytest.raises(ShapeError, match="must return a scalar"):
        record_call(tj.grad(lambda x: x), (np.ones(2),), {})


def test_tracing_and_transforming_are_timed_apart() -> None:
    record = record_call(tj.grad_jit(affine), ARGUMENTS, {})
    assert list(record.seconds) == ["trace", "transform"]
    assert record.seconds["trace"] > 0
