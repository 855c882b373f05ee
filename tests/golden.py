"""Golden files: texts kept in tests/goldens, compared whole, rewritten by `pytest --update-golden`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "goldens"


def compare_golden(path: Path, text: str, *, update: bool) -> str | None:
    """None when the file holds `text` (or was just made to), else what is wrong, as a unified diff."""
    text = text.rstrip("\n") + "\n"
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return None
    if not path.exists():
        return f"{path.name} does not exist; `pytest --update-golden` writes it"
    kept = path.read_text(encoding="utf-8")
    if kept == text:
        return None
    diff = difflib.unified_diff(kept.splitlines(), text.splitlines(), "golden", "now", lineterm="")
    return "\n".join([f"{path.name} differs; if that is meant, run `pytest --update-golden`", *diff])


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` fails unless tests/goldens/<name>.txt holds `text`; a slash makes a folder."""
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str) -> None:
        problem = compare_golden(FOLDER / f"{name}.txt", text, update=update)
        if problem is not None:
            pytest.fail(problem, pytrace=False)

    return check
