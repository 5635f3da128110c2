"""Plots as SVG files, by matplotlib."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import Plot

WIDTH_INCHES, HEIGHT_INCHES = 7, 4


def draw(plot: Plot, directory: Path) -> Path:
    """Write one plot, both of whose axes are logarithmic or linear, and return the file's path."""
    # Only now: who wants no plots needs no matplotlib.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = plot.name
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    style = {} if plot.is_linear else {"marker": "o", "markersize": 4}
    for name, points in plot.curves.items():
        axes.plot(*zip(*points, strict=True), **style, label=name)
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label, title=plot.title)
    if not plot.is_linear:
        axes.set(xscale="log", yscale="log")
    axes.title.set_fontsize("medium")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    lowest = min(y for points in plot.curves.values() for _, y in points)
    highest = max(y for points in plot.curves.values() for _, y in points)
    # A flat curve has to look flat.
    axes.set_ylim(*((0, highest * 1.1) if plot.is_linear else (lowest / 3, highest * 3)))
    path = directory / f"{plot.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
