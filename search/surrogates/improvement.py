"""Expected improvement, in logarithms.

S. Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization", 2023: plain EI vanishes to
zero, slopes and all, where improvement is unlikely; its logarithm does not.
"""

import math

import numpy as np
from scipy.special import erfcx, log_ndtr

from search.surrogates.columns import Matrix

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def log_improvement(mean: Matrix, deviation: Matrix, best: float) -> Matrix:
    """Return the log of the expected improvement upon `best` (lower is better) for normal beliefs."""
    return np.asarray(np.log(deviation) + _log_h((best - mean) / deviation))


def slope(mean: Matrix, deviation: Matrix, best: float, by_mean: Matrix, by_deviation: Matrix) -> tuple[Matrix, Matrix]:
    """Return the log improvements at points (m,) and their slopes (m, columns), from those of means and deviations."""
    away = (best - mean) / deviation
    log_h = _log_h(away)
    below = np.exp(np.minimum(log_ndtr(away) - log_h, 50.0))
    density = np.exp(np.minimum(-0.5 * away * away - _LOG_ROOT_2PI - log_h, 50.0))
    slopes = (-below[:, None] * by_mean + density[:, None] * by_deviation) / deviation[:, None]
    return np.asarray(np.log(deviation) + log_h), np.asarray(slopes)


def _log_h(away: Matrix) -> Matrix:
    """Return log(density(z) + z * distribution(z)) of the standard normal, exact far below zero too."""
    near = np.maximum(away, -1.0)
    plain = np.log(np.exp(-0.5 * near * near - _LOG_ROOT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.minimum(away, -1.0)
    ratio = np.log(erfcx(-far / math.sqrt(2)) * np.abs(far)) + 0.5 * math.log(math.pi / 2)
    inner = np.where(far < -1e4, -2 * np.log(np.abs(far)), np.log(-np.expm1(np.minimum(ratio, -1e-300))))
    return np.where(away > -1.0, plain, -0.5 * far * far - _LOG_ROOT_2PI + inner)
