"""Points that are brought into a space."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.choosing import choose_point, into_constraints, middle, nearest
from search.space.constraints import Constraint
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter, Searched, Value
from search.space.plan import plan
from search.space.validation import validate_point
from tests.support.spaces import choice, derived, fixed, number, space

LOG = FloatParameter(type="float", low=1e-4, high=1.0, scale="log")
STEPPED = FloatParameter(type="float", low=0.0, high=1.0, step=0.3)
WHOLE = IntParameter(type="int", low=2, high=9, step=3)
WORDS = CategoricalParameter(type="categorical", choices=("a", None, 3))
MANY: list[Searched] = [LOG, STEPPED, WHOLE, WORDS]

CONDITIONAL: dict[str, Parameter] = {
    "kind": CategoricalParameter(type="categorical", choices=("x", "y", "z")),
    "depth": IntParameter(type="int", low=1, high=4, when={"kind": ("x", "z")}),
    "width": IntParameter(type="int", low=1, high=3, when={"depth": (2, 4)}),
    "flag": CategoricalParameter(type="categorical", choices=(True, False)),
}


@pytest.mark.parametrize(
    ("parameter", "value", "found"),
    [
        (LOG, 5, (1.0,)),
        (LOG, 1e-9, (1e-4,)),
        (LOG, 0.5, (0.5,)),
        (LOG, True, None),
        (LOG, "a", None),
        (STEPPED, 0.4, (0.3,)),
        (STEPPED, 1.0, (0.9,)),
        (WHOLE, 4, (5,)),
        (WHOLE, 100, (8,)),
        (WORDS, None, (None,)),
        (WORDS, 3.0, (3,)),
        (WORDS, "b", None),
    ],
)
def test_the_nearest_value(parameter: Searched, value: Value, found: tuple[Value] | None) -> None:
    assert nearest(parameter, value) == found


@pytest.mark.parametrize("parameter", MANY)
@given(value=st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9) | st.sampled_from(["a", None, True]))
def test_what_is_near_can_be_taken(parameter: Searched, value: Value) -> None:
    found = nearest(parameter, value)
    assert found is None or validate_point({"p": parameter}, {"p": found[0]}) == []


def test_the_middle_lies_on_the_scale() -> None:
    assert middle(LOG) == pytest.approx(0.01)
    assert (middle(STEPPED), middle(WHOLE), middle(WORDS)) == (0.6, 5, "a")


@pytest.mark.parametrize("parameter", MANY)
def test_the_middle_can_be_taken(parameter: Searched) -> None:
    assert validate_point({"p": parameter}, {"p": middle(parameter)}) == []


def test_a_chosen_point_has_what_is_active() -> None:
    point, sources = choose_point(CONDITIONAL, lambda _, parameter: (middle(parameter), "middle"))
    assert validate_point(CONDITIONAL, point) == []
    assert sources.keys() == point.keys()


def test_what_is_fixed_and_derived_follows() -> None:
    the_space = space(base=number(0.0, 0.2), batch=fixed(64), lr=derived("base", "batch", reference=32))
    point, sources = choose_point(the_space, lambda _, parameter: (middle(parameter), "middle"))
    assert (point, sources) == ({"base": 0.1, "batch": 64, "lr": 0.2}, {"base": "middle"})


def test_points_are_brought_into_constraints() -> None:
    the_space = space(a=number(0.0, 1.0), b=number(0.0, 1.0), c=derived("a", "b", reference=1))
    the_plan = plan(the_space, [Constraint(terms={"a": 1.0, "b": 1.0}, at_most=1.0)])
    inside = {"a": 0.25, "b": 0.5, "c": 0.125}
    assert into_constraints(the_plan, dict(inside)) == inside
    near = into_constraints(the_plan, {"a": 0.9, "b": 0.5, "c": 0.45})
    assert near is not None
    assert validate_point(the_plan, near) == []
    listed = plan(space(a=choice(1, 2), n=number(0, 1, step=1)), [Constraint(terms={"n": 1.0}, at_most=0.5)])
    assert into_constraints(listed, {"a": 1, "n": 1.0}) is None
