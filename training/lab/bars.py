"""Methods side by side as a picture: a panel for each measure, a mark with its interval for each method."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.lab.figures import COLOURS

_WIDE, _ACROSS = 3.4, 3  # inches of a panel, and how many stand side by side
_ROW, _MARGIN = 0.28, 0.9  # inches of height
# Values that differ by more than this factor are drawn on a logarithmic axis.
_LOGARITHMIC = 20.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A mean and its interval, which may be None."""

    label: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One measure of all that have it."""

    title: str
    rows: Sequence[Bar]


def comparison_figure(title: str, panels: Sequence[Panel]) -> Figure:
    """Draw the panels, methods in the same order and colour in each."""
    labels = list(dict.fromkeys(row.label for panel in panels for row in panel.rows))
    across = max(1, min(_ACROSS, len(panels)))
    down = max(1, -(-len(panels) // across))
    figure = Figure(figsize=(_WIDE * across, (_ROW * len(labels) + _MARGIN) * down + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for place, each in enumerate(axes):
        if place < len(panels):
            _draw(each, panels[place], labels)
        else:
            each.set_axis_off()
    return figure


def _draw(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for row in panel.rows:
        place = labels.index(row.label)
        colour = COLOURS[place % len(COLOURS)]
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.5)
        axes.plot(row.mean, place, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    means = [row.mean for row in panel.rows]
    if min(means) > 0 and max(means) > _LOGARITHMIC * min(means):
        axes.set_xscale("log")
    axes.set_title(panel.title, fontsize=10)
    axes.grid(visible=True, axis="x", linewidth=0.4)
