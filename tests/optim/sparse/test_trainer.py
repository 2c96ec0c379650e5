"""The trainer: the same steps in every way, and in a training that changes ways. What steps cost is never looked at here."""

import pytest
import torch
from torch import Tensor

from optim.sparse.activations import ACTIVATIONS
from optim.sparse.back_ends.interface import BackEnd
from optim.sparse.back_ends.margin_lists import MarginLists
from optim.sparse.costs import Spent, Survey
from optim.sparse.kernels.choice import kernels
from optim.sparse.network import TwoLayer
from optim.sparse.sgd import Model
from optim.sparse.trainer import SparseSgd
from optim.sparse.tuner import DENSE, LISTS, SCAN, Limits, Look, Tuner
from tests.optim.sparse import cases

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)

WAYS = [(DENSE,), (SCAN,), (LISTS,), ("ball_tree",), ("correlation_tree",), (DENSE, SCAN, LISTS)]


class Scripted(Tuner):
    """A tuner that takes what it is told in `script`, (way, slack of the lists that are there), round and round."""

    script: list[tuple[str, float | None]]

    def __init__(self, script: list[tuple[str, float | None]]) -> None:
        super().__init__(Limits(), slack=0.25)
        self.script = script

    @property
    def way(self) -> str:
        return self.script[0][0]

    @property
    def listed(self) -> float | None:
        return self.script[0][1]

    @property
    def structure(self) -> str:
        return LISTS

    def take(self, spent: Spent, look: Look) -> None:
        assert spent.steps == 1
        assert look(0.25).listed >= look(0.1).listed
        self.script = self.script[1:] + self.script[:1]


def train(trainer: SparseSgd, steps: int, *, lr: float = 2.0) -> Tensor:
    """Take steps; return the losses (B,) of the last."""
    losses = torch.empty(0)
    for batch in cases.batches(trainer.model, steps, lr=lr):
        losses = trainer.step(batch)
    return losses


@every_activation
@pytest.mark.parametrize("weight_decay", [0.0, 0.002])
def test_every_way_gives_the_same_losses(activation: str, weight_decay: float) -> None:
    curves = []
    for ways in WAYS:
        model = cases.model(activation, outputs=3)
        trainer = SparseSgd(model, kernels(), limits=Limits(ways=ways))
        batches = cases.batches(model, 150, lr=2.0, weight_decay=weight_decay)
        curves.append(torch.stack([trainer.step(batch).mean() for batch in batches]))
        assert len(ways) > 1 or trainer.way == ways[0]
    for curve in curves[1:]:
        torch.testing.assert_close(curve, curves[0], rtol=1e-4, atol=1e-6)


@every_activation
def test_changing_ways_on_the_way_changes_no_losses(activation: str) -> None:
    scripts: list[list[tuple[str, float | None]]] = [
        [(DENSE, None)],
        [(LISTS, 0.25), (LISTS, 0.25), (DENSE, 0.25), (SCAN, 0.25), (LISTS, 0.25), (LISTS, 0.1), (SCAN, None)],
    ]
    curves = []
    for script in scripts:
        model = cases.model(activation)
        trainer = SparseSgd(model, kernels())
        trainer._tuner = Scripted(script)
        trainer._prepare()
        curves.append(torch.stack([trainer.step(batch).mean() for batch in cases.batches(model, 150, lr=2.0)]))
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["shifted_relu", "shifted_squared_relu"])
@pytest.mark.parametrize("ways", WAYS[:-1])
def test_weights_that_decay_for_long_stay_numbers(activation: str, ways: tuple[str, ...]) -> None:
    ours, plain = (cases.model(activation) for _ in range(2))
    trainer = SparseSgd(ours, kernels(), limits=Limits(ways=ways))
    weights = plain.weights
    for batch in cases.batches(ours, 300, lr=2.0, weight_decay=0.15):  # 0.7^300 is 1e-47
        losses = trainer.step(batch)
        weights.requires_grad_()
        outputs = plain.network.outputs(weights, plain.layer.signs, plain.layer.inputs[batch.numbers])
        expected = batch.slope(outputs)[0]
        (gradient,) = torch.autograd.grad(expected.mean(), weights)
        weights = (batch.kept * weights - batch.lr * gradient).detach()
        torch.testing.assert_close(losses.mean(), expected.mean(), rtol=1e-4, atol=1e-6)
    assert ours.scale > 1e-4
    torch.testing.assert_close(ours.weights, weights, rtol=1e-3, atol=1e-5)


@every_activation
def test_folding_the_scale_changes_no_digit(activation: str) -> None:
    curves = []
    for often in (False, True):
        model = cases.model(activation)
        trainer = SparseSgd(model, kernels(), limits=Limits(ways=(SCAN,)))
        curve = []
        for batch in cases.batches(model, 100, lr=2.0, weight_decay=0.01):
            curve.append(trainer.step(batch))
            if often:
                model.fold()
        curves.append(torch.stack(curve))
        assert (model.scale >= 1.0) is often
    assert torch.equal(*curves)


def test_lists_are_built_once_for_each_slack_and_let_go() -> None:
    trainer = SparseSgd(cases.model("shifted_relu"), kernels(), limits=Limits(ways=(DENSE,)))
    train(trainer, 1)
    assert trainer.building == 0.0
    assert trainer._lists is None
    trainer._tuner = Scripted([(LISTS, 0.25), (SCAN, 0.25), (LISTS, 0.1), (DENSE, None)])
    built: list[BackEnd | None] = []
    for _ in range(5):
        trainer._prepare()
        built.append(trainer._lists)
        trainer._tuner.take(Spent(steps=1), trainer._look)
    assert built[0] is built[1] is not None
    assert built[2] is not built[1]
    assert built[3] is None
    assert trainer.building > 0.0


@pytest.mark.parametrize("way", [LISTS, "ball_tree", "correlation_tree"])
def test_a_structure_looks_at_a_part_of_the_neurons(way: str) -> None:
    layer = cases.layer(inputs=60, width=2000, features=3)
    model = Model(TwoLayer(ACTIVATIONS["shifted_relu"], cases.by_width(2000)), layer)
    trainer = SparseSgd(model, kernels(), limits=Limits(ways=(way,)))
    train(trainer, 20, lr=0.1)
    counters = trainer.counters
    assert counters.queries == 20 * 8
    assert counters.active / counters.queries <= 2000**0.8
    assert counters.active < counters.candidates < 0.6 * counters.queries * 2000


def test_inputs_off_the_sphere_are_refused_before_a_step_misses_neurons() -> None:
    model = cases.model("shifted_relu")
    model.layer.inputs[4] *= 2.0
    with pytest.raises(ValueError, match=r"^input 4 is not of length 1"):
        SparseSgd(model, kernels())
    model.layer.inputs[4] = float("nan")
    with pytest.raises(ValueError, match=r"^input 4 is not finite"):
        SparseSgd(model, kernels())


def test_lists_that_need_too_much_memory_are_refused_or_left_out() -> None:
    model = cases.model("shifted_relu", width=5000, inputs=200)
    with pytest.raises(ValueError, match=r"200 inputs and 5000 neurons need about \d+ MiB, of 0 allowed"):
        SparseSgd(model, kernels(), limits=Limits(ways=(LISTS,), bytes=1000))
    with pytest.raises(
        ValueError, match=r"correlation trees of 200 inputs and 5000 neurons need \d+ MiB, of 0 allowed"
    ):
        SparseSgd(model, kernels(), limits=Limits(ways=("correlation_tree",), bytes=1000))
    trainer = SparseSgd(model, kernels(), limits=Limits(bytes=1000))
    train(trainer, 50)
    assert trainer.building == 0.0


@pytest.mark.parametrize(("threshold", "share"), [(50.0, 0.0), (0.0, 0.5)])
def test_nobody_or_half_of_all_may_fire(threshold: float, share: float) -> None:
    layer = cases.layer(inputs=60, width=400, features=12)
    model = Model(TwoLayer(ACTIVATIONS["shifted_relu"], threshold), layer)
    trainer = SparseSgd(model, kernels())
    train(trainer, 50)
    counters = trainer.counters
    assert counters.active / (counters.queries * 400) == pytest.approx(share, abs=0.05)


@every_activation
@pytest.mark.parametrize("ways", WAYS)
def test_a_training_that_diverges_goes_on_and_shows_it(activation: str, ways: tuple[str, ...]) -> None:
    trainer = SparseSgd(cases.model(activation), kernels(), limits=Limits(ways=ways))
    assert not train(trainer, 100, lr=1e6).isfinite().any()


def test_counters_count_each_example_once() -> None:
    trainer = SparseSgd(cases.model("shifted_relu"), kernels())
    train(trainer, 50)
    assert trainer.counters.queries == 50 * 8
    assert trainer.counters.candidates >= trainer.counters.active > 0


def free(*, limits: Limits, width: int = 3000, activation: str = "shifted_relu", slack: float = 0.4) -> SparseSgd:
    return SparseSgd(cases.model(activation, width=width), kernels(), slack=slack, limits=limits)


def test_how_far_rows_come_is_measured_where_there_are_no_lists() -> None:
    trainer = free(limits=Limits((SCAN,)))
    before = trainer.model.weights
    train(trainer, 1, lr=50.0)
    moved = (trainer.model.weights - before).norm(dim=1)
    looked = trainer._look(0.5)
    # One batch moves a row by no more than its path is long, and paths of one batch are not much longer.
    assert looked.drift * 0.5 >= moved.mean().item() * (1 - 1e-4)
    assert looked.drift * 0.5 < 3 * moved.mean().item()
    assert trainer._look(0.5).drift == looked.drift  # no other step has told
    before = trainer.model.weights
    train(trainer, 1, lr=0.5)
    moved = (trainer.model.weights - before).norm(dim=1)
    assert trainer._look(0.5).drift * 0.5 < 3 * moved.mean().item()  # counted from the last look
    assert min(looked.building, looked.looking) > 0
    assert looked.bytes > trainer.model.layer.weights.numel() * 4


def test_how_far_rows_came_with_lists_is_forgotten_with_them() -> None:
    trainer = free(limits=Limits())
    trainer._tuner = Scripted([(LISTS, 0.25), (LISTS, 0.25), (SCAN, None), (SCAN, None)])
    trainer._prepare()
    train(trainer, 1, lr=5.0)
    assert trainer.model.layer.paths.sum() > 0
    train(trainer, 1, lr=5.0)
    assert trainer.model.layer.paths.sum() == 0


def test_only_lists_that_nobody_asked_for_anew_are_told_of_as_upkeep() -> None:
    trainer = free(limits=Limits())
    trainer._tuner = Scripted([(LISTS, 0.25), (SCAN, None)])
    for _ in range(3):
        trainer._prepare()
        assert trainer._owed == 0.0
        trainer._tuner.take(Spent(steps=1), lambda slack: Survey(0.1, slack, 0.1, 0.0, 1.0))


def test_what_memory_does_not_hold_is_not_tried() -> None:
    trainer = free(limits=Limits((SCAN, DENSE, LISTS), bytes=1000.0))
    ways = set()
    for batch in cases.batches(trainer.model, 80, lr=1.0):
        trainer.step(batch)
        ways.add(trainer.way)
    assert ways == {SCAN}


def test_lists_that_outgrow_their_memory_are_told_of() -> None:
    trainer = free(limits=Limits((LISTS,)))
    train(trainer, 5)
    trainer._limits = Limits((LISTS,), bytes=1000.0)
    with pytest.raises(ValueError, match="margin lists have grown to 1 MiB: raise the threshold, lower the slack"):
        train(trainer, 1)


def test_as_weights_decay_lists_are_built_anew_and_hold_what_is_wanted() -> None:
    trainer = free(limits=Limits((LISTS,)), slack=0.25)
    threshold, built = trainer.model.threshold, trainer.building
    for batch in cases.batches(trainer.model, 60, lr=1.0, weight_decay=0.01):
        losses = trainer.step(batch)
        assert losses.isfinite().all()
    assert trainer.model.threshold > threshold + 0.5
    assert trainer.building > built
    assert isinstance(trainer._lists, MarginLists)
    assert trainer._lists.allowance(trainer.model.threshold) <= 2.0 * 0.25


def test_a_fold_leaves_lists_as_they_are() -> None:
    trainer = free(limits=Limits((LISTS,)))
    train(trainer, 3)
    lists, model = trainer._lists, trainer.model
    model.scale = 0.3
    assert isinstance(lists, MarginLists)
    before = lists.query(torch.arange(20), model.threshold)
    lists.fold(model.fold())
    after = lists.query(torch.arange(20), model.threshold)
    assert torch.equal(before.counts, after.counts)
    cases.audit(after, model.layer.inputs[:20], model.layer.weights, model.threshold)


@pytest.mark.parametrize("ways", [(DENSE,), (SCAN,), (LISTS,)])
def test_top_k_keeps_its_share_and_says_so_whatever_decays(ways: tuple[str, ...]) -> None:
    trainer = free(limits=Limits(ways), activation="top_k")
    for batch in cases.batches(trainer.model, 30, lr=1.0, weight_decay=0.2):
        trainer.step(batch)
    counters = trainer.counters
    assert trainer.model.scale < 0.01
    assert counters.active == counters.queries * trainer.model.network.most
    assert counters.candidates <= counters.queries * 3000 * 1.01
