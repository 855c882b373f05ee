"""Where NVIDIA's toolkit is: on the path, where variables say, where it usually is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu import toolkit
from benchmarks.gpu.toolkit import NAMED, toolkit_program, with_toolkit


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolkit that nobody names, in a machine without another."""
    for variable in NAMED:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(toolkit, "USUAL", str(tmp_path / "usual"))
    for folder in ("path", "toolkit/bin", "toolkit/nvvm"):
        (tmp_path / folder).mkdir(parents=True)
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.touch(0o755)
    return tmp_path / "toolkit"


def test_without_one_nothing_is_found(root: Path) -> None:
    assert toolkit_program("nvcc") is None
    assert not any(variable in with_toolkit() for variable in NAMED)


def test_one_on_the_path_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "path" / "nvcc").symlink_to(root / "bin" / "nvcc")
    assert toolkit_program("nvcc") is not None
    assert with_toolkit()["CUDA_HOME"] == str(root)


def test_one_at_the_usual_place_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit, "USUAL", str(root))
    (root.parent / "path" / "nvcc").touch(0o755)  # a script that starts the other
    assert with_toolkit()["CUDA_HOME"] == str(root)


@pytest.mark.parametrize("variable", NAMED)
def test_what_a_variable_names_stays(root: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, str(root))
    assert toolkit_program("nvcc") == str(root / "bin" / "nvcc")
    assert {name for name in NAMED if name in with_toolkit()} == {variable}
