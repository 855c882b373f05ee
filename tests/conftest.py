"""Shared fixtures; the cache folder is set here, before any test module imports the library."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import zlib

import numpy as np
import pytest
from hypothesis import settings

from tests.golden import golden as golden

if "TRACEJIT_CACHE_DIR" not in os.environ:
    os.environ["TRACEJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="tracejit-tests-")
    atexit.register(shutil.rmtree, os.environ["TRACEJIT_CACHE_DIR"], ignore_errors=True)

# Compiling inside an example makes its time meaningless, so no profile has a deadline.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("local", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="write the texts that the golden fixture is given to tests/goldens instead of comparing",
    )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name: every test has its own numbers, the same on every run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
