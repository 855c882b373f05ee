"""The table of elementary functions: every function is in it, and its columns are filled."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import math_functions
from tracejit.codegen.math import PROGRAMS

NAMES = {"pow_": "power", "lgamma": "gammaln", "atan2": "arctan2", "logaddexp2": "logaddexp"}
NAMES |= {"erf_given": "erf"}


def test_every_program_has_a_row() -> None:
    rows = {row.name for row in math_functions.ROWS}
    for name in PROGRAMS:
        inverse = f"arc{name[1:]}" if name[0] == "a" else name
        assert {NAMES.get(name, name), inverse} & rows, name


@pytest.mark.parametrize("name", ["exp", "arctan2", "erf"])
def test_a_row_has_errors_and_times(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, value in {"SAMPLES": 500, "SLOW_SAMPLES": 60, "ROUNDS": 1, "REPEATS": 1}.items():
        monkeypatch.setattr(math_functions, constant, value)
    monkeypatch.setattr(math_functions, "ROWS", [row for row in math_functions.ROWS if row.name == name])
    lines = list(math_functions.table(math_functions.Rivals()))
    assert len(lines) == 4
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(math_functions.COLUMNS)
        assert 0 < float(cells[2]) <= 2.0
        assert np.isfinite(float(cells[4]))
