"""Graphs drawn: a function and a call of it enter, Mermaid and DOT text, SVG or PNG leave."""

from tracejit.drawing.draw import Drawing, draw
from tracejit.drawing.figure import Figure, Group, Node

__all__ = ["Drawing", "Figure", "Group", "Node", "draw"]
