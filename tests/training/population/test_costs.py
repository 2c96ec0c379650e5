"""What steps cost, fitted from what was seen, and what follows."""

import itertools

import pytest

from training.population.costs import (
    FIRST_ROOM,
    FIXED_SHARE,
    LEAST_STEPS,
    SURE_TIMINGS,
    Clock,
    Costs,
    fitted,
    room,
    shared_sizes,
)

TRUE = Costs(fixed=300e-6, each=4e-6, example=0.5e-6)


def seen(*points: tuple[int, int]) -> dict[tuple[int, int], float]:
    return {(members, size): TRUE.fixed + members * TRUE.member(size) for members, size in points}


def test_nothing_is_known_from_one_number_of_members() -> None:
    assert fitted({}) is None
    assert fitted(seen((1, 32))) is None
    assert fitted(seen((4, 32), (4, 64))) is None


def test_costs_are_found_again() -> None:
    found = fitted(seen((1, 32), (4, 32), (64, 32)))
    assert found is not None
    assert found.fixed == pytest.approx(TRUE.fixed)
    assert found.member(32) == pytest.approx(TRUE.member(32))
    found = fitted(seen((1, 16), (4, 64), (16, 64), (64, 128)))
    assert found is not None
    for size in (16, 32, 128):
        assert found.member(size) == pytest.approx(TRUE.member(size))


def test_no_cost_is_negative() -> None:
    found = fitted({(1, 32): 1e-3, (2, 32): 3e-3, (4, 32): 9e-3})
    assert found is not None
    assert found.fixed == 0.0
    assert found.example > 0.0


def test_members_pay_until_the_fixed_cost_is_a_small_share() -> None:
    members = room(TRUE, [32], most=1000)
    step = TRUE.fixed + members * TRUE.member(32)
    assert TRUE.fixed / step == pytest.approx(FIXED_SHARE, rel=0.02)
    assert room(TRUE, [32], most=7) == 7
    assert room(TRUE, [32, 128], most=1000) > members
    assert room(Costs(0.0, 1e-3, 1e-6), [32], most=1000) == 1
    assert room(None, [32], most=1000) == FIRST_ROOM
    assert room(None, [32], most=2) == 2


def test_a_few_are_tried_until_it_is_sure_that_they_do_not_pay() -> None:
    """A busy machine may make the first steps of two look slow; with room for one they would never be timed again."""
    clock = Clock()
    clock.take(1, 64, 3e-4, steps=100)
    clock.take(2, 128, 3e-3, steps=100)
    assert room(fitted(clock.known), [64], most=1000) == 1
    assert room(fitted(clock.known), [64], most=1000, sure=clock.sure) == FIRST_ROOM
    assert room(fitted(clock.known), [64], most=2, sure=clock.sure) == 2
    for _ in range(SURE_TIMINGS):
        clock.take(1, 64, 3e-4, steps=100)
    assert not clock.sure
    for _ in range(SURE_TIMINGS):
        clock.take(2, 128, 3e-3, steps=100)
    assert room(fitted(clock.known), [64], most=1000, sure=clock.sure) == 1


def seconds(members: dict[int, int], shared: dict[int, int]) -> float:
    """Return how long an epoch of all members takes, lanes one after the other; it has 4096 examples."""
    took = 0.0
    for size in set(shared.values()):
        inside = {own: count for own, count in members.items() if shared[own] == size}
        took += TRUE.fixed * 4096 / min(inside)  # as many steps as the smallest batches take
        took += sum(count * TRUE.member(size) * 4096 / own for own, count in inside.items())
    return took


@pytest.mark.parametrize("counts", [(4, 4, 4, 4), (1, 1, 1, 1), (64, 64, 64, 64), (100, 1, 1, 1), (1, 1, 1, 100)])
def test_sizes_that_share_a_lane_are_nearly_as_fast_as_the_best_sharing(counts: tuple[int, ...]) -> None:
    members = dict(zip((16, 32, 64, 128), counts, strict=True))
    sizes = sorted(members)
    every = (
        dict(zip(sizes, choice, strict=True))
        for choice in itertools.product(sizes, repeat=4)
        if all(own <= size for own, size in zip(sizes, choice, strict=True))
    )
    best = min(seconds(members, shared) for shared in every)
    assert seconds(members, shared_sizes(members, TRUE)) <= 1.35 * best


def test_few_members_share_and_many_do_not() -> None:
    assert set(shared_sizes({16: 1, 32: 1}, TRUE).values()) == {32}
    assert shared_sizes({16: 500, 128: 500}, TRUE) == {16: 16, 128: 128}
    assert set(shared_sizes({16: 500, 128: 500}, None).values()) == {128}


def test_a_clock_goes_by_what_it_has_seen_often() -> None:
    clock = Clock()
    for took in [9.0] * (LEAST_STEPS - 1):
        clock.take(4, 32, took)
    assert clock.known == {}
    clock.take(4, 32, 2.0)
    assert clock.known == {(4, 32): 2.0}
    assert clock.about(2, 16) == 2.0
    assert clock.about(8, 16) == 2.0
    assert Clock().about(1, 1) == 0.0
