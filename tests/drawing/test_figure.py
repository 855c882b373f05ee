"""Figures as data and as text: ids that every language takes, labels that survive quoting."""

from __future__ import annotations

import pytest

from tracejit.drawing import Figure, Group


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("x", "x"),
        ("params['w']", "params_w"),
        ("end", "end_"),
        ("Graph", "Graph_"),
        ("2nd", "n2nd"),
        ("<lambda>", "lambda"),
        ("größe", "gr_e"),
        ("?", "value"),
    ],
)
def test_ids_are_plain_words(name: str, id: str) -> None:
    assert Figure().add(name, name, "input") == id


def test_ids_are_numbered_when_taken() -> None:
    figure = Figure()
    assert [figure.add("x", "x", "input") for _ in range(3)] == ["x", "x_2", "x_3"]


def test_labels_are_quoted_for_each_language() -> None:
    figure = Figure()
    figure.add("a", 'a"b#<c>\\', "input")
    assert '    a["a#quot;b#35;#lt;c#gt;\\"]' in figure.mermaid().splitlines()
    assert '[label="a\\"b#<c>\\\\", ' in figure.dot()


@pytest.mark.parametrize("label", ["-", "+ 1", "* 2"])
def test_labels_that_look_like_a_markdown_list_are_coded(label: str) -> None:
    figure = Figure()
    figure.add("a", label, "operation")
    assert f'"#{ord(label[0])};{label[1:]}"' in figure.mermaid()


def test_a_group_is_named_by_its_title_unless_that_is_taken_or_no_word() -> None:
    figure = Figure()
    figure.add("Parameters", "Parameters", "input")
    figure.groups = [Group("Parameters", ()), Group("Rest", ()), Group("kernel_0 over i[3]", ())]
    assert [figure.box(k) for k in range(3)] == ["group0", "Rest", "group2"]


def test_dropped_nodes_leave_no_arrow_and_no_place_behind() -> None:
    figure = Figure()
    a, b, c = (figure.add(name, name, "operation") for name in "abc")
    figure.connect(a, b)
    figure.connect(c, b)
    figure.groups.append(Group("all", (a, b, c)))
    figure.keep({a, b})
    assert (list(figure.nodes), list(figure.edges), figure.groups) == (
        ["a", "b"],
        [("a", "b")],
        [Group("all", ("a", "b"))],
    )


def test_what_leads_to_a_node_is_found() -> None:
    figure = Figure()
    a, b, c, d = (figure.add(name, name, "operation") for name in "abcd")
    for source, target in ((a, b), (b, c), (d, d)):
        figure.connect(source, target)
    assert figure.before([c]) == {a, b, c}
