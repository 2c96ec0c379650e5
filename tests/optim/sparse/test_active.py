"""The padded answer."""

import torch

from optim.sparse.active import Active


def test_pairs_come_back_as_they_went_in() -> None:
    rows, neurons = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 4, 0, 2, 9])
    heights = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    active = Active.padded(rows, neurons, heights, 4)
    assert active.counts.tolist() == [2, 0, 3, 0]
    assert active.neurons.shape == (4, 3)
    for back, there in zip(active.pairs(), (rows, neurons, heights), strict=True):
        assert torch.equal(back, there)
    own, reached = active.row(2)
    assert own.tolist() == [0, 2, 9]
    assert torch.equal(reached, heights[2:])


def test_nobody_is_active() -> None:
    active = Active.padded(*(torch.empty(0, dtype=torch.int64),) * 2, torch.empty(0), 3)
    assert active.counts.tolist() == [0, 0, 0]
    assert not active.mask.any()
