"""What is paid once or beside the arithmetic: imports, first calls, the overhead of a call, memory.

Each is measured in a process of its own, started fresh.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

IMPORT = """
import json, sys, time
import numpy
started = time.perf_counter()
import tracejit
imported = time.perf_counter()
for name in tracejit.__all__:
    getattr(tracejit, name)
print(json.dumps([imported - started, time.perf_counter() - started]))
"""

# The compiler's own imports are paid by whoever compiles first in a process; they are reported apart.
FIRST_CALL = """
import json, time
import numpy as np
import tracejit as tj
from benchmarks import programs
program = getattr(programs, {name!r})
args = program.inputs(*{sizes!r})
step = tj.grad_jit(program.loss, argnums=program.argnums)
started = time.perf_counter()
tj.grad_jit(lambda x: np.sum(x))(np.ones(7))
warm = time.perf_counter()
step(*args)
done = time.perf_counter()
print(json.dumps([warm - started, done - warm]))
"""

MEMORY = """
import json
import numpy as np
import tracejit as tj
from benchmarks import programs

def field(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":"))

x = np.ones({n})
step = tj.grad_jit(programs.chain)
step(x[:1000])
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = field("VmRSS")
    result = step(x)
    print(json.dumps(field("VmHWM") - before))
except OSError:
    print(json.dumps(None))
"""


def _run(program: str, cache: str = "") -> Any:
    """What a fresh Python process prints as JSON; without a cache on disk unless `cache` names one."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ, TRACEJIT_CACHE_DIR=cache, PYTHONPATH=paths)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def import_seconds(times: int = 5) -> dict[str, float]:
    """Medians after `import numpy`: `import tracejit` alone, and with every public name, which load late."""
    runs = [_run(IMPORT) for _ in range(times)]
    return {
        "import": statistics.median(run[0] for run in runs),
        "import_and_names": statistics.median(run[1] for run in runs),
    }


def first_calls(times: int = 3) -> dict[str, dict[str, float]]:
    """Seconds of a first call, tracing and compiling included, with an empty cache."""
    found: dict[str, dict[str, float]] = {}
    for name, sizes in (("TUTORIAL", (5, 3)), ("CHAIN", (1000,)), ("NETWORK", (100, 64, 32, 10))):
        runs = [_run(FIRST_CALL.format(name=name, sizes=sizes)) for _ in range(times)]
        found[name.lower()] = {
            "compiler_imports": statistics.median(run[0] for run in runs),
            "first_call": statistics.median(run[1] for run in runs),
        }
    return found


def memory_added(n: int = 10_000_000) -> int | None:
    """Peak bytes that one call of the chain adds to the process, its result included; Linux only."""
    return _run(MEMORY.format(n=n))
