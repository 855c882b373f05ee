"""Pictures of a check that was made: `python -m benchmarks.gpu.plots DIR`, with `gpu_check.json` in DIR."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.report import Report, Timing, read_report


def draw(report: Report, folder: Path) -> list[Path]:
    """`ratios.svg`: each variant's time over the fused step's; `rates.svg`: bytes moved a second by size."""
    done = [t for t in report.timings if t.seconds]
    if not done:
        return []
    import matplotlib

    matplotlib.use("Agg")
    return [_draw_ratios(done, folder / "ratios.svg"), _draw_rates(report, done, folder / "rates.svg")]


def _draw_ratios(done: list[Timing], path: Path) -> Path:
    import matplotlib.pyplot as plt

    last = {(t.workload, t.dtype): t.key for t in done}  # the largest size of each
    fused = {t.key: t.seconds for t in done if t.variant == "fused"}
    keys = [key for key in last.values() if key in fused]
    figure, axes = plt.subplots(figsize=(10, 0.4 * len(keys) + 2))
    for number, variant in enumerate(dict.fromkeys(t.variant for t in done)):
        points = [
            (t.seconds / fused[t.key], keys.index(t.key))  # type: ignore[operator]
            for t in done
            if t.variant == variant and t.key in keys
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), label=variant, color=f"C{number % 10}")
    axes.set_yticks(range(len(keys)), [" ".join(key) for key in keys])
    axes.set_xscale("log")
    axes.set_xlabel("time of a call over that of the fused step")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _saved(figure, path)


def _draw_rates(report: Report, done: list[Timing], path: Path) -> Path:
    import matplotlib.pyplot as plt

    rate = report.copy_rate()
    groups = list(dict.fromkeys((t.workload, t.dtype) for t in done))
    columns = 4
    lines = -(-len(groups) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4 * columns, 3 * lines), squeeze=False)
    names = list(dict.fromkeys(t.variant for t in done))
    for axes, group in zip(grid.flat, groups):
        for number, variant in enumerate(names):
            points = [t for t in done if (t.workload, t.dtype) == group and t.variant == variant]
            if points:
                x = [t.floor_bytes for t in points]
                y = [t.floor_bytes / t.seconds for t in points if t.seconds]
                axes.plot(x, y, marker="o", markersize=3, label=variant, color=f"C{number % 10}")
        if rate:
            axes.axhline(rate, color="black", linewidth=0.8)
        axes.set_title(" ".join(group), fontsize=9)
        axes.set_xscale("log")
        axes.set_yscale("log")
    for axes in list(grid.flat)[len(groups) :]:
        axes.set_axis_off()
    grid[0][0].legend(fontsize=6)
    figure.supxlabel("bytes that any program moves")
    figure.supylabel("those bytes a second; the line is a copy's")
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for path in draw(read_report(place), place):
        print(path)
