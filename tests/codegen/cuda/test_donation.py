"""What launches say about memory that a result may take; the emulator finds what threads would do wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.codegen.cuda.emulated import CONFIG, device_program
from tests.schedule.every_schedule import program_of
from tracejit.codegen.cuda import donation
from tracejit.errors import InternalError
from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.device import EmulatedDevice


def shares(x: Any, y: Any) -> Any:
    return x / np.exp(y).sum(axis=1)


@pytest.mark.parametrize(("columns", "is_taken"), [(3, True), (40, False), (300, False)])
def test_a_number_of_a_row_is_written_over_where_the_row_has_one_thread(columns: int, is_taken: bool) -> None:
    y = np.ones((400, columns))
    f = tj.jit(shares, donate="x", target="cuda-emu")
    for _ in range(2):
        x = np.linspace(1, 2, 400)
        expected = shares(x, y)
        found = f(x, y)
        assert (found is x) == is_taken
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_the_emulator_finds_a_thread_that_writes_over_what_its_team_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(donation, "_is_by_one_thread", lambda *_: True)
    with pytest.raises(InternalError, match=r"writes out0.* which several threads .* read with nothing in"):
        tj.jit(shares, donate="x", target="cuda-emu")(np.linspace(1, 2, 400), np.ones((400, 40)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("small", [0, 2048])
def test_random_programs_give_the_same_bits_in_the_memory_of_each_input(seed: int, small: int) -> None:
    program = program_of(seed, gradient=seed % 2 == 0)
    if program is None:
        pytest.skip("no program")
    launches = device_program(program.graph, small)
    expected = DeviceExecutable(launches, CONFIG, EmulatedDevice())(program.arrays)
    inputs, outputs = program.graph.inputs, program.graph.outputs
    pairs = [(s, t) for s, x in enumerate(inputs) for t, out in enumerate(outputs) if out.type == x.type]
    for source, target in pairs:
        run = DeviceExecutable(launches, CONFIG, EmulatedDevice())
        run.donate([(source, target)])
        given = [np.array(x, order="C") for x in program.arrays]
        found = run(given)
        assert (found[target] is given[source]) == bool(run.donated)
        for x, y in zip(found, expected, strict=True):
            assert x.tobytes() == y.tobytes()
