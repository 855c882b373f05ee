"""The names of the library: loaded at first use, and the same ones everywhere that they are listed."""

from __future__ import annotations

import pytest

import tracejit as tj


def test_every_public_name_has_a_place_and_is_there() -> None:
    assert set(tj.__all__) == set(tj._PLACES)
    for name in tj.__all__:
        assert getattr(tj, name) is getattr(tj, name)
        assert name in dir(tj)


def test_functions_are_not_hidden_by_modules() -> None:
    assert callable(tj.inspect)
    assert callable(tj.draw)
    assert callable(tj.compare)


def test_unknown_names_fail_as_python_says() -> None:
    with pytest.raises(AttributeError, match="module 'tracejit' has no attribute 'nonsense'"):
        tj.nonsense
