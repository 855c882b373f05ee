"""`autotune`: what is tried, what is used afterwards, in this process and the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit import tuning
from tracejit.api.record import record_call
from tracejit.comparison import take_turns
from tracejit.compile import run_stages
from tracejit.config import AUTO, Choices, Config
from tracejit.runtime import blas, tuned


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; nothing is remembered when it starts."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tuned, "_found", {})
    return tmp_path


def executable_of(function: Any) -> Any:
    """What calls of the function run."""
    ((program,),) = function._programs.table.values()
    return program.run


def layer(x: Any, w: Any) -> Any:
    return np.sum(np.tanh(x @ w))


ARGUMENTS = np.ones((24, 32)) / 9, np.ones((32, 32)) / 9


def let_win(choices: Choices, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the machine ran these choices fastest."""

    def fake(calls: Any, seconds: float, advance: Any) -> dict[str, list[float]]:
        measured = take_turns(calls, seconds, advance)
        return {name: [1e-9] if name == str(choices) else times for name, times in measured.items()}

    monkeypatch.setattr(tuning, "take_turns", fake)


def library_calls_of(function: Any) -> int:
    return tj.inspect(function)(*ARGUMENTS).library_calls


@pytest.mark.parametrize("products", ["library", "loop"])
def test_the_winner_serves_later_calls(products: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = tj.grad_jit(layer, argnums=(0, 1))
    expected = loss(*ARGUMENTS)
    winner = replace(AUTO, products=products)
    let_win(winner, monkeypatch)
    monkeypatch.setattr(tuning, "CLOSE", 100.0)
    found = tj.autotune(loss, seconds=0.001)(*ARGUMENTS)
    is_new = winner in [row.choices for row in found.rows]
    assert found.winner == (winner if is_new else AUTO)
    assert found.function is loss
    assert (library_calls_of(loss) > 0) == (products == "library")
    value, grads = loss(*ARGUMENTS)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    for grad, wanted in zip(grads, expected[1], strict=True):
        np.testing.assert_allclose(grad, wanted, rtol=1e-12)


def network(x: Any, w: Any) -> Any:
    return np.sum(np.tanh(np.tanh(x @ w) @ w))


LARGE = np.ones((3000, 64)) / 9, np.ones((64, 64)) / 9
WAYS = [
    *[Choices(tile=word) for word in ("none", "short", "long")],
    *[Choices(threads=word) for word in ("half", "one")],
    Choices(fuse="never"),
]


def workers_of(executable: Any) -> int:
    return max(region.workers for region in executable.program.regions.values())


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
@pytest.mark.parametrize("winner", WAYS, ids=str)
def test_tiles_threads_and_no_fusion_can_win_and_are_remembered(
    winner: Choices, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = tj.grad_jit(network, argnums=1, threads=4)
    expected = loss(*LARGE)
    assert executable_of(loss).config.choices == AUTO
    let_win(winner, monkeypatch)
    monkeypatch.setattr(tuning, "CLOSE", 100.0)
    monkeypatch.setattr(tuning, "MOST_TIMED", 100)
    found = tj.autotune(loss, seconds=0.001)(*LARGE)
    assert found.winner == winner
    value, grad = loss(*LARGE)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9)
    assert executable_of(loss).config.choices == winner
    assert 1 < workers_of(executable_of(loss)) <= 4 or winner.threads == "one"
    assert workers_of(executable_of(loss)) <= {"auto": 4, "half": 2, "one": 1}[winner.threads]
    graph = record_call(loss, LARGE, {}).graph
    for threads in (None, 1):
        later = run_stages(graph, config=Config(cache_dir=folder), threads=threads).executable
        assert later.config.choices == winner and (threads != 1 or workers_of(later) == 1)
    kept = json.loads((folder / f"{tuned.tuning_key(graph)}.tuned").read_text())
    assert Choices(**kept["choices"]) == winner


@pytest.mark.skipif(not blas.is_available(), reason="needs SciPy's BLAS")
def test_the_number_of_threads_changes_no_bit(folder: Path) -> None:
    graph = record_call(tj.grad_jit(network, argnums=1), LARGE, {}).graph
    found = {
        tuple(x.tobytes() for x in run_stages(graph, threads=4, choices=choices).executable(LARGE))
        for choices in (AUTO, Choices(threads="half"), Choices(threads="one"))
    }
    assert len(found) == 1


def test_calls_that_are_not_cut_are_offered_no_numbers_of_threads() -> None:
    found = tuning.alternatives(record_call(tj.jit(layer), ARGUMENTS, {}), Config(cache_dir=None))
    assert all(choices.threads == "auto" for choices in found)


def test_the_report_is_a_table_that_says_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    let_win(AUTO, monkeypatch)
    found = tj.autotune(layer, seconds=0.001)(*ARGUMENTS)
    title, _, first, *rest = str(found).splitlines()
    assert title.split() == ["layer", "time", "ratio", "estimate"]
    assert first.split()[0] == "auto" and first.split()[-1] == "used"
    assert not any(line.endswith("used") for line in rest)
    assert len(found.rows) <= tuning.MOST_TIMED


def test_a_difference_that_is_noise_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "WORTH", 0.0)
    assert tj.autotune(layer, seconds=0.001)(*ARGUMENTS).winner == AUTO


def test_functions_that_run_unfused_have_nothing_to_choose() -> None:
    function = tj.jit(layer, fuse=False)
    assert [row.choices for row in tj.autotune(function, seconds=0.001)(*ARGUMENTS).rows] == [AUTO]


def test_donated_arguments_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(5.0)
    step = tj.jit(lambda x: x * 0.5, donate=0)
    tj.autotune(step, seconds=0.001)(x)
    np.testing.assert_array_equal(x, np.arange(5.0))


def graph_and_config(folder: Path) -> tuple[Any, Config]:
    return record_call(tj.jit(layer), ARGUMENTS, {}).graph, Config(cache_dir=folder)


def test_another_size_is_another_graph(folder: Path) -> None:
    graph, config = graph_and_config(folder)
    tuned.remember(graph, config, Choices(products="loop"))
    other = record_call(tj.jit(layer), (np.ones((25, 32)), ARGUMENTS[1]), {}).graph
    assert tuned.recall(other, config) is None


def test_names_and_lines_of_a_function_do_not_matter(folder: Path) -> None:
    graph, config = graph_and_config(folder)
    tuned.remember(graph, config, Choices(products="loop"))
    same = record_call(tj.jit(lambda a, b: np.sum(np.tanh(a @ b))), ARGUMENTS, {}).graph
    assert tuned.recall(same, config) == Choices(products="loop")


def test_what_is_forced_goes_before_what_was_found(folder: Path) -> None:
    graph, config = graph_and_config(folder)
    tuned.remember(graph, config, Choices(products="loop"))
    assert run_stages(graph, config=config).executable.config.choices == Choices(products="loop")
    forced = Config(cache_dir=folder, choices=Choices(products="library"))
    assert run_stages(graph, config=forced).executable.config.choices == forced.choices
    assert run_stages(graph, config=config, choices=AUTO).executable.config.choices == AUTO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "{}",
        '{"key": 1, "choices": {}}',
        '{"key": "KEY", "choices": {"products": "magic"}}',
        '{"key": "KEY", "choices": {"unknown": "auto"}}',
        '{"key": "KEY", "choices": 3}',
    ],
)
def test_a_file_of_another_form_is_as_if_it_were_not_there(text: str, folder: Path) -> None:
    graph, config = graph_and_config(folder)
    key = tuned.tuning_key(graph)
    (folder / "tuned").touch()
    (folder / f"{key}.tuned").write_text(text.replace("KEY", key))
    assert tuned.recall(graph, config) is None
    (folder / f"{key}.tuned").write_text(json.dumps({"key": key, "choices": {"products": "loop"}}))
    assert tuned.recall(graph, config) == Choices(products="loop")


LATER = """
import numpy as np
import tracejit as tj
from tests.test_tuning import ARGUMENTS, executable_of, layer
function = tj.jit(layer)
function(*ARGUMENTS)
executable = executable_of(function)
print(len(executable.program.library_calls), executable.config.choices.fuse)
"""


def test_a_later_process_uses_it_too(folder: Path) -> None:
    graph, config = graph_and_config(folder)

    def calls() -> str:
        root = Path(__file__).parents[1]
        command = [sys.executable, "-c", LATER]
        ran = subprocess.run(command, env=os.environ, cwd=root, capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    tuned.remember(graph, config, Choices(products="library"))
    assert calls() == "1 auto"
    tuned.remember(graph, config, Choices(products="loop"))
    assert calls() == "0 auto"
    tuned.remember(graph, config, Choices(tile="short", threads="one", fuse="never"))
    assert calls() == "1 never"
