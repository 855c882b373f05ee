"""Settings: defaults, the environment's changes, and refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import tracejit as tj
from tracejit.config import Config
from tracejit.errors import ArgumentError


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().fuse = False  # type: ignore[misc]


def test_the_environment_changes_the_defaults() -> None:
    config = Config.from_environment(
        {
            "TRACEJIT_CACHE_DIR": "/a/b",
            "TRACEJIT_CACHE_LIMIT": "1000",
            "TRACEJIT_FUSE": "0",
        }
    )
    assert config == Config(cache_dir=Path("/a/b"), cache_limit_bytes=1000, fuse=False)


def test_an_empty_cache_folder_means_memory_only() -> None:
    assert Config.from_environment({"TRACEJIT_CACHE_DIR": ""}).cache_dir is None


def test_without_a_word_the_cache_is_in_the_users_own_folder() -> None:
    folder = Config.from_environment({"XDG_CACHE_HOME": "/x", "LOCALAPPDATA": "/x"}).cache_dir
    assert folder is not None and "tracejit" in folder.parts


def test_the_environment_can_switch_fusion_off(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(3)
    f = lambda x: np.sum(np.exp(x) * x)  # noqa: E731
    fused = tj.inspect(f)(x).kernels
    monkeypatch.setenv("TRACEJIT_FUSE", "0")
    assert (fused, tj.inspect(f)(x).kernels) == (1, 3)


def test_a_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        Config.from_environment({"TRACEJIT_CACHE_LIMIT": "1 GB"})
    assert str(caught.value) == "TRACEJIT_CACHE_LIMIT='1 GB' is not a whole number"
