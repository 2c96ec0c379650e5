"""Small networks in float64 with a mini-batch each, gradients of their examples by brute force, and what a method makes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from optim import catalog
from optim.precondition.batch import Batch, Looked, Members, Pass
from optim.precondition.criteria import criterion
from optim.precondition.extension.tape import Tape, once
from optim.precondition.layers import Layer
from optim.precondition.methods import METHODS, known
from training.networks.dense import apply_dense

EXAMPLES, CLASSES = 6, 3


class Case:
    """A module with a mini-batch that it is looked at with; its state is one seed's."""

    def __init__(self, module: nn.Module, *shape: int, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.module = module.double()
        for param in self.module.parameters():
            param.data = torch.randn(param.shape, generator=random, dtype=torch.float64) / 2
        self.inputs = torch.randn(EXAMPLES, *shape, generator=random, dtype=torch.float64)
        self.targets = torch.randint(CLASSES, (EXAMPLES,), generator=random)
        self.weights = torch.full((EXAMPLES,), 1 / EXAMPLES, dtype=torch.float64)
        self.names = [name for name, _ in self.module.named_parameters()]
        self.params: list[Tensor] = [param for _, param in self.module.named_parameters()]

    def batch(self, method: str | None = None) -> Batch:
        """Return the batch, seen by the layers that the method knows; by all of them without one."""
        layers: Sequence[Layer] = [call.layer for call in once(self._run(self.params).calls)]
        return Batch(
            self._run,
            self.params,
            layers if method is None else known(method, layers),
            criterion("cross_entropy"),
            self.weights,
        )

    def slopes(self) -> list[Tensor]:
        """Return of each parameter the gradients (n, ...) of each example's own loss."""

        def loss(params: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            outputs = functional_call(self.module, params, (inputs.unsqueeze(0),))
            return F.cross_entropy(outputs, target.unsqueeze(0))

        params = {name: param.detach() for name, param in zip(self.names, self.params, strict=True)}
        found = vmap(grad(loss), (None, 0, 0))(params, self.inputs, self.targets)
        return [found[name] for name in self.names]

    def _run(self, params: Sequence[Tensor]) -> Pass:
        with torch.enable_grad(), Tape(params) as tape:
            outputs = functional_call(self.module, dict(zip(self.names, params, strict=True)), (self.inputs,))
        losses = F.cross_entropy(outputs, self.targets, reduction="none")
        return Pass((losses * self.weights).sum(), outputs, tape.calls)


def mlp(seed: int = 0) -> Case:
    return Case(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES)), 4, seed=seed)


def wide(seed: int = 0) -> Case:
    """Return layers that are wider than the batch is long."""
    return Case(nn.Sequential(nn.Linear(20, 9), nn.Tanh(), nn.Linear(9, CLASSES, bias=False)), 20, seed=seed)


def positions(seed: int = 0) -> Case:
    """Return linear layers at three positions of each example, the first with large and the second with small matrices."""
    parts = nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2), nn.Flatten(), nn.Linear(6, CLASSES)
    return Case(nn.Sequential(*parts), 3, 12, seed=seed)


def grouped(seed: int = 0) -> Case:
    """Return a convolution of two groups with stride and padding, one whose positions are many, and a linear layer."""
    parts = (
        nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(),
        nn.Conv2d(6, 4, 3, padding=1, stride=2, groups=2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(36, CLASSES),
    )  # fmt: skip
    return Case(nn.Sequential(*parts), 2, 5, 5, seed=seed)


def normalised(seed: int = 0) -> Case:
    """Return a network with layers whose parameters are no matrices."""
    parts = nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, CLASSES)
    return Case(nn.Sequential(*parts), 4, seed=seed)


def options(name: str, **values: Any) -> dict[str, Tensor]:
    """Return a method's options, at their defaults but for these, and without a limit on the length of steps."""
    info = catalog.optimizer_info(name)
    given = catalog.by_name(info.options)
    complete = catalog.complete(info, {"kl_clip": 0.0, **values})
    return {key: torch.tensor(given[key].number(value), dtype=torch.float64) for key, value in complete.items()}


def stacked_options(each: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([own[name] for own in each]) for name in each[0]}


def step(name: str, case: Case, **values: Any) -> list[Tensor]:
    """Return what the method makes of the batch's gradients at its first step."""
    return along(name, case, case.batch().gradients(), **values)


def along(name: str, case: Case, grads: Sequence[Tensor], **values: Any) -> list[Tensor]:
    """Return what it makes of others."""
    batch = case.batch(name)
    link = METHODS[name].link(batch.layers)
    found, _ = link.step(grads, link.init(case.params), case.params, options(name, **values), batch)
    return found


def together(cases: Sequence[Case], name: str) -> Members:
    return Members([case.batch(name) for case in cases])


def stacked_mlp(members: int, *, padded: bool) -> tuple[list[Tensor], Looked, list[Batch]]:
    """Return stacked members of an MLP, their mini-batches in one pass, and those of each alone.

    Of each but the first, where `padded`, the last example is padding.
    """
    random = torch.Generator().manual_seed(2)
    shapes = (5, 4), (5,), (CLASSES, 5), (CLASSES,)
    params = [torch.randn(members, *shape, generator=random, dtype=torch.float64) / 2 for shape in shapes]
    inputs = torch.randn(members, EXAMPLES, 4, generator=random, dtype=torch.float64)
    targets = torch.randint(CLASSES, (members, EXAMPLES), generator=random)
    counts = torch.tensor([EXAMPLES - (padded and member > 0) for member in range(members)])
    weights = (torch.arange(EXAMPLES) < counts.unsqueeze(1)) / counts.unsqueeze(1).double()
    alone = [
        _dense(
            [param[place] for param in params], inputs[place, :count], targets[place, :count], weights[place, :count]
        )
        for place, count in enumerate(counts.tolist())
    ]
    return params, _dense(params, inputs, targets, weights), alone


def _dense(given: Sequence[Tensor], inputs: Tensor, targets: Tensor, weights: Tensor) -> Batch:
    def run(params: Sequence[Tensor]) -> Pass:
        with torch.enable_grad(), Tape(params) as tape:
            outputs = apply_dense(params, inputs, torch.tanh)
        losses = F.cross_entropy(outputs.reshape(-1, CLASSES), targets.flatten(), reduction="none")
        return Pass((losses.reshape(targets.shape) * weights).sum(), outputs, tape.calls)

    params = [param.clone().requires_grad_() for param in given]
    layers = [Layer("linear", 0, 1), Layer("linear", 2, 3)]
    return Batch(run, params, layers, criterion("cross_entropy"), weights)


def flat(tensors: Sequence[Tensor], front: int = 0) -> Tensor:
    """Return tensors as one vector, or as rows of so many axes in front."""
    return torch.cat([tensor.flatten(front) for tensor in tensors], dim=-1)
