"""A process that is asked: each question and each answer is a line of JSON, an answer has so long to come."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[1]
GRACE = 2.0  # seconds that what has ended has for its last output


class NoAnswerError(Exception):
    """None came, nor will any come; says why."""


class AskedProcess:
    """Runs a command and exchanges lines with it; it ends with all that it started.

    mark: what lines of its output that are answers begin with; others are printed
    log: where its standard error goes; None: where ours goes
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: dict[str, str],
        mark: str = "",
        log: TextIO | None = None,
    ) -> None:
        self.mark = mark
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.startswith(self.mark):
                    self._answers.put(line[len(self.mark) :])
                elif line.strip():
                    print(line, end="", flush=True)
        self._answers.put(None)

    def say(self, question: dict[str, Any]) -> None:
        """One that has ended hears nothing: `answer` says so."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # a pipe that nobody reads, or that `end` closed
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next one; where none comes in so many seconds, the process is ended. Raises NoAnswerError."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.end(0.0)
            raise NoAnswerError(f"stopped after {seconds:.0f} s") from None
        if line is None:
            self._answers.put(None)  # who asks once more is told the same
            self.end(GRACE)
            raise NoAnswerError(f"its process ended with status {self.process.returncode}")
        return json.loads(line)

    def end(self, seconds: float) -> None:
        """No more questions: the process ends by itself in so many seconds, or is ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        end_group(self.process)
        self._reader.join(GRACE)


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a session, with all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()
