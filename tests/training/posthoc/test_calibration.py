"""The expected calibration error is what its definition says."""

import pytest
import torch

from training.posthoc.calibration import BINS, excess, expected_error


def test_it_is_what_is_said_of_it() -> None:
    """Bin by bin, example by example."""
    generator = torch.Generator().manual_seed(3)
    shares = (3 * torch.randn(200, 4, generator=generator, dtype=torch.float64)).softmax(dim=1)
    targets = torch.randint(4, (200,), generator=generator)
    wanted = 0.0
    for number in range(BINS):
        inside = [
            (float(own.max()), int(own.argmax()) == int(target))
            for own, target in zip(shares, targets, strict=True)
            if number / BINS < float(own.max()) <= (number + 1) / BINS
        ]
        if inside:
            confidence, accuracy = (sum(each) / len(inside) for each in zip(*inside, strict=True))
            wanted += len(inside) / 200 * abs(accuracy - confidence)
    assert expected_error(excess(shares, targets), 200) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("right", "error"), [(4, 0.2), (3, 0.05), (0, 0.8)])
def test_confidence_of_four_fifths(right: int, error: float) -> None:
    shares = torch.tensor([[0.8, 0.2]], dtype=torch.float64).expand(4, 2)
    targets = torch.tensor([0] * right + [1] * (4 - right))
    assert expected_error(excess(shares, targets), 4) == pytest.approx(error)
