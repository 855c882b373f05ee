"""Cubins are compiled once a text and architecture, kept on disk, and never taken from a damaged entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.runtime.cuda.fakes import Driver
from tracejit.codegen.cuda.launches import Launch
from tracejit.config import Config
from tracejit.errors import CacheWarning
from tracejit.runtime.cuda.kernels import find_cubin

TEXT = "def kernel_0(x):\n    # a comment\n    x[0] = 1.0\n"
LAUNCH = Launch("kernel_0", TEXT, ("*float64",), (), 1, 256, ())


def test_a_cubin_is_compiled_once_and_found_on_disk(tmp_path: Path) -> None:
    driver, config = Driver(), Config(cache_dir=tmp_path / "cache")
    first = find_cubin(LAUNCH, driver, (9, 0), config)
    assert find_cubin(LAUNCH, driver, (9, 0), config) == first
    assert (
        find_cubin(replace(LAUNCH, text=TEXT.replace("a comment", "another")), driver, (9, 0), config)
        == first
    )
    assert len(driver.compiled) == 1
    kept = sorted(p.suffix for p in (tmp_path / "cache").iterdir())
    assert kept == [".py", ".tjo"]


@pytest.mark.parametrize(
    "other",
    [replace(LAUNCH, text=TEXT.replace("1.0", "2.0")), replace(LAUNCH, parameters=("*float32",))],
    ids=["text", "parameters"],
)
def test_other_text_or_types_are_other_cubins(tmp_path: Path, other: Launch) -> None:
    driver, config = Driver(), Config(cache_dir=tmp_path / "cache")
    find_cubin(LAUNCH, driver, (9, 0), config)
    find_cubin(other, driver, (9, 0), config)
    assert len(driver.compiled) == 2


def test_another_architecture_is_another_cubin(tmp_path: Path) -> None:
    driver, config = Driver(), Config(cache_dir=tmp_path / "cache")
    assert find_cubin(LAUNCH, driver, (9, 0), config) != find_cubin(LAUNCH, driver, (10, 0), config)


def test_a_damaged_entry_is_compiled_again_with_a_warning(tmp_path: Path) -> None:
    driver, config = Driver(), Config(cache_dir=tmp_path / "cache")
    first = find_cubin(LAUNCH, driver, (9, 0), config)
    (entry,) = (tmp_path / "cache").glob("*.tjo")
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    with pytest.warns(CacheWarning, match="was discarded and is compiled again"):
        assert find_cubin(LAUNCH, driver, (9, 0), config) == first


def test_without_a_folder_nothing_is_kept() -> None:
    driver = Driver()
    for _ in range(2):
        find_cubin(LAUNCH, driver, (9, 0), Config(cache_dir=None))
    assert len(driver.compiled) == 2
