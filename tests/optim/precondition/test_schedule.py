"""Intervals: which steps are due."""

from itertools import pairwise

import pytest
import torch

from optim.precondition.schedule import SHAPES, due, due_steps


def test_one_in_so_many_after_the_warmup() -> None:
    assert due_steps(13, interval=5) == [0, 5, 10]
    assert due_steps(14, interval=5, warmup=3) == [0, 1, 2, 3, 8, 13]
    assert due_steps(4, interval=1) == [0, 1, 2, 3]


def test_constant_is_exact_far_out() -> None:
    at = torch.tensor([3.0 * 10**9, 3.0 * 10**9 + 1, 7.0 * 10**9], dtype=torch.float64)
    values = {"interval": 30.0, "warmup": 0.0, "ramp": 0.0, "shape": 0.0}
    found = due(at, **{name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
    assert found.tolist() == [True, False, 7 * 10**9 % 30 == 0]


@pytest.mark.parametrize("shape", ["step", "linear"])
def test_intervals_grow_from_one_to_the_full_length(shape: str) -> None:
    steps = due_steps(400, interval=20, ramp=200, shape=shape)
    gaps = [after - before for before, after in pairwise(steps)]
    assert gaps[0] <= 2
    assert all(later >= earlier - 1 for earlier, later in pairwise(gaps))
    assert set(gaps[-5:]) == {20}
    assert len([step for step in steps if step < 200]) > 200 // 20


def test_stages_are_five_with_a_constant_factor() -> None:
    steps = due_steps(100, interval=32, ramp=100, shape="step")
    intervals = [1, 2, 4, 8, 16]  # 32^(k/5)
    inside = [sum(20 * stage < step <= 20 * (stage + 1) for step in steps) for stage in range(5)]
    assert all(abs(count - 20 / interval) <= 1 for count, interval in zip(inside, intervals, strict=True))


def test_members_have_schedules_of_their_own() -> None:
    rows = [(3.0, 2.0, 0.0, 0.0), (7.0, 0.0, 50.0, 1.0), (10.0, 0.0, 40.0, 2.0)]
    interval, warmup, ramp, shape = torch.tensor(rows, dtype=torch.float64).unbind(1)
    together = [
        due(
            torch.full((3,), float(step), dtype=torch.float64), interval=interval, warmup=warmup, ramp=ramp, shape=shape
        )
        for step in range(120)
    ]
    for member, (length, first, grows, kind) in enumerate(rows):
        alone = due_steps(120, interval=int(length), warmup=int(first), ramp=int(grows), shape=SHAPES[int(kind)])
        assert [step for step, found in enumerate(together) if found[member]] == alone


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        due_steps(5, interval=0)
