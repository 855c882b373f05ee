"""What others have that looks at ours on a device: pytest and compute-sanitizer, each within a time."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.asked_process import ROOT, end_group
from benchmarks.gpu.report import Report
from benchmarks.gpu.toolkit import toolkit_program, with_toolkit

SANITIZER = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck")


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def run_pytest(report: Report, scratch: Path, left: Callable[[], float]) -> None:
    """The tests marked `gpu`; what was counted until the time was over counts."""
    name = "pytest -m gpu"
    needed = [x for x in ("pytest", "hypothesis") if not is_installed(x)]
    if needed:
        report.missing.append(f"{', '.join(needed)}: not installed, the tests are left out")
        return
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-rN", "-p", "no:cacheprovider"]
    command.append("--maxfail=20")
    if is_installed("xdist"):
        command += ["-n", "6"]
    command.append("tests/runtime/cuda/test_gpu.py")
    output, status = run_within({name: command}, scratch, left)[name]
    words = re.findall(r"^(?:\[gw\d+\] \[ *\d+%\]|\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)\b", output, re.M)
    counts = ", ".join(f"{words.count(w)} {w.lower()}" for w in dict.fromkeys(words)) or "no test ran"
    report.tests[name] = counts if status is not None else f"{counts}, then no time was left"
    print(f"{name}: {report.tests[name]}", flush=True)
    if status not in (0, None) or "FAILED" in words or "ERROR" in words or "PASSED" not in words:
        report.problems.append(f"{name}: {report.tests[name]}")
        print(output[-8000:], flush=True)


def run_sanitizer(report: Report, scratch: Path, left: Callable[[], float]) -> None:
    """Every case under each tool, at the same time."""
    program = toolkit_program(SANITIZER)
    if program is None:
        report.missing.append(f"{SANITIZER}: not found, left out")
        return
    cases = [sys.executable, "-m", "benchmarks.gpu.cases"]
    commands = {tool: [program, "--tool", tool, "--error-exitcode", "9", *cases] for tool in TOOLS}
    for tool, (output, status) in run_within(commands, scratch, left).items():
        right = len(re.findall(r"^case .*: ok$", output, re.M))
        summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: .*)", output)
        end = summary[-1] if summary else "no time was left" if status is None else f"exit status {status}"
        name = f"{SANITIZER} {tool}"
        report.tests[name] = f"{right} cases are right, {end}"
        print(f"{name}: {report.tests[name]}", flush=True)
        if status not in (0, None) or re.search(r"^=+ (Error|Invalid|Race)", output, re.M):
            report.problems.append(f"{name}: {report.tests[name]}")
            print(output[-8000:], flush=True)


def run_within(
    commands: dict[str, list[str]], scratch: Path, left: Callable[[], float]
) -> dict[str, tuple[str, int | None]]:
    """Output and exit status of commands that run at the same time; None for those that had to be stopped."""
    running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
    found: dict[str, tuple[str, int | None]] = {}
    try:
        for number, (name, command) in enumerate(commands.items()):
            path = scratch / f"tool{number}.log"
            with path.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=with_toolkit(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            running[name] = (process, path)
        for name, (process, path) in running.items():
            status: int | None = None
            while status is None and left() > 0:
                status = process.poll()
                time.sleep(0.05)
            end_group(process)
            found[name] = (path.read_text(encoding="utf-8", errors="replace"), status)
    finally:
        for process, _ in running.values():
            end_group(process)
    return found
