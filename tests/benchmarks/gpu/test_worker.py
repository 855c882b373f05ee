"""Processes of the check: items and answers, what ends a process and what does not."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.report import Report
from benchmarks.gpu.stages import Check, answers
from benchmarks.gpu.tools import run_within
from benchmarks.gpu.worker import MARK, Process

# Answers an item by what it says.
PROGRAM = f"""
import json, os, sys, time
for line in sys.stdin:
    item = json.loads(line)
    if item["do"] == "sleep":
        time.sleep(60)
    if item["do"] == "end":
        os._exit(3)
    print({MARK!r} + json.dumps({{"did": item["do"]}}), flush=True)
"""


class Program(Process):
    def command(self, kind: str, scratch: Path) -> list[str]:
        return [sys.executable, "-c", PROGRAM]


def test_one_that_is_gone_is_broken(tmp_path: Path) -> None:
    for item, text in (("end", "its process ended with status 3"), ("sleep", "stopped after 0 s")):
        worker = Program("cupy", True, tmp_path)
        assert worker.ask({"do": "one"}, 30.0) == {"did": "one"}
        seconds = 30.0 if item == "end" else 0.1
        assert worker.ask({"do": item}, seconds) == {"problem": text, "broken": True}
        worker.close()


class Programs(Check):
    opened = 0

    def open_worker(self, kind: str) -> Process:
        self.opened += 1
        return Program(kind, True, self.scratch)


def checks(tmp_path: Path, seconds: float = 60.0) -> Programs:
    return Programs(Report(), ("bce",), tmp_path, deadline=time.monotonic() + seconds)


def test_another_process_takes_what_follows(tmp_path: Path) -> None:
    check = checks(tmp_path)
    found = [answer for _, answer in answers(check, "cupy", [{"do": "end"}, {"do": "one"}])]
    assert found[0]["broken"] and found[1] == {"did": "one"} and check.opened == 2


def test_a_variant_that_breaks_two_processes_is_left_out(tmp_path: Path) -> None:
    check = checks(tmp_path)
    items = [{"do": "end", "variant": "bad"}] * 4 + [{"do": "one", "variant": "good"}]
    found = [answer for _, answer in answers(check, "cupy", items)]
    assert found[2] == found[3] == {"problem": "left out, as bad broke its process before"}
    assert found[4] == {"did": "one"} and check.opened == 3


def test_items_for_which_no_time_is_left_are_named(tmp_path: Path) -> None:
    check = checks(tmp_path, 0.0)
    items = [{"do": "measure", "row": "bce", "shape": [3, 4], "dtype": "float32", "variant": "fused"}] * 2
    assert list(answers(check, "cupy", items)) == []
    assert check.report.missing == ["measure bce float32 fused 3x4 and 1 more: no time was left"]


def test_programs_run_at_the_same_time_and_are_ended(tmp_path: Path) -> None:
    end = time.monotonic() + 3.0
    commands = {
        "quick": [sys.executable, "-c", "print('done')"],
        "slow": [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"],
    }
    found = run_within(commands, tmp_path, lambda: end - time.monotonic())
    assert found == {"quick": ("done\n", 0), "slow": ("begun\n", None)}


@pytest.mark.parametrize("kind", ["kernels"])
def test_the_real_program_answers(tmp_path: Path, kind: str) -> None:
    worker = Process(kind, True, tmp_path)
    item = {"do": "kernels", "row": "bce", "shape": [5000], "dtype": "float32", "variant": "fused"}
    assert worker.ask({**item, "architecture": [9, 0]}, 60.0)["launches"] == 1
    worker.close()
