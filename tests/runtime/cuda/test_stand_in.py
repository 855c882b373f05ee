"""Tests that need a device pass with cuda.core and CuPy themselves, on a driver that is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MISSING = [name for name in ("numba_cuda", "cupy", "ml_dtypes") if find_spec(name) is None]
MISSING += [] if shutil.which(os.environ.get("CC", "cc")) else ["a C compiler"]
TESTS = (
    "test_a_sum_and_its_gradient[33-float64]",
    "test_a_sum_and_its_gradient[1025-float32]",
    "test_floats_of_two_bytes[33-float16]",
    "test_floats_of_two_bytes[257-bfloat16]",
    "test_every_float_of_two_bytes_is_read_exactly_and_comes_back[float16]",
    "test_every_float_of_two_bytes_is_read_exactly_and_comes_back[bfloat16]",
    "test_rows_and_columns[shape1]",
    "test_rows_and_columns[shape5]",
    "test_random_programs[42]",
    "test_random_programs[47]",
    "test_a_step_runs_on_the_current_stream_and_in_out",
    "test_addresses_that_come_back_are_served_by_a_graph",
    "test_a_new_thread_can_call",
    "test_an_index_out_of_range_is_an_error",
    "test_arrays_of_numpy_are_copied_there_and_back",
    "test_captured_arrays_are_read_where_they_lie",
    "test_a_donated_array_is_written_over",
)


@pytest.mark.cuda_compile
@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} to stand in for a device")
def test_launches_go_through_cuda_core_to_a_driver_and_back() -> None:
    command = [sys.executable, "-m", "tests.runtime.cuda.stand_in", "-q", "-m", "gpu"]
    command += [f"tests/runtime/cuda/test_gpu.py::{name}" for name in TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{len(TESTS)} passed in" in done.stdout
