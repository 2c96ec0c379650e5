"""Steps: dense ones against autograd on the plain form, sparse ones against dense ones, whoever finds the active neurons."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from optim.sparse.activations import ACTIVATIONS
from optim.sparse.back_ends.dense import Dense
from optim.sparse.back_ends.interface import BackEnd, Counters
from optim.sparse.back_ends.margin_lists import MarginLists
from optim.sparse.back_ends.table import BACK_ENDS, Options
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Kernels, Layer
from optim.sparse.kernels.plain import PlainKernels
from optim.sparse.network import TwoLayer
from optim.sparse.sgd import Batch, Model, dense_step, find, sparse_step
from tests.optim.sparse import cases

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
every_head = pytest.mark.parametrize("outputs", [1, 10])

LR, DECAY = 2.0, 0.002


def autograd(model: Model, batches: list[Batch]) -> tuple[list[Tensor], Tensor]:
    """Train the plain form with torch's SGD; return the losses of each step, and the weights."""
    weights = model.weights.requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=batches[0].lr, weight_decay=batches[0].weight_decay)
    losses = []
    for batch in batches:
        outputs = model.network.outputs(weights, model.layer.signs, model.layer.inputs[batch.numbers])
        losses.append(batch.slope(outputs)[0])
        optimizer.zero_grad()
        losses[-1].mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [each.detach() for each in losses], weights.detach()


def dense(model: Model, batches: list[Batch]) -> list[Tensor]:
    keeper = Dense(model.layer, kernels())
    return [dense_step(model, batch, keeper)[0] for batch in batches]


def built(name: str, model: Model, loops: Kernels) -> BackEnd:
    return BACK_ENDS[name](model.layer, loops, Counters(), Options(model.threshold))


def same_curve(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare mean losses of batches: one neuron that lies on the threshold to rounding may go another way in one example."""
    torch.testing.assert_close(torch.stack(ours).mean(1), torch.stack(theirs).mean(1), rtol=1e-4, atol=1e-6)


@every_activation
@every_head
@pytest.mark.parametrize(("steps", "weight_decay"), [(1, 0.0), (1, DECAY), (200, 0.0), (200, DECAY)])
def test_a_dense_step_is_that_of_autograd(activation: str, outputs: int, steps: int, weight_decay: float) -> None:
    ours, theirs = (cases.model(activation, outputs=outputs) for _ in range(2))
    batches = list(cases.batches(ours, steps, lr=LR, weight_decay=weight_decay))
    losses = dense(ours, batches)
    expected, weights = autograd(theirs, batches)
    same_curve(losses, expected)
    torch.testing.assert_close(ours.weights, weights, rtol=1e-4, atol=1e-5)
    assert steps == 1 or weight_decay > 0.0 or torch.stack(losses[-20:]).mean() < 0.9 * torch.stack(losses[:20]).mean()


@every_activation
@every_head
@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_sparse_step_is_a_dense_one(activation: str, outputs: int, back_end: str) -> None:
    sparse, whole = (cases.model(activation, outputs=outputs) for _ in range(2))
    batches = list(cases.batches(sparse, 200, lr=LR))
    loops = kernels()
    finder = built(back_end, sparse, loops)
    losses = []
    for batch in batches:
        before, quiet = sparse.layer.weights.clone(), silent(sparse, batch.numbers)
        losses.append(sparse_step(sparse, batch, finder, finder, loops)[0])
        assert quiet.any()
        assert torch.equal(sparse.layer.weights[quiet], before[quiet])
    same_curve(losses, dense(whole, batches))
    torch.testing.assert_close(sparse.weights, whole.weights, rtol=1e-4, atol=1e-3)
    if activation != "top_k":
        cases.audit(
            finder.query(torch.arange(60), sparse.threshold),
            sparse.layer.inputs,
            sparse.layer.weights,
            sparse.threshold,
        )


def silent(model: Model, numbers: Tensor) -> Tensor:
    """Return which neurons (m,) are active for none of the batch, and not nearly so."""
    heights = model.layer.inputs[numbers] @ model.layer.weights.T
    least: float | Tensor = model.threshold
    if model.network.activation.selective:
        least = heights.topk(model.network.most, dim=1).values[:, -1:]
    return (heights < least - cases.TIE).all(dim=0)


@every_activation
@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_decay_by_scale_is_plain_decay(activation: str, back_end: str) -> None:
    sparse, theirs = (cases.model(activation, outputs=3) for _ in range(2))
    batches = list(cases.batches(sparse, 200, lr=LR, weight_decay=DECAY))
    loops = kernels()
    finder = built(back_end, sparse, loops)
    losses = [sparse_step(sparse, batch, finder, finder, loops)[0] for batch in batches]
    expected, weights = autograd(theirs, batches)
    assert sparse.scale == pytest.approx((1 - LR * DECAY) ** 200)
    same_curve(losses, expected)
    torch.testing.assert_close(sparse.weights, weights, rtol=1e-4, atol=1e-3)


@every_activation
def test_plain_loops_take_the_same_steps(activation: str) -> None:
    losses: list[list[Tensor]] = []
    for loops in (PlainKernels(), kernels()):
        model = cases.model(activation, outputs=2)
        finder = built("lists", model, loops)
        batches = cases.batches(model, 100, lr=LR, weight_decay=DECAY)
        losses.append([sparse_step(model, batch, finder, finder, loops)[0] for batch in batches])
    same_curve(*losses)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_steps_of_both_kinds_keep_a_back_end_true(back_end: str) -> None:
    model = cases.model("shifted_relu")
    loops = kernels()
    keeper = built(back_end, model, loops)
    steps: list[Callable[[Batch], object]] = [
        lambda batch: dense_step(model, batch, keeper),
        lambda batch: sparse_step(model, batch, keeper, keeper, loops),
        lambda batch: sparse_step(model, batch, Dense(model.layer, loops), keeper, loops),
    ]
    for number, batch in enumerate(cases.batches(model, 90, lr=10 * LR, weight_decay=DECAY)):
        steps[number % 3](batch)
        if number % 10 == 9:
            answer = keeper.query(torch.arange(60), model.threshold)
            cases.audit(answer, model.layer.inputs, model.layer.weights, model.threshold)


@pytest.mark.parametrize("threshold", [0.0, 1.0, 2.5, 50.0])
def test_top_k_is_exact_even_where_the_threshold_hides_too_many(threshold: float) -> None:
    model = cases.model("top_k")
    loops = kernels()
    network = TwoLayer(model.network.activation, threshold, most=20)
    hiding = Model(network, model.layer)
    heights = model.layer.inputs @ model.layer.weights.T
    expected = torch.zeros_like(heights, dtype=torch.bool).scatter_(1, heights.topk(20, dim=1).indices, value=True)
    for back_end in (Dense(model.layer, loops), MarginLists(model.layer, loops, floor=threshold)):
        active = find(hiding, torch.arange(60), back_end, loops)
        assert torch.equal(cases.mask(active, 400), expected)


def test_a_paired_network_starts_from_zero_in_either_step() -> None:
    for step in ("dense", "sparse"):
        model = cases.model("shifted_relu")
        model.layer.weights[200:] = model.layer.weights[:200]
        model.layer.signs[200:] = -model.layer.signs[:200]
        seen: list[Tensor] = []

        def slope(outputs: Tensor, seen: list[Tensor] = seen) -> tuple[Tensor, Tensor]:
            seen.append(outputs)
            return outputs.square().sum(1), 2 * outputs

        batch, finder = Batch(torch.arange(60), slope, 1.0), Dense(model.layer, kernels())
        if step == "dense":
            dense_step(model, batch, finder)
        else:
            sparse_step(model, batch, finder, finder, kernels())
        assert seen[0].abs().max() < 1e-6


@pytest.mark.parametrize(("lr", "weight_decay"), [(100.0, 0.01), (10.0, 1.0), (1.0, float("nan"))])
def test_a_decay_that_leaves_nothing_is_refused(lr: float, weight_decay: float) -> None:
    with pytest.raises(ValueError, match="lr times weight_decay must be under 1, got"):
        Batch(torch.tensor([0]), cases.squared(torch.ones(1, 1)), lr, weight_decay)


def test_slopes_of_the_cases_are_those_of_their_losses() -> None:
    outputs = torch.randn(5, 4, generator=cases.seeded(0)).requires_grad_()
    labels = torch.tensor([0, 3, 3, 1, 2])
    losses, slopes = cases.classes(labels, 4)(outputs)
    (gradient,) = torch.autograd.grad(cross_entropy(outputs, labels, reduction="sum"), outputs)
    torch.testing.assert_close(slopes, gradient)
    assert losses.shape == (5,)


def marching(slack: float) -> tuple[Model, MarginLists]:
    """Return a model whose rows all walk straight on: one sign, two inputs that are near, and an output wanted far away."""
    first, beside = torch.randn(2, 8, generator=cases.seeded(1))
    inputs = normalize(torch.stack([first, first + 0.5 * beside]))
    weights = torch.randn(3000, 8, generator=cases.seeded(2))
    layer = Layer(weights, inputs, torch.ones(3000, 1), torch.zeros(3000))
    given = Model(TwoLayer(ACTIVATIONS["shifted_relu"], 1.5), layer)
    return given, MarginLists(layer, kernels(), floor=1.5 - slack)


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_no_active_neuron_is_missed_where_rows_walk_straight_on(way: str) -> None:
    given, lists = marching(0.25)
    target = torch.tensor([[50.0]])
    for step in range(60):
        batch = Batch(torch.tensor([step % 2]), cases.squared(target), 0.02)
        if way == "sparse":
            sparse_step(given, batch, lists, lists, kernels())
        else:
            dense_step(given, batch, lists)
        layer = given.layer
        cases.audit(lists.query(torch.tensor([0, 1]), 1.5), layer.inputs, layer.weights, 1.5)
    assert lists.counters.queries > 0
