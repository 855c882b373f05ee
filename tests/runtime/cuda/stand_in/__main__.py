"""Build the driver library and run pytest where it is found first; arguments are pytest's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("driver.c")


def main(arguments: Sequence[str]) -> int:
    """Exit status of pytest; needs a C compiler, `cc` or what CC names."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libcuda.so.1"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        first = [folder, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        environment = dict(os.environ, LD_LIBRARY_PATH=os.pathsep.join(first))
        command = [sys.executable, "-m", "pytest", "-p", "tests.runtime.cuda.stand_in.plugin", *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
