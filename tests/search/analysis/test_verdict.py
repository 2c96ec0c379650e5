"""The verdict on samples whose truth is known."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search.analysis.verdict import Sample, judge

GOOD, BASE = Sample([0.10, 0.12, 0.11, 0.09]), Sample([0.50, 0.52, 0.47, 0.51])


def test_a_clear_difference_either_way() -> None:
    better = judge([GOOD], BASE, maximize=False, confidence=0.95)
    assert (better.verdict, better.winner) == ("improved", 0)
    assert better.difference == pytest.approx(-0.395)
    assert judge([GOOD], BASE, maximize=True, confidence=0.95).verdict == "worse"


def test_the_interval_is_welchs() -> None:
    found = judge([GOOD], BASE, maximize=False, confidence=0.95)
    # Each bound at 95 % is a two-sided interval at 90 %.
    interval = stats.ttest_ind(GOOD.values, BASE.values, equal_var=False).confidence_interval(0.9)
    assert found.interval == pytest.approx((interval.low, interval.high))


def test_choosing_among_finalists_widens_the_interval() -> None:
    one = judge([GOOD], BASE, maximize=False, confidence=0.95).interval
    two = judge([BASE, GOOD], BASE, maximize=False, confidence=0.95)
    assert two.winner == 1
    assert one is not None
    assert two.interval is not None
    assert two.interval[0] < one[0] < one[1] < two.interval[1]


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8)


@given(VALUES, VALUES, st.booleans())
def test_the_answer_and_the_interval_agree(first: Sequence[float], second: Sequence[float], maximize: bool) -> None:
    found = judge([Sample(first)], Sample(second), maximize=maximize, confidence=0.95)
    assert found.interval is not None
    low, high = found.interval
    better, worse = (low > 0, high < 0) if maximize else (high < 0, low > 0)
    assert found.verdict == ("improved" if better else "worse" if worse else "not distinguishable")


def test_a_finalist_that_diverged_cannot_win() -> None:
    unstable = Sample([0.01, 0.01, 0.01], diverged=1)
    assert judge([unstable, GOOD], BASE, maximize=False, confidence=0.95).winner == 1
    alone = judge([unstable], BASE, maximize=False, confidence=0.95)
    assert (alone.verdict, alone.winner) == ("not distinguishable", None)
    assert "1 of 1 diverged" in alone.reason


@pytest.mark.parametrize(
    ("runs", "finalists", "verdict"),
    [(3, 1, "improved"), (3, 2, "not distinguishable"), (2, 1, "not distinguishable"), (5, 3, "improved")],
)
def test_a_baseline_that_always_diverges(runs: int, finalists: int, verdict: str) -> None:
    sample = Sample([0.1] * runs)
    found = judge([sample] * finalists, Sample([], diverged=runs), maximize=False, confidence=0.95)
    assert (found.verdict, found.difference) == (verdict, None)


def test_too_few_values_say_nothing() -> None:
    assert judge([], BASE, maximize=False, confidence=0.95).verdict == "not distinguishable"
    assert judge([GOOD], Sample([0.5]), maximize=False, confidence=0.95).verdict == "not distinguishable"
    assert judge([Sample([0.1])], BASE, maximize=False, confidence=0.95).winner is None


def test_runs_that_do_not_vary() -> None:
    same, other = Sample([0.1] * 3), Sample([0.2] * 3)
    assert judge([same], other, maximize=False, confidence=0.95).verdict == "improved"
    assert judge([same], same, maximize=False, confidence=0.95).verdict == "not distinguishable"


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-200, 1e160, 1e300])
def test_the_answer_does_not_depend_on_the_unit(scale: float) -> None:
    noisy = Sample([scale * value for value in (1.0, 5.0, 3.0)]), Sample([scale * value for value in (2.0, 6.0, 4.0)])
    found = judge([noisy[0]], noisy[1], maximize=False, confidence=0.95)
    assert (found.verdict, found.winner) == ("not distinguishable", 0)
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]
    clear = Sample([scale * value for value in (90.0, 91.0, 92.0)])
    assert judge([noisy[0]], clear, maximize=False, confidence=0.95).verdict == "improved"


def test_values_of_any_size_are_judged() -> None:
    large, plain = Sample([1e160, 0.0, 5.0]), Sample([1.0, 2.0, 3.0])
    assert judge([large], plain, maximize=True, confidence=0.95).verdict == "not distinguishable"
    largest = Sample([1.7e308] * 3)
    assert largest.mean == 1.7e308
    assert judge([largest], plain, maximize=True, confidence=0.95).verdict == "improved"
    found = judge([largest], Sample([-1.7e308] * 3), maximize=True, confidence=0.95)
    assert (found.verdict, found.winner, found.difference, found.interval) == ("not distinguishable", 0, None, None)
    assert "too large" in found.reason


def _rate(draws: random.Random, *, finalists: int, replicates: int, shift: float, studies: int = 1000) -> float:
    def sample(mean: float) -> Sample:
        return Sample([draws.gauss(mean, 1.0) for _ in range(replicates)])

    found = [
        judge(
            [sample(-shift), *(sample(0.0) for _ in range(finalists - 1))], sample(0.0), maximize=False, confidence=0.95
        )
        for _ in range(studies)
    ]
    return sum(each.verdict == "improved" for each in found) / studies


@pytest.mark.parametrize(("finalists", "replicates"), [(1, 3), (1, 5), (3, 6)])
def test_equals_are_seldom_improved_and_two_deviations_are_found(finalists: int, replicates: int) -> None:
    """The bounds are three standard errors of a rate of a thousand studies beyond 5 % and below 80 %."""
    draws = random.Random(finalists * 100 + replicates)
    assert _rate(draws, finalists=finalists, replicates=replicates, shift=0.0) <= 0.05 + 0.021
    if replicates >= 5:
        assert _rate(draws, finalists=finalists, replicates=replicates, shift=2.0) >= 0.8 - 0.038
