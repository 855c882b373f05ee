"""Results are kept, merged and printed as they were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main, parse
from benchmarks.plots import draw_plots
from benchmarks.results_file import Measurement, Results, Row
from benchmarks.table import best_peer, brief, render
from benchmarks.workload import NAMES


def measurement(seconds: float, first: float | None = None, **more: object) -> Measurement:
    found = Measurement(rounds=[seconds, 2 * seconds, seconds], first_call=first, cores=1.0, **more)  # type: ignore[arg-type]
    found.summarise()
    return found


def make_row(size: str = "1e3", scale: float = 1.0) -> Row:
    row = Row("chain", "chain", size, 1.15)
    row.systems = {
        "tracejit": measurement(1e-6 * scale, 0.03, warm_first_call=0.004),
        "numba": measurement(0.8e-6 * scale, 0.5),
        "jax": measurement(6e-6 * scale, 0.2),
        "torch": measurement(2.5e-3 * scale, 0.1, added=32 << 20, outputs=8 << 20),
        "casadi": Measurement(problem="failed: it is not in the mood"),
    }
    row.set_ratios()
    return row


def test_the_table_has_ratios_the_goal_the_best_peer_and_the_reasons() -> None:
    text = render(Results(rows=[make_row()]))
    line = next(line for line in text.splitlines() if line.startswith("chain 1e3"))
    assert line.split() == [
        *["chain", "1e3", "1.00", "us", "1.25", "1.15", "0.80x", "6.00x", "2500x", "-", "JAX", "6.00x"]
    ]
    firsts = text.split("first calls")[1].splitlines()[1]
    assert firsts.split()[2:8] == ["30.0", "ms", "4.00", "ms", "-", "200"]
    assert "4.00x" in text
    assert "- CasADi, chain 1e3: failed: it is not in the mood" in text


def test_the_short_table_has_each_library_at_its_best() -> None:
    row = make_row()
    row.systems["torch-compile"] = measurement(1e-3)
    row.set_ratios()
    header, line = brief(Results(rows=[row])).splitlines()
    assert line.split() == [
        *["chain", "1e3", "1.00", "us", "1.25", "1.15", "-", "6.00x", "1000x", "-", "-", "-"],
        *["30.0", "ms", "4.00", "ms", "200", "ms", "-", "-", "-"],
    ]
    assert header.index("torch") < header.index("PyTensor")


def test_without_tracejit_a_row_shows_times() -> None:
    row = Row("lotka_volterra", "Lotka-Volterra", "50", 1.4)
    row.systems = {"tracejit": Measurement(problem="later"), "jax": measurement(61e-6)}
    row.set_ratios()
    assert "61.0 us" in render(Results(rows=[row]))
    peer = best_peer(row)
    assert peer is not None and peer[0] == "jax"


def test_peers_of_several_runs_are_compared_by_their_ratios() -> None:
    row = make_row()
    row.systems["torch"].median, row.systems["torch"].ratio = 1e-9, 9.0  # of a machine that was faster then
    peer = best_peer(row)
    assert peer is not None and peer[0] == "jax"


def test_more_than_one_core_is_marked() -> None:
    row = make_row()
    row.systems["jax"].cores = 1.9
    assert "6.00x*" in render(Results(rows=[row]))


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    results = Results(runs=[{"date": "2026-01-02"}], rows=[make_row(), make_row("1e5", 100.0)])
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results
    assert Results.load(tmp_path / "nothing.json") == Results()


def test_merging_keeps_what_is_there_and_adds_what_is_not() -> None:
    old, new = make_row(), make_row(scale=3.0)
    del old.systems["torch"]
    results = Results(rows=[old])
    results.merge(new)
    assert results.rows[0].systems["tracejit"].median == pytest.approx(1e-6)
    # The ratio was taken in its own run, so it holds beside the times of another.
    assert results.rows[0].systems["torch"].ratio == pytest.approx(2500)
    results.merge(new, again=True)
    assert results.rows[0].systems["tracejit"].median == pytest.approx(3e-6)


def test_what_has_no_time_and_no_reason_is_lacking() -> None:
    results = Results(rows=[make_row()])
    results.rows[0].systems["autograd"] = Measurement(problem="autograd is not installed")
    assert results.lacking("chain", "1e3", ("tracejit", "casadi", "autograd", "pytensor")) == (
        "casadi",
        "pytensor",
    )
    assert results.lacking("chain", "1e5", ("jax",)) == ("jax",)
    assert results.only("chain").rows == results.rows and results.only("mlp").rows == []


def test_rows_stand_in_the_order_of_the_workloads() -> None:
    results = Results(rows=[make_row(), Row("tutorial", "tutorial", "5x3", 1.1)])
    results.sort(NAMES)
    assert [r.workload for r in results.rows] == ["tutorial", "chain"]


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = draw_plots(Results(rows=[make_row(), make_row("1e5", 100.0)]), tmp_path)
    assert [path.name for path in written] == ["bars.svg", "sizes.svg"]
    assert all(path.read_text(encoding="utf-8").startswith("<?xml") for path in written)
    assert draw_plots(Results(), tmp_path) == []


def test_saved_results_are_shown_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Results(rows=[make_row()]).save(tmp_path / "results.json")
    assert main(["--show", "--into", str(tmp_path / "results.json")]) == 0
    assert "chain 1e3" in capsys.readouterr().out


def test_a_row_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--rows", "nonsense"])
    assert "nonsense" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no such system: nonsense"):
        main(["--systems", "nonsense"])
