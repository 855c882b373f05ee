"""`benchmarks.repeats` sees a difference where there is one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from benchmarks import repeats


def test_small_rows_have_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    assert repeats.main(["--rows", "chain", "mlp", "--sizes", "1e3", "64", "--runs", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok: 2 sizes, 0 of them differ"


def test_one_other_bit_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = itertools.count()

    def made(*_: Any, **__: Any) -> Any:
        return lambda *args: (np.float64(next(calls) == 5), (np.zeros(3),))

    monkeypatch.setattr(repeats.tj, "grad_jit", made)
    monkeypatch.setattr(repeats, "strands_of", lambda *_: [1])
    assert repeats.main(["--rows", "chain", "--sizes", "1e3", "--runs", "3"]) == 1
    assert "2 DIFFERENT RESULTS" in capsys.readouterr().out
