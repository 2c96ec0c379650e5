"""When a study has found enough, and whether a trial still fits into its budget: pure rules over numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from search.definition.limits import NoImprovement


def stalled(rule: NoImprovement, before: float | None, recent: Sequence[float | None]) -> bool:
    """Say whether the last `rule.trials` that ended brought nothing better than the best before them.

    Scores, lower is better; None is a trial that did not complete. It takes a trial that completed before them.
    """
    if before is None or len(recent) < rule.trials:
        return False
    best = min((score for score in recent if score is not None), default=math.inf)
    return best >= before - rule.min_delta


def expects_little(below: float, patience: int, expected: Sequence[float | None]) -> bool:
    """Say whether the last `patience` suggestions all were expected to improve by less; None is one that nobody asked."""
    return len(expected) >= patience and all(gain is not None and gain < below for gain in expected[:patience])


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a trial takes, from its start, and of its device: seconds."""

    wall: float
    device: float


def estimate(wall: Sequence[float], device: Sequence[float]) -> Estimate | None:
    """Take the medians of what trials took; None where none has been seen."""
    return Estimate(median(wall), median(device)) if wall and device else None


@dataclass(frozen=True, slots=True)
class Left:
    """What a study has left: seconds of its clock and of devices (None: no limit), and how many of its trials run."""

    seconds: float | None
    gpu_seconds: float | None
    running: int


def room(left: Left, trial: Estimate | None) -> float:
    """Return how many more trials can be started and finish in what is left, those that run included; inf = any number.

    Of those that run nothing is booked yet, so what they are expected to take is set aside. Before any trial has
    completed nobody knows, and all are let in while anything is left.
    """
    by_clock = by_device = math.inf
    if left.seconds is not None and (left.seconds <= 0 or (trial is not None and trial.wall > left.seconds)):
        by_clock = 0.0
    if left.gpu_seconds is not None:
        if left.gpu_seconds <= 0:
            by_device = 0.0
        elif trial is not None and trial.device > 0:
            by_device = max(0.0, math.floor(left.gpu_seconds / trial.device) - left.running)
    return min(by_clock, by_device)
