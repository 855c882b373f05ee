"""Figures by Matplotlib, an optional extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracejit.errors import UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its sides in inches. Raises UnsupportedError where Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError(
            "plot(): matplotlib is not installed", hint="install it: pip install matplotlib"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")
