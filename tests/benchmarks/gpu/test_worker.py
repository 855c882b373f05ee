"""Processes of the check: what becomes of one that is gone, and that the real program answers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.worker import Process
from tests.benchmarks.gpu.fakes import Program


def test_one_that_is_gone_is_broken(tmp_path: Path) -> None:
    for item, text in (("end", "its process ended with status 3"), ("sleep", "stopped after 0 s")):
        worker = Program("cupy", True, tmp_path)
        assert worker.ask({"do": "one"}, 30.0) == {"did": "one"}
        seconds = 30.0 if item == "end" else 0.1
        assert worker.ask({"do": item}, seconds) == {"problem": text, "broken": True}
        worker.close()


def test_the_real_program_answers(tmp_path: Path) -> None:
    worker = Process("kernels", True, tmp_path)
    item = {"do": "kernels", "row": "bce", "shape": [5000], "dtype": "float32", "variant": "fused"}
    assert worker.ask({**item, "architecture": [9, 0]}, 60.0)["launches"] == 1
    worker.close()
