"""The progress bar: what it writes, and to whom."""

from __future__ import annotations

import io

from tracejit.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_sees_no_bar() -> None:
    stream = io.StringIO()
    with Progress("work", 2, stream=stream) as bar:
        bar.advance()
    assert stream.getvalue() == ""


def test_a_terminal_sees_the_bar_fill_and_vanish() -> None:
    stream = Terminal()
    with Progress("work", 4, stream=stream) as bar:
        bar.advance("first")
        bar.advance("second", steps=2)
    empty, first, second, blank, end = stream.getvalue().split("\r")[1:]
    assert empty == f"work [{'.' * 30}]   0 %"
    assert first == f"work [{'#' * 7}{'.' * 23}]  25 % first"
    assert second == f"work [{'#' * 22}{'.' * 8}]  75 % second"
    assert blank == " " * len(second)
    assert end == ""


def test_a_shorter_line_covers_the_longer_one_before() -> None:
    stream = Terminal()
    bar = Progress("work", 2, stream=stream)
    bar.advance("a long note")
    bar.advance("short")
    _, long, short = stream.getvalue().split("\r")
    assert len(short) == len(long)


def test_the_bar_can_be_forced_or_forbidden() -> None:
    forced, forbidden = io.StringIO(), Terminal()
    Progress("work", 1, True, forced).advance()
    Progress("work", 1, False, forbidden).advance()
    assert "100 %" in forced.getvalue()
    assert forbidden.getvalue() == ""


def test_more_steps_than_said_stay_at_the_end() -> None:
    bar = Progress("work", 0, False)
    bar.advance(steps=5)
    assert bar.done == bar.total == 1
