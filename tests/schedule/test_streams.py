"""Streams: which nests run side by side, how far behind one another, and how many rows are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.config import Choices, Config
from tracejit.schedule import KernelStep, LibraryStep, Schedule, StreamStep
from tracejit.schedule.describe import format_schedule


def schedule_of(f: Callable[..., Any], *args: Any, shifted: Any = "auto") -> Schedule:
    record = record_call(f, args, {})
    return run_stages(record.graph, config=Config(cache_dir=None, choices=Choices(shifted=shifted))).schedule


def only_stream(f: Callable[..., Any], *args: Any, shifted: Any = "auto") -> StreamStep:
    (step,) = schedule_of(f, *args, shifted=shifted).steps
    assert isinstance(step, StreamStep)
    return step


def moved(x: Any, *offsets: int) -> Any:
    """A dear function of `x`, read at row offsets from the least one on."""
    y, n = np.tanh(x), max(offsets) - min(offsets)
    rows = [y[k - min(offsets) : len(y) - n + k - min(offsets)] for k in offsets]
    total = rows[0] * 1.5
    for row in rows[1:]:
        total = total + row
    return np.exp(total)


X = np.ones((20, 30))


@pytest.mark.parametrize(("offsets", "lag", "rows"), [((0, 1), 1, 2), ((-1, 0, 1), 2, 4), ((0, 4), 4, 8)])
def test_a_reader_runs_as_far_behind_as_it_looks_ahead(offsets: tuple[int, ...], lag: int, rows: int) -> None:
    def f(x: Any) -> Any:
        return moved(x, *offsets), np.sum(np.tanh(x))

    stream = only_stream(f, X)
    assert (stream.lags, list(stream.rings.values())) == ((0, lag), [rows])


def test_a_reader_of_earlier_rows_only_runs_ahead_of_what_others_need() -> None:
    def f(x: Any) -> Any:
        y = np.tanh(x)
        late = np.pad(y, ((2, 0), (0, 0)))[:-2] * np.cos(x)  # reads two rows back
        return np.sum(late), np.sum(y * 2)

    stream = only_stream(f, X, shifted="ring")
    assert (stream.lags, list(stream.rings.values())) == ((2, 0), [1])


def test_layers_run_one_behind_the_other() -> None:
    def f(x: Any) -> Any:
        return moved(moved(moved(x, 0, 1), 0, 1), 0, 1)

    stream = only_stream(f, X)
    assert stream.lags == (0, 1, 2, 3)
    assert list(stream.rings.values()) == [2, 2, 2]


def test_a_result_that_is_an_output_too_is_stored_and_read_from_memory() -> None:
    def f(x: Any) -> Any:
        y, z = np.tanh(x), np.sin(x)
        return y, y[1:] * np.cos(z[:-1]) * z[1:]

    stream = only_stream(f, X)
    assert len(stream.rings) == 1
    assert len(stream.stored) == 2


def test_nests_without_rings_run_one_after_the_other() -> None:
    def f(x: Any) -> Any:
        y = np.tanh(x)
        return y, y[1:] * np.cos(y[:-1])

    assert [type(s) for s in schedule_of(f, X).steps] == [KernelStep, KernelStep]


def test_what_a_library_call_reads_is_no_ring() -> None:
    def f(x: Any, w: Any) -> Any:
        y = np.tanh(x)
        return y[1:] * np.cos(y[:-1]), y @ w

    steps = schedule_of(f, np.ones((200, 300)), np.ones((300, 200))).steps
    assert any(isinstance(s, LibraryStep) for s in steps)
    assert not any(s.rings for s in steps if isinstance(s, StreamStep))


def test_short_rows_vectors_and_rows_beyond_the_cache_go_through_memory() -> None:
    def f(x: Any) -> Any:
        y = np.tanh(x)
        return y[1:] * np.cos(y[:-1])

    for shape in ((20, 15), (20,), (4, 2**15)):
        assert all(isinstance(s, KernelStep) for s in schedule_of(f, np.ones(shape)).steps)
    assert isinstance(schedule_of(f, np.ones((20, 15)), shifted="ring").steps[0], StreamStep)
    assert isinstance(schedule_of(f, np.ones((4, 2**13))).steps[0], StreamStep)


@pytest.mark.parametrize(
    "read",
    [
        lambda y: y[::-1][1:],  # backwards
        lambda y: y[::2],
        lambda y: y[1:, :20].T,
        lambda y: y[0] + y,
        lambda y: np.roll(y, 1, axis=0),
        lambda y: y[np.arange(3)[::-1]],
    ],
)
def test_rows_in_another_order_go_through_memory(read: Callable[[Any], Any]) -> None:
    def f(x: Any) -> Any:
        y = np.tanh(x)
        return read(y) * 2.0, np.sum(y)

    assert not any(isinstance(s, StreamStep) for s in schedule_of(f, X).steps)


def test_a_number_of_all_rows_splits_the_nests_if_a_row_needs_it() -> None:
    def normed(x: Any) -> Any:
        y = np.tanh(x)
        return (y[1:] * np.cos(y[:-1])) / np.sum(y)

    def beside(x: Any) -> Any:
        y = np.tanh(x)
        return np.sum(y) + np.sum(y[1:] * np.cos(y[:-1]))

    assert len(schedule_of(normed, X).steps) == 2
    assert only_stream(beside, X).lags == (0, 1)


def test_cheap_work_is_done_again_and_all_choices_can_be_forced() -> None:
    def f(u: Any) -> Any:
        d = u[1:] - u[:-1]
        return d[1:] * d[:-1]

    def kinds(shifted: Any) -> list[type]:
        return [type(s) for s in schedule_of(f, X, shifted=shifted).steps]

    assert kinds("auto") == kinds("recompute") == [KernelStep]
    assert kinds("ring") == [StreamStep]
    assert kinds("memory") == [KernelStep, KernelStep]


def test_a_stream_is_described_with_its_lags_and_rings() -> None:
    text = format_schedule(schedule_of(lambda x: moved(x, -1, 0, 1), X))
    assert text.startswith("kernel_0 over i[20], j[30] and over i[18], j[30] (2 rows behind)\n")
    assert "tanh(v0)" in text and "a ring of 4 rows" in text
