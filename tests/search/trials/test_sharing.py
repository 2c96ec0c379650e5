"""How many trials one worker holds: shares worked by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.parse import parse_study
from search.definition.schema import StudyDefinition
from search.trials.sharing import share
from tests.support.ledger import definition


def _study(strategy: str, **search: Any) -> StudyDefinition:
    return parse_study(definition(strategy, search={"strategy": strategy, **search}))


RANDOM = _study("random")


@pytest.mark.parametrize(
    ("open_trials", "workers", "most"),
    [(64, 1, 64), (64, 2, 32), (65, 2, 33), (3, 4, 1), (1, 1, 1), (10, 3, 4), (7, 0, 7)],
)
def test_points_that_do_not_learn_are_divided(open_trials: int, workers: int, most: int) -> None:
    assert share(RANDOM, budget=100, finished=0, open_trials=open_trials, workers=workers) == most


@pytest.mark.parametrize(
    ("startup", "budget", "finished", "workers", "most"),
    [
        (10, 800, 0, 1, 10),
        (10, 800, 43, 1, 10),
        (10, 800, 44, 1, 11),
        (10, 800, 200, 2, 25),
        (10, 800, 700, 1, 100),
        (10, 87, 80, 3, 4),
        (0, 7, 6, 1, 1),
        (0, 7, 0, 4, 1),
        (500, 8, 0, 1, 64),
    ],
)
def test_suggested_points_are_few_at_a_time(startup: int, budget: int, finished: int, workers: int, most: int) -> None:
    study, open_trials = _study("bayesian", startup=startup), max(64, budget)
    assert share(study, budget=budget, finished=finished, open_trials=open_trials, workers=workers) == most


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_workers_that_each_take_their_share_leave_nothing(open_trials: int, workers: int) -> None:
    most = share(RANDOM, budget=open_trials, finished=0, open_trials=open_trials, workers=workers)
    assert open_trials <= most * workers < open_trials + workers
