"""Results as pictures, where Matplotlib is installed: bars of every system a row, and time against size."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from benchmarks.results_file import Results, Row
from benchmarks.systems import SYSTEMS

# One colour a system in all pictures.
COLOURS = dict(zip(SYSTEMS, [f"C{k}" for k in range(10)] + ["black"], strict=True))


def draw_plots(results: Results, folder: Path) -> list[Path]:
    """Write `bars.svg` and `sizes.svg`; returns what was written."""
    rows = [r for r in results.rows if any(m.median for m in r.systems.values())]
    if importlib.util.find_spec("matplotlib") is None or not rows:
        return []
    import matplotlib

    matplotlib.use("Agg")
    # The same results give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    written = [draw_bars(rows, folder / "bars.svg")]
    names = list(dict.fromkeys(r.workload for r in rows))
    groups = [[r for r in rows if r.workload == name] for name in names]
    several = [group for group in groups if len(group) > 1]
    if several:
        written.append(draw_sizes(several, folder / "sizes.svg"))
    return written


def _axes(count: int, width: float, height: float) -> tuple[Any, list[Any]]:
    import matplotlib.pyplot as plt

    columns = min(4, count)
    lines = -(-count // columns)
    figure, axes = plt.subplots(
        lines, columns, squeeze=False, figsize=(width * columns, height * lines), layout="constrained"
    )
    for extra in axes.flat[count:]:
        extra.set_axis_off()
    return figure, list(axes.flat[:count])


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def draw_bars(rows: list[Row], path: Path) -> Path:
    """A panel a row: seconds of each system, the fastest on top, on a logarithmic axis."""
    figure, axes = _axes(len(rows), 4.2, 2.8)
    for ax, row in zip(axes, rows, strict=True):
        timed = [(name, m.median) for name, m in row.systems.items() if m.median is not None]
        timed.sort(key=lambda entry: entry[1], reverse=True)
        labels = [SYSTEMS[name].label for name, _ in timed]
        ax.barh(labels, [s for _, s in timed], color=[COLOURS[name] for name, _ in timed])
        ax.set_xscale("log")
        ax.set_title(f"{row.title} {row.size}", fontsize=9)
        ax.tick_params(labelsize=7)
        ax.set_xlabel("seconds", fontsize=7)
    return _save(figure, path)


def draw_sizes(groups: list[list[Row]], path: Path) -> Path:
    """A panel a workload of several sizes: each system's time over that of the hand-written kernel."""
    figure, axes = _axes(len(groups), 4.2, 3.2)
    for ax, rows in zip(axes, groups, strict=True):
        for name in SYSTEMS:
            points = [(r.size, r.systems[name].ratio_to_hand) for r in rows if name in r.systems]
            points = [(size, ratio) for size, ratio in points if ratio is not None]
            if points:
                sizes, ratios = zip(*points, strict=True)
                ax.plot(sizes, ratios, "o-", color=COLOURS[name], label=SYSTEMS[name].label, markersize=3)
        ax.set_yscale("log")
        ax.set_title(rows[0].title, fontsize=9)
        ax.tick_params(labelsize=7)
        ax.set_ylabel("time / hand-written", fontsize=7)
    axes[0].legend(fontsize=6)
    return _save(figure, path)
