"""A process for each library, so that one that hangs, or breaks the device, ends alone.

Items and answers are lines of JSON behind a mark; whatever else the process prints goes through.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from benchmarks.gpu.session import Item, Session

ROOT = Path(__file__).parents[2]
MARK = "@gpu_check "
FOR_ALL = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would take three quarters of the memory
    "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


class Worker(Protocol):
    """Answers items; tests put one in place that needs no process."""

    def ask(self, item: Item, seconds: float) -> Item: ...
    def close(self) -> None: ...


class Process:
    """A `Session` in a process of its own, which is stopped when an answer takes too long."""

    def __init__(self, kind: str, emulate: bool, scratch: Path) -> None:
        command = self.command(kind, scratch)
        environment = {**os.environ, **FOR_ALL}
        if emulate:
            command.append("--emulate")
            environment["JAX_PLATFORMS"] = "cpu"
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def command(self, kind: str, scratch: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.gpu.worker", kind, str(scratch)]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                self.lines.put(line[len(MARK) :])
            elif line.strip():
                print(line, end="", flush=True)
        self.lines.put(None)

    def ask(self, item: Item, seconds: float) -> Item:
        """The answer; a `problem` with `broken` where the process stopped or had to be stopped."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(item) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            self.close(at_once=True)
            return {"problem": f"stopped after {seconds:.0f} s", "broken": True}
        except OSError:
            line = None
        if line is None:
            self.close()
            return {"problem": f"its process ended with status {self.process.returncode}", "broken": True}
        return json.loads(line)

    def close(self, at_once: bool = False) -> None:
        """End the process, and those that it started."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
        end_group(self.process)
        self.reader.join(2.0)
        if self.process.stdout is not None and not self.reader.is_alive():
            self.process.stdout.close()


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a session, with all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def serve(session: Session) -> None:
    """Answer the items on standard input until it ends."""
    for line in sys.stdin:
        print(f"\n{MARK}{json.dumps(session.answer(json.loads(line)))}", flush=True)


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.worker", description=__doc__)
    parser.add_argument("kind", choices=("cupy", "torch", "jax", "kernels"))
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--emulate", action="store_true")
    options = parser.parse_args()
    serve(Session(options.kind, options.emulate, options.scratch))


if __name__ == "__main__":
    main()
