"""How many threads are worth asking for."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from tracejit.runtime.threads import available_threads, processors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_processors_that_the_process_may_not_use_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= available_threads() <= len(before)


def test_a_quota_of_time_counts_and_is_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 16)
    monkeypatch.delattr(processors.os, "sched_getaffinity", raising=False)
    for quota, threads in ((math.inf, 16), (3.2, 4), (0.3, 1), (20.0, 16)):
        monkeypatch.setattr(processors, "time_quota", lambda quota=quota: quota)
        assert available_threads() == threads


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def test_the_narrowest_group_of_version_2_limits(tmp_path: Path) -> None:
    write(tmp_path, own="0::/user/job\n")
    write(tmp_path / "v2" / "user", cpu__max="150000 100000\n")
    write(tmp_path / "v2" / "user" / "job", cpu__max="max 100000\n")
    assert processors.time_quota(tmp_path / "own", tmp_path / "v2") == 1.5
    write(tmp_path / "v2" / "user" / "job", cpu__max="50000 100000\n")
    processors.time_quota.cache_clear()
    assert processors.time_quota(tmp_path / "own", tmp_path / "v2") == 0.5


def test_groups_of_version_1_limit(tmp_path: Path) -> None:
    write(tmp_path, own="4:memory:/\n3:cpu,cpuacct:/job\n0::/\n")
    write(tmp_path / "v1" / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    write(tmp_path / "v1" / "cpu" / "job", cpu__cfs_quota_us="250000\n", cpu__cfs_period_us="100000\n")
    assert processors.time_quota(tmp_path / "own", tmp_path / "v1") == 2.5


@pytest.mark.parametrize("text", ["", "nonsense", "0::/\n"])
def test_without_readable_groups_there_is_no_limit(tmp_path: Path, text: str) -> None:
    write(tmp_path, own=text)
    write(tmp_path / "none", cpu__max="nonsense")
    assert processors.time_quota(tmp_path / "own", tmp_path / "none") == math.inf
    assert processors.time_quota(tmp_path / "missing", tmp_path) == math.inf
