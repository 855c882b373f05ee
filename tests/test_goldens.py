"""The stages of about twenty programs as text: what a change emits, fuses or prints is seen in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tracejit as tj
from tests.golden_programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_stages_are_as_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    function, arguments = PROGRAMS[name]
    found = tj.inspect(function)(*arguments)
    sections = [
        ("traced", found.ir),
        ("with its derivative", found.adjoint if found.adjoint != found.ir else "the same"),
        ("after the passes", found.optimized),
        (f"schedule: {found.kernels} kernels, {found.library_calls} library calls", found.schedule),
        # The entry below the kernels has offsets into array objects, which differ between Pythons.
        ("kernels", found.source.partition("\n\n\ndef program")[0] or "none"),
    ]
    golden(f"stages/{name}", "\n\n".join(f"--- {title} ---\n{text}" for title, text in sections))
