"""The emulator finds every mistake put into the kernels of a few programs, but for those without effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from tests import golden_programs
from tests.codegen.cuda.corpus import tutorial
from tests.codegen.cuda.mutants import Mutant, Program
from tests.codegen.cuda.skeletons import layer_norm
from tests.ops.cases.case import integers, normal, uniform

INDEX, LABELS = integers(-7, 7, 1924), integers(-4, 4, 260)
X, Y = normal(1300, 2, seed=8), uniform(0, 1, 1300, 2)
LAYER = (normal(6, 780, seed=3), normal(780, seed=1), normal(780, seed=2))


def softmax(x: Any) -> Any:
    """With the maximum once more, whose derivative would be 0."""
    return golden_programs.softmax_cross_entropy(x, LABELS) + np.mean(x.max(axis=1) ** 2)


def scatter(table: Any) -> Any:
    return np.sum(table[INDEX[:769]] ** 2)


# Seeds for which sums tell in which order they were taken; sizes for which loops over four elements at once
# end just where a block's elements do.
PROGRAMS: dict[str, Callable[[], Program]] = {
    "chain": lambda: Program(golden_programs.chain, (normal(4996), 2.0, 3.0)),
    "one block": lambda: Program(golden_programs.chain, (normal(900), 2.0, 3.0)),
    "stencil": lambda: Program(golden_programs.five_points, (normal(60, 83, seed=2),)),
    "tutorial": lambda: Program(lambda w, b: tutorial(w, b, X, Y), (normal(2, 2), normal(2))),
    "softmax": lambda: Program(softmax, (normal(260, 108),)),
    "logistic regression": lambda: Program(
        golden_programs.logistic_regression,
        (normal(108), normal(260, 108), uniform(0, 1, 260)),
    ),
    "layer norm": lambda: Program(layer_norm, LAYER),
    "gather": lambda: Program(lambda x: x[INDEX], (normal(7),), gradient=False),
    "scatter": lambda: Program(scatter, (normal(7, seed=2),), BLOCKS_WITH_COPIES=3),
}

# Mistakes without effect: in which programs, what, in which lines, and why.
WITHOUT_EFFECT = (
    (
        ".*",
        "the last one left out",
        r"for w in range\(1, 8\):",
        "What few blocks left is in the first warp, the others add zeros; a test below has many blocks.",
    ),
    (
        "layer norm|logistic regression|softmax",
        "left out",
        r"cuda\.sync(threads|warp)\(\) before (i = team|i \+= .*|k = lane|the end)",
        "Each thread fills, sums into and reads elements of its own; the printer goes by whole arrays.",
    ),
    ("joined", "left out", r"cuda\.threadfence\(\) before acc.*", "It reads what the launch before left."),
    ("one block", "the stride of one block", ".*", "One block's stride is its own size."),
    ("one block", "left out", ".* before lane = thread", "What follows reads what each thread has itself."),
    (
        "stencil",
        "one iteration more",
        "while .*",
        "Its first launch has no size at which one element is missing.",
    ),
    ("scatter", "one iteration more", "while start < .*", "Elements behind the last are asked for inside."),
    (
        "logistic regression|softmax",
        "one exchange less",
        r"for d in range\(5\):",
        "Only the first thread of a warp has part of the sum over rows.",
    ),
)


def is_without_effect(name: str, mutant: Mutant) -> bool:
    return any(
        re.fullmatch(program, name) and re.fullmatch(what, mutant.what) and re.fullmatch(line, mutant.line)
        for program, what, line, _ in WITHOUT_EFFECT
    )


def assert_without_effect(name: str, survivors: Iterable[Mutant]) -> None:
    found = [str(m) for m in survivors if not is_without_effect(name, m)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_mistake_in_a_kernel_is_found(name: str) -> None:
    assert_without_effect(name, PROGRAMS[name]().survivors())


def test_every_mistake_in_a_launch_that_joins_copies_is_found() -> None:
    program = Program(layer_norm, LAYER, JOINED_BY_LAST=0)
    assert [launch.name for launch in program.launches] == ["kernel_0_part", "kernel_0_join"]
    assert_without_effect("joined", program.survivors(first=1))


def test_all_warps_take_part_in_the_sum_over_many_blocks() -> None:
    program = Program(lambda x: np.sum(x * x), (normal(230_000),), MOST_BLOCKS=230)
    assert not list(program.survivors("the last one left out"))
