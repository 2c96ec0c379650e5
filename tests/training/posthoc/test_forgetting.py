"""Learning a second task: less of the first is forgotten with consolidation, whose penalty is what it is said to be."""

import pytest
import torch
from torch import Tensor

from tests.training.posthoc.trials import found, run_of
from training.data.bundled import load
from training.networks.table import build_network
from training.posthoc.forgetting import consolidation, forgetting
from training.posthoc.trained import trained


def _tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 2), (3,))]


def test_it_adds_the_gradient_of_the_penalty() -> None:
    params, anchor, grads = ([each.requires_grad_() for each in _tensors(seed)] for seed in (1, 2, 3))
    information = [own.detach().square() for own in _tensors(4)]
    terms = zip(information, params, anchor, strict=True)
    penalty = sum((own * (param - start.detach()).square()).sum() for own, param, start in terms) * 7.0 / 2
    slopes = torch.autograd.grad(penalty, params)  # type: ignore[arg-type]
    link = consolidation([each.detach() for each in anchor], information, strength=7.0)
    with torch.no_grad():
        new, _ = link.update(grads, (), params, {"lr": torch.tensor(1e-3, dtype=torch.float64)})
    for each, grad, slope in zip(new, grads, slopes, strict=True):
        torch.testing.assert_close(each, grad.detach() + slope, rtol=1e-12, atol=0)


@pytest.mark.parametrize("lr", [0.1, 0.0])
def test_no_step_goes_beyond_the_anchor(lr: float) -> None:
    anchor, params = _tensors(1), _tensors(2)
    link = consolidation(anchor, [torch.full_like(each, 1e9) for each in anchor])
    zeros = [torch.zeros_like(each) for each in anchor]
    pulls, _ = link.update(zeros, (), params, {"lr": torch.tensor(lr, dtype=torch.float64)})
    for pull, param, start in zip(pulls, params, anchor, strict=True):
        assert bool(pull.isfinite().all())
        if lr:
            torch.testing.assert_close(param - lr * pull, start)


@pytest.mark.parametrize("optimizer", [{"optimizer": "momentum", "lr": 0.02}, {"optimizer": "adam", "lr": 0.005}])
def test_consolidation_forgets_less(optimizer: dict[str, object]) -> None:
    data = load("digits")
    run = run_of(data, build_network({"kind": "mlp", "hidden": [64]}, data), optimizer, epochs=10)
    values = found(forgetting(trained(run)))
    assert values["ewc_kept"] > values["plain_kept"] + 0.1
    assert min(values["ewc_learned"], values["plain_learned"]) > 0.9, "both have learned the second task"
