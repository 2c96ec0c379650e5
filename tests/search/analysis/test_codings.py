"""Values on the distributions that Optuna knows."""

import math
from typing import Any

import pytest

from search.analysis.codings import coding
from search.space.parameters import FloatParameter


@pytest.mark.parametrize("scale", ["linear", "log", "reverse_log", "logit"])
def test_values_lie_on_their_distribution_in_their_order(scale: Any) -> None:
    code = coding(FloatParameter(type="float", low=0.001, high=0.9995, scale=scale))
    coded = [code.encode(value) for value in (0.001, 0.01, 0.5, 0.99, 0.9995)]
    places = [place for place in coded if place is not None]
    assert len(places) == 5
    assert all(code.distribution._contains(place) for place in places)
    assert sorted(places, reverse=scale == "reverse_log") == places
    assert (code.encode(1.0), code.encode(math.nan), code.encode(True)) == (None, None, None)
