"""The command lines: `--help` measures nothing, and README.md names every option."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
MODULES = sorted(set(re.findall(r"^python -m (benchmarks\S*)", README, re.M)))


def help_of(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", text))


@pytest.mark.parametrize("module", MODULES)
def test_help_measures_nothing(module: str) -> None:
    assert help_of(module).startswith("usage:")


def test_every_option_is_in_the_readme() -> None:
    assert options_in(help_of("benchmarks")) - {"--help"} <= options_in(README)
