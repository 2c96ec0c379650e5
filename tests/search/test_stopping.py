"""The rules that end a study, on numbers worked by hand."""

from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.limits import NoImprovement
from search.stopping import Estimate, Left, estimate, expects_little, room, stalled

RULE = NoImprovement(trials=3, min_delta=0.1)
TRIAL = Estimate(wall=10.0, device=4.0)


@pytest.mark.parametrize(
    ("before", "recent", "stops"),
    [
        (None, [0.5, 0.5, 0.5], False),  # nothing to improve on
        (1.0, [1.0, 1.0], False),  # too few
        (1.0, [1.0, 2.0, 1.5], True),
        (1.0, [0.95, None, None], True),  # better, but by less than 0.1
        (1.0, [0.9, None, None], True),  # and by just that
        (1.0, [None, 0.89, None], False),
        (1.0, [None, None, None], True),
    ],
)
def test_no_improvement(before: float | None, recent: Sequence[float | None], stops: bool) -> None:
    assert stalled(RULE, before, recent) is stops


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.integers(1, 5))
def test_no_improvement_is_what_a_loop_over_the_best_says(scores: list[float], trials: int) -> None:
    best, since = inf, 0
    for score in scores:
        best, since = (score, 0) if score < best else (best, since + 1)
    before = min(scores[:-trials], default=None)
    assert stalled(NoImprovement(trials=trials), before, scores[::-1][:trials]) is (since >= trials)


@pytest.mark.parametrize(
    ("expected", "stops"),
    [
        ([0.01, 0.01], False),
        ([0.01, 0.01, 0.01], True),
        ([0.01, 0.01, 0.01, 9.0], True),
        ([0.01, 0.1, 0.01], False),
        ([0.01, None, 0.01], False),
        ([], False),
    ],
)
def test_expected_improvement(expected: Sequence[float | None], stops: bool) -> None:
    assert expects_little(0.1, 3, expected) is stops


@pytest.mark.parametrize(
    ("left", "trial", "fits"),
    [
        (Left(None, None, 3), TRIAL, inf),
        (Left(10.0, None, 3), TRIAL, inf),
        (Left(9.9, None, 3), TRIAL, 0),
        (Left(9.9, None, 3), None, inf),
        (Left(0.0, None, 0), None, 0),
        (Left(None, 20.0, 0), TRIAL, 5),
        (Left(None, 20.0, 3), TRIAL, 2),  # three times four are set aside
        (Left(None, 19.9, 3), TRIAL, 1),
        (Left(None, 8.0, 3), TRIAL, 0),
        (Left(None, 0.5, 9), None, inf),
        (Left(None, 0.0, 0), None, 0),
        (Left(None, 0.5, 9), Estimate(0.0, 0.0), inf),
        (Left(100.0, 8.0, 1), TRIAL, 1),
        (Left(5.0, 800.0, 1), TRIAL, 0),
    ],
)
def test_room(left: Left, trial: Estimate | None, fits: float) -> None:
    assert room(left, trial) == fits


@given(st.floats(0.1, 100), st.floats(0.1, 1000), st.integers(0, 20))
def test_what_is_admitted_fits(device: float, left: float, running: int) -> None:
    fits = room(Left(None, left, running), Estimate(1.0, device))
    assert fits == 0 or (running + fits) * device <= left * (1 + 1e-9)


def test_an_estimate_is_a_median() -> None:
    assert estimate([1.0, 5.0, 90.0], [2.0, 1.0]) == Estimate(5.0, 1.5)
    assert estimate([], []) is None
