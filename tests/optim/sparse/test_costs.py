"""What is foretold, and what follows from it."""

import math

import pytest

from optim.sparse.costs import Spent, Survey, at_slack, foretold, worth_building


def test_seconds_add_up() -> None:
    both = Spent(1.0, 2.0, 3.0, 4) + Spent(1.0, 0.0, 1.0, 1)
    assert both == Spent(2.0, 2.0, 4.0, 5)
    assert both.seconds == 8.0
    assert both.per_step == Spent(0.4, 0.4, 0.8, 1)


def test_lists_cost_by_their_length_and_by_how_far_rows_come() -> None:
    scan = Spent(finding=1.0, moving=0.2, keeping=0.0, steps=1)
    still = foretold(scan, Survey(active=0.02, listed=0.04, updates=0.5, drift=0.0, building=7.0))
    assert (still.finding, still.moving, still.keeping) == pytest.approx((0.4 / 3, 0.85 * 0.2, 0.0))
    moving = foretold(scan, Survey(active=0.02, listed=0.04, updates=0.5, drift=0.1, building=7.0))
    # Between rows that go straight on, and those on a random walk, each three times as dear as its part of building.
    low, high = sorted((3 * 7.0 * 0.1, 3 * 7.0 * 0.1**2 / 0.5))
    assert low < moving.keeping < high


@pytest.mark.parametrize(("active", "updates"), [(0.0, 0.0), (1e-12, 1e-12)])
def test_nobody_active_is_no_division_by_zero(active: float, updates: float) -> None:
    survey = Survey(active=active, listed=0.01, updates=updates, drift=0.0, building=1.0)
    assert math.isfinite(foretold(Spent(1.0, 1e-6, 0.0, 1), survey).seconds)


def test_a_wider_slack_makes_longer_lists_and_less_upkeep() -> None:
    lists = Spent(0.4, 0.2, 0.8, 1)
    wider = at_slack(lists, narrower=0.5, longer=1.5)
    assert wider.finding == pytest.approx(0.6)
    assert wider.moving == 0.2
    assert 0.8 / 4 <= wider.keeping <= 0.8 / 2


def test_lists_are_built_where_they_pay_for_themselves_in_what_is_left() -> None:
    lists = Spent(0.1, 0.1, 0.0, 1)
    assert worth_building(lists, without=1.0, building=10.0, steps=20)
    assert not worth_building(lists, without=1.0, building=10.0, steps=10)
    assert not worth_building(lists, without=0.2, building=0.0, steps=10**6)
    assert not worth_building(lists, without=math.nan, building=1.0, steps=10**6)
