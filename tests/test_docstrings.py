"""Every example in a docstring runs, module by module; `np` and `tj` are there without an import."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "tracejit").rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    names = {"np": np, "tj": importlib.import_module("tracejit")}
    for case in doctest.DocTestFinder(exclude_empty=True).find(module, name, extraglobs=names):
        runner.run(case, out=report.append)
    assert not report, "".join(report)
