"""Pruning decisions on cases worked by hand."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.prunings import AshaPruning, MedianPruning, Pruning
from search.pruners.table import PRUNERS, keep, reason, rung, rungs

ASHA = AshaPruning(kind="asha", reduction=3, min_steps=1)
MEDIAN = MedianPruning(kind="median", startup=4, warmup=2, interval=3)
KINDS = st.sampled_from([ASHA, AshaPruning(kind="asha", reduction=2, min_steps=5), MEDIAN])


def test_every_kind_of_pruning_has_its_functions() -> None:
    assert {model.model_fields["kind"].annotation for model in get_args(Pruning)}
    assert {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(Pruning)} == set(PRUNERS)


@pytest.mark.parametrize(
    ("pruning", "rungs"),
    [
        (ASHA, [1, 3, 9, 27]),
        (AshaPruning(kind="asha", reduction=2, min_steps=5), [5, 10, 20]),
        (MEDIAN, [5, 8, 11, 14, 17, 20, 23, 26, 29]),
        (MedianPruning(kind="median", interval=10), [10, 20, 30]),
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
        (MEDIAN, [1, 2, 3, 4, 3, 3, 4, 4, 5, 5]),
    ],
)
def test_how_many_go_on(pruning: Pruning, kept: list[int]) -> None:
    assert [keep(pruning, size) for size in range(1, 11)] == kept


@given(pruning=KINDS, size=st.integers(1, 10**6))
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


def test_reasons_name_rung_rank_and_size() -> None:
    assert reason(ASHA, step=3, kept=2, size=7, rank=5) == "asha: rank 5 of 7 at step 3; the best 2 go on"
    assert reason(MEDIAN, step=8, kept=4, size=8) == "median: behind the best 4 of 8 at step 8; the best 4 go on"


@given(
    st.one_of(
        st.builds(AshaPruning, kind=st.just("asha"), reduction=st.integers(2, 9), min_steps=st.integers(1, 40)),
        st.builds(MedianPruning, kind=st.just("median"), warmup=st.integers(0, 40), interval=st.integers(1, 40)),
    ),
    st.integers(1, 120),
)
def test_rungs_are_the_steps_at_which_a_decision_is_due(pruning: Pruning, last: int) -> None:
    assert rungs(pruning, last=last) == [step for step in range(1, last + 1) if rung(pruning, step, last=last)]


def test_without_pruning_there_is_no_rung() -> None:
    assert rungs(None, last=100) == []
