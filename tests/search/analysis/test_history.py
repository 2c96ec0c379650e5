"""The best so far beside the obvious way to find it, and what thinning keeps."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.history import Outcome, best_so_far, thinned

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCORES = st.none() | st.floats(-1e6, 1e6)
OUTCOMES = st.lists(st.tuples(st.sampled_from(["completed", "pruned", "diverged", "failed"]), SCORES), max_size=60)


def outcomes(given: list[tuple[str, float | None]]) -> list[Outcome]:
    return [Outcome(number, number + 1, state, NOW, score) for number, (state, score) in enumerate(given)]


@given(OUTCOMES)
def test_the_best_is_the_least_of_what_completed(drawn: list[tuple[str, float | None]]) -> None:
    seen = outcomes(drawn)
    for place, point in enumerate(best_so_far(seen)):
        up_to = [each.score for each in seen[: place + 1] if each.state == "completed" and each.score is not None]
        before = up_to[:-1] if seen[place].state == "completed" and seen[place].score is not None else up_to
        assert point.best == min(up_to, default=None)
        assert point.improved == (point.best is not None and (not before or point.best < min(before)))


@given(OUTCOMES, st.integers(2, 70))
def test_thinning_keeps_improvements_and_ends_in_order(drawn: list[tuple[str, float | None]], most: int) -> None:
    points = best_so_far(outcomes(drawn))
    kept = thinned(points, most)
    musts = [p for place, p in enumerate(points) if p.improved or place in {0, len(points) - 1}]
    assert len(kept) == (min(len(points), max(most, len(musts))) if len(points) > most else len(points))
    assert [p for p in points if p in kept] == kept
    assert all(point in kept for point in musts)


def test_thinning_is_even() -> None:
    points = best_so_far(outcomes([("completed", 1.0)] * 1001))
    numbers = [point.outcome.number for point in thinned(points, 11)]
    assert numbers[0] == 0
    assert numbers[-1] == 1000
    gaps = [b - a for a, b in pairwise(numbers)]
    assert max(gaps) <= 2 * min(gaps[1:-1])


@pytest.mark.parametrize("most", [2, 10])
def test_more_improvements_than_points_are_all_kept(most: int) -> None:
    points = best_so_far(outcomes([("completed", float(-place)) for place in range(50)]))
    assert thinned(points, most) == points
