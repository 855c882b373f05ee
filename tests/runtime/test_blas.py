"""Where compiled code finds BLAS."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracejit.runtime import blas


def test_routines_have_addresses_and_unknown_ones_have_none() -> None:
    pytest.importorskip("scipy")
    assert blas.address_of("tracejit_blas_dgemm")
    assert blas.address_of("tracejit_blas_sgemm") != blas.address_of("tracejit_blas_dgemm")
    assert blas.address_of("tracejit_blas_nothing") is None


def test_scipys_linear_algebra_can_be_imported_afterwards() -> None:
    pytest.importorskip("scipy")
    program = """
import sys
from tracejit.runtime import blas
assert blas.is_available()
assert "scipy.linalg.blas" not in sys.modules
import numpy as np, scipy.linalg, scipy.linalg.cython_blas
assert (scipy.linalg.blas.dgemm(1.0, np.eye(3), np.eye(3)) == np.eye(3)).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_without_scipy_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(blas, "_load", fail)
    blas.address_of.cache_clear()
    try:
        assert blas.address_of("tracejit_blas_dgemm") is None
    finally:
        blas.address_of.cache_clear()
