"""Whether probabilities are what they say: the expected calibration error.

    ECE = sum over bins of |examples that are right - their confidences summed| / N

with bins of equal width over the confidence, that is the probability of the class which is predicted (Guo et al., On
calibration of modern neural networks, 2017).
"""

import torch
from torch import Tensor

BINS = 15


def excess(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return by bin (BINS,) by how much the confidences of examples (n, classes) exceed their successes, in sum."""
    confidence, predicted = probabilities.max(dim=1)
    over = confidence - (predicted == targets).to(confidence.dtype)
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    return torch.zeros(BINS, dtype=over.dtype, device=over.device).index_add(0, place, over)


def expected_error(excesses: Tensor, examples: int) -> float:
    """Return the expected calibration error of so many examples, of whom these are the excesses by bin."""
    return float(excesses.abs().sum()) / examples
