"""Who stands where at a rung, by one loss or by several."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import Losses, dominates
from search.pruners.ranking import Standing, standings


@st.composite
def rungs(draw: st.DrawFn) -> dict[int, Losses]:
    """Draw losses on a small lattice, so that ties and equal points are common."""
    size = draw(st.integers(1, 4))
    points = draw(st.lists(st.tuples(*[st.integers(0, 4).map(float)] * size), min_size=1, max_size=16))
    return dict(enumerate(points))


def whole(rung: Mapping[int, Losses]) -> dict[int, Standing]:
    return standings(rung, list(rung))


def test_by_hand() -> None:
    """Ends of the first front are equals; between them the lonely one comes before the crowded one, then the next front."""
    rung = {0: (0.0, 9.0), 1: (9.0, 0.0), 2: (1.0, 8.0), 3: (4.0, 4.0), 4: (9.0, 9.0), 5: (4.0, 5.0)}
    assert whole(rung) == {
        0: Standing(1, 1),
        1: Standing(1, 1),
        3: Standing(1, 3),
        2: Standing(1, 4),
        5: Standing(2, 5),
        4: Standing(3, 6),
    }
    assert standings(rung, [5]) == {5: Standing(2, 5)}


def test_equals_have_one_rank_and_crowd_nobody() -> None:
    """Two at one place count twice for who is behind them, and no more than one for their neighbours."""
    rung = {0: (0.0, 4.0), 1: (4.0, 0.0), 2: (1.0, 3.0), 3: (1.0, 3.0), 4: (3.0, 1.0), 5: (3.5, 0.5)}
    ranks = {number: standing.rank for number, standing in whole(rung).items()}
    # Of the inner ones (1, 3) has neighbours 3 / 4 apart in each loss, (3, 1) 2.5 / 4, and (3.5, 0.5) 1 / 4.
    assert ranks == {0: 1, 1: 1, 2: 3, 3: 3, 4: 5, 5: 6}


@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=20))
def test_with_one_loss_it_is_the_order_of_scores(scores: list[float]) -> None:
    found = whole({number: (score,) for number, score in enumerate(scores)})
    assert {n: standing.rank for n, standing in found.items()} == {
        n: 1 + sum(other < score for other in scores) for n, score in enumerate(scores)
    }


@given(rungs())
def test_who_dominates_stands_before(rung: dict[int, Losses]) -> None:
    found = whole(rung)
    for one, losses in rung.items():
        for other, behind in rung.items():
            if dominates(losses, behind):
                assert (found[one].front, found[one].rank) < (found[other].front, found[other].rank)
                assert found[one].rank < found[other].rank
            if losses == behind:
                assert found[one] == found[other]


@given(rungs(), st.integers(1, 16))
def test_at_least_the_best_few_go_on_and_beyond_them_only_equals(rung: dict[int, Losses], kept: int) -> None:
    ranks = sorted(standing.rank for standing in whole(rung).values())
    on = [rank for rank in ranks if rank <= kept]
    assert len(on) >= min(kept, len(rung))
    assert set(ranks[kept:]) & set(on) <= {ranks[min(kept, len(rung)) - 1]}


@given(rungs(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(rung: dict[int, Losses], rng: Random) -> None:
    shuffled = list(rung)
    rng.shuffle(shuffled)
    assert whole({number: rung[number] for number in shuffled}) == whole(rung)


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_some_stand_as_they_do_among_all(losses: int) -> None:
    rng = Random(losses)
    rung = {number: tuple(rng.random() for _ in range(losses)) for number in range(60)}
    everyone = whole(rung)
    assert standings(rung, [3, 17, 59]) == {number: everyone[number] for number in (3, 17, 59)}
    assert standings(rung, []) == {}
