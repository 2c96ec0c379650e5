"""The points of one parameter: its lattice, its levels, its scale."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.axes import draw_between, lattice
from search.space.parameters import FloatParameter, IntParameter, Value
from search.space.sampling import Draws
from search.space.scales import WARPS, between
from tests.support.spaces import number, parameter, values_of, whole


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        (0.0, 1.0, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.0, 0.3, 0.1, [0.0, 0.1, 0.2, 0.3]),
        (-0.5, 0.5, 0.3, [-0.5, -0.2, 0.1, 0.4]),
        (1e-7, 3e-7, 1e-7, [1e-7, 2e-7, 3e-7]),
    ],
)
def test_float_steps_land_exactly(low: float, high: float, step: float, expected: list[float]) -> None:
    axis = lattice(FloatParameter(type="float", low=low, high=high, step=step))
    assert axis is not None
    assert [axis.at(index) for index in range(axis.size)] == expected
    assert [axis.place(value) for value in expected] == list(range(len(expected)))
    assert axis.place(low + step / 2) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (number(1e-3, 1.0, scale="log", levels=4), [1e-3, 1e-2, 1e-1, 1.0]),
        (number(0.9, 0.999, scale="reverse_log", levels=3), [0.9, 0.99, 0.999]),
        (number(0.01, 0.99, scale="logit", levels=3), [0.01, 0.5, 0.99]),
        (number(0, 1, levels=[0.5, 0]), [0.5, 0.0]),
        (number(0, 1, choices=[0.25]), [0.25]),
        (number(0, 1, step=0.1, levels=3), [0.0, 0.5, 1.0]),
        (number(0, 4, levels=1), [2.0]),
        (number(0, 4, levels=1, default=1.0), [1.0]),
        (number(3, 3), [3.0]),
        (whole(1, 3, levels=9), [1, 2, 3]),
        (whole(1, 100, scale="log", levels=3), [1, 10, 100]),
        (whole(8, 24, step=8), [8, 16, 24]),
        (whole(8, 24, levels=[8, 23]), [8, 23]),
    ],
)
def test_grid_points_of_one_parameter(raw: dict[str, Any], expected: list[Value]) -> None:
    values = list(values_of(parameter(raw)))
    assert values == pytest.approx(expected)
    assert [type(value) for value in values] == [type(value) for value in expected]


@pytest.mark.parametrize("scale", WARPS)
@given(low=st.floats(1e-9, 0.5), high=st.floats(0.5, 1 - 1e-9), share=st.floats(0, 1))
def test_a_share_of_a_scale_lies_in_the_range(scale: str, low: float, high: float, share: float) -> None:
    onto, back = WARPS[scale]
    value = between(scale, low, high, share)
    assert low <= value <= high
    assert back(onto(value)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    "given_parameter",
    [
        FloatParameter(type="float", low=0, high=10),
        FloatParameter(type="float", low=0, high=10, step=0.1),
        FloatParameter(type="float", low=0.5, high=10, scale="log"),
        IntParameter(type="int", low=1, high=10, scale="log"),
        IntParameter(type="int", low=0, high=10, step=2),
    ],
)
def test_draws_from_a_part_of_a_range(given_parameter: FloatParameter | IntParameter) -> None:
    values = [draw_between(given_parameter, 1.9, 4.2, Draws(1, index)) for index in range(200)]
    assert all(1.9 <= value <= 4.2 for value in values)  # type: ignore[operator]
    axis = lattice(given_parameter)
    if axis is not None:
        assert {axis.place(value) for value in values} == {
            place
            for place in range(axis.size)
            if 1.9 <= axis.at(place) <= 4.2  # type: ignore[operator]
        }
    with pytest.raises(ValueError, match=r"no value|empty"):
        draw_between(given_parameter, 11, 12, Draws(1, 1))
