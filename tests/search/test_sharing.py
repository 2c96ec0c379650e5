"""How many trials one worker holds: shares worked by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition import parse_study
from search.schema import StudyDefinition
from search.sharing import share
from tests.support.ledger import definition


def _study(strategy: str, **search: Any) -> StudyDefinition:
    return parse_study(definition(strategy, search={"strategy": strategy, **search}))


RANDOM = _study("random")


@pytest.mark.parametrize(
    ("open_trials", "workers", "most"),
    [(64, 1, 64), (64, 2, 32), (65, 2, 33), (3, 4, 1), (1, 1, 1), (10, 3, 4), (7, 0, 7)],
)
def test_points_that_do_not_learn_are_divided(open_trials: int, workers: int, most: int) -> None:
    assert share(RANDOM, budget=100, open_trials=open_trials, workers=workers) == most


@pytest.mark.parametrize(
    ("startup", "budget", "workers", "most"),
    [(10, 40, 1, 10), (10, 800, 1, 100), (10, 800, 2, 50), (10, 87, 3, 4), (0, 7, 1, 1), (0, 7, 4, 1), (500, 8, 1, 64)],
)
def test_suggested_points_are_few_at_a_time(startup: int, budget: int, workers: int, most: int) -> None:
    study = _study("bayesian", startup=startup)
    assert share(study, budget=budget, open_trials=64 if budget < 100 else budget, workers=workers) == most


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_workers_that_each_take_their_share_leave_nothing(open_trials: int, workers: int) -> None:
    most = share(RANDOM, budget=open_trials, open_trials=open_trials, workers=workers)
    assert open_trials <= most * workers < open_trials + workers
