"""Loop nests as CUDA kernels: which threads run what (`launches`), and their source (`source`, `scalars`)."""

from __future__ import annotations

from tracejit.codegen.cuda.launches import DeviceProgram, Launch, launch_program

__all__ = ["DeviceProgram", "Launch", "launch_program"]
