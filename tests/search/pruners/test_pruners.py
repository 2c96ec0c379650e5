"""Pruning decisions on cases worked by hand."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.prunings import (
    COMPARING,
    PRUNINGS,
    AshaPruning,
    HyperbandPruning,
    MedianPruning,
    PatiencePruning,
    PercentilePruning,
    Pruning,
    ThresholdPruning,
)
from search.pruners.ranking import Standing
from search.pruners.table import COMPARISONS, SOLITARY, alone, bracket, keep, reason, rung, rungs

ASHA = AshaPruning(kind="asha", reduction=3, min_steps=1)
PROMOTE = AshaPruning(kind="asha", reduction=3, mode="promote")
MEDIAN = MedianPruning(kind="median", startup=4, warmup=2, interval=3)
QUARTER = PercentilePruning(kind="percentile", percentile=25.0, startup=2)
BRACKETS = HyperbandPruning(kind="hyperband", reduction=3, min_steps=2, max_steps=60)
PATIENCE = PatiencePruning(kind="patience", patience=2, min_delta=0.1)
BOUNDS = ThresholdPruning(kind="threshold", lower=0.1, upper=2.0, warmup=1, interval=2)
STOPPING = st.sampled_from([ASHA, AshaPruning(kind="asha", reduction=2, min_steps=5), MEDIAN, QUARTER, BRACKETS])


def test_every_kind_of_pruning_has_its_functions() -> None:
    assert set(COMPARING) == set(COMPARISONS)
    assert set(PRUNINGS) == {*COMPARISONS, *SOLITARY}


@pytest.mark.parametrize(
    ("pruning", "rungs"),
    [
        (ASHA, [1, 3, 9, 27]),
        (AshaPruning(kind="asha", reduction=2, min_steps=5), [5, 10, 20]),
        (MEDIAN, [5, 8, 11, 14, 17, 20, 23, 26, 29]),
        (MedianPruning(kind="median", interval=10), [10, 20, 30]),
        (PercentilePruning(kind="percentile", percentile=30.0, warmup=20, interval=4), [24, 28]),
        (BRACKETS, [2, 6, 18]),
        (PATIENCE, list(range(1, 31))),
        (BOUNDS, list(range(3, 31, 2))),
    ],
)
def test_rungs(pruning: Pruning, rungs: list[int]) -> None:
    assert [step for step in range(31) if rung(pruning, step)] == rungs


def test_the_last_step_is_no_rung() -> None:
    assert [step for step in range(1, 10) if rung(ASHA, step, last=9)] == [1, 3]


@pytest.mark.parametrize(
    ("pruning", "kept"),
    [
        (ASHA, [1, 1, 1, 1, 1, 2, 2, 2, 3, 3]),
        (AshaPruning(kind="asha", reduction=4), [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]),
        (PROMOTE, [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]),
        (MEDIAN, [1, 2, 3, 4, 3, 3, 4, 4, 5, 5]),
        (QUARTER, [1, 2, 1, 1, 2, 2, 2, 2, 3, 3]),
        (PercentilePruning(kind="percentile", percentile=0.1, startup=1), [1] * 10),
        (BRACKETS, [1, 1, 1, 1, 1, 2, 2, 2, 3, 3]),
        (PATIENCE, list(range(1, 11))),
        (PatiencePruning(kind="patience", patience=1, rule=ASHA), [1, 1, 1, 1, 1, 2, 2, 2, 3, 3]),
    ],
)
def test_how_many_go_on(pruning: Pruning, kept: list[int]) -> None:
    assert [keep(pruning, size) for size in range(1, 11)] == kept


@given(pruning=STOPPING, size=st.integers(1, 10**6))
def test_someone_goes_on(pruning: Pruning, size: int) -> None:
    assert 1 <= keep(pruning, size) <= size


def test_asha_in_order_of_arrival() -> None:
    """Nine scores reach a rung one after the other; each is judged among those before it."""
    arrivals = [0.9, 0.8, 0.7, 0.95, 0.75, 0.6, 0.65, 0.99, 0.5]
    goes_on = []
    for count, score in enumerate(arrivals, start=1):
        better = sum(other < score for other in arrivals[:count])
        goes_on.append(better < keep(ASHA, count))
    assert goes_on == [True, True, True, False, False, True, True, False, True]


def test_the_median_rule_stops_what_is_worse_than_the_median() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5]
    stopped = [score for rank, score in enumerate(scores) if rank >= keep(MEDIAN, len(scores))]
    assert stopped == [0.4, 0.5]  # 0.3 is the median


@given(st.integers(1, 10**6))
def test_the_median_is_the_percentile_of_fifty(size: int) -> None:
    assert keep(PercentilePruning(kind="percentile", percentile=50.0, startup=4), size) == keep(MEDIAN, size)


def test_a_bracket_begins_later_than_the_one_before() -> None:
    starts = [[step for step in range(61) if rung(BRACKETS, step, bracket=place)] for place in range(4)]
    assert starts == [[2, 6, 18, 54], [6, 18, 54], [18, 54], [54]]


def test_brackets_get_the_shares_of_the_paper() -> None:
    """By hand, reduction 3 and four brackets: ceil(4 * 27 / 4), ceil(4 * 9 / 3), ceil(4 * 3 / 2), 4: 27, 12, 6, 4 of 49."""
    found = Counter(bracket(BRACKETS, number, seed=7) for number in range(4900))
    assert [found[place] for place in range(4)] == pytest.approx([2700, 1200, 600, 400], abs=4)


@given(st.integers(0, 2**53 - 1), st.integers(0, 10**6))
def test_a_bracket_depends_on_seed_and_number_alone(seed: int, number: int) -> None:
    assert 0 <= bracket(BRACKETS, number, seed=seed) == bracket(BRACKETS, number, seed=seed) < 4


def test_another_seed_is_another_order_of_brackets() -> None:
    first, second = ([bracket(BRACKETS, number, seed=seed) for number in range(60)] for seed in (1, 3))
    assert first != second


@pytest.mark.parametrize(("steps", "count"), [(1000, 4), (999, 3), (1, 1)])
def test_brackets_are_counted_in_whole_numbers(steps: int, count: int) -> None:
    """The logarithm of 1000 to the base 10 is a little less than 3."""
    pruning = HyperbandPruning(kind="hyperband", reduction=10, max_steps=steps)
    assert {bracket(pruning, number, seed=0) for number in range(3000)} == set(range(count))


@pytest.mark.parametrize(
    ("curve", "stops"),
    [
        ([1.0, 1.0], False),  # two measurements after the first are needed
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.2, 0.95], True),  # better, but by less than 0.1
        ([1.0, 1.2, 0.9], True),  # and by just that
        ([1.0, 1.2, 0.89], False),
        ([1.0, 0.5, 0.89, 0.7], True),
        ([1.0, 0.89, 0.79, 0.78], False),
    ],
)
def test_patience(curve: list[float], stops: bool) -> None:
    said = alone(PATIENCE, curve)
    assert said == ("patience: no improvement of more than 0.1 in 2 measurements" if stops else None)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.1, None),
        (2.0, None),
        (0.09, "threshold: the value 0.09 is below 0.1"),
        (2.5, "threshold: the value 2.5 is above 2"),
    ],
)
def test_threshold(value: float, said: str | None) -> None:
    assert alone(BOUNDS, [9.0, value]) == said


def test_reasons_name_rung_rank_and_size() -> None:
    said = reason(ASHA, step=3, kept=2, size=7, standing=Standing(front=2, rank=5))
    assert said == "asha: rank 5 of 7, on front 2, at step 3; the best 2 go on"
    assert reason(MEDIAN, step=8, kept=4, size=8) == "median: behind the best 4 of 8 at step 8; the best 4 go on"
    assert reason(PROMOTE, step=3, kept=0, size=2) == "asha: waits at step 3; of 2 there the best 0 go on"
    assert reason(BRACKETS, step=6, kept=1, size=2, bracket=1).endswith("at step 6 of bracket 1; the best 1 go on")


@given(
    st.one_of(
        st.builds(AshaPruning, kind=st.just("asha"), reduction=st.integers(2, 9), min_steps=st.integers(1, 40)),
        st.builds(MedianPruning, kind=st.just("median"), warmup=st.integers(0, 40), interval=st.integers(1, 40)),
        st.builds(
            HyperbandPruning, kind=st.just("hyperband"), min_steps=st.integers(1, 9), max_steps=st.integers(9, 99)
        ),
        st.sampled_from([PATIENCE, BOUNDS, QUARTER]),
    ),
    st.integers(1, 120),
)
def test_rungs_are_the_steps_at_which_a_decision_is_due(pruning: Pruning, last: int) -> None:
    assert rungs(pruning, last=last) == [step for step in range(1, last + 1) if rung(pruning, step, last=last)]


def test_without_pruning_there_is_no_rung() -> None:
    assert rungs(None, last=100) == []
