"""The panel of a lane reads what the gauges of each run alone read."""

import math
import random

import numpy as np
import pytest
import torch

from training.course import explosion_limit
from training.monitors import Gauges
from training.population.panel import Broken, Counts, Floats, Panel
from training.state import State


def state(*, initial: float = 1.0) -> State:
    return State([], None, torch.Generator().get_state(), initial=initial)


def path(seed: int) -> list[float]:
    """Return losses that wander over the limit of ten, come back or do not."""
    dice = random.Random(seed)
    level, losses = 1.0, []
    for _ in range(60):
        level *= dice.choice([0.6, 0.9, 1.1, 2.0])
        losses.append(level)
    return losses


def take(panel: Panel, losses: Floats, counts: Counts) -> list[Broken]:
    return panel.take(losses, np.full(len(counts), len(losses)), counts, counts)


@pytest.mark.parametrize("counts", [(4, 4, 4, 4, 4, 4), (32, 16, 8, 4, 2, 1)])
def test_every_member_is_watched_as_alone(counts: tuple[int, ...]) -> None:
    paths = [path(seed) for seed in range(len(counts))]
    states = [state() for _ in counts]
    panel = Panel(states)
    found = {each.place: each for each in take(panel, np.array(paths).T, np.array(counts))}
    assert 0 < len(found) < len(counts), "some run away and some do not, or this shows nothing"
    for place, (losses, count) in enumerate(zip(paths, counts, strict=True)):
        gauges, limit = Gauges(), explosion_limit(states[place])
        exploded = next(
            (step for step, loss in enumerate(losses) if gauges.explodes(loss, limit=limit, batch_size=count)), None
        )
        if exploded is None:
            assert place not in found
            seen = panel.gauges(place)
        else:
            assert found[place].step == exploded
            seen = found[place].gauges
        assert seen.over == gauges.over
        assert seen.since_low == gauges.since_low
        assert seen.smoothed == pytest.approx(gauges.smoothed, rel=1e-12)
        assert seen.lowest == pytest.approx(gauges.lowest, rel=1e-12)


def test_it_goes_on_where_the_members_stand() -> None:
    losses, counts = np.array([path(3), path(4)]).T[:20], np.array([8, 8])
    whole, part = Panel([state(), state()]), Panel([state(), state()])
    take(whole, losses, counts)
    take(part, losses[:7], counts)
    states = [state(), state()]
    for place, each in enumerate(states):
        each.gauges, each.total = part.gauges(place), float(part.total[place])
    again = Panel(states)
    take(again, losses[7:], counts)
    for place in range(2):
        assert again.gauges(place) == whole.gauges(place)
        assert again.total[place] == whole.total[place]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_breaks_its_member_alone(bad: float) -> None:
    panel = Panel([state(), state()])
    (found,) = take(panel, np.array([[1.0, 1.0], [1.0, bad], [1.0, 1.0]]), np.array([4, 4]))
    assert (found.place, found.step) == (1, 1)
    assert panel.gauges(0).smoothed == pytest.approx(1.0)
    assert panel.total[0] == 12.0


def test_readings_are_summed_for_those_whose_turn_it_was() -> None:
    panel = Panel([state(), state()])
    for due in (np.array([True, False]), np.array([True, True])):
        panel.look(np.array([[1.0, 0.5, 1.0], [3.0, math.nan if not due[1] else 0.25, 1.0]]), due)
    first, second = panel.gauges(0), panel.gauges(1)
    assert (first.grad_norm, first.update_ratio, first.samples) == (2.0, 1.0, 2)
    assert (second.grad_norm, second.update_ratio, second.samples) == (3.0, 0.25, 1)
