"""Programs that look at ours: they run at the same time, within their time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.gpu.tools import run_within


def test_programs_run_at_the_same_time_and_are_ended(tmp_path: Path) -> None:
    end = time.monotonic() + 3.0
    commands = {
        "quick": [sys.executable, "-c", "print('done')"],
        "slow": [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"],
    }
    found = run_within(commands, tmp_path, lambda: end - time.monotonic())
    assert found == {"quick": ("done\n", 0), "slow": ("begun\n", None)}
