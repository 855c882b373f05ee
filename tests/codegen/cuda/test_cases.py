"""Every row of the case table as CUDA kernels in the emulator: its value, or both value and gradient."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen.cuda.emulated import GRID, ONE_BLOCK, check, check_function
from tests.ops.cases.case import Case
from tests.ops.test_rules import each_case, graphs_of
from tests.transforms.checks import is_single


@pytest.mark.parametrize("small", [GRID, ONE_BLOCK], ids=["grid", "one-block"])
@each_case
def test_a_row_gives_in_the_emulator_what_the_evaluator_gives(
    case: Case, small: int, rng: np.random.Generator
) -> None:
    graph, arrays = graphs_of(case, rng)[-1]  # the gradient where there is one: it returns the value too
    check(graph, arrays, small, 2e-5 if is_single(graph) else 1e-12)


@pytest.mark.parametrize("shape", [(5000, 0), (0, 5000), (300, 0, 300)])
def test_rows_of_no_elements_are_nothing_to_do(shape: tuple[int, ...]) -> None:
    x = np.ones(shape)
    check_function(lambda x: x.sum(axis=0), x, gradient=False)
    check_function(lambda x: np.sum(np.exp(x).sum(axis=-1)), x)
