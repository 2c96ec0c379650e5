"""The unit cube of a space: there and back on every scale, and each value with the share that random draws give it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.coordinates import Given, point_at, share_of
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Searched
from search.space.plan import plan

PARAMETERS: list[Searched] = [
    FloatParameter(type="float", low=-3.0, high=5.0),
    FloatParameter(type="float", low=1e-5, high=10.0, scale="log"),
    FloatParameter(type="float", low=0.5, high=0.9999, scale="reverse_log"),
    FloatParameter(type="float", low=0.0, high=1.0, step=0.3),
    FloatParameter(type="float", low=2.0, high=2.0),
    IntParameter(type="int", low=-2, high=9, step=3),
    IntParameter(type="int", low=1, high=4096, scale="log"),
    IntParameter(type="int", low=7, high=7, scale="log"),
    CategoricalParameter(type="categorical", choices=("a", None, True, 1)),
]


@pytest.mark.parametrize("parameter", PARAMETERS)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_value_is_found_again_at_its_coordinate(parameter: Searched, share: float) -> None:
    space = plan({"x": parameter})
    value = point_at(space, [share])["x"]
    back = share_of(parameter, value)
    assert back is not None
    again = point_at(space, [min(back, 1 - 2**-53)])["x"]
    assert (
        again == pytest.approx(value, rel=1e-9, abs=1e-12)
        if isinstance(value, float)
        else again is value or again == value
    )


@pytest.mark.parametrize("parameter", PARAMETERS[5:7])
def test_whole_numbers_have_the_share_of_their_draws(parameter: Searched) -> None:
    """Evenly spaced coordinates give each value as often as its part of the scale is long, within one."""
    space = plan({"x": parameter})
    values = [point_at(space, [(place + 0.5) / 4000])["x"] for place in range(4000)]
    for value, times in Counter(values).items():
        middle = share_of(parameter, value)
        assert middle is not None
        first = values.index(value) / 4000
        assert first - 1 / 4000 <= middle <= first + (times + 1) / 4000


@pytest.mark.parametrize("value", ["b", 5000, -3, 0.25, float("nan"), False])
@pytest.mark.parametrize("parameter", PARAMETERS[3:])
def test_what_it_cannot_take_has_no_coordinate(parameter: Searched, value: object) -> None:
    assert share_of(parameter, value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("size", [1, 3, 2**53, 2**60])
def test_a_given_draw_stays_below_its_size(share: float, size: int) -> None:
    assert 0 <= Given(share).below(size) < size
