"""From a question, checked by whoever asks, to its answer: JSON or a picture, as bytes.

Questions are JSON objects:

    {"ask": "surface", "surface": NAME, "optimizers": [[NAME, {OPTION: VALUE}], ...], "steps": N,
     "format": "json" | "svg" | "png", "figure": "contours" | "evolution"}
    {"ask": "moving-average", "betas": [BETA, ...], "correction": BOOLEAN, "format": ...}
    {"ask": "comparison", "title": TEXT, "panels": [{"title": TEXT, "rows": [{"label", "mean", "low", "high"}, ...]}, ...],
     "format": "svg" | "png"}

Without `lr` among its options an optimizer runs at the best rate of the surface's grid.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, TypeAlias

from optim.lab.contours import contours
from optim.lab.surfaces import Surface, surface_of
from optim.lab.trajectories import Run, run
from optim.records import Setting
from training.lab.averages import curves, signal
from training.lab.bars import Bar, Panel, comparison_figure
from training.lab.figures import average_figure, contour_figure, evolution_figure, rendered

Question: TypeAlias = Mapping[str, Any]

# Of each side of the grid of values that travels as JSON.
_POINTS = 61
# Significant digits of the numbers in an answer: more than any picture shows.
_DIGITS = 7
_REMEMBERED = 64
_FIGURES = {"contours": contour_figure, "evolution": evolution_figure}


def answer(question: Question) -> bytes:
    """Answer a question. Raise KeyError or ValueError for one that was not checked."""
    return _ANSWERS[question["ask"]](question)


def _surface(question: Question) -> bytes:
    surface = surface_of(question["surface"])
    runs = [
        _run(surface.name, name, tuple(sorted(options.items())), question["steps"])
        for name, options in question["optimizers"]
    ]
    if question["format"] != "json":
        return rendered(_FIGURES[question["figure"]](surface, runs), question["format"])
    options = [given for _, given in question["optimizers"]]
    return _json(
        {
            **_described(surface),
            "steps": question["steps"],
            "runs": [_outcome(made, given) for made, given in zip(runs, options, strict=True)],
            "contours": asdict(contours(surface, _POINTS)),
        }
    )


@lru_cache(maxsize=_REMEMBERED)
def _run(surface: str, name: str, options: tuple[tuple[str, Setting], ...], steps: int) -> Run:
    """Run once what a page asks for three times: as a table and in two pictures."""
    return run(surface_of(surface), name, dict(options), steps=steps)


def _described(surface: Surface) -> dict[str, Any]:
    return {
        "surface": surface.name,
        "title": surface.title,
        "formula": surface.formula,
        "source": surface.source,
        "start": list(surface.start),
        "minimum": list(surface.minimum) if surface.minimum is not None else None,
        "stop": surface.stop.title,
    }


def _outcome(made: Run, options: Mapping[str, Setting]) -> dict[str, Any]:
    ended = "arrived" if made.steps is not None else "diverged" if made.diverged else "unfinished"
    return {
        "optimizer": made.optimizer,
        "title": made.title,
        "options": dict(options),
        "lr": made.lr,
        "outcome": ended,
        "steps": made.steps,
        "path": {"x": made.x, "y": made.y, "value": made.values},
    }


def _moving_average(question: Question) -> bytes:
    correction = question["correction"]
    made, values = curves(question["betas"], bias_correction=correction), signal()
    if question["format"] != "json":
        return rendered(average_figure(values, made, bias_correction=correction), question["format"])
    return _json({"correction": correction, "signal": values, "curves": [asdict(curve) for curve in made]})


def _json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return json.dumps(_short(value), allow_nan=False, separators=(",", ":")).encode()


def _short(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value with its floats rounded."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple) else value


def _comparison(question: Question) -> bytes:
    panels = [Panel(each["title"], [Bar(**row) for row in each["rows"]]) for each in question["panels"]]
    return rendered(comparison_figure(question["title"], panels), question["format"])


_ANSWERS: Mapping[str, Callable[[Question], bytes]] = {
    "surface": _surface,
    "moving-average": _moving_average,
    "comparison": _comparison,
}
