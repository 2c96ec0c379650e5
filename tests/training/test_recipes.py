"""Training as a whole: it learns, repeats itself, ends as it should, and refuses what it cannot run."""

import math
import re
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by

from optim import catalog
from search.definition import networks, objectives
from search.definition.networks import NETWORKS as MODELS
from search.definition.networks import Initialisation
from tests.training.recorder import MLP, measure, objective
from training import course, plan, recipes
from training.channel import Outcome
from training.data.bundled import DATA, load
from training.networks import registered
from training.networks.base import form
from training.networks.dense import ACTIVATIONS
from training.networks.initialisation import INITIALISATIONS
from training.networks.table import NETWORKS, build_network

CNN = {"kind": "cnn", "channels": [6]}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("data", "network", "params", "least"),
    [
        ("digits", {"kind": "mlp", "hidden": [64]}, {"optimizer": "adam", "lr": 0.01}, 0.97),
        ("digits", {"kind": "cnn", "channels": [16]}, {"optimizer": "adam", "lr": 0.005}, 0.97),
        ("wine", MLP, {"optimizer": "momentum", "lr": 0.02}, 0.94),
        ("breast_cancer", MLP, {"optimizer": "sgd", "lr": 0.1}, 0.94),
        ("iris", MLP, {"optimizer": "nesterov", "lr": 0.05}, 0.86),
    ],
)
def test_learns(data: str, network: dict[str, Any], params: dict[str, Any], least: float) -> None:
    outcome, seen = measure(objective(data=data, network=network, epochs=20), params)
    assert outcome == Outcome("completed")
    assert [step for step, _ in seen] == list(range(1, 21))
    for _, values in seen:
        assert set(values) == {"train_loss", "val_loss", "val_accuracy", "grad_norm", "update_ratio"}
        assert all(math.isfinite(value) for value in values.values())
        assert 0 <= values["val_accuracy"] <= 1
    assert seen[-1][1]["train_loss"] < seen[0][1]["train_loss"] / 2
    assert max(values["val_accuracy"] for _, values in seen) >= least


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "step", "exponential", "time", "cosine"])
def test_every_optimizer_with_every_schedule(optimizer: str, schedule: str) -> None:
    params = {"optimizer": optimizer, "schedule": schedule, "lr": 0.02, "warmup": 0.2}
    outcome, seen = measure(objective(epochs=6), params)
    assert outcome.outcome == "completed"
    assert seen[-1][1]["train_loss"] < seen[0][1]["train_loss"]


@pytest.mark.parametrize("batch_size", [1, 7, 32, 4096])
def test_every_batch_size(batch_size: int) -> None:
    outcome, seen = measure(objective(), {"lr": 0.01, "batch_size": batch_size})
    assert outcome.outcome == "completed"
    assert seen[-1][1]["train_loss"] < seen[0][1]["train_loss"]


@pytest.mark.parametrize("network", [MLP, CNN])
def test_the_seed_alone_decides(network: dict[str, Any]) -> None:
    goal, params = objective(data="digits", network=network), {"optimizer": "adam", "lr": 0.01}
    torch.manual_seed(1)
    first = measure(goal, params, seed=2**63 + 5)
    torch.manual_seed(2)
    assert measure(goal, params, seed=2**63 + 5) == first
    assert measure(goal, params, seed=6)[1] != first[1]


def test_agrees_with_a_plain_torch_loop() -> None:
    """The obvious loop: a torch optimizer over the same parameters, batches and rates."""
    data = load("iris")
    (inputs, targets), (val_inputs, val_targets) = (next(part.blocks(len(part))) for part in (data.train, data.val))
    network = build_network(MLP, data)
    _, seen = measure(
        objective(epochs=4), {"optimizer": "momentum", "lr": 0.05, "warmup": 0.5, "batch_size": 40}, seed=9
    )

    initial, order = course.generators(9)
    params = [param.requires_grad_() for param in network.init(initial)]
    optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9)
    step, steps = 0, 3 * 4
    for epoch in range(4):
        shuffled = torch.randperm(120, generator=order)
        losses = []
        for batch in torch.split(shuffled, 40):
            optimizer.param_groups[0]["lr"] = 0.05 * min(1.0, (step + 1) / (steps / 2))
            optimizer.zero_grad()
            loss = F.cross_entropy(network.apply(params, inputs[batch]), targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            step += 1
        assert seen[epoch][1]["train_loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)
    val_loss = F.cross_entropy(network.apply(params, val_inputs), val_targets).item()
    assert seen[-1][1]["val_loss"] == pytest.approx(val_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (
            {"optimizer": "sgd", "lr": 1e3},
            r"epoch 1, step [1-9]: the training loss, .*, 10 times the loss before training",
        ),
        ({"optimizer": "sgd", "lr": 1e6, "weight_decay": 1e6}, r"epoch 1, step 2: the training loss is (nan|inf)"),
    ],
)
def test_diverges_with_a_reason_and_reports_nothing_of_it(params: dict[str, Any], reason: str) -> None:
    outcome, seen = measure(objective(data="digits", network={"kind": "mlp", "hidden": [16] * 5}), params)
    assert outcome.outcome == "diverged"
    assert outcome.reason is not None
    assert re.search(reason, outcome.reason), outcome.reason
    assert seen == []


def test_parameters_ruined_after_the_last_loss_are_diverged_too() -> None:
    """The last step of the only epoch overflows: every training loss was finite and the validation loss is not."""
    ruin = {"optimizer": "sgd", "lr": 1e6, "weight_decay": 1e6, "batch_size": 120}
    outcome, seen = measure(objective(epochs=1, network={"kind": "mlp", "hidden": [8] * 5}), ruin)
    assert outcome.outcome == "diverged"
    assert outcome.reason is not None
    assert re.fullmatch("epoch 1: val_loss is (nan|inf)", outcome.reason)
    assert seen == []


def test_warmup_rescues_a_rate_that_diverges_without_it() -> None:
    """Of ten seeds nearly all: near the edge, a rounding error decides for single ones."""
    goal = objective(data="breast_cancer", network={"kind": "mlp", "hidden": [32] * 4}, epochs=20)
    params = {"optimizer": "sgd", "lr": 1.0, "schedule": "cosine", "batch_size": 64}
    cold = [measure(goal, params, seed=seed) for seed in range(1, 11)]
    warm = [measure(goal, params | {"warmup": 0.5}, seed=seed) for seed in range(1, 11)]
    assert sum(outcome.outcome == "diverged" for outcome, _ in cold) >= 8
    assert sum(outcome.outcome == "completed" and seen[-1][1]["val_accuracy"] > 0.95 for outcome, seen in warm) >= 6


@pytest.mark.parametrize("batch", [{"batch_mode": "full"}, {"batch_mode": "single"}, {"batch_size": 32}], ids=str)
@pytest.mark.parametrize("optimizer", sorted(catalog.OPTIMIZERS))
def test_every_optimizer_trains_with_every_cut_of_the_batch(optimizer: str, batch: dict[str, Any]) -> None:
    rate = {option.name: option for option in catalog.OPTIMIZERS[optimizer].options}["lr"].default
    outcome, seen = measure(objective(epochs=2), {"optimizer": optimizer, "lr": rate, **batch})
    assert outcome == Outcome("completed")
    assert seen[1][1]["train_loss"] < seen[0][1]["train_loss"]


def test_a_full_batch_is_the_mean_over_all_examples() -> None:
    """Its order does not matter, so two seeds of the order alone would give the same; one step an epoch is taken."""
    goal, params = objective(epochs=1), {"optimizer": "sgd", "lr": 0.1, "batch_mode": "full"}
    _, full = measure(goal, params)
    _, large = measure(goal, {"optimizer": "sgd", "lr": 0.1, "batch_size": 4096})
    assert full == large
    _, small = measure(goal, {"optimizer": "sgd", "lr": 0.1, "batch_size": 60})
    assert small != full


def test_stops_when_the_report_says_so() -> None:
    outcome, seen = measure(objective(epochs=50), {"lr": 0.01}, stop_at=4)
    assert outcome == Outcome("stopped")
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("goal", "params", "message"),
    [
        ({"recipe": "clusterer"}, {}, "unknown recipe 'clusterer'; valid: classifier, regressor, wide-two-layer"),
        ({"recipe": "regressor"}, {}, "the data iris are for classification: use the recipe classifier"),
        ({"data": "diabetes"}, {}, "the data diabetes are for regression: use the recipe regressor"),
        ({"data": "mnist"}, {}, "unknown data 'mnist', and this worker has no data folder; bundled are digits"),
        ({"data": None}, {}, "objective.data is missing"),
        ({"network": {"kind": "rnn"}}, {}, "unknown network kind 'rnn'"),
        ({"epochs": 0}, {}, r"objective.epochs must be a whole number in \[1, 10000\], got 0"),
        ({"device": "tpu"}, {}, "unknown device 'tpu'; valid: cpu, gpu"),
        ({"colour": 1, "optimizer": "sgd"}, {}, "colour: not of sgd and constant; valid: batch_mode, batch_size"),
        ({}, {"optimizer": "sgd", "momentum": 0.9}, "momentum: not of sgd and constant"),
        ({}, {"optimizer": "adagard"}, "unknown optimizer 'adagard'; valid: sgd"),
        ({}, {"schedule": "none"}, "unknown schedule 'none'; valid: constant"),
        ({}, {"optimizer": "sgd", "lr": -1.0}, r"sgd: lr: must be in \(0, 1e\+06\], got -1.0"),
        ({}, {"warmup": 1.0}, r"warmup: must be in \[0, 1\), got 1.0"),
        ({}, {"batch_size": 0}, r"batch_size: must be in \[1, "),
    ],
)
def test_refuses(goal: dict[str, Any], params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(objective(**goal), params)


def test_what_the_domain_offers_is_what_can_be_run() -> None:
    """The recipes that a study is checked against, kept without torch, and those that train."""
    assert tuple(objectives.RECIPES) == recipes.RECIPES
    by_task = [objectives.RECIPES[name] for name in recipes.TASKS]
    assert {data.name for offered in by_task for data in offered.data} == set(DATA)
    assert all(offered.optimizers == tuple(catalog.OPTIMIZERS) for offered in by_task)
    for offered in by_task:
        assert offered.most_steps == plan.MAX_EPOCHS
        measures = {f"val_{name}" for name in ("loss", *recipes.TASKS[offered.name].measures)}
        assert measures == {metric.name for metric in offered.metrics if metric.name.startswith("val_")}
        for described in offered.data:
            data = load(described.name)
            assert data.task is recipes.TASKS[offered.name]
            assert (described.features, described.classes or 1) == (data.features, data.outputs)
            assert described.images == (data.image[1] if data.image else None)
            assert described.form == form(data)
            assert described.examples in {None, len(data.train)}


def test_the_networks_that_the_domain_offers_are_those_that_are_built() -> None:
    """Kinds, what data they take, and fields with their defaults and choices."""
    for offered in (objectives.RECIPES[name] for name in recipes.TASKS):
        assert {kind.name: kind.takes for kind in offered.networks} == {
            name: family.takes for name, family in NETWORKS.items()
        }
    for name, model in MODELS.items():
        fields = {field: info for field, info in model.model_fields.items() if field != "kind"}
        if name == "registered":  # its supervisor looks the name up, and tells file and function instead
            assert fields.keys() - {"name"} == NETWORKS[name].fields.keys() - {"file", "function"}
            continue
        assert fields.keys() == NETWORKS[name].fields.keys()
        for field, info in fields.items():
            assert info.is_required() or info.default == NETWORKS[name].fields[field]
    assert networks.GIVEN == registered.GIVEN
    assert get_args(get_args(Initialisation)[0]) == tuple(INITIALISATIONS)
    assert get_args(MODELS["mlp"].model_fields["activation"].annotation) == tuple(ACTIVATIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is visible")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(recipes.NoDevice, match="asks for a gpu and this worker sees no CUDA device"):
        measure(objective(device="gpu"), {})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_agrees_with_the_cpu() -> None:
    goal, params = objective(data="digits", network=CNN), {"optimizer": "adam", "lr": 0.01, "warmup": 0.1}
    _, on_cpu = measure(goal, params)
    outcome, on_gpu = measure(goal | {"device": "gpu"}, params)
    assert outcome.outcome == "completed"
    for (_, here), (_, there) in zip(on_cpu, on_gpu, strict=True):
        assert there["train_loss"] == pytest.approx(here["train_loss"], rel=1e-3)
