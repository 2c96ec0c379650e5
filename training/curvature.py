"""What optimizers that precondition see of a network: its layers, and a mini-batch as they ask about it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from optim.precondition.batch import Batch, Looked, Members, Pass
from optim.precondition.criteria import criterion
from optim.precondition.extension.tape import Tape, once
from optim.precondition.layers import Layer
from training.data.examples import Data
from training.networks.base import Network, Params
from training.tasks import CLASSIFICATION, REGRESSION

# What the losses of tasks are called there.
_CRITERIA: Mapping[str, str] = MappingProxyType(
    {CLASSIFICATION.name: "cross_entropy", REGRESSION.name: "squared_error"}
)
_EXAMPLES = 7  # a number that few widths are


def layers_of(network: Network, data: Data) -> tuple[Layer, ...]:
    """Return the layers of a network, in the order in which they are called."""
    params = [param.requires_grad_() for param in network.init(Generator().manual_seed(0))]
    inputs, _ = data.train.rows(torch.arange(min(_EXAMPLES, len(data.train))))
    with Tape(params) as tape:
        network.apply(params, inputs.cpu())
    return tuple(call.layer for call in once(tape.calls, number=len(inputs)))


def batch_of(network: Network, data: Data, layers: Sequence[Layer], params: Params, numbers: Tensor) -> Batch:
    """Return the mini-batch of the examples with these numbers (n,) at a run's parameters."""
    inputs, targets = data.train.rows(numbers)
    weights = torch.full((len(targets),), 1 / len(targets), dtype=torch.float64, device=inputs.device)
    return _batch(network.apply, data, layers, params, inputs, targets, weights)


def members_batch(
    network: Network, data: Data, layers: Sequence[Layer], params: Params, numbers: Tensor, weights: Tensor
) -> Looked:
    """Return the mini-batches of members: numbers of examples and their weights (P, n), parameters (P, ...)."""
    inputs, targets = data.train.rows(numbers.flatten())
    inputs, targets = inputs.reshape(*numbers.shape, *inputs.shape[1:]), targets.reshape(numbers.shape)
    weights = weights.to(inputs.device)
    if network.stacks:
        leaves = [param.detach().requires_grad_() for param in params]
        return _batch(network.apply, data, layers, leaves, inputs, targets, weights)
    alone = [
        _batch(network.apply, data, layers, [param[place].detach().requires_grad_() for param in params], *own)
        for place, own in enumerate(zip(inputs, targets, weights, strict=True))
    ]
    return Members(alone)


def _batch(
    apply: Callable[[Params, Tensor], Tensor],
    data: Data,
    layers: Sequence[Layer],
    params: Params,
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
) -> Batch:
    def run(params: Params) -> Pass:
        with Tape(params) as tape:
            outputs = apply(params, inputs)
        losses = data.task.losses(outputs.reshape(-1, outputs.shape[-1]), targets.flatten()).reshape(targets.shape)
        return Pass((losses * weights.to(losses.dtype)).sum(), outputs, tape.calls)

    return Batch(run, params, layers, criterion(_CRITERIA[data.task.name]), weights)
