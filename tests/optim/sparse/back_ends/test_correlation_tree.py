"""Trees of inner products: what they cost."""

import math

import pytest
import torch

from optim.sparse.back_ends.correlation_tree import CorrelationTree, needed_bytes
from optim.sparse.kernels.choice import kernels
from tests.optim.sparse import cases


@pytest.mark.parametrize("width", [1, 2, 3, 64, 65, 1000])
def test_memory_is_known_beforehand(width: int) -> None:
    tree = CorrelationTree(cases.layer(inputs=7, width=width, features=3), kernels())
    assert tree.bytes == needed_bytes(7, width)
    assert needed_bytes(7, width) <= 7 * 4 * (2 * width + math.ceil(math.log2(width + 1)))


def test_too_much_memory_is_refused_with_the_figures() -> None:
    layer = cases.layer(inputs=512, width=1024, features=3)
    with pytest.raises(ValueError, match=r"of 512 inputs and 1024 neurons need 4 MiB, of 2 allowed"):
        CorrelationTree(layer, kernels(), allowed_bytes=2**21)


def test_no_more_nodes_are_looked_at_than_paths_to_the_active_have() -> None:
    layer = cases.layer(inputs=20, width=4096, features=16)
    tree = CorrelationTree(layer, kernels())
    active = tree.query(torch.arange(20), 2.5)
    assert active.counts.sum() > 0
    assert tree.counters.candidates <= 20 + 2 * 12 * active.counts.sum()
    tree.query(torch.arange(20), 100.0)
    assert tree.counters.candidates <= 40 + 2 * 12 * active.counts.sum()


def test_every_node_stays_the_larger_of_its_children() -> None:
    layer = cases.layer(inputs=4, width=37, features=5)
    tree = CorrelationTree(layer, kernels())
    for rows in ([0, 36], [5], list(range(37))):
        layer.weights[rows] = torch.randn(len(rows), 5, generator=cases.seeded(len(rows)))
        tree.update(torch.tensor(rows, dtype=torch.int32), 1.0)
        anew = CorrelationTree(layer, kernels())
        for kept, fresh in zip(tree._levels, anew._levels, strict=True):
            torch.testing.assert_close(kept, fresh)
    assert tree.counters.refreshed == 40
