"""The fastest number of threads is found and kept, for steps of each magnitude."""

import pytest

from training.population.threads import LONG_SECONDS, TRIED_STEPS, Threads


def found(threads: Threads, examples: int, cost: dict[int, float]) -> list[int]:
    """Step until it is settled; return what was tried."""
    tried = []
    while not threads.settled(examples):
        count = threads.wanted(examples)
        tried.append(count)
        threads.take(examples, count, cost[count])
    return tried


@pytest.mark.parametrize(("most", "choices"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_are_tried_up_to_the_most(most: int, choices: list[int]) -> None:
    tried = found(Threads(most), 1000, dict.fromkeys(choices, 0.1))
    assert sorted(set(tried)) == ([] if most == 1 else choices)
    assert all(tried.count(count) == TRIED_STEPS for count in set(tried))


def test_small_steps_may_want_one_and_large_ones_many() -> None:
    threads = Threads(4)
    found(threads, 100, {1: 0.1, 2: 0.2, 4: 0.3})
    found(threads, 100_000, {1: 0.3, 2: 0.2, 4: 0.1})
    assert threads.wanted(100) == 1
    assert threads.wanted(100_000) == 4
    assert threads.settled(100)
    assert not threads.settled(10_000)


def test_one_thread_needs_no_trial() -> None:
    assert Threads(1).settled(5)
    assert Threads(1).wanted(5) == 1


def test_a_long_step_has_all_there_are_and_no_others_are_tried() -> None:
    threads = Threads(4)
    assert found(threads, 1000, {4: LONG_SECONDS + 1}) == [4]
    assert threads.wanted(1000) == 4
