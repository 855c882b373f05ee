"""Rows of the tests that hold whole error texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tracejit.ir import current_builder


@dataclass
class Row:
    """`call` raises `kind` with the text `expected`, in which line numbers are N."""

    kind: type[Exception]
    call: Callable[[], Any]
    expected: str


def text_of(call: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    assert current_builder() is None
    return re.sub(r"(test_\w+\.py):\d+", r"\1:N", str(caught.value))
