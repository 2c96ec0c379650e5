"""Products of triangles against those of whole matrices."""

import pytest
import torch

from optim.precondition.operations import triangles


@pytest.mark.parametrize("shape", [(3, 3), (129, 129), (300, 300), (2, 259, 259)])
def test_it_is_the_product(shape: tuple[int, ...]) -> None:
    one, other = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double().triu() for seed in (1, 2))
    found = triangles.product(one, other)
    assert (found - one @ other).abs().max() <= 1e-12
    assert torch.equal(found, found.triu())
