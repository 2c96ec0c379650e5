"""What tests of preconditioning share: a module's mini-batch as methods ask about it, and curvature by brute force."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from optim.precondition.batch import Batch, Pass
from optim.precondition.criteria import CRITERIA
from optim.precondition.extension.tape import Tape, once
from optim.precondition.layers import Layer

# Losses of examples (n,), of outputs (n, k).
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"),
    "squared_error": lambda outputs, targets: (outputs - targets).square().mean(dim=-1),
}


class Everything(nn.Module):
    """Has a layer of each kind: tokens (n, 4) to outputs (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3, padding_idx=0)
        self.position = nn.Parameter(torch.randn(1, 4, 3))
        self.norm, self.scale = nn.LayerNorm(3), nn.Parameter(torch.randn(3))
        self.patches, self.batches = nn.Conv1d(4, 4, 2, groups=2), nn.BatchNorm1d(4).eval()
        self.last = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        vectors = self.norm(self.table(inputs) + self.position) * self.scale
        outputs: Tensor = self.last(torch.tanh(self.batches(self.patches(vectors))).flatten(1))
        return outputs


def batch_of(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: str = "cross_entropy", weights: Tensor | None = None
) -> Batch:
    """Return the mini-batch at the module's parameters, seen by all layers that the tape knows."""
    named = dict(module.named_parameters())
    shares = torch.full((len(inputs),), 1 / len(inputs), dtype=torch.float64) if weights is None else weights

    def run(params: Sequence[Tensor]) -> Pass:
        with Tape(params) as tape:
            outputs = functional_call(module, dict(zip(named, params, strict=True)), (inputs,))
        return Pass((LOSSES[loss](outputs, targets) * shares).sum(), outputs, tape.calls)

    params = list(named.values())
    first = run(params)
    layers: tuple[Layer, ...] = tuple(call.layer for call in once(first.calls))
    return Batch(run, params, layers, CRITERIA[loss], shares, first=first)


class Brute:
    """What a mini-batch is by its definition, over all parameters of a module in their order, flattened: D of them."""

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor, loss: str) -> None:
        self.inputs, self.targets, self.loss = inputs, targets, loss
        self.params = {name: param.detach() for name, param in module.named_parameters()}
        self.outputs: Tensor = module(inputs).detach()
        self.module = module

    def _output(self, params: Mapping[str, Tensor], example: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self.module, dict(params), (example.unsqueeze(0),))
        return outputs.squeeze(0)

    def _loss(self, params: Mapping[str, Tensor], example: Tensor, target: Tensor) -> Tensor:
        return LOSSES[self.loss](self._output(params, example).unsqueeze(0), target.unsqueeze(0)).squeeze()

    def jacobians(self) -> Tensor:
        """By the outputs of each example, (n, k, D)."""
        return _flat(vmap(jacrev(self._output), (None, 0))(self.params, self.inputs), 2)

    def slopes(self) -> Tensor:
        """Of the loss of each example, (n, D)."""
        return _flat(vmap(grad(self._loss), (None, 0, 0))(self.params, self.inputs, self.targets), 1)

    def hessians(self) -> Tensor:
        """Of the loss of each example by its outputs, (n, k, k)."""

        def loss(output: Tensor, target: Tensor) -> Tensor:
            return LOSSES[self.loss](output.unsqueeze(0), target.unsqueeze(0)).squeeze()

        found: Tensor = vmap(jacrev(jacrev(loss)))(self.outputs, self.targets)
        return found

    def middle(self, source: str, key: Tensor, samples: int) -> Tensor:
        """What stands between the Jacobians of each example, (n, k, k)."""
        if source == "exact":
            return self.hessians()
        if source == "empirical":
            outputs = self.outputs.clone().requires_grad_()
            vectors = [torch.autograd.grad(LOSSES[self.loss](outputs, self.targets).sum(), outputs)[0]]
        else:
            vectors = [CRITERIA[self.loss].sampled(self.outputs, key, number) for number in range(samples)]
        return torch.stack([torch.einsum("nk,nl->nkl", each, each) for each in vectors]).mean(dim=0)

    def fisher(self, source: str, key: Tensor, samples: int) -> Tensor:
        """Return the Fisher matrix (D, D); the empirical one from slopes as they are."""
        if source == "empirical":
            own = self.slopes()
            return own.T @ own / len(own)
        back = self.jacobians()
        return torch.einsum("nki,nkl,nlj->ij", back, self.middle(source, key, samples), back) / len(back)

    def inside(self, child: nn.Module) -> tuple[Tensor, Tensor]:
        """Return a child's inputs (n, ...), and the Jacobians (n, k, ...) of the outputs by the child's own."""
        kept: list[Tensor] = []
        hook = child.register_forward_hook(lambda _, given, found: kept.extend([*given, found]))
        outputs = self.module(self.inputs)
        hook.remove()
        slopes = [torch.autograd.grad(each.sum(), kept[1], retain_graph=True)[0] for each in outputs.unbind(dim=-1)]
        return kept[0].detach(), torch.stack(slopes, dim=1)


def _flat(tensors: Mapping[str, Tensor], front: int) -> Tensor:
    return torch.cat([tensor.flatten(front) for tensor in tensors.values()], dim=-1)


def order(layer: Layer, shapes: Sequence[torch.Size]) -> Tensor:
    """Return where a layer's parameters are among all that are flattened: (U, k), unit by unit, as plainly as it is said."""
    starts = torch.tensor([0, *(shape.numel() for shape in shapes)]).cumsum(dim=0)
    own: list[Tensor] = [
        starts[place] + torch.arange(shapes[place].numel()).reshape(shapes[place]) for place in layer.places
    ]
    if layer.kind in ("linear", "convolution"):
        weight, *bias = own
        return torch.cat([weight.flatten(1), *(each.unsqueeze(1) for each in bias)], dim=1)
    if layer.kind == "embedding":
        return own[0]
    return torch.stack([each.flatten() for each in own], dim=1)
