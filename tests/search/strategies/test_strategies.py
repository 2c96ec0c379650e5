"""Every strategy: what all promise, and the grid and random ones in full."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from search.definition.parse import EXAMPLE_STUDIES, StudyDefinition, parse_study
from search.definition.searches import STRATEGIES as SCHEMAS
from search.records import Params
from search.space.plan import count_grid, dedupe_key, grid_point, validate_point
from search.strategies.table import STRATEGIES, make
from tests.support.records import record


def definition(strategy: str, *, space: Mapping[str, Any] | None = None, **search: object) -> StudyDefinition:
    raw = copy.deepcopy(EXAMPLE_STUDIES["iris-grid" if strategy == "grid" and space is None else "digits-mlp"])
    raw["search"] = {"strategy": strategy, **search}
    raw["budget"] = {"trials": 1000}
    if space is not None:
        raw["space"] = space
    return parse_study(raw)


def test_every_strategy_of_the_schema_exists() -> None:
    assert set(STRATEGIES) == set(SCHEMAS)


@pytest.mark.parametrize("name", STRATEGIES)
def test_suggestions_are_valid_points_one_for_each_index(name: str) -> None:
    study = definition(name)
    suggestions = make(study, 3).suggest(range(5, 17))
    assert len(suggestions) == 12
    assert [validate_point(study.space, suggestion.params) for suggestion in suggestions] == [[]] * 12


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_and_history_give_the_same_points(name: str) -> None:
    study = definition(name)
    told = [record(0, seq=1, state="completed", params={"lr": 0.1}, score=1.0)]

    def points(seed: int) -> list[Params]:
        strategy = make(study, seed)
        strategy.update(told)
        return [suggestion.params for suggestion in strategy.suggest(range(9, 15))]

    assert points(1) == points(1)
    assert points(1) != points(2)


@pytest.mark.parametrize("name", ["grid", "random", "sobol", "halton"])
def test_points_without_history_depend_on_the_index_alone(name: str) -> None:
    study = definition(name)
    together = make(study, 1).suggest(range(20))
    apart = make(study, 1)
    assert apart.reads_history is False
    for index in (7, 3, 19, 3):
        apart.update([record(index, seq=1, state="completed", params=together[index].params, score=0.0)])
        assert apart.suggest(range(index, index + 1)) == [together[index]]


def test_no_index_is_no_point() -> None:
    assert [make(definition(name), 1).suggest(range(4, 4)) for name in STRATEGIES] == [[]] * len(STRATEGIES)


def test_a_grid_gives_each_point_once() -> None:
    study = definition("grid")
    suggestions = make(study, 1).suggest(range(24))
    assert sorted(suggestion.grid_index or 0 for suggestion in suggestions) == list(range(24))
    assert len({dedupe_key(suggestion.params) for suggestion in suggestions}) == 24
    assert {suggestion.origin for suggestion in suggestions} == {"grid"}
    for suggestion in suggestions:
        assert suggestion.grid_index is not None
        assert suggestion.params == grid_point(study.space, suggestion.grid_index)


def test_a_grid_ends() -> None:
    study = definition("grid")
    with pytest.raises(IndexError):
        make(study, 1).suggest(range(count_grid(study.space), 25))


def test_the_seed_decides_the_order_of_a_grid() -> None:
    study = definition("grid")
    orders = {tuple(s.grid_index for s in make(study, seed).suggest(range(24))) for seed in range(10)}
    assert len(orders) == 10


def test_random_points_say_what_they_are() -> None:
    suggestions = make(definition("random"), 1).suggest(range(2))
    assert [(s.origin, s.why, s.dedupe_key, s.grid_index) for s in suggestions] == [
        ("random", {"draw": 0}, None, None),
        ("random", {"draw": 1}, None, None),
    ]
