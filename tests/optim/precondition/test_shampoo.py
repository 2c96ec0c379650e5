"""Shampoo against a reference that writes the Kronecker product out, and what blocks, grafts and members do to it."""

import copy
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optim import catalog
from optim.build import build, build_rule
from optim.precondition.algorithms import shampoo
from optim.precondition.interface import Preconditioner
from optim.precondition.matrices.blocks import LARGEST
from optim.precondition.matrices.roots import ROOTS
from optim.precondition.methods import METHODS
from optim.transform import Hyper, stack

SHAPES = (4, 3), (5,), (), (3, 2, 2, 2), (0, 2)
STEPS = 6
INFO = catalog.optimizer_info("shampoo")


def hyper(**options: Any) -> dict[str, Tensor]:
    known = catalog.by_name(INFO.options)
    given = {"interval": 1, "curvature_interval": 1, "ridge": 1e-3, **options}
    values = {name: known[name].number(value) for name, value in catalog.complete(INFO, given).items()}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def gradients(step: int, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def directions(options: Hyper, shapes: Sequence[tuple[int, ...]] = SHAPES, steps: int = STEPS) -> list[list[Tensor]]:
    state = shampoo.RULE.init([torch.zeros(shape, dtype=torch.float64) for shape in shapes])
    found = []
    for step in range(steps):
        grads = gradients(step, shapes)
        new, state = shampoo.RULE.update(grads, state, grads, options)
        found.append(new)
    return found


def power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    found: Tensor = vectors @ torch.diag(values**exponent) @ vectors.T
    return found


def reference(grads: list[Tensor], *, beta: float, ridge: float, block: int = LARGEST) -> Tensor:
    """Return the direction after gradients of one tensor: the Kronecker product of all L_i as one matrix, and its root."""
    shape = grads[0].shape
    statistics = []
    for axis, length in enumerate(shape):
        mean = torch.zeros(length, length, dtype=torch.float64)
        for number, grad in enumerate(grads):
            rows = torch.stack([grad.select(axis, place).flatten() for place in range(length)])
            weight = min(beta, 1 - 1 / (number + 1))
            mean = weight * mean + (1 - weight) * rows @ rows.T
        for i in range(length):
            for j in range(length):
                mean[i, j] *= i // block == j // block
        cuts = [slice(first, first + block) for first in range(0, length, block)]
        ridges = [ridge * torch.linalg.eigvalsh(mean[cut, cut])[-1].expand(len(mean[cut])) for cut in cuts]
        statistics.append(mean + torch.diag(torch.cat(ridges)))
    whole = power(reduce(torch.kron, statistics), -1 / (2 * len(shape)))
    return (whole @ grads[-1].flatten()).reshape(shape)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("beta", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("axes", ["matrix", "each"])
def test_the_step_is_that_of_the_whole_kronecker_product(root: str, beta: float, axes: str) -> None:
    options = hyper(grafting="none", curvature_beta=beta, axes=axes, root=root)
    found = directions(options)
    for place, shape in enumerate(SHAPES):
        if math.prod(shape) == 0:
            assert found[-1][place].shape == shape
            continue
        fold = (shape[0], -1) if len(shape) > 2 and axes == "matrix" else shape or (1,)
        grads = [gradients(step)[place].reshape(fold) for step in range(STEPS)]
        wanted = reference(grads, beta=beta, ridge=1e-3).reshape(shape)
        assert (found[-1][place] - wanted).abs().max() <= 1e-8 * max(1.0, wanted.abs().max().item())


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_are_those_on_the_diagonal(block: int) -> None:
    shapes = ((6, 3),)
    found = directions(hyper(grafting="none", block_size=block, curvature_beta=0.7), shapes)
    wanted = reference([gradients(step, shapes)[0] for step in range(STEPS)], beta=0.7, ridge=1e-3, block=block)
    assert (found[-1][0] - wanted).abs().max() <= 1e-8


def test_blocks_of_unequal_lengths_are_as_equal_as_can_be() -> None:
    shapes = ((5, 2),)  # at most 4: not 4 and 1, but 3 and 2
    found = directions(hyper(grafting="none", block_size=4, curvature_beta=0.7), shapes)
    wanted = reference([gradients(step, shapes)[0] for step in range(STEPS)], beta=0.7, ridge=1e-3, block=3)
    assert (found[-1][0] - wanted).abs().max() <= 1e-8


def test_blocks_no_smaller_than_the_sides_change_nothing_and_smaller_ones_do() -> None:
    whole, same, cut = (directions(hyper(block_size=size))[-1] for size in (LARGEST, 12, 2))
    assert all(torch.equal(one, other) for one, other in zip(whole, same, strict=True))
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(whole, cut, strict=True) if one.numel())


def test_grafts_give_their_length_and_leave_the_direction() -> None:
    found = {name: directions(hyper(grafting=name, beta2=0.9))[-1] for name in ("none", "sgd", "adam")}
    for place, shape in enumerate(SHAPES):
        if not math.prod(shape):
            continue
        grads = [gradients(step)[place] for step in range(STEPS)]
        square = torch.zeros_like(grads[0])
        for grad in grads:
            square = 0.9 * square + 0.1 * grad**2
        adam = grads[-1] / ((square / (1 - 0.9**STEPS)).sqrt() + 1e-8)
        for name, length in (("sgd", grads[-1].norm()), ("adam", adam.norm())):
            own, plain = found[name][place], found["none"][place]
            assert (own.norm() - length).abs() <= 1e-10
            assert (own / own.norm() - plain / plain.norm()).abs().max() <= 1e-10


def test_the_step_is_not_the_plain_one_and_the_state_moves() -> None:
    grads = gradients(0)
    state = shampoo.RULE.init(grads)
    found, after = shampoo.RULE.update(grads, state, grads, hyper(grafting="sgd"))
    assert (found[0] / grads[0]).std() > 1e-2
    _, later = shampoo.RULE.update(gradients(1), after, grads, hyper(grafting="sgd"))
    for name in ("curvature", "inverse", "square"):
        assert all(
            (old - new).abs().max() > 0
            for old, new in zip(getattr(after, name), getattr(later, name), strict=True)
            if new.numel()
        )


def test_intervals_are_kept_apart() -> None:
    options = hyper(curvature_interval=2, interval=3)
    state = shampoo.RULE.init(gradients(0))
    learned, rooted = [], []
    for step in range(7):
        before = state
        _, state = shampoo.RULE.update(gradients(step), state, gradients(step), options)
        learned.append(not torch.equal(before.curvature[0], state.curvature[0]))
        rooted.append(not torch.equal(before.inverse[0], state.inverse[0]))
    assert [step for step, moved in enumerate(learned) if moved] == [0, 2, 4, 6]
    assert [step for step, moved in enumerate(rooted) if moved] == [0, 3, 6]


def test_nonsense_is_counted_and_forgotten() -> None:
    grads, options = gradients(0), hyper()
    _, state = shampoo.RULE.update(grads, shampoo.RULE.init(grads), grads, options)
    spoilt = [grads[0].fill_(torch.inf), *grads[1:]]
    _, after = shampoo.RULE.update(spoilt, state, grads, options)
    assert after.skipped == 1
    assert torch.equal(after.curvature[0], state.curvature[0])


def test_members_that_differ_in_everything_take_the_steps_they_take_alone() -> None:
    members = [
        hyper(),
        hyper(block_size=2, axes="each", grafting="sgd"),
        hyper(block_size=3, root="newton", grafting="none", curvature_beta=0.5, ridge=1e-2),
        hyper(axes="each", interval=2, curvature_interval=3, beta2=0.5),
    ]
    together = {name: torch.stack([own[name] for own in members]) for name in members[0]}
    states = [shampoo.RULE.init(gradients(0)) for _ in members]
    whole = stack(states)
    for step in range(STEPS):
        grads = [gradients(10 * step + member) for member in range(len(members))]
        stacked = [torch.stack(parts) for parts in zip(*grads, strict=True)]
        found, whole = shampoo.RULE.update(stacked, whole, stacked, together)
        for member, own in enumerate(members):
            alone, states[member] = shampoo.RULE.update(grads[member], states[member], grads[member], own)
            for one, all_ in zip(alone, found, strict=True):
                assert torch.allclose(one, all_[member], rtol=1e-10, atol=1e-10)


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)
    ).double()


INPUTS = torch.randn(32, 2, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
TARGETS = torch.randint(3, (32,), generator=torch.Generator().manual_seed(5))


def loss_of(model: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(model(INPUTS), TARGETS)


def test_it_steps_without_a_closure_and_is_the_same_before_an_optimizer_of_torch() -> None:
    ours, theirs = network(), network()
    optimizer = build("shampoo", ours, lr=1e-3, interval=2)
    precondition = Preconditioner(theirs, "shampoo", interval=2)
    stepper = torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)
    start = loss_of(ours).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss_of(ours).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        precondition.backward(lambda: loss_of(theirs))
        stepper.step()
    assert loss_of(ours) < start / 2
    assert all(
        torch.allclose(p, q, rtol=0, atol=1e-10) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    assert (precondition.skipped, precondition.plain) == (0, [])


def test_a_resumed_run_goes_on_as_if_never_stopped() -> None:
    model = network()
    optimizer = build("shampoo", model, lr=1e-3, interval=3)
    saved: Any = None
    for step in range(8):
        if step == 4:
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        optimizer.zero_grad()
        loss_of(model).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    again = network()
    again.load_state_dict(saved[0])
    second = build("shampoo", again, lr=1.0)
    second.load_state_dict(saved[1])
    for _ in range(4):
        second.zero_grad()
        loss_of(again).backward()  # type: ignore[no-untyped-call]
        second.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


def test_the_catalog_offers_what_there_is() -> None:
    options = catalog.by_name(INFO.options)
    assert options["root"].choices == ROOTS
    assert options["block_size"].high == LARGEST
    assert not METHODS["shampoo"].looks
    assert not build_rule("shampoo").looks
