"""Points by number: each once, all of them, counted without being made, with conditions and constraints."""

import pytest
from hypothesis import given, settings

from search.space.constraints import Constraint
from search.space.nodes import Space
from search.space.plan import plan
from search.space.points import Uncountable, count_grid, countable, discrete, grid, grid_point, is_discrete
from tests.support.spaces import (
    NESTED,
    choice,
    constrained,
    derived,
    fixed,
    keeps,
    key,
    number,
    obvious_points,
    space,
    whole,
)


@settings(max_examples=150)
@given(constrained())
def test_grids_are_distinct_and_exhaustive(given_space: tuple[Space, list[Constraint]]) -> None:
    the_space, constraints = given_space
    points = grid(plan(the_space, constraints))
    made = [key(points.point(index)) for index in range(points.count())]
    assert len(set(made)) == len(made)
    assert set(made) == {key for key, point in obvious_points(the_space).items() if keeps(constraints, point)}
    with pytest.raises(IndexError):
        points.point(points.count())


@settings(max_examples=150)
@given(constrained())
def test_a_point_leads_to_its_number(given_space: tuple[Space, list[Constraint]]) -> None:
    the_space, constraints = given_space
    points = grid(plan(the_space, constraints))
    assert [points.index(points.point(number)) for number in range(points.count())] == list(range(points.count()))
    for point in obvious_points(the_space).values():
        assert (points.index(point) is not None) == keeps(constraints, point)


def test_what_is_no_point_has_no_number() -> None:
    points = grid(NESTED)
    assert points.index({"n": 2}) is None
    assert points.index({"n": 10, "c": None}) is None
    assert points.index({"n": 2, "c": None}) is not None


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
    assert discrete(stepped).count() == 5 * 8
    assert count_grid(stepped) == 5 * 2
    assert len({key(discrete(stepped).point(index)) for index in range(40)}) == 40


def at_most(limit: float, *names: str) -> Constraint:
    return Constraint(terms=dict.fromkeys(names, 1.0), at_most=limit)


def test_constrained_grids_are_counted_by_hand() -> None:
    shares = space(a=number(0, 1, step=0.1), b=number(0, 1, step=0.1))
    assert count_grid(plan(shares, [at_most(1, "a", "b")])) == 11 * 12 // 2
    assert count_grid(plan(shares, [Constraint(terms={"a": 1, "b": 1}, at_least=0.3, at_most=0.3)])) == 4
    assert count_grid(plan(shares, [at_most(-0.1, "a", "b")])) == 0


def test_points_need_no_count_before_them() -> None:
    the_plan = plan(space(a=number(0, 1, step=0.1), b=number(0, 1, step=0.1)), [at_most(1, "a", "b")])
    assert grid(the_plan).index(grid_point(the_plan, 65)) == 65


def test_an_inactive_parameter_counts_nothing() -> None:
    shares = space(on=choice(True, False), a=whole(0, 3), b=whole(2, 3, when={"on": [True]}))
    points = grid(plan(shares, [at_most(3, "a", "b")]))
    made = [points.point(index) for index in range(points.count())]
    assert len(made) == 4 + (2 + 1)
    assert {point["a"] for point in made if point["on"] is False} == {0, 1, 2, 3}


def test_enormous_constrained_grids_are_counted_and_not_made() -> None:
    names = {f"p{index}": whole(0, 999) for index in range(6)}
    points = grid(plan(space(**names), [at_most(999, "p0", "p1")]))
    assert points.count() == 10**12 * 1000 * 1001 // 2
    last = points.point(points.count() - 1)
    assert points.index(last) == points.count() - 1
    assert last["p0"] + last["p1"] <= 999  # type: ignore[operator]
    with pytest.raises(IndexError):
        points.point(points.count())


def test_sums_that_all_differ_are_bounded_from_below() -> None:
    names = {f"p{index}": number(1e-4, 1, scale="log", levels=100) for index in range(5)}
    entangled = [at_most(2.0, *names)]
    assert 10**6 < count_grid(plan(space(**names), entangled)) <= 10**10


def test_what_cannot_be_counted_says_so() -> None:
    names = {f"p{index}": number(1e-4, 1, scale="log", levels=100) for index in range(6)}
    tight = Constraint(terms=dict.fromkeys(names, 1.0), at_least=1.0, at_most=1.0000001)
    with pytest.raises(Uncountable, match="too many values"):
        count_grid(plan(space(**names), [tight]))


def test_lattices_too_long_to_walk_are_not_walked() -> None:
    huge = space(a=whole(0, 2**53 - 1), b=whole(0, 2**53 - 1))
    assert count_grid(plan(huge, [at_most(10, "a")])) == 11 * 2**53
    assert count_grid(plan(huge, [at_most(2**53, "a", "b")])) > 10**6
    assert countable(space(x=number(0, 1))) is None


def test_points_hold_what_is_fixed_and_derived() -> None:
    points = grid(
        space(
            base=fixed(0.1),
            batch=choice(16, 64),
            lr=derived("base", "batch", reference=32),
            more=fixed("x", when={"batch": [64]}),
        )
    )
    assert [points.point(index) for index in range(points.count())] == [
        {"base": 0.1, "batch": 64, "lr": 0.2, "more": "x"},
        {"base": 0.1, "batch": 16, "lr": 0.05},
    ]
