"""Balls: that they hold what they should, and how much they spare."""

import pytest
import torch

from optim.sparse.back_ends.ball_tree import BallTree, descend, grown
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.plain import PlainKernels
from tests.optim.sparse import cases


@pytest.mark.parametrize(("width", "leaves"), [(1, 1), (32, 1), (33, 2), (1000, 32), (1025, 64)])
def test_each_row_is_in_one_leaf_and_in_all_balls_above(width: int, leaves: int) -> None:
    weights = cases.layer(inputs=1, width=width, features=5).weights
    tree = grown(weights)
    assert len(tree.members) == leaves
    assert tree.members[tree.members >= 0].sort().values.tolist() == list(range(width))
    assert tree.members.shape[1] <= 32
    for level, (centers, radii) in enumerate(tree.levels):
        for ball in range(2**level):
            own = tree.members.view(2**level, -1)[ball]
            away = (weights[own[own >= 0].long()] - centers[ball]).norm(dim=1)
            assert (away <= radii[ball]).all()


@pytest.mark.parametrize(
    ("width", "features", "low", "high"),
    # Measured before (METHODS B.3): 0.295, 0.115, 1.10.
    [(10_000, 4, 0.2, 0.35), (100_000, 4, 0.08, 0.15), (10_000, 16, 0.95, 1.15)],
)
def test_a_share_of_all_inner_products_is_computed(width: int, features: int, low: float, high: float) -> None:
    tree = BallTree(cases.layer(inputs=16, width=width, features=features), kernels())
    tree.query(torch.arange(16), cases.by_width(width))
    assert low < tree.counters.candidates / (16 * width) < high


def test_candidates_are_balls_and_rows_of_the_leaves_that_they_lead_to() -> None:
    layer = cases.layer(inputs=3, width=500, features=3)
    tree, back_end = grown(layer.weights), BallTree(layer, kernels())
    _, leaves, balls = descend(tree, layer.inputs, 1.2, 0.0)
    back_end.query(torch.arange(3), 1.2)
    assert back_end.counters.candidates == balls + int((tree.members[leaves] >= 0).sum())


def test_points_of_any_length_are_answered_for() -> None:
    layer = cases.layer(inputs=3, width=900, features=3)
    points = 7.0 * torch.randn(20, 3, generator=cases.seeded(4))
    answer = BallTree(layer, kernels(), slack=0.1).query_points(points, 4.0)
    wrong = (cases.mask(answer, 900) != (points @ layer.weights.T > 4.0)).sum()
    assert wrong == 0


def test_few_points_at_a_time_are_the_same_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = cases.layer(inputs=50, width=700, features=4)
    at_once = BallTree(layer, kernels()).query(torch.arange(50), 1.0)
    monkeypatch.setattr("optim.sparse.back_ends.ball_tree._TILE", 2100)
    in_parts = BallTree(layer, kernels()).query(torch.arange(50), 1.0)
    assert torch.equal(at_once.counts, in_parts.counts)
    assert all(torch.equal(one, other) for one, other in zip(at_once.pairs(), in_parts.pairs(), strict=True))


def test_it_answers_without_compiled_loops() -> None:
    layer = cases.layer(inputs=50, width=700, features=4)
    answer = BallTree(layer, PlainKernels()).query(torch.arange(50), 1.0)
    cases.audit(answer, layer.inputs, layer.weights, 1.0)


def test_rows_need_not_be_told_within_the_slack() -> None:
    layer = cases.layer(inputs=10, width=2000, features=2)
    tree = BallTree(layer, kernels(), slack=0.3)
    layer.weights += 0.3 * layer.inputs[0]
    cases.audit(tree.query(torch.arange(10), 2.0), layer.inputs, layer.weights, 2.0)


def test_changed_rows_are_tried_until_they_are_many() -> None:
    layer = cases.layer(inputs=1, width=2000, features=2)
    tree, number = BallTree(layer, kernels()), torch.tensor([0])
    tree.query(number, 2.0)
    before = tree.counters.candidates
    low = torch.nonzero(layer.weights @ layer.inputs[0] < -1.0)[:99, 0].int()
    layer.weights[low.long()] = 3.0 * layer.inputs[0]
    tree.update(low, 2.0)
    cases.audit(tree.query(number, 2.0), layer.inputs, layer.weights, 2.0)
    assert tree.counters.candidates == 2 * before + 99
    assert tree.counters.flushes == 0
    assert layer.paths[low.long()].isinf().all()
    tree.update(torch.nonzero((layer.weights @ layer.inputs[0]).abs() < 1.0)[:1, 0].int(), 2.0)
    assert (tree.counters.flushes, tree.counters.refreshed) == (1, 100)
    assert not layer.paths.any()
