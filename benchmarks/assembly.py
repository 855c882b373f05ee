"""Assembly text becomes counts of floating-point instructions, on whole vectors and on single numbers."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

_OPERATIONS = r"(?:add|sub|mul|div|sqrt|max|min|fn?m(?:add|sub)(?:132|213|231))"

# Arithmetic as compilers print it, by architecture: on vectors, and on the lowest number of a register.
_PACKED = {
    "x86_64": re.compile(rf"^\s+v?{_OPERATIONS}p[sd]\b", re.M),
    "aarch64": re.compile(r"^\s+f(?:add|sub|mul|div|mla|mls|sqrt)(?:\.[24][sd]\b|\s+v\d+\.[24][sd])", re.M),
}
_SCALAR = {
    "x86_64": re.compile(rf"^\s+v?{_OPERATIONS}s[sd]\b", re.M),
    "aarch64": re.compile(r"^\s+fn?(?:add|sub|mul|div|madd|msub|sqrt)\s+[sd]\d+", re.M),
}
_WIDEST = re.compile(r"%([xyz])mm\d+")
_BITS = {"x": 128, "y": 256, "z": 512}
_MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Arithmetic:
    """How many instructions work on vectors and on single numbers; `bits` is the widest register of x86."""

    packed: int
    scalar: int
    bits: int

    @property
    def share(self) -> float:
        """Of the floating-point instructions, those on vectors; 1.0 where there are none at all."""
        return self.packed / (self.packed + self.scalar) if self.packed + self.scalar else 1.0


def count_arithmetic(assembly: str, machine: str | None = None) -> Arithmetic | None:
    """Count the instructions of a text; None for processors whose assembly this cannot read.

    >>> count_arithmetic("\\tvaddpd\\t%zmm1, %zmm2, %zmm3\\n\\tmulsd\\t%xmm0, %xmm1\\n", "x86_64")
    Arithmetic(packed=1, scalar=1, bits=512)
    """
    machine = machine or platform.machine()
    machine = _MACHINES.get(machine, machine)
    if machine not in _PACKED:
        return None
    widths = [_BITS[letter] for letter in set(_WIDEST.findall(assembly))]
    packed, scalar = _PACKED[machine].findall(assembly), _SCALAR[machine].findall(assembly)
    return Arithmetic(len(packed), len(scalar), max(widths, default=0))
