"""Tokens as vectors of a table, and their mean; token 0 is padding and does not count."""

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.data.examples import Data

PADDING = 0


def vocabulary(data: Data, kind: str) -> int:
    """Return how many tokens there are. Raise ValueError for data that are none."""
    if data.vocabulary is None:
        raise ValueError(f"network {kind} needs tokens, and {data.name} has none")
    return data.vocabulary


def mean_over(tokens: Tensor, vectors: Tensor) -> Tensor:
    """Return the mean (n, width) of vectors (n, length, width) over what is not padding; zero where all is."""
    counted = (tokens != PADDING).unsqueeze(-1).to(vectors.dtype)
    return (vectors * counted).sum(dim=-2) / counted.sum(dim=-2).clamp(min=1)


def mean_vector(tokens: Tensor, table: Tensor) -> Tensor:
    """Return the mean (n, width) of the vectors of tokens (n, length)."""
    return mean_over(tokens, F.embedding(tokens, table))
