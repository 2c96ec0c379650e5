"""K-BFGS against a reference that runs the network by hand, and what it learns on the way."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.precondition.algorithms import kbfgs
from optim.precondition.interface import Preconditioner
from optim.precondition.layers import Layer, Seen
from tests.optim.precondition.looked import LAYERS, alone, examples, hyper, look, start, together

RULE = kbfgs.kbfgs(LAYERS)
PER_LAYER = 5
STEPS = 6


class Side:
    """What is known of one layer, as the paper has it."""

    def __init__(self, outputs: int, inputs: int) -> None:
        self.a, self.h_a = torch.zeros(inputs, inputs).double(), torch.eye(inputs).double()
        self.s, self.y, self.h_b = (
            torch.zeros(outputs).double(),
            torch.zeros(outputs).double(),
            torch.eye(outputs).double(),
        )


def forward(params: list[Tensor], inputs: Tensor, targets: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return inputs with a one behind them, outputs and slopes by outputs of each layer, of every example."""
    first = inputs @ params[0].T + params[1]
    first.requires_grad_()
    hidden = torch.tanh(first)
    second = hidden @ params[2].T + params[3]
    losses = F.cross_entropy(second, targets, reduction="sum")
    slopes = torch.autograd.grad(losses, [first, second])
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    taken = [torch.cat([each.detach(), ones], dim=1) for each in (inputs, hidden)]
    return taken, [first.detach(), second.detach()], list(slopes)


def bfgs(h: Tensor, s: Tensor, y: Tensor) -> Tensor:
    rate = 1 / (s @ y)
    left = torch.eye(len(s)).double() - rate * torch.outer(s, y)
    return left @ h @ left.T + rate * torch.outer(s, s)


def reference(
    params: list[Tensor],
    sides: list[Side],
    batch: tuple[Tensor, Tensor],
    *,
    first: bool,
    past: float,
    damping: float,
    lr: float,
) -> list[Tensor]:
    """Learn from a mini-batch as algorithms 2 and 3 of the paper say, and return the next parameters."""
    taken, outputs, slopes = forward(params, *batch)
    grads = [slope.T @ each / len(each) for slope, each in zip(slopes, taken, strict=True)]

    def stepped() -> list[Tensor]:
        new = []
        for place, (side, grad) in enumerate(zip(sides, grads, strict=True)):
            step = lr * side.h_b @ grad @ side.h_a
            new += [params[2 * place] - step[:, :-1], params[2 * place + 1] - step[:, -1]]
        return new

    after = stepped()
    _, outputs_then, slopes_then = forward(after, *batch)
    root = damping**0.5
    for place, side in enumerate(sides):
        each = taken[place]
        side.a = past * side.a + (1 - past) * each.T @ each / len(each)
        damped = side.a + root * torch.eye(len(side.a)).double()
        if first:
            side.h_a = torch.linalg.inv(damped)
        s = side.h_a @ each.mean(dim=0)
        side.h_a = bfgs(side.h_a, s, damped @ s)
        side.s = past * side.s + (1 - past) * (outputs_then[place] - outputs[place]).mean(dim=0)
        side.y = past * side.y + (1 - past) * (slopes_then[place] - slopes[place]).mean(dim=0)
        s, y, back = side.s, side.y, side.h_b @ side.y
        if s @ y < 0.2 * y @ back:
            share = 0.8 * (y @ back) / (y @ back - s @ y)
            s = share * s + (1 - share) * back
        side.h_b = bfgs(side.h_b, s, y + root * s)
    return after


@pytest.mark.parametrize(("beta", "damping"), [(0.9, 0.1), (0.0, 1e-3), (0.5, 1.0)])
def test_it_is_the_algorithm_of_the_paper(beta: float, damping: float) -> None:
    lr = 0.1
    options = hyper("kbfgs", lr=lr, curvature_beta=beta, damping=damping, kl_clip=0.0)
    got, states = alone(RULE, options, STEPS)
    params, sides = start(), [Side(4, 4), Side(3, 5)]
    for step in range(STEPS):
        past = min(beta, 1 - 1 / (step + 1))
        params = reference(params, sides, examples(step), first=step == 0, past=past, damping=damping, lr=lr)
    assert all((one - other).abs().max() <= 1e-10 for one, other in zip(got, params, strict=True))
    for place, side in enumerate(sides):
        kept = states[-1].curvature[PER_LAYER * place : PER_LAYER * (place + 1)]
        for one, other in zip(kept, (side.a, side.s, side.y, side.h_a, side.h_b), strict=True):
            assert (one.squeeze(0) - other).abs().max() <= 1e-10 * max(1.0, float(other.abs().max()))


def test_both_inverses_move_at_every_step_and_the_step_is_not_the_plain_one() -> None:
    _, states = alone(RULE, hyper("kbfgs"), STEPS)
    for before, after in pairwise(states[1:]):
        assert all((new - old).abs().max() > 1e-6 for new, old in zip(after.inverse, before.inverse, strict=True))
    for factor in states[-1].inverse:
        assert torch.linalg.eigvalsh(factor).min() > 0
        assert (factor - torch.eye(factor.shape[-1])).abs().max() > 1e-2
    batch = look(start(), *examples(9))
    found, _ = RULE.step(batch.gradients(), states[-1], start(), hyper("kbfgs"), batch)
    assert all((new / old).std() > 1e-2 for new, old in zip(found, batch.gradients(), strict=True))


def test_the_inverse_of_the_inputs_is_near_what_it_learns() -> None:
    options = hyper("kbfgs", lr=1e-3, damping=0.1, curvature_beta=0.99)
    _, states = alone(RULE, options, 300)
    inputs, left = states[-1].curvature[0][0], states[-1].curvature[3][0]
    wanted = torch.linalg.inv(inputs + 0.1**0.5 * torch.eye(len(inputs)).double())
    assert (left - wanted).norm() <= 0.2 * wanted.norm()
    assert (
        torch.linalg.inv(states[1].curvature[0][0] + 0.1**0.5 * torch.eye(4).double()) - wanted
    ).norm() > 0.3 * wanted.norm()


def test_the_inverse_of_the_outputs_is_that_of_the_curvature_along_the_way() -> None:
    """Of the last layer the Hessian by outputs is known: on the way it went, H_B is near its inverse."""
    _, states = alone(RULE, hyper("kbfgs", lr=0.1, damping=1e-6, curvature_beta=0.0), 20)
    *_, shift, change, _, right = states[-1].curvature
    assert ((right @ change.unsqueeze(-1)).squeeze(-1) - shift).norm() <= 0.05 * shift.norm()


def test_members_take_the_steps_they_take_alone() -> None:
    options = [
        hyper("kbfgs", lr=0.1),
        hyper("kbfgs", lr=0.02, damping=0.3, curvature_beta=0.5, kl_clip=1e-4),
        hyper("kbfgs", lr=0.1, interval=2, curvature_interval=3, mu1=0.5),
    ]
    params, state = together(RULE, options, 8)
    for member, own in enumerate(options):
        wanted, states = alone(RULE, own, 8, member)
        for one, all_ in zip([*wanted, *states[-1].curvature], [*params, *state.curvature], strict=True):
            assert torch.allclose(one, all_[member], rtol=0, atol=1e-10)


def test_it_learns_at_its_interval_and_uses_at_the_other() -> None:
    _, states = alone(RULE, hyper("kbfgs", curvature_interval=2, interval=3), 7)
    for field, due in (("curvature", [0, 2, 4, 6]), ("inverse", [0, 3, 6])):
        found = [getattr(state, field)[-1] for state in states]
        moved = [not torch.equal(found[step], found[step + 1]) for step in range(7)]
        assert [step for step, each in enumerate(moved) if each] == due


def test_nonsense_is_counted_and_what_was_learned_stays() -> None:
    _, states = alone(RULE, hyper("kbfgs"), 2)
    inputs, targets = examples(0)
    batch = look(start(), inputs.fill_(torch.nan), targets)
    _, after = RULE.step(batch.gradients(), states[-1], start(), hyper("kbfgs"), batch)
    assert after.skipped == 1
    assert all(torch.equal(new, old) for new, old in zip(after.curvature, states[-1].curvature, strict=True))


def test_examples_of_no_weight_are_not_there() -> None:
    inputs, targets = examples(0)
    padded = torch.cat([inputs, inputs[:2] + 5]), torch.cat([targets, targets[:2]])
    weights = torch.cat([torch.full((8,), 1 / 8), torch.zeros(2)]).double()
    options, found = hyper("kbfgs"), []
    for batch in (look(start(), inputs, targets), look(start(), *padded, weights)):
        _, state = RULE.step(batch.gradients(), RULE.init(start()), start(), options, batch)
        found.append(state.curvature)
    assert all((one - other).abs().max() <= 1e-12 for one, other in zip(*found, strict=True))


def test_of_a_convolution_inputs_are_averaged_over_positions_and_slopes_summed() -> None:
    torch.manual_seed(0)
    settings = {"kernel": (2,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 2}
    inputs, slopes = torch.randn(5, 4, 3).double(), torch.randn(1, 5, 6, 2).double()
    weight, bias = torch.randn(6, 2, 2).double(), torch.randn(6).double()
    weights = torch.full((5,), 0.2, dtype=torch.float64)
    found = kbfgs._mean(Seen(Layer("convolution", 0, 1, settings), inputs, slopes, weights), [weight, bias])
    outputs = F.conv1d(inputs, weight, bias, groups=2).mean(dim=(0, 2))
    assert (found.outputs.flatten() - outputs).abs().max() <= 1e-12
    assert (found.slopes.flatten() - slopes[0].mean(dim=0).sum(dim=-1)).abs().max() <= 1e-12
    patches = torch.stack([inputs[:, :, :2], inputs[:, :, 1:]]).mean(dim=(0, 1)).reshape(2, 4)
    assert (found.inputs - torch.cat([patches, torch.ones(2, 1)], dim=1)).abs().max() <= 1e-12


@pytest.mark.parametrize("lr", [None, 0.05])
def test_in_a_loop_of_ones_own_it_learns_with_a_rate_and_without(lr: float | None) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).double()
    inputs, targets = torch.randn(16, 2, 4, 4).double(), torch.randint(3, (16,))
    precondition = Preconditioner(model, "kbfgs")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def closure() -> tuple[Tensor, Tensor]:
        outputs: Tensor = model(inputs)
        return F.cross_entropy(outputs, targets), outputs

    losses = []
    for _ in range(20):
        losses.append(float(precondition.backward(closure, lr=lr)))
        optimizer.step()
    state: Any = precondition._state
    assert losses[-1] < 0.7 * losses[0]
    assert precondition.skipped == 0
    assert all((factor - torch.eye(factor.shape[-1])).abs().max() > 1e-2 for factor in state.inverse)
