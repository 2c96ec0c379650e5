"""Uses of curvature in an objective: which may be listed, and what their metrics may be for."""

from typing import Any

import pytest

from search.definition.parse import parse_study
from search.errors import Fault
from tests.search.definition.test_parse import faults_of
from tests.support.ledger import definition

NLL = {"name": "laplace_nll", "goal": "minimize"}
LOSS = {"name": "val_loss", "goal": "minimize"}


def study(*listed: object, metrics: list[Any] | None = None, recipe: str = "classifier", **more: Any) -> dict[str, Any]:
    raw = definition(metrics=metrics or [LOSS], **more)
    data = "iris" if recipe == "classifier" else "diabetes"
    return {**raw, "objective": {**raw["objective"], "recipe": recipe, "data": data, "curvature": list(listed)}}


def test_it_is_kept_as_it_was_posted() -> None:
    read = parse_study(study("laplace", "saliency"))
    stored = read.model_dump(mode="json")
    assert stored["objective"]["curvature"] == ["laplace", "saliency"]
    assert parse_study(stored) == read
    assert "curvature" not in parse_study(definition()).model_dump(mode="json")["objective"]


def test_uses_may_have_options() -> None:
    listed = ["laplace", {"name": "saliency", "sparsity": 0.5}, {"name": "forgetting"}, {"name": "spectrum"}]
    read = parse_study(study(*listed, metrics=[LOSS, {"name": "ewc_kept", "goal": "maximize", "role": "store"}]))
    stored = read.model_dump(mode="json")
    listed[2] = {"name": "forgetting", "strength": 100.0}
    assert stored["objective"]["curvature"] == listed
    assert parse_study(stored) == read


@pytest.mark.parametrize(
    ("listed", "faults"),
    [
        (["lapalce"], {"objective.curvature[0]": "unknown value 'lapalce'; valid are laplace, forgetting, saliency, noise_scale, spectrum"}),
        ([{"name": "lapalce"}], {"objective.curvature[0].name": "unknown value 'lapalce'; valid are laplace, forgetting, saliency, noise_scale, spectrum"}),
        ([{}], {"objective.curvature[0].name": "is required"}),
        ([3, "laplace"], {"objective.curvature[0]": "unknown value 3; valid are laplace, forgetting, saliency, noise_scale, spectrum"}),
        ([{"name": "saliency", "sparsity": 1.0}], {"objective.curvature[0].sparsity": "must be below 1, got 1.0"}),
        (["laplace", {"name": "forgetting", "strength": 0}], {"objective.curvature[1].strength": "must be above 0, got 0"}),
        ([{"name": "forgetting", "strength": "much"}], {"objective.curvature[0].strength": "must be a number, got 'much'"}),
        ([{"name": "saliency", "strength": 1.0}], {"objective.curvature[0].strength": "there is no such field here; valid are name, sparsity"}),
        ([{"name": "laplace", "sparsity": 0.5}], {"objective.curvature[0].sparsity": "there is no such field here; valid are name"}),
        (["saliency", {"name": "saliency"}], {"objective.curvature[1]": "'saliency' is listed already"}),
        ([3, "laplace", "laplace"], {"objective.curvature[0]": "unknown value 3; valid are laplace, forgetting, saliency, noise_scale, spectrum", "objective.curvature[2]": "'laplace' is listed already"}),
    ],
)  # fmt: skip
def test_each_fault_is_told_once_where_it_is(listed: list[Any], faults: dict[str, str]) -> None:
    found = faults_of(study(*listed))
    assert {fault.path: fault.message for fault in found} == faults
    assert len(found) == len(faults)


@pytest.mark.parametrize("role", ["optimize", "store", "constraint"])
def test_its_metrics_may_have_any_role(role: str) -> None:
    given = {**NLL, "role": role} | ({"threshold": 0.5} if role == "constraint" else {})
    metrics = [given] if role == "optimize" else [LOSS, given]
    assert parse_study(study("laplace", metrics=metrics)).metrics[-1].name == "laplace_nll"


BAD = [
    ("an unknown use", study("lapalce"), "objective.curvature[0]", "valid are laplace, forgetting, saliency"),
    ("no name", study(3), "objective.curvature[0]", "valid are laplace"),
    ("twice the same", study("laplace", "laplace"), "objective.curvature[1]", "'laplace' is listed already"),
    ("an empty list", study(), "objective.curvature", "must not be empty"),
    ("of another recipe", study("laplace", "forgetting", recipe="regressor"), "objective.curvature[1]", "is not for the recipe regressor; valid are laplace, saliency, noise_scale, spectrum"),
    ("a metric of a use that is not listed", study("saliency", metrics=[NLL]), "metrics[0].name", "is reported where objective.curvature lists laplace: add it there"),
    ("a metric of another recipe", study("laplace", recipe="regressor", metrics=[{**NLL, "name": "laplace_ece"}]), "metrics[0].name", "valid are train_loss, val_loss, val_mae, grad_norm, update_ratio, map_nll, laplace_nll, laplace_precision"),
    ("searched", {**study("laplace"), "space": {"curvature": {"type": "categorical", "choices": ["laplace"]}}}, "space.curvature", "no hyperparameter 'curvature'"),
    ("pruning by it", study("laplace", metrics=[NLL], pruning={"kind": "asha"}), "pruning", "before their last step, which alone has laplace_nll"),
    ("patience with it", study("laplace", metrics=[NLL], pruning={"kind": "patience", "patience": 2}), "pruning", "a metric of every step"),
    ("bounds on it", study("laplace", metrics=[LOSS, {**NLL, "role": "store"}], pruning={"kind": "threshold", "upper": 1, "metric": "laplace_nll"}), "pruning.metric", "which alone has laplace_nll"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "path", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(raw: dict[str, Any], path: str, says: str) -> None:
    faults = {fault.path: fault.message for fault in faults_of(raw)}
    assert says in faults[path]


def test_a_word_in_place_of_a_list() -> None:
    raw = study("laplace")
    raw["objective"]["curvature"] = "laplace"
    assert faults_of(raw) == [Fault("objective.curvature", "must be a list, got 'laplace'")]


@pytest.mark.parametrize(
    "metrics", [[LOSS, {**NLL, "role": "store"}], [LOSS, {**NLL, "role": "constraint", "threshold": 1.0}]]
)
def test_trials_may_be_pruned_by_what_every_step_has(metrics: list[Any]) -> None:
    parse_study(study("laplace", metrics=metrics, pruning={"kind": "asha"}))
    parse_study(study("laplace", metrics=metrics, pruning={"kind": "threshold", "upper": 1, "metric": "val_loss"}))
