"""NVIDIA's toolkit where this machine has one: its programs, and where its libraries are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

USUAL = "/usr/local/cuda"
NAMED = ("CUDA_PATH", "CUDA_HOME")  # variables that say where it is


def toolkit_program(name: str) -> str | None:
    """The path of one of its programs, also of those that are not on the path; None where it is not there."""
    roots = [*(os.environ[variable] for variable in NAMED if variable in os.environ), USUAL]
    folders = [os.environ.get("PATH", os.defpath), *(str(Path(root, "bin")) for root in roots)]
    return shutil.which(name, path=os.pathsep.join(folders))


def with_toolkit() -> dict[str, str]:
    """The environment, where nobody says where the toolkit is with what is found: libraries look less far."""
    found = {**os.environ}
    nvcc = toolkit_program("nvcc")
    roots = [Path(nvcc).resolve().parents[1]] if nvcc else []
    for root in (*roots, Path(USUAL)):
        if not any(variable in found for variable in NAMED) and (root / "nvvm").is_dir():
            found["CUDA_HOME"] = str(root)
    return found
