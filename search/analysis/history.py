"""The best so far, trial by trial in the order of their ends."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one trial ended: `score` (lower is better) is None where it has none. `best` marks completed trials alone."""

    number: int
    seq: int
    state: str
    finished_at: datetime | None
    score: float | None


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One finished trial, and the best score that any trial completed with up to its end, its own included."""

    outcome: Outcome
    best: float | None
    improved: bool


def best_so_far(outcomes: Iterable[Outcome]) -> list[HistoryPoint]:
    """Walk finished trials in the order of their ends; only completed ones count as best."""
    best: float | None = None
    points = []
    for outcome in outcomes:
        score = outcome.score if outcome.state == "completed" else None
        improved = score is not None and (best is None or score < best)
        best = score if improved else best
        points.append(HistoryPoint(outcome, best, improved))
    return points


def thinned(points: Sequence[HistoryPoint], most: int) -> list[HistoryPoint]:
    """Keep every improvement, the first and the last point, and others evenly, `most` in all.

    There are more than `most` only where the improvements alone are.
    """
    if len(points) <= most:
        return list(points)
    kept = {place for place, point in enumerate(points) if point.improved or place in {0, len(points) - 1}}
    others = [place for place in range(len(points)) if place not in kept]
    room = max(0, most - len(kept))
    kept.update(others[share] for share in _spread(len(others), room))
    return [points[place] for place in sorted(kept)]


def _spread(size: int, count: int) -> Iterable[int]:
    """Return `count` places of 0 .. size - 1, evenly; count <= size."""
    place: Callable[[int], int] = lambda index: (2 * index + 1) * size // (2 * count)  # noqa: E731  the middle of each part
    return map(place, range(count))
