"""A Laplace approximation of a trained run: how sure it may be, from the curvature of its last layer.

Around the parameters theta* that training came to, the MAP, the last layer's are taken to be normal, with the precision

    N s B (x) A + delta I

of the Kronecker factors A and B of the generalised Gauss-Newton matrix over N training examples (s is 1; of a squared
error 1 / (2 noise), noise being its mean over the training part) and a prior precision delta. Outputs f are then normal,
too, with variances v = diag(J (N s B (x) A + delta I)^-1 J^T), and what is predicted is

    classes    softmax(f / sqrt(1 + pi/8 v))          MacKay's approximation of the mean probability
    numbers    normal, mean f, variance noise + v

delta is that of GRID with which a run of the same plan, from which a fifth of the training part was set apart, gives that
fifth the best likelihood. The marginal likelihood of the training part would need no other run, but it takes too small a
delta where a network fits its training part without error, for there A and B are next to nothing (docs/curvature.md).

Source: MacKay, The evidence framework applied to classification networks, 1992; Ritter et al., A scalable Laplace
approximation for neural networks, 2018; Daxberger et al., Laplace Redux, 2021 (the last layer alone).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from training.evaluation import evaluate
from training.posthoc.calibration import BINS, excess, expected_error
from training.posthoc.last_layer import curvature, variances
from training.posthoc.retraining import retrained
from training.posthoc.trained import Pieces, Trained, Values, block_size
from training.posthoc.views import set_apart
from training.tasks import CLASSIFICATION, REGRESSION, Task

GRID = tuple(10.0 ** (power / 4) for power in range(-16, 17))
MAP = math.inf  # a prior so precise that nothing is uncertain
_LEAST_NOISE = 1e-12

# Of outputs, their variances (n, k), targets (n,) and the noise: the losses (n,), and the excess of confidence by bin.
Prediction: TypeAlias = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def laplace(trained: Trained) -> Pieces[Values]:
    """Return the prior precision, and of the validation part the mean negative log-likelihood and the calibration error.

    These are `map_*` and `laplace_*`; numbers have no calibration error. Raise Unavailable where no layer is known and
    where a run diverges.
    """
    order = Generator()
    order.set_state(trained.order)
    apart = set_apart(trained.data, order)
    params = yield from retrained(trained, apart)
    again = replace(trained, data=apart, params=[param.detach().requires_grad_() for param in params])
    tried = zip(GRID, (yield from judged(again, GRID)), strict=True)
    precision, _ = min(tried, key=lambda each: each[1]["nll"])
    both = zip(("map", "laplace"), (yield from judged(trained, (MAP, precision))), strict=True)
    found = {f"{name}_{measure}": value for name, values in both for measure, value in values.items()}
    return found | {"laplace_precision": precision}


def judged(trained: Trained, precisions: Sequence[float]) -> Pieces[list[Values]]:
    """Return for each prior precision how well the validation part is predicted: `nll`, and `ece` of classes."""
    data, task = trained.data, trained.data.task
    noise = _noise(trained)
    known = yield from curvature(trained, scale=0.5 / noise if task is REGRESSION else 1.0)
    losses = torch.zeros(len(precisions), dtype=torch.float64)
    excesses = torch.zeros(len(precisions), BINS, dtype=torch.float64)
    for inputs, targets in data.val.blocks(block_size(data)):
        outputs, spreads = variances(trained, known, inputs, precisions)
        for place, spread in enumerate(spreads):
            each, over = _PREDICTIONS[task.name](outputs, spread, targets, noise)
            losses[place] += each.sum().cpu()
            excesses[place] += over.cpu()
        yield
    return [_values(task, *each, len(data.val)) for each in zip(losses, excesses, strict=True)]


def _values(task: Task, losses: Tensor, excesses: Tensor, examples: int) -> Values:
    found = {"nll": float(losses) / examples}
    return found | ({"ece": expected_error(excesses, examples)} if task is CLASSIFICATION else {})


def _noise(trained: Trained) -> float:
    """Return the variance of targets about the outputs, of numbers; 1 of classes, which have none."""
    if trained.data.task is not REGRESSION:
        return 1.0
    found = evaluate(trained.course.network, trained.data, trained.params, trained.data.train)
    return max(found["loss"], _LEAST_NOISE)


def _classes(outputs: Tensor, variances: Tensor, targets: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    del noise
    logs = (outputs / (1 + math.pi / 8 * variances).sqrt()).log_softmax(dim=1)
    losses = -logs.gather(1, targets.unsqueeze(1)).squeeze(1)
    return losses, excess(logs.exp(), targets)


def _numbers(outputs: Tensor, variances: Tensor, targets: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    spread, apart = noise + variances.squeeze(1), outputs.squeeze(1) - targets
    losses = ((2 * math.pi * spread).log() + apart.square() / spread) / 2
    return losses, torch.zeros(BINS, dtype=losses.dtype)


_PREDICTIONS: Mapping[str, Prediction] = MappingProxyType({CLASSIFICATION.name: _classes, REGRESSION.name: _numbers})
