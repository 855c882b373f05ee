"""The golden fixture itself."""

from __future__ import annotations

from pathlib import Path

from tests.golden import compare_golden


def test_an_update_writes_the_text_and_the_next_comparison_passes(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "case.txt"
    assert compare_golden(path, "a\nb", update=True) is None
    assert path.read_bytes() == b"a\nb\n"
    assert compare_golden(path, "a\nb\n", update=False) is None


def test_a_missing_file_is_a_failure_that_names_the_flag(tmp_path: Path) -> None:
    problem = compare_golden(tmp_path / "case.txt", "a", update=False)
    assert problem == "case.txt does not exist; `pytest --update-golden` writes it"
    assert not (tmp_path / "case.txt").exists()


def test_a_changed_text_is_shown_as_a_diff_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "case.txt"
    compare_golden(path, "a\nb", update=True)
    problem = compare_golden(path, "a\nc", update=False)
    assert problem is not None
    assert problem.splitlines() == [
        "case.txt differs; if that is meant, run `pytest --update-golden`",
        "--- golden",
        "+++ now",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert path.read_text(encoding="utf-8") == "a\nb\n"
