"""The demo: what it prints, that it runs as a module, and that a failed check is a failed run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit import __main__ as demo

SHORT = ["--size", "1000", "--seconds", "0.001"]


def test_the_demo_draws_compiles_checks_and_compares(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(SHORT) == 0
    printed = capsys.readouterr()
    for expected in (
        "x, w -> times\ntimes, b -> plus -> z\nz, y -> CE -> loss\n",
        "flowchart LR\n    subgraph Parameters\n",
        "its value and gradient: 1 kernel, ",
        'z = x @ params["w"] + params["b"]\n',
        "return tj.nn.binary_cross_entropy_with_logits(z, y)\n",
        "tutorial: value and gradient differ from the closed form by ",
        "chain of 1,000: value and gradient differ from the closed form by ",
        "\nNumPy forward ",
        "\nunfused ",
        "\nfused ",
    ):
        assert expected in printed.out
    assert printed.out.count(": ok\n") == 2
    assert printed.out.endswith("ok: every check passed\n")
    assert printed.err == ""


def test_the_progress_bar_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([*SHORT, "--progress"]) == 0
    printed = capsys.readouterr()
    assert "comparing chain [" in printed.err
    assert "comparing" not in printed.out


def test_a_wrong_gradient_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = demo.closed_form_loss

    def wrong(*args: Any) -> Any:
        value, grads = right(*args)
        return value, {**grads, "b": grads["b"] + 1e-6}

    monkeypatch.setattr(demo, "closed_form_loss", wrong)
    assert demo.main(SHORT) == 1
    assert capsys.readouterr().out.endswith("a check failed\n")


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        demo.main(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("python -m tracejit", "--size", "--seconds", "--progress"))


@pytest.mark.parametrize("arguments", [["--size", "0"], ["--seconds", "0"], ["--colour"]])
def test_arguments_without_a_meaning_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        demo.main(arguments)
    assert left.value.code == 2
    assert "python -m tracejit: error:" in capsys.readouterr().err


def test_it_runs_as_a_module_and_shows_its_own_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracejit", *SHORT],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "# __main__.py:" in done.stdout
    assert done.stderr == ""


def test_the_closed_forms_are_the_functions() -> None:
    args = ({"w": np.ones((5, 3)), "b": np.ones(3)}, np.ones(5), np.array([0.0, 1.0, 0.5]))
    assert demo.largest_error(demo.closed_form_loss(*args), demo.loss(*args)) < 1e-12
    tj.check_grads(
        lambda w: demo.loss.value({"w": w, "b": np.ones(3)}, np.ones(5), np.zeros(3)), (np.ones((5, 3)),)
    )
