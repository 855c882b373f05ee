"""Worker processes, one a system: with so many threads and a cache of their own, asked in JSON lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.asked_process import ROOT, AskedProcess, NoAnswerError

COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TRACEJIT_THREADS",
    "BENCHMARK_THREADS",  # for systems that are told by a call
)


def threads_environment(threads: int) -> dict[str, str]:
    """Variables that give every system so many threads, and none a GPU.

    One that takes more than one thread all the same is found out by the processor time that it uses.
    """
    return {
        **dict.fromkeys(COUNTS, str(threads)),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        # With several, XLA's own choice: as many as there are processors.
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false" if threads == 1 else "",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }


def environment(cache: Path, threads: int = 1) -> dict[str, str]:
    """What a worker sees: its threads, and caches on disk below `cache`, empty when the run begins."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    folders = {
        "TRACEJIT_CACHE_DIR": "tracejit",
        "TORCHINDUCTOR_CACHE_DIR": "torch",
        "JAX_COMPILATION_CACHE_DIR": "jax",
        "NUMBA_CACHE_DIR": "numba",
    }
    for folder in folders.values():
        (cache / folder).mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        **threads_environment(threads),
        **{name: str(cache / folder) for name, folder in folders.items()},
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
        "PYTHONPATH": paths,
    }


class WorkerProcess(AskedProcess):
    """A process that serves one system; `ask` never raises for what goes wrong in there, it says so.

    system: its name in `benchmarks.systems.SYSTEMS`
    hello: versions and the seconds of its start, once `wait_until_awake` returned
    """

    def __init__(self, system: str, cache: Path, threads: int = 1) -> None:
        self.system = system
        self.hello: dict[str, Any] = {}
        variables = environment(cache, threads)
        self._log = (cache / f"{system}.log").open("a", encoding="utf-8")
        super().__init__([sys.executable, "-m", "benchmarks.worker", system], cache, variables, log=self._log)

    def wait_until_awake(self, timeout: float = 120.0) -> dict[str, Any]:
        """The worker's hello, once its libraries are imported and used once."""
        self.hello = self._answer_in(timeout)
        return self.hello

    def ask(self, timeout: float = 120.0, **command: Any) -> dict[str, Any]:
        """The answer to a command; "failed" in it where there is none in `timeout` seconds."""
        self.say(command)
        return self._answer_in(timeout)

    def _answer_in(self, timeout: float) -> dict[str, Any]:
        try:
            return self.answer(timeout)
        except NoAnswerError as error:
            return {"failed": str(error)}

    def close(self) -> None:
        """End the process, which may finish what it does in the next seconds."""
        self.end(10.0)
        self._log.close()
