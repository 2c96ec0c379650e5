"""The pictures of the lab as matplotlib figures, and figures as SVG or PNG. No pyplot: nothing here has global state."""

import io
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optim.lab.contours import contours
from optim.lab.surfaces import Surface
from optim.lab.trajectories import Run
from training.lab.averages import Curve

# Okabe and Ito, Color Universal Design, 2008, without the yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Not by colour alone: lines differ in their marks, too.
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MARKS_ON_A_LINE = 10
Look: TypeAlias = tuple[str, str]  # colour and mark
_GREY, _LINE = "#8c959f", "#c4cad1"
_SIZE = (7.6, 5.4)
_POINTS, _LEVELS = 181, 16
_DOTS_PER_INCH = 144
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tuneup",  # the same picture is the same bytes, and so has the same tag
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def rendered(figure: Figure, file_format: str) -> bytes:
    """Return the figure as "svg" or "png"."""
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        metadata = {"Date": None} if file_format == "svg" else {"Software": None}
        figure.savefig(buffer, format=file_format, dpi=_DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def contour_figure(surface: Surface, runs: Sequence[Run]) -> Figure:
    """Draw the surface's contour lines and each run's path over them."""
    figure, axes = _framed(surface.title, "x", "y")
    grid = contours(surface, _POINTS)
    axes.contour(grid.x, grid.y, grid.values, levels=_levels(surface, grid.values), colors=_LINE, linewidths=0.7)
    for run, look in zip(runs, _looks(len(runs)), strict=True):
        _line(axes, run.x, run.y, look, legend(run))
    axes.plot(*surface.start, "o", color="black", markersize=7, markerfacecolor="white", label="start", zorder=5)
    if surface.minimum is not None:
        axes.plot(*surface.minimum, "*", color="black", markersize=12, label="minimum", zorder=5)
    window = surface.window
    axes.set_xlim(window.left, window.right)
    axes.set_ylim(window.bottom, window.top)
    _show_legend(figure, axes)
    return figure


def evolution_figure(surface: Surface, runs: Sequence[Run]) -> Figure:
    """Draw the surface's value against the step for each run."""
    figure, axes = _framed(surface.title, "step", "f")
    for run, look in zip(runs, _looks(len(runs)), strict=True):
        _line(axes, range(len(run.values)), run.values, look, legend(run))
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(left=0.0)
    if surface.stop.value is not None:
        axes.set_yscale("log")
        axes.axhline(
            surface.stop.value, color=_GREY, linestyle="--", linewidth=1.0, label=f"stop: {surface.stop.title}"
        )
    _show_legend(figure, axes)
    return figure


def average_figure(signal: Sequence[float], curves: Sequence[Curve], *, bias_correction: bool) -> Figure:
    """Draw the signal as dots and its moving averages as lines."""
    how = "with" if bias_correction else "without"
    figure, axes = _framed(f"Moving averages {how} bias correction", "step", "value")
    axes.plot(range(1, len(signal) + 1), signal, ".", color=_GREY, markersize=4, label="signal")
    for curve, look in zip(curves, _looks(len(curves)), strict=True):
        label = f"β = {curve.beta:g}, over about {curve.window:.3g} values"
        _line(axes, range(1, len(curve.values) + 1), curve.values, look, label)
    _show_legend(figure, axes)
    return figure


def legend(run: Run) -> str:
    """Say how a run ended, and at which rate: `Adam: 55 steps, rate 1`."""
    if run.steps is not None:
        told = f"{run.steps} step{'s' if run.steps != 1 else ''}"
    else:
        told = "diverged" if run.diverged else f"not within {len(run.values) - 1} steps"
    return f"{run.title}: {told}, rate {run.lr:.3g}"


def _framed(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
    axes.set_title(title, fontsize=12, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _show_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below the axes, where it hides nothing."""
    with mpl.rc_context(_STYLE):
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2, fontsize=9)


def _looks(count: int) -> list[Look]:
    return list(islice(zip(cycle(COLOURS), cycle(MARKS), strict=False), count))


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], look: Look, label: str) -> None:
    colour, mark = look
    every = max(1, len(x) // _MARKS_ON_A_LINE)
    axes.plot(x, y, color=colour, linewidth=1.4, label=label, marker=mark, markersize=4.0, markevery=every)


def _levels(surface: Surface, values: Sequence[Sequence[float]]) -> list[float]:
    """Return the heights of the contour lines: even in the logarithm where the surface has a floor of zero."""
    low, high = min(map(min, values)), max(map(max, values))
    shares = [index / (_LEVELS - 1) for index in range(_LEVELS)]
    if surface.stop.value is None:
        return [low + (high - low) * share for share in shares]
    low = max(low, 1e-4 * high)
    return [low * (high / low) ** share for share in shares]
