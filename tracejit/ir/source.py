"""Where in the user's code an operation was written: a cheap frame walk at trace time, text on demand."""

from __future__ import annotations

import functools
import linecache
import os
import sys
from dataclasses import dataclass, field

import numpy as np

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
# Library code that users call as functions of their own; an error there is about their call of it.
_SCIPY = (
    os.path.join(os.path.dirname(_NUMPY.rstrip(os.sep)), "scipy") + os.sep
)  # which is not imported for it
_SKIPPED = (_OWN, _NUMPY, _SCIPY, "<__array_function__")
# The demo stands in this folder and is a user's program all the same.
_DEMO = _OWN + "__main__.py"


@dataclass(frozen=True, eq=False)
class Call:
    """One operation as the user wrote it: an operator, a NumPy function, a function of this library.

    It stands for all equations that came out of it; two calls of one function are two objects. `order` counts
    the derivatives that were taken since.
    """

    name: str
    order: int = 0

    def derivative(self) -> Call:
        """The call that equations of its derivative belong to: one object, whoever asks."""
        found = self.__dict__.get("_derivative")
        if found is None:
            # Not `cached_property`, whose lock costs more than the rest; a race ends with one of two equals.
            found = self.__dict__.setdefault("_derivative", Call(self.name, self.order + 1))
        return found


@dataclass(frozen=True)
class Source:
    """A line of the user's program, and which operation of that line: `offset` is the place in its bytecode.

    >>> str(Source("loss", "/home/me/model.py", 12))
    'model.py:12'
    """

    function: str
    filename: str
    line: int
    call: Call | None = field(default=None, compare=False)
    offset: int = field(default=-1, compare=False)

    @property
    def text(self) -> str:
        """The line itself, stripped; empty when the file cannot be read."""
        return linecache.getline(self.filename, self.line).strip()

    def derivative(self) -> Source:
        """The same line, for equations of the derivative of what was written there."""
        if self.call is None:
            return self
        return Source(self.function, self.filename, self.line, self.call.derivative(), self.offset)

    @property
    def is_derivative(self) -> bool:
        """Does the equation stem from a derivative of what the user wrote there?"""
        return self.call is not None and self.call.order > 0

    def describe(self) -> str:
        """`in loss, model.py:12:  z = x @ w`, as error messages show it."""
        text = self.text
        return f"in {self.function}, {self}" + (f":  {text}" if text else "")

    def __str__(self) -> str:
        return f"{os.path.basename(self.filename)}:{self.line}"


@functools.cache
def _is_skipped(filename: str) -> bool:
    return filename.startswith(_SKIPPED) and filename != _DEMO


def find_source(call: Call | None = None) -> Source | None:
    """The innermost frame outside this library, NumPy and SciPy, or None when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not _is_skipped(filename):
            return Source(frame.f_code.co_name, filename, frame.f_lineno, call, frame.f_lasti)
        frame = frame.f_back
    return None
