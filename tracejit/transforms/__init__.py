"""Derivatives as graph -> graph: `jvp_graph`, `vjp_graph`, and the cut between forward and pullback."""

from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.partition import partition_graph
from tracejit.transforms.vjp import vjp_graph

__all__ = ["jvp_graph", "partition_graph", "vjp_graph"]
