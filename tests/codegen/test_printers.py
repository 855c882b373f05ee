"""The two printers: every program of the goldens gives the same results as LLVM text and as Python source."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from tests.golden_programs import PROGRAMS
from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import evaluate


@pytest.mark.parametrize("printer", ["llvm", "numba"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_do_what_the_evaluator_does(name: str, printer: Literal["llvm", "numba"]) -> None:
    function, arguments = PROGRAMS[name]
    record = record_call(function, arguments, {})
    expected = evaluate(record.graph, record.arrays)
    executable = run_stages(record.graph, record.fuse, Config(cache_dir=None, printer=printer)).executable
    for mine, theirs in zip(executable(record.arrays), expected, strict=True):
        theirs = np.asarray(theirs)
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        single = theirs.dtype == np.float32
        np.testing.assert_allclose(
            mine, theirs, rtol=1e-5 if single else 1e-11, atol=1e-6 if single else 1e-12
        )
