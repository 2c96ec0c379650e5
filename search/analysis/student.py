"""Student's t distribution, without a library of statistics: an API process loads none.

Its distribution function by the regularized incomplete beta function (continued fraction, modified Lentz method; Press
et al., "Numerical Recipes", 3rd edition, 6.4), its quantiles by Newton's method.
"""

import math

_TINY = 1e-300
_PRECISION = 1e-15
_MOST_TERMS = 10_000


def cdf(t: float, freedom: float) -> float:
    """Return P(T <= t) for `freedom` > 0 degrees of freedom; the normal distribution's where it is infinite."""
    if math.isinf(freedom):
        return 0.5 * math.erfc(-t / math.sqrt(2))
    tail = 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)
    return 1 - tail if t > 0 else tail


def quantile(probability: float, freedom: float) -> float:
    """Return t with P(T <= t) = `probability`, in (0, 1), to about eight digits."""
    if not 0 < probability < 1:
        raise ValueError(f"a quantile needs a probability between 0 and 1, got {probability}")
    if probability < 0.5:
        return -quantile(1 - probability, freedom)
    # Above 0 the distribution function is concave: steps from there rise to the quantile and never pass it.
    t = 0.0
    for _ in range(_MOST_TERMS):
        step = (probability - cdf(t, freedom)) / density(t, freedom)
        t += step
        if step <= 1e-12 * t:
            break
    return t


def density(t: float, freedom: float) -> float:
    """Return the density at t."""
    if math.isinf(freedom):
        return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    whole = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(whole - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), x in [0, 1]."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1 / _kept(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _kept(1 + term * d)
            c = _kept(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _kept(number: float) -> float:
    """Keep a divisor away from zero."""
    return number if abs(number) > _TINY else _TINY
