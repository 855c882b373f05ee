"""Processes of the table's systems: what they see of threads and caches, and what one says that is gone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.processes import COUNTS, WorkerProcess, environment


def test_every_library_has_so_many_threads_and_caches_of_its_own(tmp_path: Path) -> None:
    found = environment(tmp_path / "cache", threads=2)
    assert {found[name] for name in COUNTS} == {"2"} and found["CUDA_VISIBLE_DEVICES"] == ""
    folders = [
        Path(x) for name, x in found.items() if name.endswith("_CACHE_DIR") and x.startswith(str(tmp_path))
    ]
    assert len(set(folders)) == 4 and not any(list(folder.iterdir()) for folder in folders)


def test_a_process_that_ends_is_a_failure_of_its_system_only(tmp_path: Path) -> None:
    worker = WorkerProcess("no such system", tmp_path)
    ended = {"failed": "its process ended with status 1"}
    assert worker.wait_until_awake() == worker.ask(do="memory") == ended
    worker.close()
    assert "no such system" in (tmp_path / "no such system.log").read_text(encoding="utf-8")
