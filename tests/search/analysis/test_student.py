"""Student's t distribution beside scipy's."""

import pytest
from scipy import stats

from search.analysis.student import cdf, quantile

FREEDOMS = [0.5, 1, 2, 3.7, 8, 30, 1e3, 1e4]


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("t", [-40.0, -2.5, -1e-3, 0.0, 0.7, 1.96, 12.0])
def test_the_distribution_function(t: float, freedom: float) -> None:
    assert cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("probability", [0.0001, 0.025, 0.5, 0.75, 0.95, 0.975, 0.99999])
def test_quantiles(probability: float, freedom: float) -> None:
    assert quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-8, abs=1e-12)


def test_infinite_freedom_is_the_normal_distribution() -> None:
    assert quantile(0.95, float("inf")) == pytest.approx(stats.norm.ppf(0.95), rel=1e-10)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, float("nan")])
def test_a_quantile_of_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        quantile(probability, 3)
