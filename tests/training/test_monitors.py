"""What is watched: runs that run away end soon, spikes do not end them, and vanishing gradients are told."""

import math
from typing import Any

import pytest
import torch

from tests.training.recorder import measure, objective
from training.course import EXPLOSION
from training.monitors import FAR_OVER, LEAST_STEPS, OVER, SAMPLED, WITHOUT_LOW, Gauges, look

DEEP = {"kind": "mlp", "hidden": [16] * 8}


def steps_until_explosion(losses: list[float], *, limit: float = 10.0, batch_size: int = 64) -> int | None:
    gauges = Gauges()
    found = (
        step for step, loss in enumerate(losses, start=1) if gauges.explodes(loss, limit=limit, batch_size=batch_size)
    )
    return next(found, None)


def test_a_loss_that_comes_back_ends_no_run_however_high_it_was() -> None:
    assert steps_until_explosion([5e3 * 0.5**k for k in range(100)]) is None


def test_a_loss_that_comes_back_too_slowly_ends_a_run() -> None:
    assert steps_until_explosion([1e4 * 0.95**k for k in range(100)]) == OVER * LEAST_STEPS


def test_a_loss_beyond_all_bounds_ends_a_run_at_once() -> None:
    assert steps_until_explosion([1.0, 20 * FAR_OVER]) == 2


def test_a_loss_that_stays_over_the_limit_ends_a_run_after_some_steps() -> None:
    assert steps_until_explosion([1.0] * 5 + [100.0] * 50) == 6 + WITHOUT_LOW * LEAST_STEPS


@pytest.mark.parametrize("batch_size", [1, 16, 256])
def test_a_spike_ends_no_run(batch_size: int) -> None:
    assert steps_until_explosion([1.0] * 40 + [50.0] * 2 + [1.0] * 100, batch_size=batch_size) is None


def test_single_examples_are_smoothed_over_more_steps() -> None:
    losses = [0.1] * 64 + [60.0] * 8 + [0.1] * 64
    assert steps_until_explosion(losses, batch_size=1) is None
    assert steps_until_explosion(losses, batch_size=64) is not None


def test_the_smoothed_loss_of_a_constant_is_that_constant() -> None:
    gauges = Gauges()
    for _ in range(7):
        gauges.explodes(0.3, limit=1.0, batch_size=8)
        assert gauges.smoothed == pytest.approx(0.3, abs=1e-15)


def test_samples_are_what_they_say() -> None:
    params = [torch.full((2, 2), 3.0), torch.zeros(4)]
    gauges = Gauges()
    gauges.take(look(params, [torch.ones(2, 2), torch.ones(4)], [torch.full((2, 2), 0.03), torch.zeros(4)]).tolist())
    gauges.take(look(params, [torch.zeros(2, 2), torch.zeros(4)], [torch.zeros(2, 2), torch.zeros(4)]).tolist())
    assert gauges.values() == pytest.approx({"grad_norm": math.sqrt(8) / 2, "update_ratio": 0.01 / 2})


def test_values_that_are_no_numbers_are_not_reported() -> None:
    gauges = Gauges()
    gauges.take(look([torch.ones(2)], [torch.full((2,), math.nan)], [torch.zeros(2)]).tolist())
    assert gauges.values() == {"update_ratio": 0.0}


def test_members_are_looked_at_together_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 4, 2), (3, 4), (3,)]
    params, grads, updates = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3))
    grads[1][1] = 0.0
    together = look(params, grads, updates, members=1)
    for place, seen in enumerate(together):
        own = [[tensor[place] for tensor in tensors] for tensors in (params, grads, updates)]
        assert seen.tolist() == pytest.approx(look(*own).tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("grads", "said"),
    [
        ([torch.ones(2, 2), torch.ones(2, 2)], None),
        ([torch.full((2, 2), 1e-9), torch.ones(2, 2)], "the smallest layer's are 1.0e-09 of the largest's"),
        ([torch.full((2, 2), 1e-9)] * 2, "their norm is 2.8e-09"),
        ([torch.zeros(2, 2)] * 2, "a layer gets none at all"),
        ([torch.zeros(2, 2), torch.ones(2, 2)], "a layer gets none at all"),
    ],
)
def test_vanishing(grads: list[torch.Tensor], said: str | None) -> None:
    gauges = Gauges()
    gauges.take(look([torch.ones(2, 2)] * 2, grads, [torch.ones(2, 2)] * 2).tolist())
    found = gauges.vanishing()
    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("batch_size", [16, 64])
def test_a_run_with_an_absurd_rate_ends_within_few_steps(optimizer: str, batch_size: int) -> None:
    goal = objective(data="digits", network={"kind": "mlp", "hidden": [64]}, epochs=5)
    outcome, seen = measure(goal, {"optimizer": optimizer, "lr": 1e3, "batch_size": batch_size})
    assert outcome.outcome == "diverged"
    assert outcome.reason is not None
    assert outcome.reason.startswith("epoch 1, step ")
    assert int(outcome.reason.split()[3].rstrip(":")) <= OVER * LEAST_STEPS + 2
    assert seen == []


@pytest.mark.parametrize(
    ("data", "optimizer", "lr"),
    [("diabetes", "adagrad", 0.3), ("wine", "adam", 1.0), ("breast_cancer", "adagrad", 0.5)],
)
def test_a_rate_that_overshoots_first_and_works_then_is_let_work(data: str, optimizer: str, lr: float) -> None:
    """With full batches an epoch is one step, and adaptive rules start with a large one."""
    recipe = "regressor" if data == "diabetes" else "classifier"
    goal = objective(recipe=recipe, data=data, network={"kind": "mlp", "hidden": [32]}, epochs=60)
    outcome, seen = measure(goal, {"optimizer": optimizer, "lr": lr, "batch_mode": "full"})
    losses = [values["train_loss"] for _, values in seen]
    assert outcome.outcome == "completed"
    assert max(losses) > EXPLOSION * losses[0]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("data", ["iris", "wine"])
def test_a_run_too_short_to_come_back_has_diverged(data: str) -> None:
    """Its loss falls from step to step and is still far over the limit when training ends."""
    goal = objective(data=data, network={"kind": "mlp", "hidden": [8]}, epochs=4)
    outcome, _ = measure(goal, {"optimizer": "adam", "lr": 30.0})
    assert outcome.outcome == "diverged"
    assert outcome.reason is not None
    assert "times the loss before training, and did not come back: try a lower learning rate" in outcome.reason


def test_one_bad_epoch_is_not_vanishing() -> None:
    goal = objective(network=DEEP | {"initialisation": "normal"}, epochs=1)
    assert measure(goal, {"optimizer": "sgd", "lr": 1e-3})[0].reason is not None  # the only one
    gauges = Gauges(vanished=1)
    gauges.take(look([torch.ones(2, 2)], [torch.ones(2, 2)], [torch.ones(2, 2)]).tolist())
    assert gauges.vanishing() is None


def test_vanishing_gradients_are_the_reason_of_a_run_that_completed() -> None:
    """Small weights in many layers: nothing reaches the first, and nothing is learned."""
    goal: dict[str, Any] = objective(network=DEEP | {"initialisation": "normal"}, epochs=3)
    outcome, seen = measure(goal, {"optimizer": "sgd", "lr": 1e-3})
    assert outcome.outcome == "completed"
    assert outcome.reason is not None
    assert outcome.reason.startswith("vanishing gradients: ")
    assert len(seen) == 3
    assert seen[-1][1]["grad_norm"] > 0


def test_a_run_that_learned_is_not_said_to_vanish() -> None:
    """Its gradients are small in the end, because its loss is."""
    goal = objective(data="iris", network={"kind": "mlp", "hidden": [64]}, epochs=200)
    outcome, seen = measure(goal, {"optimizer": "adam", "lr": 0.02})
    assert outcome.reason is None
    assert seen[-1][1]["grad_norm"] < seen[0][1]["grad_norm"]


def test_epochs_shorter_than_the_distance_of_samples_are_sampled() -> None:
    _, seen = measure(objective(), {"batch_size": 60})
    assert SAMPLED > 2
    assert all(values["grad_norm"] > 0 for _, values in seen)
