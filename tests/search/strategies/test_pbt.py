"""Population based training: who goes on from whom, and what exploring changes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.records import record
from search.definition.examples import EXAMPLE_STUDIES
from search.definition.parse import StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.errors import InvalidStudy
from search.records import Suggestion, TrialRecord
from search.space.parameters import FloatParameter, IntParameter
from search.space.sampling import Draws
from search.space.validation import validate_point
from search.strategies.base import Strategy
from search.strategies.exploring import explore, moved
from search.strategies.table import make

SPACE: Mapping[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "momentum": {"type": "float", "low": 0.5, "high": 0.999, "scale": "reverse_log"},
    "layers": {"type": "int", "low": 1, "high": 8},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
}
BASE: Mapping[str, Any] = {
    "name": "lineages",
    "objective": {"external": True, "steps": 15},
    "metrics": [{"name": "loss", "goal": "minimize"}],
    "space": SPACE,
    "search": {"strategy": "pbt", "population": 4, "interval": 5, "seed": 3},
}


def posted(*, search: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return copy.deepcopy({**BASE, **more, "search": {**BASE["search"], **(search or {})}})


def study(**more: Any) -> StudyDefinition:
    return parse_study(posted(**more))


def ended(number: int, suggestion: Suggestion, score: float | None, *, state: str = "completed") -> TrialRecord:
    """Return a trial that ended as the `number`-th."""
    bare = record(number, seq=100 + number, state=state, params=suggestion.params, score=score)
    return replace(bare, why=suggestion.why, parent=suggestion.parent, draw=number)


def begun(definition: StudyDefinition, ends: Sequence[float | str]) -> tuple[Strategy, list[TrialRecord]]:
    """Return a strategy that knows how its first trials ended: with a score, or in a state."""
    strategy = make(definition, 3)
    points = strategy.suggest(range(len(ends)))
    trials = [
        ended(place, point, None, state=end) if isinstance(end, str) else ended(place, point, end)
        for place, (point, end) in enumerate(zip(points, ends, strict=True))
    ]
    strategy.update(trials)
    return strategy, trials


def test_the_first_ones_begin_and_the_later_ones_follow_those_that_ended_first() -> None:
    strategy, trials = begun(study(), [0.1, 0.2, 0.3, 0.4])
    assert [(t.parent, t.why["begins"], t.why["ends"], t.why["move"]) for t in trials] == [(None, 0, 5, "begin")] * 4
    children = strategy.suggest(range(4, 8))
    assert [child.why["after"] for child in children] == [0, 1, 2, 3]
    assert [child.why["move"] for child in children] == ["continue"] * 3 + ["exploit"]
    assert [child.parent for child in children] == [0, 1, 2, 0]
    assert [child.params for child in children[:3]] == [trial.params for trial in trials[:3]]
    assert {(child.why["generation"], child.why["begins"], child.why["ends"]) for child in children} == {(1, 5, 10)}


def test_the_worst_goes_on_from_the_best_and_near_its_point() -> None:
    strategy, trials = begun(study(search={"resample": 0.0, "keep": ["layers"]}), [0.1, 0.2, 0.3, 0.4])
    best, child = trials[0].params or {}, strategy.suggest(range(4, 8))[3].params
    rates = [min(max(best["lr"] * factor, 1e-4), 1.0) for factor in (1.2, 1 / 1.2)]
    assert any(child["lr"] == pytest.approx(rate) for rate in rates)
    # Of a momentum it is the distance from 1 that is multiplied.
    distances = [min(max((1 - best["momentum"]) * factor, 0.001), 0.5) for factor in (1.2, 1 / 1.2)]
    assert any(1 - child["momentum"] == pytest.approx(distance) for distance in distances)
    assert (child["layers"], child["optimizer"]) == (best["layers"], best["optimizer"])


@pytest.mark.parametrize("state", ["diverged", "failed", "cancelled", "pruned"])
def test_who_did_not_complete_goes_on_from_one_that_did(state: str) -> None:
    strategy, _ = begun(study(), [0.5, state, 0.1, 0.4])
    children = strategy.suggest(range(4, 8))
    assert (children[1].parent, children[1].why["after"], children[1].why["move"]) == (2, 1, "exploit")


def test_where_none_completed_members_begin_anew() -> None:
    strategy, trials = begun(study(), ["failed"] * 4)
    children = strategy.suggest(range(4, 8))
    assert [(child.parent, child.origin, child.why["generation"]) for child in children] == [(None, "startup", 0)] * 4
    assert all(child.params != trial.params for child, trial in zip(children, trials, strict=True))


def test_an_infeasible_one_is_among_the_worst() -> None:
    strategy = make(study(), 3)
    points = strategy.suggest(range(4))
    trials = [ended(place, point, place / 10) for place, point in enumerate(points)]
    strategy.update([replace(trials[0], violation=2.0), *trials[1:]])
    children = strategy.suggest(range(4, 8))
    assert [child.parent for child in children] == [1, 1, 2, 3]


def test_the_first_of_a_generation_has_nobody_to_be_compared_with() -> None:
    definition = study()
    strategy = make(definition, 3)
    points = strategy.suggest(range(4))
    strategy.update([ended(0, points[0], 0.9)])
    (child,) = strategy.suggest(range(4, 5))
    assert (child.parent, child.why["move"]) == (0, "continue")


def test_what_others_find_points_for_is_left_to_them() -> None:
    """Draws 4 and 5 are reserved by two workers: each follows another trial, whoever comes first."""
    definition = study()
    for mine, follows in ((5, 1), (4, 0)):
        strategy, _ = begun(definition, [0.1, 0.2, 0.3, 0.4])
        others = [replace(record(n, seq=200 + n, state="running", params=None), draw=n) for n in (4, 5)]
        strategy.update(others)
        (child,) = strategy.suggest(range(mine, mine + 1))
        assert child.why["after"] == follows


def test_a_lineage_ends_and_its_place_goes_to_one_that_can_still_go_on() -> None:
    definition = study(budget={"trials": 14})
    strategy, trials = begun(definition, [0.1, 0.2, 0.3, 0.4])
    for first in (4, 8):
        points = strategy.suggest(range(first, first + 4))
        trials = [ended(first + place, point, place / 10) for place, point in enumerate(points)]
        strategy.update(trials)
    assert {trial.why["ends"] for trial in trials} == {15}
    more = strategy.suggest(range(12, 14))
    assert [(child.parent, child.why["begins"], child.why["ends"]) for child in more] == [(4, 10, 15)] * 2


def test_the_budget_and_the_parallelism_follow_from_the_population() -> None:
    definition = study()
    assert (definition.trials, definition.parallelism) == (12, 4)
    assert parse_study(definition.model_dump(mode="json")) == definition


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"search": {"interval": 4}}, "search.interval", "must divide objective.steps (15) at least twice, got 4: give 3"),
    ({"search": {"interval": 15}}, "search.interval", "give 5"),
    ({"search": {"population": 3}}, "search.population", "4"),
    ({"search": {"keep": ["width"]}}, "search.keep[0]", "the space has no 'width'"),
    ({"search": {"keep": list(SPACE)}}, "space", "add one"),
    ({"budget": {"trials": 7}}, "budget.trials", "must be at least 8"),
    ({"objective": {"external": True}}, "budget.trials", "objective.steps"),
    ({"objective": {"name": "mine", "steps": 15}}, "search.strategy", "use a recipe, or external"),
    ({"parallelism": 5}, "parallelism", "the population of 4"),
    ({"pruning": {"kind": "median"}}, "pruning", "leave it out"),
    ({"start_from_default": True}, "start_from_default", "leave it out"),
    ({"warm_start": "auto"}, "warm_start", "leave it out"),
    ({"budget": {"trials": 40}, "verdict": {"replicates": 3}}, "verdict", "leave it out"),
    ({"metrics": [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "minimize"}]}, "search.strategy", "nsga2"),
    (
        {
            "objective": EXAMPLE_STUDIES["digits-mlp"]["objective"],
            "space": {"batch_size": {"type": "int", "low": 8, "high": 64}},
        },
        "space",
        "floats, such as lr",
    ),
]


@pytest.mark.parametrize(("change", "path", "words"), BAD)
def test_what_cannot_be_is_refused_with_a_way_out(change: dict[str, Any], path: str, words: str) -> None:
    raw = posted(**change)
    if "recipe" in raw["objective"]:
        raw["metrics"] = EXAMPLE_STUDIES["digits-mlp"]["metrics"]
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert words in refused.value.faults[0].message


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidStudy) as refused:
        study(search={"interval": 4, "keep": ["width"]}, parallelism=9, budget={"trials": 1})
    assert {fault.path for fault in refused.value.faults} == {
        "search.interval",
        "search.keep[0]",
        "parallelism",
        "budget.trials",
    }


def test_of_a_recipe_only_floats_are_explored_that_leave_the_state_as_it_is() -> None:
    example = EXAMPLE_STUDIES["digits-mlp"]
    space = {
        "lr": SPACE["lr"],
        "clip_norm": {"type": "float", "low": 0.0, "high": 5.0},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64]},
    }
    definition = study(
        objective=example["objective"], metrics=example["metrics"], space=space, search={"resample": 1.0}
    )
    strategy, trials = begun(definition, [0.1, 0.2, 0.3, 0.4])
    child, best = strategy.suggest(range(4, 8))[3].params, trials[0].params or {}
    assert child["lr"] != best["lr"]
    assert {name: child[name] for name in ("clip_norm", "batch_size")} == {
        name: best[name] for name in ("clip_norm", "batch_size")
    }


@given(
    value=st.floats(0.001, 0.999),
    factor=st.sampled_from([1.2, 1 / 1.2, 3.0]),
    scale=st.sampled_from(["linear", "log", "logit"]),
)
def test_a_number_is_moved_the_way_of_the_factor_and_stays_in_its_range(
    value: float, factor: float, scale: Any
) -> None:
    parameter = FloatParameter(type="float", low=0.001, high=0.999, scale=scale)
    there = moved(parameter, value, factor)
    assert isinstance(there, float)
    assert 0.001 <= there <= 0.999
    assert there >= value if factor > 1 else there <= value


@given(
    low=st.integers(-20, 20), size=st.integers(7, 40), step=st.integers(1, 7), share=st.floats(0, 1), up=st.booleans()
)
def test_a_stepped_number_moves_by_a_step_at_least(low: int, size: int, step: int, share: float, up: bool) -> None:
    parameter = IntParameter(type="int", low=low, high=low + size, step=step)
    values = list(range(low, low + size + 1, step))
    value = values[int(share * (len(values) - 1))]
    there = moved(parameter, value, 1.2 if up else 1 / 1.2)
    assert there in values
    assert there != value or value in {values[0], values[-1]}


def test_zero_is_left() -> None:
    parameter = FloatParameter(type="float", low=0.0, high=0.5)
    assert moved(parameter, 0.0, 1.2) == pytest.approx(0.1)


def test_constraints_hold_and_kept_ones_stay() -> None:
    space = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("warmup", "decay")}
    definition = study(space=space, constraints=[{"terms": {"warmup": 1, "decay": 1}, "at_most": 1.0}])
    the_plan = plan_of(definition)
    for index in range(50):
        start = {"warmup": 0.5, "decay": 0.49}
        point = explore(the_plan, start, Draws(1, index), keep={"warmup"}, factor=2.0, resample=0.5)
        assert validate_point(the_plan, point) == []
        assert point["warmup"] == 0.5
