"""`compare`: what the table says and how its text is laid out; times are measured, and never judged here."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.comparison import Comparison, Row, median_seconds
from tracejit.errors import UnsupportedError


def energy(w: Any, x: Any) -> Any:
    return np.sum(np.tanh(w * x) ** 2)


ARGUMENTS = (np.ones(100), np.linspace(0.0, 1.0, 100))

TABLE = Comparison(
    "energy",
    (
        Row("NumPy forward", 2e-6, 0.5),
        Row("unfused", 0.012, 3.0, 7, 1, 12_345, 1.5),
        Row("fused", 4e-6, 1.0, 1, 0, 2_400, 0.25),
    ),
)


@pytest.fixture(scope="module")
def measured() -> Comparison:
    return tj.compare(tj.grad_jit(energy), seconds=0.002)(*ARGUMENTS)


def test_the_rows_are_numpy_unfused_and_fused(measured: Comparison) -> None:
    assert measured.name == "energy"
    assert [row.name for row in measured.rows] == ["NumPy forward", "unfused", "fused"]
    assert all(row.seconds > 0 for row in measured.rows)
    assert measured["fused"].ratio == 1.0
    assert measured["unfused"].ratio == measured["unfused"].seconds / measured["fused"].seconds


def test_counts_agree_with_inspect(measured: Comparison) -> None:
    for row, function in (
        (measured["fused"], tj.grad_jit(energy)),
        (measured["unfused"], tj.grad_jit(fuse=False)(energy)),
    ):
        found = tj.inspect(function)(*ARGUMENTS)
        assert (row.kernels, row.library_calls, row.bytes_moved) == (
            found.kernels,
            found.library_calls,
            found.bytes_moved,
        )


def test_numpy_has_times_alone_and_the_others_say_what_compiling_costs(measured: Comparison) -> None:
    numpy = measured["NumPy forward"]
    facts = (numpy.kernels, numpy.library_calls, numpy.bytes_moved, numpy.compile_seconds)
    assert facts == (None, None, None, None)
    assert all((measured[name].compile_seconds or 0) > 0 for name in ("unfused", "fused"))


def test_compile_time_is_that_of_an_empty_cache_even_where_the_cache_is_full() -> None:
    tj.compare(energy, seconds=0.001)(*ARGUMENTS)
    again = tj.compare(energy, seconds=0.001)(*ARGUMENTS)
    found = tj.inspect(energy)(*ARGUMENTS)
    assert found.origin == "memory"
    assert (again["fused"].compile_seconds or 0) > 0


def test_plain_functions_keywords_and_static_arguments_can_be_compared() -> None:
    def power(x: Any, n: int = 2) -> Any:
        return x**n if n > 1 else x

    table = tj.compare(tj.jit(static_argnames="n")(power), seconds=0.001)(np.ones(10), n=3)
    assert table["fused"].kernels == 1
    assert tj.compare(power, seconds=0.001)(np.ones(10))["fused"].kernels == 1


def test_the_comparison_is_of_both_ways_however_the_function_was_made() -> None:
    table = tj.compare(tj.grad_jit(fuse=False)(energy), seconds=0.001)(*ARGUMENTS)
    assert (table["fused"].kernels or 0) < (table["unfused"].kernels or 0)


def test_gradients_without_a_value_are_compared_with_the_users_own_function() -> None:
    seen: list[type] = []

    def watched(x: Any) -> Any:
        seen.append(type(x))
        return np.sum(x * x)

    tj.compare(tj.grad(watched), seconds=0.001)(np.ones(3))
    assert np.ndarray in seen


def test_the_table_has_a_line_for_each_row() -> None:
    assert str(TABLE).splitlines() == [
        "energy            time  ratio  kernels  library calls  bytes moved  compile",
        "-------------  -------  -----  -------  -------------  -----------  -------",
        "NumPy forward  2.00 us   0.50",
        "unfused        12.0 ms   3.00        7              1       12,345   1.50 s",
        "fused          4.00 us   1.00        1              0        2,400   250 ms",
    ]


def test_calls_take_turns_and_each_round_is_told() -> None:
    order: list[str] = []
    rounds: list[None] = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    times = median_seconds(calls, 1e-9, lambda: rounds.append(None))
    assert order[:4] == ["a", "a", "b", "b"]  # warmed, then timed once
    assert order[4:] == ["a", "b"] * len(rounds)
    assert len(rounds) >= 3
    assert set(times) == {"a", "b"}


def test_the_progress_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    tj.compare(energy, seconds=0.001, progress=True)(*ARGUMENTS)
    assert "comparing energy [" in capsys.readouterr().err
    tj.compare(energy, seconds=0.001)(*ARGUMENTS)
    assert capsys.readouterr().err == ""


def test_the_plot_shows_times_and_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = TABLE.plot(tmp_path / "energy.png")
    assert (tmp_path / "energy.png").read_bytes().startswith(b"\x89PNG")
    times, moved = figure.axes
    assert [label.get_text() for label in times.get_yticklabels()] == ["fused", "unfused", "NumPy forward"]
    assert [bar.get_width() for bar in moved.patches] == [2_400, 12_345]
    buffer = io.BytesIO()
    TABLE.plot().savefig(buffer)
    assert buffer.getvalue()


def test_without_matplotlib_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnsupportedError) as raised:
        TABLE.plot()
    assert (
        str(raised.value) == "plot(): matplotlib is not installed\n  hint: install it: pip install matplotlib"
    )
