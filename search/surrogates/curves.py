"""What a learning curve that was cut short would have come to, by the curves of trials that completed.

Losses fall alike: of those whose score at the same step was nearest, the mean fall from there to the end is added. No
shape of curves is assumed; T. Domhan et al., "Speeding up automatic hyperparameter optimization of deep neural networks by
extrapolation of learning curves", 2015, fit one, for a longer way than from rung to rung.
"""

import statistics
from collections.abc import Sequence

FEWEST = 3  # curves of completed trials from which anything is foreseen
_SHARE = 3  # of so many curves the nearest one is looked at


def foresee(score: float, known: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return mean and variance of the final score for this score at a step; None if too little is known.

    `known` holds (score at that step, final score) of completed trials.
    """
    if len(known) < FEWEST:
        return None
    nearest = sorted(known, key=lambda pair: abs(pair[0] - score))[: max(FEWEST, len(known) // _SHARE)]
    falls = [final - then for then, final in nearest]
    return score + statistics.fmean(falls), statistics.pvariance(falls)
