"""A process for each library, so that one that hangs, or breaks the device, ends alone.

Items and answers are lines of JSON behind a mark; whatever else the process prints goes through.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Protocol

from benchmarks.asked_process import GRACE, ROOT, AskedProcess, NoAnswerError
from benchmarks.gpu.session import Item, Session
from benchmarks.gpu.toolkit import with_toolkit

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


class Process(AskedProcess):
    """A `Session` in a process of its own, which is stopped when an answer takes too long."""

    def __init__(self, kind: str, emulate: bool, scratch: Path) -> None:
        command = self.command(kind, scratch)
        environment = {**with_toolkit(), **FOR_ALL, "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torch")}
        if emulate:
            command.append("--emulate")
            environment["JAX_PLATFORMS"] = "cpu"
        super().__init__(command, ROOT, environment, mark=MARK)

    def command(self, kind: str, scratch: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.gpu.worker", kind, str(scratch)]

    def ask(self, item: Item, seconds: float) -> Item:
        """The answer; a `problem` with `broken` where the process stopped or had to be stopped."""
        self.say(item)
        try:
            return self.answer(seconds)
        except NoAnswerError as error:
            return {"problem": str(error), "broken": True}

    def close(self) -> None:
        """End the process, and those that it started."""
        self.end(GRACE)


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
