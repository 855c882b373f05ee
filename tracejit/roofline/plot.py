"""The roofline as a picture: flops a second over flops a byte, both on logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tracejit.roofline.report import Roofline

COLOURS = {"fused": "#2563eb", "unfused": "#94a3b8"}


def draw_roofline(found: Roofline) -> Figure:
    """A roof for each level of memory, a point for each step that computes with floats, large if it is slow.

    Raises UnsupportedError where matplotlib is not installed.
    """
    figure = new_figure(8.0, 5.0)
    axes: Any = figure.subplots()
    variants = (found.unfused, found.fused)
    rows = [(v.name, r) for v in variants for r in v.rows if r.flops]
    intensities = [r.intensity for _, r in rows]
    low, high = min([0.03, *intensities]) / 2, max([30.0, *intensities]) * 2
    across = np.geomspace(low, high, 200)
    machine = found.machines[-1]
    for level in machine.levels:
        roof = np.minimum(max(level.read, level.triad) * across, machine.f64) / 1e9
        axes.plot(across, roof, color="#475569", linewidth=1)
        axes.annotate(level.name, (across[0], roof[0]), fontsize=8, verticalalignment="bottom")
    axes.annotate(
        "f64 multiply-adds",
        (high, machine.f64 / 1e9),
        fontsize=8,
        ha="right",
        verticalalignment="bottom",
    )
    longest = max([r.seconds for _, r in rows], default=1.0)
    for variant in variants:
        own = [r for name, r in rows if name == variant.name]
        axes.scatter(
            [r.intensity for r in own],
            [r.flops / r.seconds / 1e9 for r in own],
            s=[20 + 180 * r.seconds / longest for r in own],
            color=COLOURS[variant.name],
            alpha=0.8,
            label=f"{variant.name}: {variant.kernels} kernels, {variant.library_calls} library calls",
        )
    for row in found.fused.rows:
        if row.flops:
            axes.annotate(row.name, (row.intensity, row.flops / row.seconds / 1e9), fontsize=7)
    axes.set(xscale="log", yscale="log", xlabel="flops a byte", ylabel="Gflop/s", title=found.name)
    axes.legend(fontsize=8, loc="lower right")
    return figure
