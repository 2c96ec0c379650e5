"""Seeded draws and the shuffled order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.sampling import SEED_LIMIT, Draws, derive_seed, permutation, shuffled


def test_a_draw_depends_on_seed_index_and_salt_alone() -> None:
    def words(seed: int, index: int, salt: int) -> list[int]:
        draws = Draws(seed, index, salt=salt)
        return [draws.word() for _ in range(20)]

    assert words(1, 2, 3) == words(1, 2, 3)
    streams = [words(1, 2, 3), words(2, 2, 3), words(1, 3, 3), words(1, 2, 4)]
    assert len({word for stream in streams for word in stream}) == 80


def test_the_stream_stays_the_same_between_versions() -> None:
    assert Draws(7, 0).word() == 2690880746643916636
    assert [shuffled(10, seed=7)(place) for place in range(10)] == [8, 3, 1, 5, 9, 2, 7, 4, 6, 0]


@given(size=st.integers(1, 300), seed=st.integers(0, SEED_LIMIT - 1))
def test_the_shuffled_order_is_a_bijection(size: int, seed: int) -> None:
    order = shuffled(size, seed=seed)
    assert sorted(order(place) for place in range(size)) == list(range(size))
    assert permutation(size, seed=seed, place=size - 1) == order(size - 1)


def test_seeds_shuffle_differently() -> None:
    assert len({tuple(shuffled(24, seed=seed)(place) for place in range(24)) for seed in range(50)}) == 50


def test_every_place_is_as_likely_to_come_first() -> None:
    size, seeds = 12, 6000
    firsts = [shuffled(size, seed=seed)(0) for seed in range(seeds)]
    expected = seeds / size
    chi_squared = sum((firsts.count(place) - expected) ** 2 / expected for place in range(size))
    assert chi_squared < 31.3  # the 99.9 % point with 11 degrees of freedom


def test_huge_orders_take_no_memory() -> None:
    order = shuffled(10**18, seed=1)
    values = [order(place) for place in range(100)]
    assert len(set(values)) == 100
    assert all(0 <= value < 10**18 for value in values)


@pytest.mark.parametrize("place", [-1, 5])
def test_places_outside_are_refused(place: int) -> None:
    with pytest.raises(IndexError):
        shuffled(5, seed=1)(place)


def test_below_is_even_and_in_range() -> None:
    draws = Draws(1, 1)
    values = [draws.below(3) for _ in range(6000)]
    assert {value: values.count(value) > 1800 for value in values} == {0: True, 1: True, 2: True}


def test_trials_have_seeds_of_their_own() -> None:
    seeds = {derive_seed(study, number) for study in range(20) for number in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)
