"""`draw`: the figure of the tutorial, and what is true of figures of other functions."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.drawing import Drawing
from tracejit.errors import UnsupportedError
from tracejit.ir import calling

TUTORIAL = ({"w": np.ones((5, 3)), "b": np.ones(3)}, np.ones(5), np.zeros(3))


@tj.grad_jit
def loss(params: Any, x: Any, y: Any) -> Any:
    z = x @ params["w"] + params["b"]
    return tj.nn.binary_cross_entropy_with_logits(z, y)


def arrows(function: Any, *args: Any) -> list[str]:
    return tj.draw(function)(*args).arrows.splitlines()


def test_the_tutorial_is_drawn_as_its_figure_in_mermaid() -> None:
    assert str(tj.draw(loss)(*TUTORIAL)).splitlines() == [
        "flowchart LR",
        "    subgraph Parameters",
        '        b["b"]',
        '        w["w"]',
        "    end",
        '    x["x"]',
        '    y["y"]',
        '    times(("#42;"))',
        '    plus(("#43;"))',
        '    z["z"]',
        '    CE(("CE"))',
        '    loss["loss"]',
        "    x --> times",
        "    w --> times",
        "    times --> plus",
        "    b --> plus",
        "    plus --> z",
        "    z --> CE",
        "    y --> CE",
        "    CE --> loss",
        "    classDef parameter fill:#dbeafe,stroke:#64748b,color:#0f172a",
        "    class b,w parameter",
        "    classDef operation fill:#fef3c7,stroke:#64748b,color:#0f172a",
        "    class times,plus,CE operation",
        "    classDef result fill:#dcfce7,stroke:#64748b,color:#0f172a",
        "    class loss result",
        "    style Parameters fill:#f8fafc,stroke:#64748b",
    ]


def test_the_tutorial_is_drawn_as_its_figure_in_dot() -> None:
    dot = tj.draw(loss)(*TUTORIAL).dot
    assert dot.startswith("digraph {\n    rankdir=LR\n")
    assert 'label="Parameters"' in dot
    assert '"times" [label="*", shape=circle' in dot
    assert '"CE" -> "loss"' in dot


def test_the_tutorial_reads_in_plain_lines() -> None:
    assert arrows(loss, *TUTORIAL) == [
        "Parameters: b, w",
        "x, w -> times",
        "times, b -> plus -> z",
        "z, y -> CE -> loss",
    ]


def test_operators_and_functions_are_one_node_each_whatever_they_expand_to() -> None:
    def spread(x: Any) -> Any:
        centred = x - np.mean(x, axis=0)
        return np.sqrt(np.var(centred)) / tj.nn.logsumexp(centred)

    assert arrows(spread, np.ones((4, 3))) == [
        "x -> mean",
        "x, mean -> minus -> centred",
        "centred -> var",
        "var -> sqrt",
        "centred -> logsumexp",
        "sqrt, logsumexp -> over -> spread",
    ]


def test_a_jitted_function_has_no_parameters_to_group() -> None:
    figure = tj.draw(tj.jit(lambda x: x * 2.0))(np.ones(3)).figure
    assert not figure.groups
    assert figure.nodes["times"].label == "* 2"


def test_only_the_arguments_that_are_differentiated_by_are_parameters() -> None:
    def product(a: Any, b: Any) -> Any:
        return np.sum(a * b)

    assert arrows(tj.grad(product, argnums=1), np.ones(2), np.ones(2))[0] == "Parameters: b"
    assert arrows(tj.grad(product, argnums=(0, 1)), np.ones(2), np.ones(2))[0] == "Parameters: a, b"


def test_loops_are_drawn_unrolled_and_variables_keep_their_names() -> None:
    def layers(weights: Any, x: Any) -> Any:
        for w in weights:
            x = np.tanh(x @ w)
        total = np.sum(x)
        return total

    assert arrows(layers, [np.ones((2, 2)), np.ones((2, 2))], np.ones(2)) == [
        "x, weights[0] -> times",
        "times -> tanh -> x",
        "x, weights[1] -> times_2",
        "times_2 -> tanh_2 -> x",
        "x -> sum -> total",
    ]


def test_captured_arrays_are_drawn_under_their_names() -> None:
    offset = np.ones(3)
    assert arrows(lambda x: x + offset, np.ones(3))[0] == "x, offset -> plus -> <lambda>"


def test_operands_that_are_numbers_stand_in_the_operation() -> None:
    figure = tj.draw(lambda x: np.exp(x / 3.0))(np.ones(3)).figure
    assert figure.nodes["over"].label == "/ 3"
    assert figure.nodes["exp"].label == "exp"


def test_results_in_a_nesting_are_drawn_by_their_paths() -> None:
    def moments(x: Any) -> Any:
        return {"mean": x.mean(), "same": x, "three": 3.0}

    drawn = tj.draw(moments)(np.ones(3))
    assert drawn.arrows == "x -> mean -> moments['mean']"
    assert set(drawn.figure.nodes) == {"x", "mean", "moments_mean", "moments_same", "moments_three"}
    assert ("x", "moments_same") in drawn.figure.edges


def test_derivatives_inside_a_function_are_marked() -> None:
    labels = [n.label for n in tj.draw(tj.grad(tj.grad(lambda x: np.tanh(x) * x)))(1.0).figure.nodes.values()]
    assert "tanh" in labels
    assert "d tanh" in labels


def test_an_operation_of_many_equations_is_read_once() -> None:
    def tower(x: Any) -> Any:
        with calling("tower"):
            for _ in range(60):  # a walk over all paths would take 2**60 steps
                x = x * x
        return x

    assert arrows(tower, np.ones(2)) == ["x -> tower -> tower"]


def test_what_no_result_needs_is_left_out_but_parameters_stay() -> None:
    def wasteful(w: Any, unused: Any) -> Any:
        np.exp(w["a"])
        return np.sum(w["a"] * 2.0)

    figure = tj.draw(tj.grad(wasteful))({"a": np.ones(2), "b": np.ones(2)}, np.ones(2)).figure
    assert set(figure.nodes) == {"a", "b", "times", "sum", "wasteful"}


def test_kernels_are_boxes_and_everything_that_runs_is_in_one() -> None:
    figure = tj.draw(loss)(*TUTORIAL).kernels().figure
    found = tj.inspect(loss)(*TUTORIAL)
    assert [g.title.split()[0] for g in figure.groups] == [f"kernel_{k}" for k in range(found.kernels)]
    inside = [id for g in figure.groups for id in g.nodes]
    assert len(inside) == len(set(inside))
    assert {n.id for n in figure.nodes.values() if n.kind == "operation"} == set(inside)
    assert {n.label for n in figure.nodes.values() if n.kind == "result"} == {"loss", "dloss/dw", "dloss/db"}


def test_library_calls_have_boxes_of_their_own(rng: np.random.Generator) -> None:
    def layer(w: Any, x: Any) -> Any:
        return np.sum(np.tanh(x @ w))

    args = (rng.normal(size=(50, 60)), rng.normal(size=(40, 50)))
    titles = [g.title for g in tj.draw(tj.grad_jit(layer))(*args).kernels().figure.groups]
    assert titles.count("library call") == tj.inspect(tj.grad_jit(layer))(*args).library_calls


def test_notebooks_show_the_figure_itself() -> None:
    text = tj.draw(loss)(*TUTORIAL)._repr_markdown_()
    assert text.startswith("```mermaid\nflowchart LR\n")
    assert text.endswith("\n```")


# --- Graphviz ----------------------------------------------------------------------------------------------


def with_program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Drawing:
    """A drawing on a machine whose `dot` is a shell script."""
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    return tj.draw(loss)(*TUTORIAL)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Graphviz is a shell script")
def test_pictures_come_from_graphviz_and_are_written_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = with_program(tmp_path, monkeypatch, 'printf "%s:" "$1"; cat')
    assert drawing.svg() == f"-Tsvg:{drawing.dot}"
    assert drawing.png(tmp_path / "figure.png") == f"-Tpng:{drawing.dot}".encode()
    assert (tmp_path / "figure.png").read_bytes() == drawing.png()
    drawing.svg(str(tmp_path / "figure.svg"))
    assert (tmp_path / "figure.svg").read_text() == drawing.svg()


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Graphviz is a shell script")
def test_a_failure_of_graphviz_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = with_program(tmp_path, monkeypatch, "echo no fonts >&2; exit 1")
    with pytest.raises(UnsupportedError) as raised:
        drawing.svg()
    assert str(raised.value) == "svg(): Graphviz failed: no fonts"


def test_without_graphviz_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnsupportedError) as raised:
        tj.draw(loss)(*TUTORIAL).png()
    assert str(raised.value) == (
        "png(): the program `dot` of Graphviz is not installed\n"
        "  hint: install the package graphviz (with apt, brew or conda; pip's is not enough), or print the "
        "drawing: its text is Mermaid, which GitHub and Jupyter draw"
    )


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_itself_draws_both_figures() -> None:
    drawing = tj.draw(loss)(*TUTORIAL)
    for figure in (drawing, drawing.kernels()):
        assert "</svg>" in figure.svg()
        assert figure.png().startswith(b"\x89PNG")
