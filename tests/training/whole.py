"""All examples of a split at once, for tests."""

from torch import Tensor

from training.data.examples import Examples


def whole(examples: Examples) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of every example, in their order."""
    return next(examples.blocks(len(examples)))
