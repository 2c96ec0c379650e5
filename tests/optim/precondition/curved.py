"""A small network of smooth curves on data of its own, alone or stacked, as a mini-batch that methods look at."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optim import catalog
from optim.precondition.batch import Batch, Members, Pass
from optim.precondition.criteria import criterion
from optim.precondition.operations.products import joined, split
from optim.transform import Hyper, Rule, stack

EXAMPLES, CLASSES = 12, 3
_SHAPES = (4, 5), (4,), (CLASSES, 4), (CLASSES,)


def network(members: int, seed: int = 0) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return parameters (P, ...), inputs (P, n, 5) and classes (P, n)."""
    random = torch.Generator().manual_seed(seed)
    params = [torch.randn(members, *shape, generator=random, dtype=torch.float64) / 2 for shape in _SHAPES]
    inputs = torch.randn(members, EXAMPLES, 5, generator=random, dtype=torch.float64)
    return params, inputs, torch.randint(CLASSES, (members, EXAMPLES), generator=random)


def outputs_of(params: Sequence[Tensor], inputs: Tensor) -> Tensor:
    w1, b1, w2, b2 = params
    hidden = torch.tanh(inputs @ w1.mT + b1.unsqueeze(-2))
    return hidden @ w2.mT + b2.unsqueeze(-2)


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return losses.reshape(targets.shape).mean(dim=-1).sum()


def batch(params: Sequence[Tensor], inputs: Tensor, targets: Tensor) -> Batch:
    """Return the mini-batch of one network, or of stacked ones."""

    def run(moved: Sequence[Tensor]) -> Pass:
        outputs = outputs_of(moved, inputs)
        return Pass(loss_of(outputs, targets), outputs, ())

    leaves = [param.detach().clone().requires_grad_() for param in params]
    weights = torch.full(targets.shape, 1 / EXAMPLES, dtype=torch.float64)
    return Batch(run, leaves, (), criterion("cross_entropy"), weights)


def member(
    place: int, params: Sequence[Tensor], inputs: Tensor, targets: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    return [param[place] for param in params], inputs[place], targets[place]


def hessian(params: Sequence[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the Hessian of one network's loss, as torch.func has it."""

    def loss(row: Tensor) -> Tensor:
        return loss_of(outputs_of(split(row, params, 0), inputs), targets)

    found: Tensor = torch.func.hessian(loss)(joined(params, 0))
    return found


def gauss_newton(params: Sequence[Tensor], inputs: Tensor, _targets: Tensor) -> Tensor:
    """Return the sum over examples of J^T (diag p - p p^T) J / n."""

    def outputs(row: Tensor) -> Tensor:
        return outputs_of(split(row, params, 0), inputs)

    row = joined(params, 0)
    jacobian, shares = torch.func.jacrev(outputs)(row), outputs(row).softmax(dim=-1)
    inner = torch.diag_embed(shares) - shares.unsqueeze(-1) * shares.unsqueeze(-2)
    return torch.einsum("nid,nij,nje->de", jacobian, inner, jacobian) / len(inputs)


def hyper(name: str, members: int | None = None, **options: Any) -> Mapping[str, Tensor]:
    """Return the options of a method as rules get them, those given as numbers or one for each member."""
    info = catalog.optimizer_info(name)
    known = catalog.by_name(info.options)
    given = {option.name: option.number(option.default) for option in info.options}
    given |= {key: known[key].number(value) if isinstance(value, str) else value for key, value in options.items()}
    shape = () if members is None else (members,)
    return {key: torch.as_tensor(value, dtype=torch.float64).expand(shape).clone() for key, value in given.items()}


class Spoiled:
    """A mini-batch whose products with curvature are not finite for one member."""

    def __init__(self, own: Batch, place: int) -> None:
        self._own, self._place = own, place
        self.weights, self.params = own.weights, own.params

    def product(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        return self._spoiled(self._own.product(vectors))

    def gauss_newton(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        return self._spoiled(self._own.gauss_newton(vectors))

    def _spoiled(self, products: Sequence[Tensor]) -> list[Tensor]:
        found = [each.clone() for each in products]
        for each, param in zip(found, self.params, strict=True):
            each.movedim(each.ndim - param.ndim, 0)[self._place] = torch.nan
        return found


def check_members(rule: Rule[Any], together: Hyper, *, steps: int, one_by_one: bool) -> None:
    """Step three members with options of their own together and each alone, and see that they agree."""
    whole = network(3)
    alone = [rule.init(member(place, *whole)[0]) for place in range(3)]
    state = stack(alone)
    for seed in range(steps):
        moved = whole[0], *network(3, seed)[1:]
        parts = [batch(*member(place, *moved)) for place in range(3)]
        seen = Members(parts) if one_by_one else batch(*moved)
        found, state = rule.update(seen.gradients(), state, moved[0], together, seen)
        for place, part in enumerate(parts):
            hyper = {key: value[place] for key, value in together.items()}
            own, alone[place] = rule.update(part.gradients(), alone[place], part.params, hyper, part)
            for mine, stacked in zip(own, found, strict=True):
                torch.testing.assert_close(stacked[place], mine, rtol=0, atol=1e-10)
