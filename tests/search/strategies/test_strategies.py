"""Grid and random search in full; what all strategies promise is in `test_conformance`."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.records import record
from search.definition.parse import EXAMPLE_STUDIES, StudyDefinition, parse_study
from search.space.plan import dedupe_key
from search.space.points import count_grid, grid_point
from search.strategies.table import make


def definition(strategy: str, *, space: Mapping[str, Any] | None = None, **search: object) -> StudyDefinition:
    raw = copy.deepcopy(EXAMPLE_STUDIES["iris-grid" if strategy == "grid" and space is None else "digits-mlp"])
    raw["search"] = {"strategy": strategy, **search}
    raw["budget"] = {"trials": 1000}
    if space is not None:
        raw["space"] = space
    return parse_study(raw)


@pytest.mark.parametrize("name", ["grid", "random", "sobol", "halton"])
def test_points_without_history_depend_on_the_index_alone(name: str) -> None:
    study = definition(name)
    together = make(study, 1).suggest(range(20))
    apart = make(study, 1)
    assert apart.reads_history is False
    for index in (7, 3, 19, 3):
        apart.update([record(index, seq=1, state="completed", params=together[index].params, score=0.0)])
        assert apart.suggest(range(index, index + 1)) == [together[index]]


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
