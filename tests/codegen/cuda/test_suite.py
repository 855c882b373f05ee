"""Every list of programs in the suite runs in the emulator, or is named with the reason why it does not."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.codegen.cuda.suite import (
    CROSS,
    NOT_TAKEN,
    SIZES,
    STATED,
    TAKEN,
    check_resized,
    check_stated,
    conformance_rows,
    sizes_of,
)

TESTS = Path(__file__).parents[2]
NAMES = {"PROGRAMS", "FUNCTIONS", "CASES"}
EDGES = SIZES[: SIZES.index(257) + 1]
CHANGED = [(name, d) for name in CROSS for d in sizes_of(name)]
RESIZED = [
    pytest.param(name, d, EDGES[k % len(EDGES)], id=f"{name}[{d}->{EDGES[k % len(EDGES)]}]")
    for k, (name, d) in enumerate(CHANGED)
]
SOME_CALLS = [pytest.param(check, id=name) for name, check in list(conformance_rows())[::16]]


@pytest.mark.parametrize("name", STATED)
def test_a_program_of_the_suite_gives_what_the_evaluator_gives(name: str) -> None:
    check_stated(name)


@pytest.mark.parametrize(("name", "d", "n"), RESIZED)
def test_a_users_program_of_another_size_gives_what_the_evaluator_gives(name: str, d: int, n: int) -> None:
    if not check_resized(name, d, n):
        pytest.skip("the program takes no such size, or it is too large")


@pytest.mark.parametrize("check", SOME_CALLS)
def test_a_call_of_numpy_gives_what_the_evaluator_gives(check: Callable[[], bool]) -> None:
    if not check():
        pytest.skip("too large")


def test_every_list_of_programs_runs_in_the_emulator_or_is_named() -> None:
    found = set()
    for path in TESTS.rglob("*.py"):
        module = ".".join(path.relative_to(TESTS).with_suffix("").parts)
        for line in ast.parse(path.read_text()).body:
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            found |= {f"{module}.{t.id}" for t in targets if isinstance(t, ast.Name) and t.id in NAMES}
    found = {x for x in found if not x.startswith("ops.cases.")}  # gathered in ops.test_rules.CASES
    assert sorted(found) == sorted(TAKEN | NOT_TAKEN.keys())
