"""A progress bar of one line on standard error, shown to people and not to files."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

WIDTH = 30


class Progress:
    """A bar that `advance` fills; leaving the block wipes it away.

    title: what is under way
    total: how often `advance` is called in all
    show: True or False; None shows it where `stream` (standard error) is a terminal

    >>> with Progress("measuring", 2, show=False) as bar:
    ...     bar.advance("fused")
    ...     bar.done
    1
    """

    def __init__(
        self, title: str, total: int, show: bool | None = None, stream: TextIO | None = None
    ) -> None:
        self.title = title
        self.total = max(total, 1)
        self.done = 0
        self.stream = sys.stderr if stream is None else stream
        self.is_shown = self.stream.isatty() if show is None else show
        self._length = 0

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Some steps are done; `note` says what comes now."""
        self.done = min(self.done + steps, self.total)
        self._draw(note)

    def _draw(self, note: str) -> None:
        if not self.is_shown:
            return
        filled = WIDTH * self.done // self.total
        bar = "#" * filled + "." * (WIDTH - filled)
        line = f"{self.title} [{bar}] {100 * self.done // self.total:3d} % {note}".rstrip()
        self.stream.write("\r" + line.ljust(self._length))
        self.stream.flush()
        self._length = len(line)

    def __enter__(self) -> Progress:
        self._draw("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_shown:
            self.stream.write("\r" + " " * self._length + "\r")
            self.stream.flush()
