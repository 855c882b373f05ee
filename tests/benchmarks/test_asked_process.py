"""A process that is asked: answers in turn, what ends it, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.asked_process import AskedProcess, NoAnswerError

# Answers a question by what it says; "sleep" has a process of its own sleep, too.
PROGRAM = """
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
    print("@answer " + json.dumps({"did": item["do"]}), flush=True)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[AskedProcess]:
    found = AskedProcess([sys.executable, "-c", PROGRAM], tmp_path, dict(os.environ), mark="@answer ")
    yield found
    found.end(0.0)


def test_it_answers_until_it_is_ended(process: AskedProcess, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("one", "two"):
        process.say({"do": word})
        assert process.answer(30.0) == {"did": word}
    process.end(30.0)
    assert process.process.returncode == 0
    assert capsys.readouterr().out == "some library speaks\n" * 2


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


def test_one_that_takes_too_long_is_ended_with_what_it_started(process: AskedProcess, tmp_path: Path) -> None:
    path = tmp_path / "child"
    process.say({"do": "sleep", "path": str(path)})
    end = time.monotonic() + 30.0
    while time.monotonic() < end and not (path.exists() and path.read_text()):
        time.sleep(0.01)
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"^stopped after 1 s$"):
        process.answer(1.0)
    assert time.monotonic() - started < 20.0
    if Path("/proc/self").exists():
        assert ends_within(path.read_text(), 20.0)


def test_one_that_ended_says_with_what_however_often_it_is_asked(process: AskedProcess) -> None:
    for _ in range(2):
        process.say({"do": "end"})
        with pytest.raises(NoAnswerError, match=r"^its process ended with status 3$"):
            process.answer(30.0)


def test_standard_error_goes_into_the_log(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-c", "import sys; sys.stderr.write('said')"]
        AskedProcess(command, tmp_path, dict(os.environ), log=log).end(30.0)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "said"
