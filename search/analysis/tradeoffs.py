"""The best trade-offs of a study: its front, the volume it dominates, and how that grew."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search.definition.schema import StudyDefinition
from search.pareto import Losses, Volume, front, hypervolume
from search.records import Values
from search.scoring import losses

MOST_STEPS = 50  # of the history
_CHEAP = 3  # up to so many losses any front's volume is worked out, beyond that those of at most `_MOST_POINTS`
_MOST_POINTS = 64


@dataclass(frozen=True, slots=True)
class Tradeoffs:
    """The numbers on the front, best in the first objective first, and the volume they dominate up to `reference`.

    `hypervolume` is None without a trial, where it is not finite, and where it would cost too much: with more than three
    objectives and more than 64 trials on the front. `history` has (number, volume) after that trial and all before it, at
    50 trials or fewer, the last one included; with more than three objectives it is empty.
    """

    front: tuple[int, ...]
    reference: Mapping[str, float]
    hypervolume: float | None
    history: tuple[tuple[int, float], ...]


def tradeoffs(
    definition: StudyDefinition, feasible: Sequence[tuple[int, Values]], reference: Mapping[str, float] | None = None
) -> Tradeoffs:
    """Weigh completed and feasible trials, given as (number, values) by number, against each other.

    `reference` has a value for each objective, in its own direction; without one it is the worst that these trials have.
    Of a single objective the front is the best trial alone, and the volume its distance from the reference.
    """
    found = [(number, point) for number, values in feasible if (point := losses(definition, values)) is not None]
    numbers, points = [number for number, _ in found], [point for _, point in found]
    if not found:
        return Tradeoffs((), dict(reference or {}), None, ())
    far = _far(definition, points, reference)
    best = sorted(front(points), key=lambda place: (points[place], place))
    shown = best if definition.several_objectives else best[:1]
    whole = len(far) <= _CHEAP or len(best) <= _MOST_POINTS
    volume = hypervolume([points[place] for place in best], far) if whole else math.inf
    history = _history(numbers, points, far) if len(far) <= _CHEAP else ()
    return Tradeoffs(
        front=tuple(numbers[place] for place in shown),
        reference={m.name: m.sign * value + 0.0 for m, value in zip(definition.objectives, far, strict=True)},
        hypervolume=volume if math.isfinite(volume) else None,
        history=tuple((number, value) for number, value in history if math.isfinite(value)),
    )


def _far(definition: StudyDefinition, points: Sequence[Losses], given: Mapping[str, float] | None) -> Losses:
    if given is None:
        return tuple(map(max, zip(*points, strict=True)))
    return tuple(metric.sign * given[metric.name] for metric in definition.objectives)


def _history(numbers: Sequence[int], points: Sequence[Losses], far: Losses) -> Iterator[tuple[int, float]]:
    # Beyond two losses a point more costs as much as all of them: fewer steps, each worked out anew.
    anew = len(far) > 2
    steps = min(MOST_STEPS // 2 if anew else MOST_STEPS, len(points))
    ends = [len(points) * step // steps for step in range(1, steps + 1)]
    grown = Volume(far)
    for start, end in zip([0, *ends], ends, strict=False):
        if anew:
            yield numbers[end - 1], hypervolume(points[:end], far)
            continue
        for point in points[start:end]:
            grown.add(point)
        yield numbers[end - 1], grown.value
