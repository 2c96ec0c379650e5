"""Spaces worked out: their order, conditions, and random points that keep the constraints."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space.constraints import Constraint
from search.space.nodes import Space
from search.space.parameters import FloatParameter, IntParameter, Point, Value
from search.space.plan import Plan, active, dedupe_key, draw, draw_point, fill, find_witness, mend, plan, satisfies
from search.space.points import count_grid, grid, grid_point
from search.space.sampling import Draws
from search.space.validation import validate_point
from tests.support.spaces import NESTED, by_name, choice, constrained, derived, fixed, number, space, spaces, whole


@settings(max_examples=50)
@given(spaces(), st.randoms())
def test_nothing_depends_on_the_order_of_names(the_space: Space, shuffle: Any) -> None:
    names = list(the_space)
    shuffle.shuffle(names)
    other = {name: the_space[name] for name in names}
    assert [grid_point(other, index) for index in range(3) if index < count_grid(other)] == [
        grid_point(the_space, index) for index in range(3) if index < count_grid(the_space)
    ]
    assert draw_point(other, seed=1, index=1) == draw_point(the_space, seed=1, index=1)


@settings(max_examples=100)
@given(spaces(), st.integers(0, 2**53 - 1))
def test_draws_are_valid_points(the_space: Space, index: int) -> None:
    point = draw_point(the_space, seed=1, index=index)
    assert set(active(the_space, point)) == set(point)
    assert validate_point(the_space, point) == []
    assert draw_point(the_space, seed=1, index=index) == point


def test_parents_come_first_and_children_follow_their_last_parent() -> None:
    assert [node.name for node in plan(NESTED).nodes] == ["c", "n", "a", "z"]


def test_inactive_parents_meet_no_condition() -> None:
    assert active(NESTED, {"n": 0, "c": True}) == ("c", "n")
    assert active(NESTED, {"n": 1, "a": "y", "c": True}) == ("c", "n", "a", "z")
    assert active(NESTED, {"n": 0, "a": "y", "c": True}) == ("c", "n")  # `a` is there, but inactive


def test_true_and_one_are_different_values() -> None:
    assert "z" in active(NESTED, {"n": 1, "a": "y", "c": True})
    assert "z" not in active(NESTED, {"n": 1, "a": "y", "c": 1})


@given(
    low=st.floats(-1e6, 1e6), steps=st.integers(1, 10**6), step=st.floats(1e-6, 1e3), index=st.integers(0, 2**53 - 1)
)
def test_stepped_draws_stay_in_range_and_on_the_lattice(low: float, steps: int, step: float, index: int) -> None:
    high = low + step * steps
    the_space = {"x": FloatParameter(type="float", low=low, high=high, step=min(step, high - low))}
    assert validate_point(the_space, draw_point(the_space, seed=3, index=index)) == []


@given(low=st.integers(1, 2**40), width=st.integers(0, 2**40), index=st.integers(0, 2**53 - 1))
def test_log_ints_stay_in_range(low: int, width: int, index: int) -> None:
    the_space = {"n": IntParameter(type="int", low=low, high=low + width, scale="log")}
    value = draw_point(the_space, seed=3, index=index)["n"]
    assert isinstance(value, int)
    assert low <= value <= low + width


def _unit(parameter: FloatParameter, value: float) -> float:
    onto: Callable[[float], float] = {
        "linear": lambda x: x,
        "log": math.log10,
        "reverse_log": lambda x: -math.log10(1 - x),
        "logit": lambda x: math.log10(x / (1 - x)),
    }[parameter.scale]
    return (onto(value) - onto(parameter.low)) / (onto(parameter.high) - onto(parameter.low))


@pytest.mark.parametrize(
    "parameter",
    [
        FloatParameter(type="float", low=-3, high=5),
        FloatParameter(type="float", low=1e-5, high=10, scale="log"),
        FloatParameter(type="float", low=0.5, high=0.999, scale="reverse_log"),
        FloatParameter(type="float", low=-2, high=0.5, scale="reverse_log"),
        FloatParameter(type="float", low=1e-3, high=0.9999, scale="logit"),
    ],
)
def test_draws_are_uniform_on_the_scale(parameter: FloatParameter) -> None:
    the_plan = plan({"x": parameter})
    values = [draw(the_plan, Draws(11, index))["x"] for index in range(4000)]
    units = sorted(_unit(parameter, value) for value in values if isinstance(value, float))
    distance = max(max(index / 4000 - unit, unit - (index - 1) / 4000) for index, unit in enumerate(units, start=1))
    assert distance * math.sqrt(4000) < 1.95  # the 99.9 % point of Kolmogorov's distribution


def test_log_ints_are_spread_over_orders_of_magnitude() -> None:
    the_plan = plan({"n": IntParameter(type="int", low=1, high=1000, scale="log")})
    values = [draw(the_plan, Draws(5, index))["n"] for index in range(3000)]
    below_ten = sum(isinstance(value, int) and value < 10 for value in values) / len(values)
    assert below_ten == pytest.approx(math.log(9.5 / 0.5) / math.log(1000.5 / 0.5), abs=0.03)


def test_points_are_the_same_by_value() -> None:
    assert dedupe_key({"a": 1, "b": None}) == dedupe_key({"b": None, "a": 1.0})
    assert len({dedupe_key({"a": value}) for value in (1, True, "1", None)}) == 4


@settings(max_examples=100)
@given(constrained(), st.integers(0, 2**53 - 1))
def test_draws_keep_the_constraints(given_space: tuple[Space, list[Constraint]], index: int) -> None:
    the_plan = plan(*given_space)
    if find_witness(the_plan) is None:
        return
    point = draw_point(the_plan, seed=1, index=index)
    assert validate_point(the_plan, point) == []
    assert draw_point(the_plan, seed=1, index=index) == point


SHARES = space(**{name: number(0, 1) for name in "abcdefgh"}, k=choice("x", "y"), n=whole(1, 9))
TIGHT = {
    "a corner": [Constraint(terms=dict.fromkeys("abcdefgh", 1.0), at_most=0.5)],
    "a thin layer": [Constraint(terms={"a": 1, "b": 1, "c": -1}, at_least=0.5, at_most=0.5001)],
    "two at once": [
        Constraint(terms={"a": 1, "b": 1}, at_most=0.01),
        Constraint(terms={"b": 1, "c": -1}, at_least=-0.001, at_most=0.0),
    ],
}


@pytest.mark.parametrize("name", TIGHT)
def test_constraints_that_leave_little_room(name: str) -> None:
    the_plan = plan(SHARES, TIGHT[name])
    points = [draw_point(the_plan, seed=5, index=index) for index in range(300)]
    assert all(satisfies(the_plan, point) for point in points)
    assert len({dedupe_key(point) for point in points}) == 300
    assert {point["k"] for point in points} == {"x", "y"}


def test_a_sum_of_whole_numbers_may_be_exact() -> None:
    the_plan = plan(
        space(a=whole(0, 50), b=whole(0, 50), c=whole(0, 50)),
        [Constraint(terms={"a": 1, "b": 1, "c": 1}, at_least=50, at_most=50)],
    )
    points = [draw_point(the_plan, seed=5, index=index) for index in range(200)]
    assert {sum(point.values()) for point in points} == {50}  # type: ignore[arg-type]
    assert len({point["a"] for point in points}) > 25


def test_where_there_is_room_points_are_spread_evenly_over_it() -> None:
    the_plan = plan(space(a=number(0, 1), b=number(0, 1)), [Constraint(terms={"a": 1, "b": 1}, at_most=1)])
    points = [draw_point(the_plan, seed=2, index=index) for index in range(3000)]
    below = sum(point["a"] < 0.5 for point in points) / len(points)  # type: ignore[operator]
    assert below == pytest.approx(0.75, abs=0.03)


def test_points_of_elsewhere_are_mended() -> None:
    the_plan = plan(SHARES, TIGHT["a corner"])
    broken = fill(the_plan, lambda node: node.draw(Draws(1, 1)))
    mended = mend(the_plan, broken, Draws(1, 2))
    assert not satisfies(the_plan, broken)
    assert satisfies(the_plan, mended)
    assert (mended["k"], mended["n"]) == (broken["k"], broken["n"])
    assert mend(the_plan, mended, Draws(1, 3)) == mended


@settings(max_examples=150)
@given(constrained())
def test_a_point_is_found_where_a_grid_has_one(given_space: tuple[Space, list[Constraint]]) -> None:
    """On small spaces none of those that can be satisfied is refused."""
    the_plan = plan(*given_space)
    assert find_witness(the_plan) is not None or grid(the_plan).count() == 0


@settings(max_examples=60)
@given(st.data())
def test_a_point_is_found_in_several_thin_layers_at_once(data: st.DataObject) -> None:
    """Five layers a hundredth thick on either side of a point, in eight dimensions."""
    inside = {name: data.draw(st.floats(0.01, 0.99)) for name in "abcdefgh"}
    layers = []
    for _ in range(5):
        names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=4, unique=True))
        terms = {name: data.draw(st.sampled_from([1.0, -1.0, 2.0, 0.5])) for name in names}
        middle = sum(factor * inside[name] for name, factor in terms.items())
        layers.append(Constraint(terms=terms, at_least=middle - 0.01, at_most=middle + 0.01))
    assert find_witness(plan(SHARES, layers)) is not None


def test_draws_need_a_point_to_be_there() -> None:
    the_plan = plan(space(n=whole(1, 4)), [Constraint(terms={"n": 2}, at_least=5, at_most=5)])
    assert find_witness(the_plan) is None
    with pytest.raises(ValueError, match="no point"):
        draw_point(the_plan, seed=1, index=1)


def _filled(the_plan: Plan, values: dict[str, Value]) -> Point:
    return fill(the_plan, lambda node: values[node.name])


def test_what_is_not_searched_is_in_every_point() -> None:
    the_plan = plan(
        space(
            base=number(0.1, 1),
            batch=choice(16, 64),
            lr=derived("base", "batch", "sqrt", 16),
            double=derived("lr", "batch", reference=32, when={"batch": [64]}),
            optimizer=fixed("adam"),
            eps=fixed(1e-8, when={"optimizer": ["adam"], "batch": [16]}),
        )
    )
    assert [node.name for node in the_plan.nodes] == ["base", "batch"]
    small, large = (_filled(the_plan, {"base": 0.5, "batch": size}) for size in (16, 64))
    assert small == {"base": 0.5, "batch": 16, "optimizer": "adam", "eps": 1e-8, "lr": 0.5}
    assert large == {"base": 0.5, "batch": 64, "optimizer": "adam", "lr": 1.0, "double": 2.0}
    assert set(active(the_plan, large)) == set(large)


def test_what_is_derived_is_absent_with_what_it_follows_from() -> None:
    the_plan = plan(space(on=choice(1, 2), a=whole(1, 3, when={"on": [1]}), b=derived("a", "on")))
    assert set(draw(the_plan, Draws(1, 1))) in ({"on", "a", "b"}, {"on"})
    assert _filled(the_plan, {"on": 2}) == {"on": 2}


def test_what_is_derived_by_name_has_the_factor_of_each() -> None:
    the_plan = plan(
        space(
            rate=number(0.1, 10),
            on=choice(True, False),
            optimizer=choice("sgd", "kfac", when={"on": [True]}),
            lr=by_name("rate", "optimizer", sgd=0.5, kfac=0.25),
            half=derived("lr", "rate", reference=4),
        )
    )
    for optimizer, lr in (("sgd", 1.0), ("kfac", 0.5)):
        point: Point = {"rate": 2.0, "on": True, "optimizer": optimizer}
        assert _filled(the_plan, point) == point | {"lr": lr, "half": lr / 2}
    assert _filled(the_plan, {"rate": 2.0, "on": False}) == {"rate": 2.0, "on": False}


@pytest.mark.parametrize(
    ("the_space", "says"),
    [
        (space(a=choice(1, when={"b": [1]})), "unknown or derived"),
        (space(a=choice(1, when={"b": [1]}), b=derived("a", "a")), "unknown or derived"),
        (space(a=choice(1, when={"a": [1]})), "circle"),
        (space(a=derived("b", "b")), "unknown"),
        (space(a=derived("b", "b"), b=derived("a", "a")), "circle"),
    ],
)
def test_no_plan(the_space: Space, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plan(the_space)
