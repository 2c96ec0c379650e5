"""The diagonal of the Fisher information is that of the matrix by brute force."""

import pytest
import torch
from torch import Tensor

from tests.training.posthoc.trials import MLP, found, jacobian, small
from tests.training.whole import whole
from training.posthoc import fisher, trained
from training.posthoc.trained import Trained

CNN = {"kind": "cnn", "channels": [3]}
TEXT = {"kind": "text", "embedding": 3, "hidden": [4]}


def brute(run: Trained) -> Tensor:
    """Return the diagonal, flattened: the mean over examples of J^T H J, H being of the loss by the outputs."""
    inputs, _ = whole(run.data.train)
    slopes = jacobian(run, inputs)
    if run.data.outputs == 1:
        curvature = torch.full((len(inputs), 1, 1), 2.0, dtype=torch.float64)
    else:
        shares = run.course.network.apply(run.params, inputs).detach().softmax(dim=1)
        curvature = torch.diag_embed(shares) - shares.unsqueeze(2) * shares.unsqueeze(1)
    return torch.einsum("nki,nkl,nli->i", slopes, curvature, slopes) / len(inputs)


@pytest.mark.parametrize(
    ("name", "network"), [("iris", MLP), ("digits", CNN), ("diabetes", MLP), ("docstrings", TEXT)], ids=str
)
@pytest.mark.parametrize("block", [256, 7])
def test_it_is_the_diagonal(name: str, network: dict[str, object], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "BLOCK", block)
    run = small(name, network)
    diagonal = torch.cat([own.flatten() for own in found(fisher.diagonal(run))])
    torch.testing.assert_close(diagonal, brute(run), rtol=1e-8, atol=1e-12)


def test_drawn_vectors_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fisher, "MOST_EXACT", 2)
    monkeypatch.setattr(fisher, "SAMPLES", 400)
    run = small()
    diagonal = torch.cat([own.flatten() for own in found(fisher.diagonal(run))])
    wanted = brute(run)
    assert 0 < float((diagonal - wanted).norm() / wanted.norm()) < 0.1
