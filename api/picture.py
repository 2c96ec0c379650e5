"""The history of a study as a picture: what every finished trial reached, and the best so far. Pure; no I/O.

The picture stands alone: it names no other file, brings its own colours for light and dark surroundings, and reads the
same in a page, in a browser's own tab and from disk. The colours are told apart with any kind of colour vision
(Okabe and Ito's palette), and the kinds of trials differ in form too.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from api.axes import Axis, number_axis, value_axis, whole_ticks

# More dots than this cannot be told apart; see `thinned`.
MOST_DOTS = 2000
# Up to so many trials, each dot says its number and value when pointed at.
MOST_TITLES = 500
_COLUMNS = 100
_LONGEST_NAME = 32
_DIGIT = 7.0  # the width of a digit at the size of a label, generously
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold
_BETTER = {"minimize": "lower is better", "maximize": "higher is better"}

_STYLE = """\
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#57606a;font-variant-numeric:tabular-nums}
.paper{fill:#fff}.grid{stroke:#e4e7eb}.frame{stroke:#8c959f;fill:none}.name{fill:#1f2328;font-weight:600}
.completed{fill:#0072b2;fill-opacity:.75}.pruned{stroke:#d55e00;stroke-opacity:.8;stroke-width:1.5;fill:none}
.line{stroke:#1f2328;stroke-width:1.75;fill:none;stroke-linejoin:round}.ring{stroke:#1f2328;stroke-width:1.75;fill:none}
@media (prefers-color-scheme:dark){text{fill:#9aa4af}.paper{fill:#161b22}.grid{stroke:#2a313a}.frame{stroke:#6e7681}
.name{fill:#e6edf3}.completed{fill:#56b4e9}.pruned{stroke:#e69f00}.line,.ring{stroke:#e6edf3}}"""


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A finished trial with its value of the optimized metric (finite). States without a form are not drawn."""

    number: int
    value: float
    state: str


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where the axes lie in the picture."""

    left: float
    top: float
    right: float
    bottom: float
    numbers: Axis
    values: Axis

    def x(self, number: float) -> float:
        return self.left + self.numbers.place(number) * (self.right - self.left)

    def y(self, value: float) -> float:
        inset = 6.0  # keeps a dot at either end whole
        return self.bottom - inset - self.values.place(value) * (self.bottom - self.top - 2 * inset)


def _dot(x: float, y: float, reach: float, inside: str) -> str:
    shape = f'<circle class="completed" cx="{x:.1f}" cy="{y:.1f}" r="{reach}"'
    return shape + (f">{inside}</circle>" if inside else "/>")


def _cross(x: float, y: float, reach: float, inside: str) -> str:
    side = f"{2 * reach:.1f}"
    shape = f'<path class="pruned" d="M{x - reach:.1f} {y - reach:.1f}l{side} {side}m0 -{side}l-{side} {side}"'
    return shape + (f">{inside}</path>" if inside else "/>")


FORMS: dict[str, Callable[[float, float, float, str], str]] = {"completed": _dot, "pruned": _cross}


def history_svg(points: Sequence[HistoryPoint], *, goal: str, metric: str, width: int = 720, height: int = 320) -> str:
    """Draw the history as an SVG document of `width` by `height` pixels (at least 240 by 160).

    Along: trial numbers. Up: values, on a logarithmic axis when all are positive and span more than two decades.
    A dot is a completed trial, a cross a pruned one. The line is the best completed value up to each trial by number,
    exact to the pixel; the ring is the best completed trial. Over `MOST_DOTS` trials the dots are thinned.
    """
    drawn = sorted((point for point in points if point.state in FORMS), key=lambda point: point.number)
    steps = best_so_far(drawn, goal)
    plot = _plot(drawn, width, height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"',
        'role="img" aria-labelledby="title about">',
        f'<title id="title">{_text(f"History of {metric}")}</title>',
        f'<desc id="about">{_text(_about(drawn, steps, goal, metric))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *_heading(metric, goal, plot.values.log),
        *(_axes(plot) if drawn else _nothing(plot)),
        *_marks(plot, drawn),
        *_best(plot, steps),
    ]
    return "\n".join([*parts, "</svg>", ""])


def best_so_far(points: Iterable[HistoryPoint], goal: str) -> list[HistoryPoint]:
    """Return the completed trials, of those sorted by number, that were better than all before them."""
    sign = -1.0 if goal == "maximize" else 1.0
    steps: list[HistoryPoint] = []
    for point in points:
        if point.state == "completed" and (not steps or sign * point.value < sign * steps[-1].value):
            steps.append(point)
    return steps


def thinned(points: Sequence[HistoryPoint], most: int = MOST_DOTS) -> list[HistoryPoint]:
    """Leave out dots beyond `most`: every k-th stays, and in each of 100 columns the lowest and highest of each state.

    So no extreme value vanishes and the cloud keeps its shape; at most 400 more than `most` remain.
    """
    if len(points) <= most:
        return list(points)
    kept = set(range(0, len(points), math.ceil(len(points) / most)))
    low: dict[tuple[str, int], int] = {}
    high: dict[tuple[str, int], int] = {}
    for index, point in enumerate(points):
        place = point.state, index * _COLUMNS // len(points)
        if point.value < points[low.setdefault(place, index)].value:
            low[place] = index
        if point.value > points[high.setdefault(place, index)].value:
            high[place] = index
    return [points[index] for index in sorted(kept | {*low.values(), *high.values()})]


def _plot(points: Sequence[HistoryPoint], width: int, height: int) -> _Plot:
    values = value_axis([point.value for point in points])
    widest = max((len(tick.label) for tick in values.ticks()), default=1)
    return _Plot(
        left=min(24 + _DIGIT * widest, width / 2),
        top=56,
        right=width - 16,
        bottom=height - 46,
        numbers=number_axis([point.number for point in points]),
        values=values,
    )


def _heading(metric: str, goal: str, log: bool) -> list[str]:
    name = metric if len(metric) <= _LONGEST_NAME else metric[: _LONGEST_NAME - 1] + "…"
    scale = ", log scale" if log else ""
    return [
        f'<text x="16" y="22"><tspan class="name">{_text(name)}</tspan> {_BETTER[goal]}{scale}</text>',
        _dot(20, 39, 3, "") + '<text x="30" y="43">completed</text>',
        _cross(112, 39, 3, "") + '<text x="122" y="43">pruned</text>',
        '<path class="line" d="M182 42h8v-6h8"/><text x="204" y="43">best so far</text>',
    ]


def _axes(plot: _Plot) -> list[str]:
    most_along = max(2, int((plot.right - plot.left) / 56))
    rows = [(plot.y(tick.value), tick.label) for tick in plot.values.ticks()]
    columns = [(plot.x(tick.value), tick.label) for tick in whole_ticks(plot.numbers, most_along)]
    middle = (plot.left + plot.right) / 2
    return [
        *(f'<path class="grid" d="M{plot.left:.1f} {y:.1f}H{plot.right:.1f}"/>' for y, _ in rows),
        *(f'<text x="{plot.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>' for y, label in rows),
        *(f'<path class="frame" d="M{x:.1f} {plot.bottom:.1f}v4"/>' for x, _ in columns),
        *(f'<text x="{x:.1f}" y="{plot.bottom + 18:.1f}" text-anchor="middle">{word}</text>' for x, word in columns),
        f'<text x="{middle:.1f}" y="{plot.bottom + 36:.1f}" text-anchor="middle">trial</text>',
        _frame(plot),
    ]


def _frame(plot: _Plot) -> str:
    return f'<path class="frame" d="M{plot.left:.1f} {plot.top:.1f}V{plot.bottom:.1f}H{plot.right:.1f}"/>'


def _nothing(plot: _Plot) -> list[str]:
    x, y = (plot.left + plot.right) / 2, (plot.top + plot.bottom) / 2
    return [_frame(plot), f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">No trial has finished yet</text>']


def _marks(plot: _Plot, points: Sequence[HistoryPoint]) -> list[str]:
    titled = len(points) <= MOST_TITLES
    # Crosses below dots: what completed is what counts.
    ordered = sorted(thinned(points), key=lambda point: point.state == "completed")
    return [
        FORMS[point.state](
            plot.x(point.number),
            plot.y(point.value),
            3.0 if titled else 2.0,
            f"<title>trial {point.number}, {point.state}: {point.value:.6g}</title>" if titled else "",
        )
        for point in ordered
    ]


def _best(plot: _Plot, steps: Sequence[HistoryPoint]) -> list[str]:
    if not steps:
        return []
    # Several steps on one pixel are one: the last.
    seen = {f"{plot.x(step.number):.1f}": f"{plot.y(step.value):.1f}" for step in steps}
    (x, y), *rest = seen.items()
    line = f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in rest) + f"H{plot.right:.1f}"
    last = steps[-1]
    return [
        f'<path class="line" d="{line}"/>',
        f'<circle class="ring" cx="{plot.x(last.number):.1f}" cy="{plot.y(last.value):.1f}" r="6.5"/>',
    ]


def _about(points: Sequence[HistoryPoint], steps: Sequence[HistoryPoint], goal: str, metric: str) -> str:
    completed = sum(point.state == "completed" for point in points)
    counted = f"{completed} completed and {len(points) - completed} pruned trials; {_BETTER[goal]}."
    if not steps:
        return counted
    return f"{counted} The best completed one is trial {steps[-1].number} with {metric} {steps[-1].value:.6g}."


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("�", text))
