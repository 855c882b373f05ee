"""Running programs on CUDA devices: compiling (`compiler`), launching (`device`), emulating (`emulator`)."""

from __future__ import annotations

from tracejit.runtime.cuda.device import open_device
from tracejit.runtime.cuda.executable import DeviceExecutable

__all__ = ["DeviceExecutable", "open_device"]
