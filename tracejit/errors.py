"""Every error a user can meet; each class inherits what NumPy or Python would raise for the same mistake."""

from __future__ import annotations

import numpy as np


class TracejitError(Exception):
    """Common ancestor: a message, the user's line it is about, and the way out.

    `where` is text such as `in loss, model.py:12:  z = x @ w`; `hint` says what to write instead.

    >>> print(ShapeError("add: shapes differ", where="in f, a.py:1:  x + y", hint="broadcast x"))
    add: shapes differ
      in f, a.py:1:  x + y
      hint: broadcast x
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.where = where
        self.hint = hint
        lines = [message]
        if where:
            lines.append(f"  {where}")
        if hint:
            lines.append(f"  hint: {hint}")
        super().__init__("\n".join(lines))

    def __str__(self) -> str:
        return str(self.args[0])


class ShapeError(TracejitError, ValueError):
    """Sizes or axes do not fit."""


class DTypeError(TracejitError, TypeError):
    """A dtype that the operation, or the library, does not take."""


class TracerError(TracejitError, TypeError):
    """A traced value was used where Python needs a concrete number, or outside its trace."""


class UnsupportedError(TracejitError, NotImplementedError):
    """NumPy can do it and this library cannot yet."""


class ArgumentError(TracejitError, TypeError):
    """The arguments of a transformed function do not fit its declaration (argnums, structure, kind)."""


class IndexOutOfBoundsError(TracejitError, IndexError):
    """An index array reached outside the axis it selects from."""


class LinAlgError(TracejitError, np.linalg.LinAlgError):
    """A matrix is singular, or not positive definite."""


class DeviceError(TracejitError, RuntimeError):
    """The driver of a CUDA device refused a launch."""


class InternalError(TracejitError, RuntimeError):
    """A bug of this library: the message carries the pass and the equations around it."""


class CacheWarning(UserWarning):
    """A cache entry was damaged or foreign, or the cache folder cannot be written: slower, never wrong."""
