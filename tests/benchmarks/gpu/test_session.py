"""What a process of the check answers: to each item, to what fails, and when the device is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.cases import CASES, run_case
from benchmarks.gpu.libraries import PART, Library
from benchmarks.gpu.session import Session
from tracejit.errors import UnsupportedError


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session("cupy", True, tmp_path)


ITEM = {"row": "bce", "shape": [60], "dtype": "float64", "variant": "fused"}


def test_a_measured_step_leaves_its_results(session: Session) -> None:
    answer = session.answer({"do": "measure", **ITEM})
    assert answer["repeats"] and answer["rounds"] and answer["first_seconds"] > 0
    with np.load(answer["results"]) as kept:
        assert [kept[name].shape for name in kept.files] == [(1,), (60,)]


def test_a_step_is_timed_again_as_long_as_its_row_is_there(session: Session) -> None:
    session.answer({"do": "measure", **ITEM})
    assert session.answer({"do": "again", **ITEM})["rounds"]
    session.answer({"do": "measure", **ITEM, "shape": [50]})
    assert session.answer({"do": "again", **ITEM}) == {"problem": "its step is gone"}


def test_kernels_are_counted(session: Session) -> None:
    answer = session.answer({"do": "kernels", **ITEM, "shape": [5000], "architecture": [9, 0]})
    assert (answer["launches"], answer["library_calls"], answer["bytes_moved"]) == (1, 0, 5000 * 24 + 8)


def test_what_is_raised_is_the_answer(session: Session, monkeypatch) -> None:
    assert session.answer({"do": "measure", **ITEM, "row": "none"}) == {
        "problem": "KeyError: 'none'",
        "broken": False,
    }

    def refuse(self: Session, item: object) -> None:
        raise UnsupportedError("not here", hint="there")

    monkeypatch.setattr(Session, "do_case", refuse)
    assert session.answer({"do": "case"})["problem"] == "not here\n  hint: there"


def test_a_device_that_answers_no_more_is_broken(session: Session, monkeypatch) -> None:
    def fails(self: Library, result: object = None) -> None:
        raise RuntimeError("illegal memory access")

    assert session.library is not None
    monkeypatch.setattr(Library, "wait", fails)
    assert session.answer({"do": "measure", **ITEM})["broken"]


def test_large_results_are_looked_at_in_parts() -> None:
    x = np.arange(10 * PART)
    found = Library().sample(x)
    assert found.size <= 5 * PART
    assert (found[:PART] == x[:PART]).all() and (found[PART : 2 * PART] == x[-PART:]).all()


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_right_in_the_emulator(name: str) -> None:
    run_case(name, "float64", Library())
