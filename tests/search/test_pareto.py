"""Dominance, fronts and volumes beside their plainest definitions."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search import pareto
from search.pareto import Losses, Volume, crowding, dominates, dominators, front, front_numbers, fronts, hypervolume

REACH = 5


@st.composite
def point_sets(draw: st.DrawFn, *, most: int = 12, dimensions: int = 5) -> list[Losses]:
    """Draw points on a small lattice, so that ties and equal points are common."""
    size = draw(st.integers(1, dimensions))
    return draw(st.lists(st.tuples(*[st.integers(0, REACH).map(float)] * size), min_size=1, max_size=most))


def cells(points: list[Losses], reference: int) -> int:
    """Count the unit cells below the reference that some point dominates."""
    lattice = itertools.product(range(reference), repeat=len(points[0]))
    return sum(any(all(map(float.__le__, point, map(float, cell))) for point in points) for cell in lattice)


def test_who_dominates_whom() -> None:
    assert dominates((1.0, 2.0), (1.0, 3.0))
    assert not dominates((1.0, 2.0), (1.0, 2.0))
    assert not dominates((1.0, 2.0), (2.0, 1.0))


@given(point_sets(most=20))
def test_dominators_are_those_that_dominate(points: list[Losses]) -> None:
    found = [{k for k in range(len(points)) if mask >> k & 1} for mask in dominators(points)]
    assert found == [{k for k, other in enumerate(points) if dominates(other, point)} for point in points]


@given(point_sets(most=20))
def test_the_front_is_what_none_dominates(points: list[Losses]) -> None:
    plain = [place for place, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    assert front(points) == plain


def test_a_front_found_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    points = [(rng.random(), rng.random(), rng.random()) for _ in range(200)]
    whole = front(points)
    monkeypatch.setattr(pareto, "_BLOCK", 7)
    assert front(points) == whole
    assert len(whole) > 7


@given(point_sets(most=20))
def test_fronts_are_peeled_one_after_the_other(points: list[Losses]) -> None:
    left = list(range(len(points)))
    for found in fronts(points):
        first = front([points[place] for place in left])
        assert found == [left[place] for place in first]
        left = [place for place in left if place not in found]
    assert left == []


@given(point_sets(most=20))
def test_fronts_are_numbered_as_they_are_peeled(points: list[Losses]) -> None:
    numbers = front_numbers(points)
    peeled = [[place for place, number in enumerate(numbers) if number == front] for front in sorted(set(numbers))]
    assert peeled == list(fronts(points))
    assert min(numbers) == 1


def test_nothing_has_no_front() -> None:
    assert (front([]), list(fronts([])), dominators([]), crowding([])) == ([], [], [], [])
    assert front_numbers([]) == []


def test_crowding_is_the_gap_between_neighbours() -> None:
    points = [(0.0, 4.0), (1.0, 3.0), (3.0, 1.0), (4.0, 0.0)]
    assert crowding(points) == [math.inf, 3 / 4 + 3 / 4, 3 / 4 + 3 / 4, math.inf]
    assert crowding([(1.0, 1.0)] * 3) == [math.inf, 0.0, math.inf]
    assert crowding([(-1e308,), (0.0,), (1e308,)])[1] == 1.0


@given(point_sets(), st.integers(1, REACH + 1))
def test_the_volume_is_the_number_of_cells(points: list[Losses], reference: int) -> None:
    far = (float(reference),) * len(points[0])
    assert hypervolume(points, far) == cells(points, reference)


@given(point_sets(most=8, dimensions=4), st.randoms(use_true_random=False))
def test_a_volume_grown_point_by_point_is_the_same_in_any_order(points: list[Losses], rng: random.Random) -> None:
    far = (float(REACH),) * len(points[0])
    grown = Volume(far)
    rng.shuffle(points)
    for place, point in enumerate(points, start=1):
        grown.add(point)
        assert grown.value == hypervolume(points[:place], far)


@pytest.mark.parametrize("losses", [2, 3, 4])
def test_the_volume_of_real_numbers(losses: int) -> None:
    """By inclusion and exclusion over all subsets."""
    rng = random.Random(losses)
    points = [tuple(rng.random() for _ in range(losses)) for _ in range(9)]
    whole = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            whole -= (-1) ** size * math.prod(1.0 - max(values) for values in zip(*chosen, strict=True))
    assert hypervolume(points, (1.0,) * losses) == pytest.approx(whole, abs=1e-9)
    assert hypervolume(points, (0.0,) * losses) == 0.0
    assert hypervolume([], (1.0,) * losses) == 0.0
