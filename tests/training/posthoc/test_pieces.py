"""Looking back as part of a trial: what is reported when, what breaks and stops do to it, and what is refused."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from search.definition.objectives import RECIPES
from search.definition.uses import USE_FORMS, USES
from tests.training.posthoc.trials import run_of
from tests.training.recorder import MLP, Measured, Recorder, measure, objective
from tests.training.whole import whole
from training import loop, recipes
from training.data.bundled import load
from training.networks.base import Network, Params
from training.networks.table import build_network
from training.plan import plan_of
from training.posthoc import fisher, pieces, table
from training.posthoc.trained import Trained, Unavailable
from training.state import Snapshot
from training.watch import Pause

PARAMS = {"optimizer": "momentum", "lr": 0.05, "batch_size": 16}
RECIPE_DATA = {"classifier": "iris", "regressor": "diabetes"}
TASKS = {name: task.name for name, task in recipes.TASKS.items()}
EVERY_STEP = {"train_loss", "val_loss", "val_accuracy", "grad_norm", "update_ratio"}
HESSIAN = {f"hessian_{what}" for what in ("top", "trace", "lowest", "negative", "rank", "tail")}
ALL = list(table.USES["classification"])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("recipe", [name for name, known in RECIPES.items() if known.curvature])
def test_the_catalog_promises_what_is_reported_with_the_last_step(recipe: str) -> None:
    known = RECIPES[recipe]
    assert [use.name for use in known.curvature] == list(table.USES[TASKS[recipe]])
    goal = objective(recipe=recipe, data=RECIPE_DATA[recipe], curvature=[use.name for use in known.curvature])
    outcome, seen = measure(goal, PARAMS)
    assert outcome.outcome == "completed"
    every = {metric.name for metric in known.metrics}
    assert [set(values) for _, values in seen[:-1]] == [every] * (len(seen) - 1)
    assert set(seen[-1][1]) == every | set(known.late)
    assert not every & set(known.late)
    assert len(known.late) == sum(len(use.metrics) for use in known.curvature), "no name is of two uses"


def test_options_of_uses_are_what_they_take() -> None:
    for use in RECIPES["classifier"].curvature:
        own = inspect.signature(table.USES["classification"][use.name]).parameters
        taken = {name: each.default for name, each in own.items() if each.kind is each.KEYWORD_ONLY}
        assert taken == {option.name: option.default for option in use.options}
        posted = USE_FORMS[use.name if taken else "plain"]
        assert posted is not None
        fields = {name: each.default for name, each in posted.model_fields.items() if name != "name"}
        assert fields == taken


@pytest.mark.parametrize(
    ("use", "changes"),
    [
        ({"name": "saliency", "sparsity": 0.05}, {"pruned_accuracy", "pruned_magnitude_accuracy", "pruned_random_accuracy"}),
        ({"name": "forgetting", "strength": 1e9}, {"ewc_kept", "ewc_learned"}),
    ],
)  # fmt: skip
def test_a_use_has_the_options_that_are_listed(use: dict[str, Any], changes: set[str]) -> None:
    (_, plain), (_, given) = (measure(objective(curvature=[each]), PARAMS)[1][-1] for each in (use["name"], use))
    assert plain.keys() == given.keys()
    changed = {name for name in plain if plain[name] != given[name]}
    assert changed
    assert changed <= changes


def test_every_use_can_be_listed() -> None:
    listed = {name for use in RECIPES.values() for name in (each.name for each in use.curvature)}
    assert set(USES) == listed


def test_what_is_found_changes_nothing_else() -> None:
    _, plain = measure(objective(), PARAMS)
    _, seen = measure(objective(curvature=ALL), PARAMS)
    assert [{name: value for name, value in values.items() if name in EVERY_STEP} for _, values in seen] == [
        values for _, values in plain
    ]
    assert measure(objective(curvature=ALL), PARAMS)[1] == seen


def test_the_order_of_uses_does_not_matter() -> None:
    _, seen = measure(objective(curvature=ALL), PARAMS)
    assert measure(objective(curvature=ALL[::-1]), PARAMS)[1] == seen


class Stopper(Recorder):
    """Asks for a checkpoint and a stop at one of its looks, and goes on from what was saved."""

    def __init__(self, *, stop_at: int, go_on_from: Snapshot | None = None) -> None:
        super().__init__()
        self._left, self._from = stop_at, go_on_from
        self.saved: Snapshot | None = None

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:  # type: ignore[override]
        assert self._from is None or fits(self._from)
        return self._from

    def between(self) -> Pause:
        self._left -= 1
        return Pause.SAVE | Pause.STOP if self._left == 0 else Pause.NONE

    def save(self, step: int, snapshot: Any) -> None:
        assert step == 2, "two epochs were reported"
        self.saved = snapshot


def test_one_that_was_stopped_while_it_looked_back_finds_the_same() -> None:
    """After 3 epochs of 8 batches, two of them reported, come pieces: the stop is in the midst of them."""
    goal = objective(curvature=ALL)
    whole: Measured = measure(goal, PARAMS)[1]
    first = Stopper(stop_at=3 * 8 + 2 + 20)
    assert recipes.run(goal, PARAMS, seed=1, watch=first).outcome == "stopped"
    assert [step for step, _ in first.seen] == [1, 2]
    assert first.saved is not None
    second = Stopper(stop_at=-1, go_on_from=first.saved)
    assert recipes.run(goal, PARAMS, seed=1, watch=second).outcome == "completed"
    assert first.seen + second.seen == whole


def test_a_run_that_diverged_does_not_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(trained: Trained) -> Any:
        raise AssertionError(trained)

    monkeypatch.setattr(pieces, "USES", {"classification": dict.fromkeys(ALL, never)})
    outcome, _ = measure(objective(curvature=ALL), {"optimizer": "sgd", "lr": 1e3})
    assert outcome.outcome == "diverged"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Unavailable("it has none"), "no laplace: it has none"),
        (MemoryError(), "no laplace: it did not fit into memory"),
        (torch.linalg.LinAlgError("eigh"), "no laplace: a matrix could not be decomposed"),  # type: ignore[attr-defined]
    ],
)
def test_what_cannot_be_had_is_said_and_the_rest_is_reported(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(trained: Trained) -> Any:
        del trained
        yield
        raise error

    uses = {"classification": {**table.USES["classification"], "laplace": fails}}
    monkeypatch.setattr(pieces, "USES", uses)
    outcome, seen = measure(objective(curvature=["laplace", "saliency"]), PARAMS)
    assert (outcome.outcome, outcome.reason) == ("completed", says)
    assert set(seen[-1][1]) - EVERY_STEP == {
        "pruned_accuracy",
        "pruned_magnitude_accuracy",
        "pruned_random_accuracy",
    }


def test_an_error_that_is_no_such_thing_fails_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(trained: Trained) -> Any:
        del trained
        yield
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(pieces, "USES", {"classification": {"laplace": fails}})
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        measure(objective(curvature=["laplace"]), PARAMS)


def test_only_finite_values_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def finds(trained: Trained) -> Any:
        del trained
        yield
        return {"map_nll": float("nan"), "laplace_nll": 1.0}

    monkeypatch.setattr(pieces, "USES", {"classification": {"laplace": finds}})
    outcome, seen = measure(objective(curvature=["laplace"]), PARAMS)
    assert outcome.reason == "no map_nll: it is not finite"
    assert seen[-1][1]["laplace_nll"] == 1.0
    assert "map_nll" not in seen[-1][1]


def test_a_second_run_that_diverges_is_no_fault_of_the_trial() -> None:
    data = load("iris")
    run = run_of(data, build_network(MLP, data), PARAMS, epochs=3)
    run.course = replace(
        run.course, plan=replace(plan_of({"epochs": 3}, {"optimizer": "sgd", "lr": 1e4}), curvature={"forgetting": {}})
    )
    while run.looks_back:
        pieces.look_back(run)
    (note,) = run.findings.notes
    assert note.startswith("no forgetting: a run on other data diverged: epoch 1")
    assert run.findings.values == {}


def test_a_network_whose_matrices_are_not_known_is_trained_all_the_same() -> None:
    data = load("iris")

    def apply(params: Params, inputs: Tensor) -> Tensor:
        return (inputs.unsqueeze(2) * params[0]).sum(dim=1)

    network = Network(lambda generator: [torch.randn(4, 3, generator=generator)], apply)
    plan = replace(plan_of({"epochs": 2}, {"lr": 0.01}), curvature={name: {} for name in ALL})
    watch = Recorder()
    ended = loop.train(network, data, plan, seed=1, watch=watch)
    assert ended.outcome == "completed"
    unknown = "the network has no layer with a matrix that is known"
    assert ended.reason == "; ".join(f"no {name}: {unknown}" for name in ("laplace", "forgetting", "saliency"))
    assert set(watch.seen[-1][1]) == EVERY_STEP | {"noise_scale", *HESSIAN}


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        ({"curvature": ["laplace", "lapalce"]}, "unknown for classification: 'lapalce'; valid: laplace, forgetting"),
        ({"curvature": "laplace"}, "must be a list, of laplace"),
        ({"curvature": ["forgetting"], "recipe": "regressor", "data": "diabetes"}, "unknown for regression"),
    ],
)
def test_bad_input(goal: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recipes.prepare(objective(**goal), {})


def _file(folder: Path) -> None:
    """Write the iris as a file, which is mapped from disk."""
    data = load("iris")
    (inputs, targets), (val_inputs, val_targets) = (
        (part[0].numpy(), part[1].numpy()) for part in (whole(data.train), whole(data.val))
    )
    np.savez(folder / "flowers.npz", inputs=inputs, targets=targets, val_inputs=val_inputs, val_targets=val_targets)


def test_data_in_a_file_are_looked_back_at_as_those_in_memory(tmp_path: Path) -> None:
    _file(tmp_path)
    watch = Recorder()
    goal = objective(curvature=ALL)
    recipes.run(goal | {"data": "flowers"}, PARAMS, seed=1, watch=watch, folder=tmp_path)
    wanted = measure(goal, PARAMS)[1][-1][1]
    for name, value in watch.seen[-1][1].items():
        assert value == pytest.approx(wanted[name], rel=1e-3, abs=1e-5), name


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [64, 2])
def test_a_device_finds_what_the_cpu_finds(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fisher, "MOST_EXACT", exact)
    goal = objective(curvature=ALL)
    on_cpu, on_gpu = (measure(goal | {"device": device}, PARAMS)[1][-1][1] for device in ("cpu", "gpu"))
    assert on_gpu.keys() == on_cpu.keys()
    for name in ("map_nll", "laplace_nll", "hessian_top", "hessian_trace", "noise_scale"):
        assert on_gpu[name] == pytest.approx(on_cpu[name], rel=0.02), name
    for name in ("ewc_kept", "plain_kept", "pruned_accuracy", "pruned_random_accuracy"):
        assert on_gpu[name] == pytest.approx(on_cpu[name], abs=0.05), name
