"""Spaces: their order, conditions, counts, points and draws."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from search.definition.schema import AnyParameter
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Point, Value, grid_axis, lattice
from search.space.plan import (
    Space,
    active,
    count_discrete,
    count_grid,
    dedupe_key,
    discrete,
    draw,
    draw_point,
    grid,
    grid_point,
    is_discrete,
    plan,
    space_faults,
    validate_point,
)
from search.space.sampling import Draws

_ADAPTER: TypeAdapter[FloatParameter | IntParameter | CategoricalParameter] = TypeAdapter(AnyParameter)


def space(**parameters: dict[str, Any]) -> Space:
    return {name: _ADAPTER.validate_python(raw) for name, raw in parameters.items()}


def choice(*choices: Value, when: dict[str, list[Value]] | None = None) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), "when": when}


def number(low: float, high: float, **more: object) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}


def whole(low: int, high: int, **more: object) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **more}


NESTED = space(
    a=choice("x", "y", when={"n": [1, 3]}),
    n=whole(0, 9),
    z=number(0, 1, levels=3, when={"a": ["y"], "c": [True]}),
    c=choice(True, 1, None),
)


@st.composite
def spaces(draw_value: Callable[[st.SearchStrategy[Any]], Any]) -> Space:
    """Draw small spaces whose parameters may depend on several earlier ones."""
    raw: dict[str, Any] = {}
    for index in range(draw_value(st.integers(1, 5))):
        when: dict[str, list[Value]] = {}
        for parent, given_parent in raw.items():
            if given_parent["type"] != "float" and draw_value(st.booleans()):
                values = list(_values(_ADAPTER.validate_python(given_parent)))
                when[parent] = draw_value(st.lists(st.sampled_from(values), min_size=1, unique_by=repr))
        kind = draw_value(st.sampled_from(["categorical", "int", "float"]))
        size = draw_value(st.integers(1, 3))
        made = {
            "categorical": {"type": "categorical", "choices": ["a", True, 1][:size]},
            "int": whole(-1, -1 + 2 * (size - 1), step=2 if size > 1 else None),
            "float": number(0.1, 0.1 + size, levels=size),
        }[kind]
        # Names in an order that is neither that of the parents nor alphabetical.
        raw[f"p{(index * 3) % 7}"] = {**made, "when": when or None}
    return space(**raw)


def _values(parameter: FloatParameter | IntParameter | CategoricalParameter) -> Iterator[Value]:
    axis = grid_axis(parameter)
    assert axis is not None
    return (axis.at(index) for index in range(axis.size))


def obvious_points(the_space: Space) -> set[str]:
    """Make every combination, drop what is inactive, and keep the distinct ones."""

    def holds(name: str, point: Point) -> bool:
        conditions = (the_space[name].when or {}).items()
        return all(
            holds(parent, point) and any(repr(point[parent]) == repr(value) for value in values)
            for parent, values in conditions
        )

    found = set()
    for values in product(*(list(_values(parameter)) for parameter in the_space.values())):
        point = dict(zip(the_space, values, strict=True))
        found.add(key({name: value for name, value in point.items() if holds(name, point)}))
    return found


def key(point: Point) -> str:
    return repr(sorted(point.items()))


@settings(deadline=None, max_examples=150)
@given(spaces())
def test_grids_are_distinct_and_exhaustive(the_space: Space) -> None:
    points = grid(the_space)
    made = [key(points.point(index)) for index in range(points.count())]
    assert len(set(made)) == len(made)
    assert set(made) == obvious_points(the_space)
    with pytest.raises(IndexError):
        points.point(points.count())


@settings(deadline=None, max_examples=50)
@given(spaces(), st.randoms())
def test_nothing_depends_on_the_order_of_names(the_space: Space, shuffle: Any) -> None:
    names = list(the_space)
    shuffle.shuffle(names)
    other = {name: the_space[name] for name in names}
    assert [grid_point(other, index) for index in range(3) if index < count_grid(other)] == [
        grid_point(the_space, index) for index in range(3) if index < count_grid(the_space)
    ]
    assert draw_point(other, seed=1, index=1) == draw_point(the_space, seed=1, index=1)


@settings(deadline=None, max_examples=100)
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


def test_counts_by_hand() -> None:
    # n not in {1, 3}: 8 x 3 values of c; n in {1, 3}: a=x 3 points, a=y 2 points without z and 3 with it
    assert count_grid(NESTED) == 8 * 3 + 2 * (3 + 2 + 3)


def test_enormous_grids_are_counted_and_not_made() -> None:
    names = {f"p{index}": whole(0, 999) for index in range(6)}
    assert count_grid(space(**names)) == 10**18
    names["child"] = choice("a", "b", when={"p0": [0]})
    assert count_grid(space(**names)) == 10**15 * 2 + 999 * 10**15
    assert grid_point(space(**names), 10**18)  # one of the later ones


def test_entangled_conditions_stop_early() -> None:
    parents = {f"p{index:02}": choice(0, 1) for index in range(30)}
    children = {
        f"c{index:02}": choice(0, 1, when={f"p{index:02}": [1], f"p{(index * 7 + 11) % 30:02}": [1]})
        for index in range(30)
    }
    assert count_grid(space(**parents, **children)) > 10**6


def test_continuous_parameters_have_no_grid() -> None:
    with pytest.raises(ValueError, match="lr is continuous"):
        count_grid(space(lr=number(0, 1)))


def test_discrete_spaces() -> None:
    assert is_discrete(NESTED) is False  # z has levels, which only a grid looks at
    stepped = space(x=number(0, 1, step=0.25), n=whole(1, 8, scale="log", levels=2), c=choice("a"))
    assert is_discrete(stepped)
    assert count_discrete(stepped) == 5 * 8
    assert count_grid(stepped) == 5 * 2
    assert len({key(discrete(stepped).point(index)) for index in range(40)}) == 40


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
    }[parameter.scale]
    return (onto(value) - onto(parameter.low)) / (onto(parameter.high) - onto(parameter.low))


@pytest.mark.parametrize(
    "parameter",
    [
        FloatParameter(type="float", low=-3, high=5),
        FloatParameter(type="float", low=1e-5, high=10, scale="log"),
        FloatParameter(type="float", low=0.5, high=0.999, scale="reverse_log"),
        FloatParameter(type="float", low=-2, high=0.5, scale="reverse_log"),
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


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (number(1e-3, 1.0, scale="log", levels=4), [1e-3, 1e-2, 1e-1, 1.0]),
        (number(0.9, 0.999, scale="reverse_log", levels=3), [0.9, 0.99, 0.999]),
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
    values = list(_values(_ADAPTER.validate_python(raw)))
    assert values == pytest.approx(expected)
    assert [type(value) for value in values] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("the_space", "paths"),
    [
        (space(a=choice(1, when={"b": [1]})), ["space.a.when.b"]),
        (space(a=choice(1, when={"b": [2]}), b=choice(1, 3)), ["space.a.when.b[0]"]),
        (space(a=choice(1, when={"b": [1.5, 12, 2]}), b=whole(0, 10)), ["space.a.when.b[0]", "space.a.when.b[1]"]),
        (space(a=choice(1, when={"b": [True]}), b=choice(1)), ["space.a.when.b[0]"]),
        (space(a=choice(1, when={"b": [0.5]}), b=number(0, 1)), ["space.a.when.b"]),
        (space(a=choice(1, when={"a": [1]})), ["space.a.when"]),
        (
            space(a=choice(1, when={"b": [1]}), b=choice(1, when={"a": [1]}), c=choice(1, when={"a": [1]})),
            ["space.a.when", "space.b.when"],
        ),
    ],
)
def test_impossible_conditions(the_space: Space, paths: list[str]) -> None:
    assert [fault.path for fault in space_faults(the_space)] == paths


def test_points_are_validated() -> None:
    faults = validate_point(NESTED, {"n": 10, "a": "x", "q": 1, "z": 0.5})
    assert sorted(fault.path for fault in faults) == ["a", "c", "n", "q", "z"]
    assert validate_point(NESTED, {"n": 1, "a": "y", "c": True, "z": 0.3}) == []
    assert [fault.path for fault in validate_point(NESTED, {"n": 1, "a": "y", "c": True, "z": math.nan})] == ["z"]


def test_points_are_the_same_by_value() -> None:
    assert dedupe_key({"a": 1, "b": None}) == dedupe_key({"b": None, "a": 1.0})
    assert len({dedupe_key({"a": value}) for value in (1, True, "1", None)}) == 4
