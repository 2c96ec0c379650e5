"""Scores as a model of them wants them: centred, of unit spread, and with the bad half pressed together.

Losses have long tails upwards: between 10 and 1000 there is nothing to learn about where the best is. What is worse than
the median is put on the logarithm of its distance from it, in units of how far the good half reaches.
"""

from dataclasses import dataclass

import numpy as np

from search.surrogates.columns import Matrix


@dataclass(frozen=True, slots=True)
class Target:
    """The scale on which a model sees scores; made from those known."""

    middle: float
    reach: float
    mean: float
    spread: float

    def __call__(self, scores: Matrix) -> Matrix:
        """Return standardized scores."""
        return (_pressed(scores, self.middle, self.reach) - self.mean) / self.spread

    @property
    def unit(self) -> float:
        """How much of the score one unit is in the good half."""
        return self.spread


def target(scores: Matrix) -> Target:
    """Choose the scale for these scores, at least one."""
    middle = float(np.median(scores))
    reach = middle - float(scores.min())
    if reach <= 0.0:
        reach = max(float(scores.max()) - middle, 1.0)
    pressed = _pressed(scores, middle, reach)
    spread = float(pressed.std())
    return Target(middle, reach, float(pressed.mean()), spread if spread > 0.0 else 1.0)


def _pressed(scores: Matrix, middle: float, reach: float) -> Matrix:
    above = np.maximum(scores - middle, 0.0)
    return np.minimum(scores, middle) + reach * np.log1p(above / reach)
