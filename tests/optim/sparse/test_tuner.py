"""The autotuner decides by what it is told: all costs are invented here, and nothing is measured."""

import math

import pytest

from optim.sparse.costs import Spent, Survey
from optim.sparse.tuner import DENSE, LISTS, SCAN, Limits, Tuner

Costs = dict[str, tuple[float, float, float]]

SLOW_DENSE: Costs = {DENSE: (0.0, 3.0, 0.0), SCAN: (2.0, 0.1, 0.0), LISTS: (0.2, 0.1, 0.0)}


def look(
    *, drift: float = 0.0, size: float = 0.0, building: float = 0.0, listed: float = 0.04, looking: float = 0.0
) -> Survey:
    """Return what lists of any slack would be: two candidates for each active neuron, at the slack of 0.25."""
    return Survey(0.02, listed=listed, updates=0.5, drift=drift, building=building, bytes=size, looking=looking)


def run(tuner: Tuner, steps: int, costs: Costs, survey: Survey | None = None) -> list[str]:
    """Take steps that cost (finding, moving, keeping) seconds by their way; return in which way each was taken."""
    taken = []
    for _ in range(steps):
        taken.append(tuner.way)
        tuner.take(Spent(*costs[tuner.way], 1), lambda slack: survey or look(listed=0.03 + 0.04 * slack))
    return taken


def tuned(*, steps: int = 10_000, ways: tuple[str, ...] = (SCAN, DENSE, LISTS), allowed: float = math.inf) -> Tuner:
    return Tuner(Limits(ways, steps, allowed), slack=0.25)


def test_ways_without_lists_are_tried_first_and_lists_are_built_where_they_save() -> None:
    tuner = tuned()
    assert run(tuner, 10, SLOW_DENSE) == [SCAN] * 2 + [LISTS] * 8
    assert (tuner.listed, tuner.structure) == (0.25, LISTS)


def test_two_products_are_tried_where_moving_is_not_cheap_beside_finding() -> None:
    costs: Costs = {SCAN: (2.0, 1.5, 0.0), DENSE: (0.0, 3.0, 0.0)}
    assert run(tuned(ways=(SCAN, DENSE)), 6, costs) == [SCAN] * 2 + [DENSE] * 4


def test_there_are_no_lists_before_they_are_chosen() -> None:
    assert tuned().listed is None


@pytest.mark.parametrize(("cheap", "dear"), [(DENSE, SCAN), (SCAN, DENSE)])
def test_short_steps_are_tried_for_a_while_and_the_cheaper_way_is_taken(cheap: str, dear: str) -> None:
    costs: Costs = {cheap: (0.0, 1e-3, 0.0), dear: (1e-3, 1e-3, 0.0)}
    tries = {cheap: 6, dear: 3}  # for more than five milliseconds each
    taken = run(tuned(), 12, costs, look(drift=1.0, building=1.0))
    assert taken == [SCAN] * tries[SCAN] + [DENSE] * tries[DENSE] + [cheap] * 3


def test_a_single_way_is_never_left() -> None:
    for way in (DENSE, SCAN, LISTS, "ball_tree", "correlation_tree"):
        tuner = tuned(ways=(way,))
        assert run(tuner, 200, {way: (1.0, 1.0, 50.0)}) == [way] * 200
        assert (tuner.listed is None) is (way in {DENSE, SCAN})


@pytest.mark.parametrize(
    ("dense", "scan", "moving", "survey"),
    # Measured with one thread on 1000 inputs of 16 features: width 500 at a batch of 16, width 2000 at batches of 1 and 16.
    [
        (46e-6, 117e-6, 37e-6, Survey(active=0.0598, listed=0.0988, updates=0.958, drift=0.0454, building=3.1e-3)),
        (41e-6, 54e-6, 30e-6, Survey(active=0.0409, listed=0.0695, updates=0.041, drift=0.0163, building=5.6e-3)),
        (97e-6, 92e-6, 39e-6, Survey(active=0.0409, listed=0.0692, updates=0.654, drift=0.0163, building=5.4e-3)),
    ],
)
def test_a_narrow_network_is_trained_without_lists(dense: float, scan: float, moving: float, survey: Survey) -> None:
    costs: Costs = {DENSE: (0.0, dense, 0.0), SCAN: (scan - moving, moving, 0.0)}
    assert LISTS not in run(tuned(steps=10_000), 10_000, costs, survey)


def test_at_a_high_rate_rows_move_too_far_for_lists() -> None:
    costs: Costs = {DENSE: (0.0, 3.0, 0.0), SCAN: (2.0, 0.1, 0.0), LISTS: (0.2, 0.1, 0.0)}
    assert run(tuned(), 20, costs, look(drift=0.001, building=50.0))[-1] == LISTS
    assert run(tuned(), 20, costs, look(drift=0.5, building=50.0))[-1] == SCAN


@pytest.mark.parametrize("drift", [math.nan, math.inf])
def test_a_training_that_diverges_builds_nothing(drift: float) -> None:
    assert LISTS not in run(tuned(), 200, SLOW_DENSE, look(drift=drift, building=1.0))


def looks(tuner: Tuner, steps: int, costs: Costs, survey: Survey) -> list[tuple[int, float]]:
    """Take steps as `run` does; return before which of them it was looked at which slack."""
    asked: list[tuple[int, float]] = []
    for step in range(steps):

        def asking(slack: float, step: int = step) -> Survey:
            asked.append((step + 1, slack))
            return survey

        tuner.take(Spent(*costs[tuner.way], 1), asking)
    return asked


def test_lists_that_did_not_pay_are_looked_at_again_after_twice_as_many_steps() -> None:
    asked = looks(tuned(), 300, SLOW_DENSE, look(drift=9.0, building=9.0))
    assert asked == [(2, 0.25), (34, 0.25), (98, 0.25), (226, 0.25)]


def test_a_look_that_takes_long_is_put_off() -> None:
    # Each takes as long as nearly three steps, and so much is 3 % of some hundred.
    asked = looks(tuned(), 400, SLOW_DENSE, look(drift=9.0, building=9.0, looking=6.2))
    assert asked == [(2, 0.25), (99, 0.25), (197, 0.25), (325, 0.25)]


def test_lists_are_looked_at_with_one_other_slack_on_the_side_that_promises_more() -> None:
    for lists, other in (((0.2, 0.2, 0.1), 0.125), ((0.1, 0.2, 0.2), 0.5)):
        asked = looks(tuned(), 36, SLOW_DENSE | {LISTS: lists}, look())
        assert asked == [(2, 0.25), (34, 0.25), (34, other)]


def test_from_dense_steps_scanning_is_tried_again_before_each_look() -> None:
    costs: Costs = {SCAN: (2.0, 1.5, 0.0), DENSE: (0.0, 3.0, 0.0)}
    tuner = tuned()
    taken = run(tuner, 200, costs, look(drift=9.0, building=9.0, looking=2.0))
    assert taken[:4] == [SCAN, SCAN, DENSE, DENSE]
    assert taken[36:39] == [SCAN, SCAN, DENSE]
    # With two looks these two steps of 7 seconds count: there are no others before 367 seconds.
    assert taken[38:120] == [DENSE] * 82
    assert SCAN in taken[120:126]


def test_rows_that_have_come_to_rest_get_lists_later() -> None:
    tuner = tuned()
    assert run(tuner, 20, SLOW_DENSE, look(drift=9.0, building=9.0))[-1] == SCAN
    assert run(tuner, 30, SLOW_DENSE)[-1] == LISTS


def test_what_was_slow_for_a_while_is_measured_anew() -> None:
    tuner = tuned(ways=(SCAN, LISTS))
    assert run(tuner, 4, {SCAN: (2.0, 50.0, 0.0)}, look(building=9.0)) == [SCAN] * 4
    assert run(tuner, 40, SLOW_DENSE, look(building=9.0)) == [SCAN] * 30 + [LISTS] * 10


def test_nothing_is_built_that_does_not_pay_in_what_is_left() -> None:
    for steps, expected in ((8, SCAN), (100, LISTS)):
        assert run(tuned(steps=steps), 8, SLOW_DENSE, look(building=20.0))[-1] == expected


def test_lists_that_have_outgrown_memory_are_left_for_good() -> None:
    tuner = tuned()
    assert run(tuner, 10, SLOW_DENSE)[-1] == LISTS
    tuner.forbid(LISTS)
    assert tuner.listed is None
    assert run(tuner, 300, SLOW_DENSE) == [SCAN] * 300


def test_lists_that_memory_does_not_hold_are_left_out() -> None:
    assert LISTS not in run(tuned(allowed=1e6), 100, SLOW_DENSE, look(size=2e6))
    assert LISTS in run(tuned(allowed=1e6), 100, SLOW_DENSE, look(size=5e5))


def test_lists_that_do_not_keep_up_are_tried_against_the_best_other_way_and_left() -> None:
    tuner = tuned()
    taken = run(tuner, 60, SLOW_DENSE | {LISTS: (0.2, 0.1, 50.0)})
    assert taken[2:34] == [LISTS] * 32
    assert taken[34:] == [SCAN] * 26
    assert tuner.listed is None


def test_lists_are_kept_where_other_ways_have_become_slow_too() -> None:
    tuner = tuned()
    run(tuner, 5, SLOW_DENSE)
    slow: Costs = {way: (10 * a, 10 * b, 10 * c) for way, (a, b, c) in SLOW_DENSE.items()}
    taken = run(tuner, 200, slow)
    assert SCAN in taken
    assert tuner.way == LISTS


def test_lists_that_were_left_are_not_built_again_before_their_building_is_made_up_for() -> None:
    costs = SLOW_DENSE | {LISTS: (0.2, 0.1, 7.0)}
    assert run(tuned(), 110, costs, look(building=9.0)).count(LISTS) == 32
    assert run(tuned(), 250, costs, look(building=9.0)).count(LISTS) > 32


def test_lists_stay_there_while_another_way_is_tried() -> None:
    tuner = tuned()
    taken = run(tuner, 35, SLOW_DENSE | {LISTS: (0.2, 0.1, 50.0)})
    assert (taken[-1], tuner.way, tuner.listed) == (SCAN, SCAN, 0.25)


@pytest.mark.parametrize(
    ("lists", "slack"), [((1.0, 0.1, 0.0), 0.03125), ((0.001, 0.001, 1.5), 2.0), ((0.2, 0.2, 0.2), 0.25)]
)
def test_the_slack_goes_where_it_is_foretold_to_be_cheapest(lists: tuple[float, float, float], slack: float) -> None:
    tuner = tuned()
    for _ in range(600):
        tuner.take(Spent(*(SLOW_DENSE | {LISTS: lists})[tuner.way], 1), lambda each: look(listed=0.01 + 0.1 * each))
    assert tuner.slack == slack


def test_a_slack_that_memory_does_not_hold_is_left_out() -> None:
    tuner = tuned(allowed=100.0)
    for _ in range(100):
        lists = SLOW_DENSE | {LISTS: (0.001, 0.001, 1.5)}
        tuner.take(Spent(*lists[tuner.way], 1), lambda slack: look(size=400.0 * slack))
    assert tuner.way == LISTS
    assert tuner.slack == 0.25
