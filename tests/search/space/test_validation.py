"""What is wrong with spaces, constraints and points, and how points are completed."""

import math

import pytest

from search.space.constraints import Constraint
from search.space.nodes import Space
from search.space.plan import plan
from search.space.validation import (
    complete_point,
    constraint_faults,
    space_faults,
    term_faults,
    validate_point,
    witness_faults,
)
from tests.support.spaces import NESTED, by_name, choice, derived, fixed, number, space, whole


@pytest.mark.parametrize(
    ("the_space", "paths"),
    [
        (space(a=choice(1, when={"b": [1]})), ["space.a.when.b"]),
        (space(a=choice(1, when={"b": [2]}), b=choice(1, 3)), ["space.a.when.b[0]"]),
        (space(a=choice(1, when={"b": [1.5, 12, 2]}), b=whole(0, 10)), ["space.a.when.b[0]", "space.a.when.b[1]"]),
        (space(a=choice(1, when={"b": [True]}), b=choice(1)), ["space.a.when.b[0]"]),
        (space(a=choice(1, when={"b": [0.5]}), b=number(0, 1)), ["space.a.when.b"]),
        (space(a=choice(1, when={"a": [1]})), ["space.a.when"]),
        (space(a=choice(1, when={"b": [2]}), b=fixed(1)), ["space.a.when.b[0]"]),
        (space(a=choice(1, when={"b": [2]}), b=derived("c", "c"), c=whole(1, 2)), ["space.a.when.b"]),
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


LR = space(
    base_lr=number(1e-3, 1e-1, scale="log"),
    batch_size=choice(16, 32, 64),
    lr=derived("base_lr", "batch_size", "sqrt"),
    eps=fixed(1e-8, when={"batch_size": [16]}),
)


@pytest.mark.parametrize(
    ("the_space", "path", "says"),
    [
        (space(a=derived("x", "b"), b=whole(1, 2)), "space.a.of", "no parameter 'x'; valid are b"),
        (space(a=derived("b", "x"), b=whole(1, 2)), "space.a.by", "no parameter 'x'"),
        (space(a=derived("b", "c"), b=whole(1, 2), c=choice(1, "x")), "space.a.by", "all numbers, and c has others"),
        (space(a=derived("b", "c"), b=fixed("x"), c=whole(1, 2)), "space.a.of", "all numbers"),
        (space(a=derived("b", "c"), b=whole(1, 2), c=choice(True)), "space.a.by", "all numbers"),
        (space(a=derived("b", "c", "sqrt"), b=whole(1, 2), c=whole(-1, 2)), "space.a.by", "can be -1"),
        (space(a=derived("a", "b"), b=whole(1, 2)), "space.a.of", "itself"),
        (space(a=derived("b", "c"), b=derived("a", "c"), c=whole(1, 2)), "space.b.of", "itself"),
        (space(a=derived("b", "c", reference=1e-9), b=number(0, 1e99), c=number(0, 1e99)), "space.a", "beyond 1e+100"),
        (space(a=derived("b", "b", when={"x": [1]}), b=whole(1, 2)), "space.a.when.x", "no parameter 'x'"),
        (space(a=fixed(1), b=derived("a", "a")), "space", "nothing to search"),
        (space(a=by_name("b", "c", x=1), b=whole(1, 2), c=choice("x", 1)), "space.a.by", "all strings"),
        (space(a=by_name("b", "c", x=1), b=whole(1, 2), c=whole(1, 2)), "space.a.by", "and c has others"),
        (space(a=by_name("b", "d", x=1), b=whole(1, 2), d=derived("b", "b")), "space.a.by", "all strings"),
        (space(a=by_name("b", "c", x=1), b=whole(1, 2), c=choice("x", "y", "z")), "space.a.factors", "lacks y, z"),
        (space(a=by_name("b", "c", x=1, y=2), b=whole(1, 2), c=fixed("x")), "space.a.factors.y", "valid are 'x'"),
        (space(a=by_name("c", "c", x=1), c=choice("x")), "space.a.of", "all numbers"),
        (space(a=by_name("b", "c", x=1e100), b=whole(1, 2), c=choice("x")), "space.a", "beyond 1e+100"),
    ],
)
def test_impossible_derivations(the_space: Space, path: str, says: str) -> None:
    faults = space_faults(the_space)
    assert [fault for fault in faults if fault.path == path and says in fault.message], faults


def test_a_valid_space_has_no_faults() -> None:
    assert space_faults(LR) == space_faults(NESTED) == []
    chained = space(
        a=whole(1, 2), b=derived("a", "a"), c=derived("b", "a", "sqrt"), d=fixed(2, when={"e": [3]}), e=fixed(3)
    )
    assert space_faults(chained) == []
    assert space_faults(space(a=by_name("b", "c", x=0.1, y=-2), b=whole(1, 2), c=choice("y", "x"))) == []


def test_points_are_completed() -> None:
    given = {"base_lr": 0.01, "batch_size": 16}
    whole_point = complete_point(LR, given)
    assert whole_point == {**given, "lr": pytest.approx(0.01 * math.sqrt(0.5)), "eps": 1e-8}
    assert validate_point(LR, whole_point) == []
    assert [fault.path for fault in validate_point(LR, given)] == ["eps", "lr"]
    assert "eps" not in complete_point(LR, {**given, "batch_size": 32})
    assert complete_point(LR, {"batch_size": 32}) == {"batch_size": 32}
    chained = space(a=choice(1, 2), e=fixed(3), d=fixed(4, when={"e": [3]}), c=fixed(5, when={"d": [4], "a": [2]}))
    assert complete_point(chained, {"a": 2}) == {"a": 2, "c": 5, "d": 4, "e": 3}


def test_what_is_fixed_or_derived_cannot_be_changed() -> None:
    given = {"base_lr": 0.01, "batch_size": 16, "lr": 0.5, "eps": 1e-8}
    assert [(fault.path, "leave it out" in fault.message) for fault in validate_point(LR, given)] == [("lr", True)]
    assert [fault.path for fault in validate_point(LR, {**given, "lr": "x"})] == ["lr"]
    assert [fault.path for fault in validate_point(LR, {**given, "eps": 1e-7})] == ["eps"]
    assert [fault.path for fault in validate_point(LR, {**given, "batch_size": 32, "lr": 0.01})] == ["eps"]


SHARES = space(warmup=number(0, 0.5), decay=number(0, 1), n=whole(0, 9, step=3), on=choice("x", 1), one=fixed(1))
NAMED = {**SHARES, **space(word=fixed("x"), late=number(2, 3, when={"on": ["x"]}), lr=derived("n", "n"))}


def test_broken_constraints_of_a_point() -> None:
    the_plan = plan(space(a=whole(0, 9), b=whole(0, 9)), [Constraint(terms={"a": 1, "b": 2}, at_least=3, at_most=9)])
    assert validate_point(the_plan, {"a": 1, "b": 4}) == []
    faults = validate_point(the_plan, {"a": 2, "b": 4})
    assert [(fault.path, fault.message) for fault in faults] == [
        ("a", "breaks constraints[0]: the sum is 10, and must be at most 9 and at least 3")
    ]
    assert len(validate_point(the_plan, {"a": 0, "b": 1})) == 1


@pytest.mark.parametrize(
    ("terms", "limits", "path", "says"),
    [
        ({"wramup": 1.0}, {"at_most": 1.0}, "terms.wramup", "no parameter 'wramup'; valid are decay"),
        ({"on": 1.0}, {"at_most": 1.0}, "terms.on", "is categorical"),
        ({"word": 1.0}, {"at_most": 1.0}, "terms.word", "must be a number"),
        ({"lr": 1.0}, {"at_most": 1.0}, "terms.lr", "is derived"),
        ({"one": 1.0}, {"at_most": 1.0}, "terms", "fixed values alone"),
        ({"warmup": 1.0, "decay": 1.0}, {"at_least": 1.6}, "at_least", "between 0 and 1.5, and must be at least 1.6"),
        ({"warmup": -1.0, "one": 1.0}, {"at_most": 0.4}, "at_most", "between 0.5 and 1,"),
        ({"late": 1.0}, {"at_most": -0.1}, "at_most", "between 0 and 3"),
        ({"n": 1.0}, {"at_least": 9.5}, "at_least", "between 0 and 9"),
        ({"warmup": 1.0, "decay": 1.0}, {"at_most": 1.0, "at_least": 1.0}, "at_least", "no room"),
    ],
)
def test_impossible_constraints(terms: dict[str, float], limits: dict[str, float], path: str, says: str) -> None:
    constraints = {3: Constraint(terms=terms, **limits)}
    faults = term_faults(NAMED, {3: terms}) + constraint_faults(NAMED, constraints)
    assert [fault.path for fault in faults] == [f"constraints[3].{path}"]
    assert says in faults[0].message


@pytest.mark.parametrize(
    ("terms", "limits"),
    [
        ({"warmup": 1.0, "decay": 1.0}, {"at_least": 1.5}),
        ({"late": 1.0}, {"at_most": 0.0}),
        ({"late": 1.0}, {"at_least": 3.0}),
        ({"one": 1.0, "n": 1.0}, {"at_least": 7.0, "at_most": 7.0}),
    ],
)
def test_constraints_at_the_very_end(terms: dict[str, float], limits: dict[str, float]) -> None:
    assert constraint_faults(NAMED, {0: Constraint(terms=terms, **limits)}) == []


def test_constraints_that_exclude_each_other() -> None:
    apart = [
        Constraint(terms={"warmup": 1, "decay": 1}, at_most=0.5),
        Constraint(terms={"warmup": 1, "decay": 1}, at_least=0.6),
    ]
    assert constraint_faults(SHARES, dict(enumerate(apart))) == []
    assert [fault.path for fault in witness_faults(plan(SHARES, apart))] == ["constraints"]
    assert witness_faults(plan(SHARES, apart[:1])) == []


def test_conditions_that_exclude_each_other_are_found_out() -> None:
    either = space(on=choice(1, 2), a=whole(0, 5, when={"on": [1]}), b=whole(0, 5, when={"on": [2]}))
    both = Constraint(terms={"a": 1, "b": 1}, at_least=6)
    assert constraint_faults(either, {0: both}) == []
    assert [fault.path for fault in witness_faults(plan(either, [both]))] == ["constraints"]
