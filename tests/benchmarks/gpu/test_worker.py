"""Processes of the check: items and answers, what ends a process and what does not."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.report import Report
from benchmarks.gpu.stages import Check, answers
from benchmarks.gpu.tools import run_within
from benchmarks.gpu.worker import MARK, Process

# Answers an item by what it says; "sleep" has a process of its own sleep, too.
PROGRAM = f"""
import json, os, subprocess, sys, time
for line in sys.stdin:
    item = json.loads(line)
    print("some library speaks")
    if item["do"] == "sleep":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open(item["path"], "w").write(str(child.pid))
        time.sleep(60)
    if item["do"] == "end":
        os._exit(3)
    print({MARK!r} + json.dumps({{"did": item["do"]}}), flush=True)
"""


class Program(Process):
    def command(self, kind: str, scratch: Path) -> list[str]:
        return [sys.executable, "-c", PROGRAM]


def test_it_answers_until_it_is_closed(tmp_path: Path, capsys) -> None:
    worker = Program("cupy", True, tmp_path)
    assert worker.ask({"do": "one"}, 30.0) == {"did": "one"}
    assert worker.ask({"do": "two"}, 30.0) == {"did": "two"}
    worker.close()
    assert worker.process.returncode is not None
    assert "some library speaks" in capsys.readouterr().out


def ends_within(pid: str, seconds: float) -> bool:
    """A signal to end arrives when the process runs next: on a busy machine not at once."""
    stat, end = Path("/proc") / pid / "stat", time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if stat.read_text().split(") ")[1][0] != "Z":
                time.sleep(0.01)
                continue
        return True
    return False


def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    worker, path = Program("cupy", True, tmp_path), tmp_path / "child"
    worker.ask({"do": "one"}, 30.0)
    started = time.monotonic()
    answer = worker.ask({"do": "sleep", "path": str(path)}, 1.0)
    assert answer == {"problem": "stopped after 1 s", "broken": True}
    assert time.monotonic() - started < 20.0
    if Path("/proc/self").exists():
        assert ends_within(path.read_text(), 20.0)


def test_one_that_ends_says_with_what(tmp_path: Path) -> None:
    worker = Program("cupy", True, tmp_path)
    assert worker.ask({"do": "end"}, 30.0) == {"problem": "its process ended with status 3", "broken": True}


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
