"""Figures: nodes in groups, and arrows, printed as Mermaid, as DOT, or as plain lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

# Words that Mermaid or DOT read as their own.
_RESERVED = frozenset(
    {
        *(
            "call",
            "class",
            "classdef",
            "click",
            "default",
            "digraph",
            "direction",
            "edge",
            "end",
            "flowchart",
        ),
        *("graph", "href", "linkstyle", "node", "strict", "style", "subgraph"),
    }
)
_COLOURS = ("#dbeafe", "#dcfce7", "#fef3c7", "#fce7f3", "#ede9fe", "#cffafe", "#ffedd5", "#e2e8f0")
_FILLS = {"parameter": "#dbeafe", "operation": "#fef3c7", "result": "#dcfce7"}


@dataclass(frozen=True)
class Node:
    """A node. kind: "parameter", "input", "operation", "value" (a named result on the way), or "result"."""

    id: str
    label: str
    kind: str


@dataclass(frozen=True)
class Group:
    """Nodes in one box, by their ids."""

    title: str
    nodes: tuple[str, ...]


@dataclass
class Figure:
    """A graph to be drawn from left to right.

    >>> figure = Figure()
    >>> x, tanh = figure.add("x", "x", "input"), figure.add("tanh", "tanh", "operation")
    >>> figure.connect(x, tanh)
    >>> print(figure.mermaid())
    flowchart LR
        x["x"]
        tanh(["tanh"])
        x --> tanh
        classDef operation fill:#fef3c7,stroke:#64748b,color:#0f172a
        class tanh operation
    """

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    groups: list[Group] = field(default_factory=list[Group])

    def add(self, name: str, label: str, kind: str) -> str:
        """A new node whose id is `name`, or as near to it as a free and allowed one can be."""
        cleaned = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
        if cleaned[0].isdigit():
            cleaned = f"n{cleaned}"
        if cleaned.lower() in _RESERVED:
            cleaned += "_"
        id, number = cleaned, 1
        while id in self.nodes:
            number += 1
            id = f"{cleaned}_{number}"
        self.nodes[id] = Node(id, label, kind)
        return id

    def connect(self, source: str, target: str) -> None:
        self.edges[source, target] = None

    def keep(self, ids: set[str]) -> None:
        """Drop every node that is not among `ids`, the arrows at it, and its place in a box."""
        self.nodes = {id: node for id, node in self.nodes.items() if id in ids}
        self.edges = {edge: None for edge in self.edges if ids.issuperset(edge)}
        self.groups = [Group(g.title, tuple(id for id in g.nodes if id in ids)) for g in self.groups]

    def before(self, ids: Sequence[str]) -> set[str]:
        """`ids` and all nodes from which arrows lead to them."""
        sources: dict[str, list[str]] = {}
        for source, target in self.edges:
            sources.setdefault(target, []).append(source)
        found: set[str] = set()
        waiting = list(ids)
        while waiting:
            id = waiting.pop()
            if id not in found:
                found.add(id)
                waiting += sources.get(id, ())
        return found

    # --- printing ----------------------------------------------------------------------------------------

    def mermaid(self) -> str:
        """The figure as a Mermaid flowchart."""
        lines = ["flowchart LR"]
        grouped = {id for group in self.groups for id in group.nodes}
        boxes = [self.box(k) for k in range(len(self.groups))]
        for box, group in zip(boxes, self.groups, strict=True):
            title = f'["{_mermaid_text(group.title)}"]' if box != group.title else ""
            lines.append(f"    subgraph {box}{title}")
            lines += [f"        {_mermaid_node(self.nodes[id])}" for id in group.nodes]
            lines.append("    end")
        lines += [f"    {_mermaid_node(node)}" for id, node in self.nodes.items() if id not in grouped]
        lines += [f"    {a} --> {b}" for a, b in self.edges]
        for kind, fill in _FILLS.items():
            members = [id for id, node in self.nodes.items() if node.kind == kind]
            if members:
                lines.append(f"    classDef {kind} fill:{fill},stroke:#64748b,color:#0f172a")
                lines.append(f"    class {','.join(members)} {kind}")
        lines += [f"    style {box} fill:{self.colour(k)},stroke:#64748b" for k, box in enumerate(boxes)]
        return "\n".join(lines)

    def dot(self) -> str:
        """The figure in the language of Graphviz."""
        lines = ["digraph {", "    rankdir=LR"]
        lines.append('    node [fontname="Helvetica", color="#64748b", style="filled"]')
        grouped = {id for group in self.groups for id in group.nodes}
        for number, group in enumerate(self.groups):
            lines.append(f"    subgraph cluster{number} {{")
            lines.append(f'        label="{_dot_text(group.title)}"; color="#64748b"')
            lines.append(f'        style="filled,rounded"; fillcolor="{self.colour(number)}"')
            lines += [f"        {_dot_node(self.nodes[id])}" for id in group.nodes]
            lines.append("    }")
        lines += [f"    {_dot_node(node)}" for id, node in self.nodes.items() if id not in grouped]
        lines += [f'    "{a}" -> "{b}"' for a, b in self.edges]
        return "\n".join([*lines, "}"])

    def arrows(self) -> str:
        """The figure as lines of text: operands, the operation, the name of its result where it has one."""
        lines = [f"{group.title}: {', '.join(map(self._name, group.nodes))}" for group in self.groups]
        sources: dict[str, list[str]] = {id: [] for id in self.nodes}
        targets: dict[str, list[str]] = {id: [] for id in self.nodes}
        for a, b in self.edges:
            sources[b].append(self._name(a))
            if self.nodes[b].kind != "operation":
                targets[a].append(self._name(b))
        for id, node in self.nodes.items():
            if node.kind == "operation":
                parts = (", ".join(sources[id]), id, ", ".join(targets[id]))
                lines.append(" -> ".join(filter(None, parts)))
        return "\n".join(lines)

    def box(self, group: int) -> str:
        """The id of a box: its title where that can be one."""
        title = self.groups[group].title
        return title if title.isidentifier() and title not in self.nodes else f"group{group}"

    def colour(self, group: int) -> str:
        """The fill of a box: pale for the parameters, one colour a kernel otherwise."""
        return "#f8fafc" if self.groups[group].title == "Parameters" else _COLOURS[group % len(_COLOURS)]

    def _name(self, id: str) -> str:
        node = self.nodes[id]
        return id if node.kind == "operation" else node.label


def _mermaid_text(text: str) -> str:
    """Text inside quotes; `#` starts a character code there, which a Markdown list's marker needs."""
    text = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return f"#{ord(text[0])};{text[1:]}" if re.match(r"[-+*](\s|$)", text) else text


def _mermaid_node(node: Node) -> str:
    opening, closing = "[", "]"
    if node.kind == "operation":
        opening, closing = ("((", "))") if len(node.label) <= 2 else ("([", "])")
    return f'{node.id}{opening}"{_mermaid_text(node.label)}"{closing}'


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _dot_node(node: Node) -> str:
    shape = "box"
    if node.kind == "operation":
        shape = "circle" if len(node.label) <= 2 else "ellipse"
    fill = _FILLS.get(node.kind, "white")
    return f'"{node.id}" [label="{_dot_text(node.label)}", shape={shape}, fillcolor="{fill}"]'
