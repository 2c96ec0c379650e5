import random
import statistics

import pytest

from benchmarks.intervals import median_interval


def test_of_ten_values_one_lies_beyond_each_end() -> None:
    """The textbook's case: between the second and the ninth of ten, with probability 1 - 22/1024."""
    found = median_interval([float(value) for value in (7, 3, 10, 1, 5, 9, 2, 8, 4, 6)])
    assert (found.low, found.high) == (2.0, 9.0)
    assert found.confidence == pytest.approx(1 - 22 / 1024)


def test_few_values_give_their_range_and_say_how_little_that_is() -> None:
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.low, found.high, found.confidence) == (1.0, 3.0, 0.75)
    assert median_interval([4.0]).confidence == 0.0


def test_it_holds_the_median_as_often_as_it_says() -> None:
    rng, held = random.Random(5), 0
    for _ in range(2000):
        found = median_interval([rng.expovariate(1.0) for _ in range(12)])
        held += found.low <= 0.6931 <= found.high
    assert held / 2000 == pytest.approx(found.confidence, abs=0.015)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9, 30])
def test_the_median_of_the_sample_is_inside(count: int) -> None:
    values = [random.Random(count).random() * place for place in range(count)]
    found = median_interval(values)
    assert found.low <= statistics.median(values) <= found.high


def test_no_values_have_none() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        median_interval([])
