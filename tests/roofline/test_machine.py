"""Ceilings: positive, ordered, kept on disk, measured anew where what is kept cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tracejit.config import Config
from tracejit.roofline import Level, Machine, machine, measured_machine
from tracejit.roofline.ceiling_code import ceiling_text

FOUND = Machine("cpu", 1, (Level("L1", 32768, 9e9, 8e9), Level("memory", 0, 3e9, 2e9)), 5e9, 7e9)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Measurements take no time here, and are counted."""
    calls: list[int] = []

    def measure(threads: int, config: Config) -> Machine:
        calls.append(threads)
        return replace(FOUND, threads=threads)

    monkeypatch.setattr(machine, "measure_machine", measure)
    monkeypatch.setattr(machine, "_measured", {})
    return calls


@pytest.mark.parametrize("threads", [1, 2])
def test_every_ceiling_is_positive_and_smaller_memories_are_no_slower(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(machine, "SWEEPS", 1)
    monkeypatch.setattr(machine, "LEAST_BYTES", 2**20)
    monkeypatch.setattr(machine, "LARGEST_BYTES", 2**22)
    found = machine.measure_machine(threads, Config.from_environment())
    assert found.threads == threads
    assert found.f64 > 0
    assert found.f32 > 0
    assert found.levels[0].name == "L1"
    assert found.levels[-1] == replace(found.levels[-1], name="memory", size=0)
    for smaller, larger in zip(found.levels, found.levels[1:]):
        assert smaller.read >= larger.read > 0
        assert smaller.triad >= larger.triad > 0
        assert smaller.size < larger.size or larger.size == 0


def test_a_measurement_is_kept_in_memory_and_on_disk(tmp_path: Path, counted: list[int]) -> None:
    config = Config(cache_dir=tmp_path)
    assert measured_machine(1, config) == FOUND
    assert measured_machine(1, config) is measured_machine(1, config)
    machine._measured.clear()
    assert measured_machine(1, config) == FOUND
    assert counted == [1]
    measured_machine(2, config)
    assert counted == [1, 2]
    assert len(list(tmp_path.glob("machine-*.json"))) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"levels": []}', "null", '{"levels": [{"name": 3}]}'])
def test_what_cannot_be_read_is_measured_again(text: str, tmp_path: Path, counted: list[int]) -> None:
    config = Config(cache_dir=tmp_path)
    measured_machine(1, config)
    (kept,) = tmp_path.glob("machine-*.json")
    kept.write_text(text)
    machine._measured.clear()
    assert measured_machine(1, config) == FOUND
    assert counted == [1, 1]


def test_a_rate_of_zero_is_not_believed(tmp_path: Path, counted: list[int]) -> None:
    config = Config(cache_dir=tmp_path)
    measured_machine(1, config)
    (kept,) = tmp_path.glob("machine-*.json")
    kept.write_text(kept.read_text().replace("5000000000.0", "0.0"))
    machine._measured.clear()
    assert measured_machine(1, config).f64 == FOUND.f64


def test_without_a_folder_it_is_measured_once_a_process(counted: list[int]) -> None:
    config = Config(cache_dir=None)
    assert measured_machine(1, config) is measured_machine(1, config)
    assert counted == [1]


def test_a_working_set_belongs_to_the_smallest_memory_that_holds_it() -> None:
    names = [FOUND.level_of(n).name for n in (0, 32768, 32769, 10**12)]
    assert names == ["L1", "L1", "memory", "memory"]


def test_kernels_that_write_little_are_compared_with_reading() -> None:
    level = FOUND.levels[0]
    assert level.bandwidth(1000, 8) == level.read
    assert level.bandwidth(1000, 500) == level.bandwidth(0, 100) == level.triad


def test_the_text_has_a_line_a_memory() -> None:
    assert str(FOUND).splitlines() == [
        "cpu, 1 thread",
        "          size       read      triad",
        "L1      32 KiB  9.00 GB/s  8.00 GB/s",
        "memory          3.00 GB/s  2.00 GB/s",
        "multiply-adds: f64 5.00 Gflop/s f32 7.00 Gflop/s",
    ]


@pytest.mark.parametrize(("size", "registers"), [(16, 12), (32, 12), (64, 24)])
def test_the_code_is_printed_for_every_width(size: int, registers: int) -> None:
    text = ceiling_text(size, registers)
    assert text.count("call <") == 2 * registers
    assert f"align {size}\n" in text
