"""What a study may say of data and networks, and what is refused when it is created."""

from typing import Any

import pytest

from search.definition.kinds import RecipeObjective
from search.definition.objectives import RECIPES
from search.definition.parse import EXAMPLE_STUDIES, parse_study
from search.errors import InvalidStudy

KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "hidden": [16]},
    "cnn": {"kind": "cnn", "channels": [8]},
    "signal": {"kind": "signal", "channels": [8]},
    "text": {"kind": "text"},
    "recommender": {"kind": "recommender"},
    "transformer": {"kind": "transformer"},
    "registered": {"kind": "registered", "name": "mine"},
}
REGRESSION = {"recipe": "regressor", "data": "diabetes"}


def study(**objective: Any) -> dict[str, Any]:
    """Return a study of one searched rate; `objective` replaces or adds fields of its objective."""
    metric = "val_mae" if objective.get("recipe") == "regressor" else "val_accuracy"
    return {
        **EXAMPLE_STUDIES["wine-random"],
        "objective": {"recipe": "classifier", "data": "wine", "network": KINDS["mlp"], "epochs": 3, **objective},
        "metrics": [{"name": metric, "goal": "minimize"}],
        "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log"}},
    }


def faults(raw: dict[str, Any]) -> dict[str, str]:
    try:
        parse_study(raw)
    except InvalidStudy as refused:
        return {fault.path: fault.message for fault in refused.faults}
    return {}


@pytest.mark.parametrize(
    "recipe", [recipe for recipe in RECIPES.values() if recipe.networks], ids=lambda recipe: recipe.name
)
def test_data_and_networks_go_together_as_the_catalog_says(recipe: Any) -> None:
    assert {kind.name for kind in recipe.networks} == set(KINDS)
    for data in recipe.data:
        for kind in recipe.networks:
            found = faults(study(recipe=recipe.name, data=data.name, network=KINDS[kind.name]))
            assert found.keys() == (set() if data.form in kind.takes else {"objective.network.kind"})


def test_defaults_are_filled_in() -> None:
    objective = parse_study(study(data="docstrings", network={"kind": "text"})).objective
    assert isinstance(objective, RecipeObjective)
    assert objective.network is not None
    network = objective.network.model_dump(mode="json")
    assert network == {"kind": "text", "embedding": 32, "hidden": [], "initialisation": "he_normal"}


def test_a_regressor_reports_errors_and_no_accuracy() -> None:
    assert faults(study(**REGRESSION)) == {}
    raw = study(**REGRESSION) | {"metrics": [{"name": "val_accuracy", "goal": "maximize"}]}
    assert "does not report 'val_accuracy'; valid are train_loss, val_loss, val_mae" in faults(raw)["metrics[0].name"]


@pytest.mark.parametrize("name", ["mine", "sales-2024.v2", "_x", "cifar10", "UPPER"])
def test_other_names_are_files_of_the_data_folder(name: str) -> None:
    for kind in KINDS.values():  # what is in the file is seen where it lies
        assert faults(study(data=name, network=kind)) == {}
    assert faults(study(**REGRESSION | {"data": name})) == {}


@pytest.mark.parametrize(
    ("objective", "path", "message"),
    [
        ({"data": "digts"}, "objective.data", "unknown data set 'digts'; did you mean digits? valid are digits, wine"),
        ({"data": "breast-cancer"}, "objective.data", "did you mean breast_cancer?"),
        ({"data": "diabetes"}, "objective.data", "diabetes is for the recipe regressor; valid are digits"),
        (REGRESSION | {"data": "iris"}, "objective.data", "iris is for the recipe classifier; valid are diabetes"),
        ({"data": "../secret"}, "objective.data", "a name has letters, digits and _ . - alone, got '../secret'"),
        ({"data": ".hidden"}, "objective.data", "a name has letters"),
        ({"data": ""}, "objective.data", "a name has letters"),
        ({"data": "a" * 200}, "objective.data", "a name has"),
        (
            {"network": KINDS["text"]},
            "objective.network.kind",
            "text needs tokens, and wine has numbers: use mlp, signal, registered",
        ),
        (
            {"network": KINDS["cnn"]},
            "objective.network.kind",
            "cnn needs pictures, and wine has numbers: use mlp, signal, registered, or the data digits",
        ),
        (
            {"data": "docstrings"},
            "objective.network.kind",
            "mlp needs numbers or pictures, and docstrings has tokens: use text, recommender, transformer, registered, or the data digits",
        ),
        (REGRESSION | {"network": KINDS["text"]}, "objective.network.kind", "diabetes has numbers: use mlp, signal"),
        (
            {"data": "digits", "network": {"kind": "transformer", "width": 10}},
            "objective.network.heads",
            "must divide the width 10, got 4",
        ),
        ({"network": {"kind": "transformer", "depth": 9}}, "objective.network.depth", "must be at most 8, got 9"),
        ({"network": {"kind": "text", "embedding": 0}}, "objective.network.embedding", "must be at least 1, got 0"),
        ({"network": {"kind": "text", "hidden": [4097]}}, "objective.network.hidden[0]", "must be at most 4096"),
        ({"network": {"kind": "signal", "channels": [1] * 9}}, "objective.network.channels", "at most 8 layers, got 9"),
        (
            {"network": KINDS["mlp"] | {"initialisation": "zeros"}},
            "objective.network.initialisation",
            "unknown value 'zeros'; valid are he_normal, he_uniform, xavier_normal",
        ),
        (
            {"network": KINDS["mlp"] | {"activation": "elu"}},
            "objective.network.activation",
            "unknown value 'elu'; valid are relu, tanh, gelu, silu",
        ),
        ({"network": KINDS["text"] | {"dropout": 0.1}}, "objective.network.dropout", "there is no such field here"),
        ({"network": {"kind": "registered"}}, "objective.network.name", "is required"),
        ({"network": {"kind": "registered", "name": " "}}, "objective.network.name", "must not be blank"),
        ({"network": {"kind": "registered", "name": "a" * 121}}, "objective.network.name", "at most 120 characters"),
        (
            {"network": KINDS["registered"] | {"file": "nets.py"}},
            "objective.network.file",
            "there is no such field here; valid are kind, name, options",
        ),
        (
            {"network": KINDS["registered"] | {"options": {"shape": 3}}},
            "objective.network.options.shape",
            "is what the data say; give the option another name",
        ),
        (
            {"network": KINDS["registered"] | {"options": {"widths": [3]}}},
            "objective.network.options.widths",
            "must be a string, a finite number, true, false or null",
        ),
    ],
)
def test_refused(objective: dict[str, Any], path: str, message: str) -> None:
    found = faults(study(**objective))
    assert message in found.get(path, ""), found
