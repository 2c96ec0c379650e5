"""Weights that matter: what is pruned, and that what is kept by saliency is worth more than what is kept by chance."""

import pytest
import torch

from tests.training.posthoc.trials import found, run_of
from training.data.bundled import load
from training.networks.table import build_network
from training.posthoc.saliency import SPARSITY, pruned, saliency
from training.posthoc.trained import trained


def test_the_least_are_pruned_across_matrices_and_nothing_else() -> None:
    params = [torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]), torch.tensor([[7.0], [8.0]])]
    scores = [torch.tensor([[0.1, 0.9], [0.2, 0.8]]), torch.zeros(2), torch.tensor([[0.3], [0.7]])]
    left = pruned(params, scores, [0, 2], 0.5)
    assert [each.tolist() for each in left] == [[[0.0, -2.0], [0.0, 4.0]], [5.0, 6.0], [[0.0], [8.0]]]
    assert params[0].tolist() == [[1.0, -2.0], [3.0, 4.0]]


@pytest.mark.parametrize("share", [0.0, SPARSITY, 1.0])
def test_ties_do_not_change_how_many(share: float) -> None:
    (left,) = pruned([torch.ones(10, 10)], [torch.zeros(10, 10)], [0], share)
    assert int((left == 0).sum()) == round(100 * share)


@pytest.mark.parametrize(("name", "margin"), [("digits", 0.3), ("breast_cancer", 0.05)])
def test_saliency_beats_chance(name: str, margin: float) -> None:
    data = load(name)
    network = build_network({"kind": "mlp", "hidden": [64]}, data)
    run = run_of(data, network, {"optimizer": "momentum", "lr": 0.02}, epochs=15)
    values = found(saliency(trained(run)))
    assert values["pruned_accuracy"] > values["pruned_random_accuracy"] + margin
    assert values["pruned_accuracy"] >= values["pruned_magnitude_accuracy"]
