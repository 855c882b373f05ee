"""The report: what is written is read back, what the table says of a variant, pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu.plots import draw
from benchmarks.gpu.report import COPY, Report, Timing, read_report, report_text, rows_text

KEY = ("bce", "100", "float32")


def report() -> Report:
    found = Report(versions={"device": "none"}, ceilings={COPY: 1e9}, host={"fused": 5e-6})
    found.timings = [
        Timing(*KEY, "fused", 1000, 2e-6, [2e-6], 0.5, 1.25, 1, 0, 1010, True),
        Timing(*KEY, "unfused", 1000, 4e-6, [4e-6], 0.5, 1.5, 9, 2, 4000, False),
        Timing(*KEY, "torch", 1000, problem="stopped after 30 s"),
        Timing(*KEY, "JAX", 1000),
    ]
    found.problems = ["something"]
    return found


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    report().write(tmp_path)
    assert read_report(tmp_path) == report()
    assert "PROBLEM: something" in (tmp_path / "gpu_check.txt").read_text(encoding="utf-8")


def test_the_table_of_a_row() -> None:
    heads, _, *lines = rows_text(report(), KEY).splitlines()
    assert heads.split("  ")[0] == "bce 100 float32" and heads.endswith("compile s  launches  bytes")
    assert [line.split() for line in lines] == [
        ["fused", "0.0020", "0.0010", "50", "1.00", "0.50", "1.25", "1", "1.01"],
        [
            "unfused",
            "0.0040",
            "0.0010",
            "25",
            "2.00",
            "0.50",
            "1.50",
            "9+2",
            "4.00",
            "other",
            "bits",
            "each",
            "time",
        ],
        ["torch", "0.0010", "stopped", "after", "30", "s"],
    ]


def test_the_best_copy_is_the_ceiling() -> None:
    found = report()
    found.ceilings["copy by tracejit, bytes a second"] = 2e9
    assert found.copy_rate() == 2e9 and Report().copy_rate() is None


def test_a_report_without_times_has_a_text() -> None:
    assert report_text(Report(missing=["all"])) == "missing: all"


def test_pictures_are_drawn_where_there_is_something_to_draw(tmp_path: Path) -> None:
    assert draw(Report(), tmp_path) == []
    pytest.importorskip("matplotlib")
    assert [path.name for path in draw(report(), tmp_path)] == ["ratios.svg", "rates.svg"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("ratios.svg", "rates.svg"))
