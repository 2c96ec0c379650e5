"""What a study of the recipe wide-two-layer may say, and what is refused when it is created."""

from typing import Any

import pytest

from search.definition import focus
from search.definition.defaults import default_of
from search.definition.kinds import RecipeObjective
from search.definition.objectives import RECIPES
from search.definition.parse import parse_study
from search.errors import InvalidStudy

RECIPE = "wide-two-layer"
SPACE = {"lr": {"type": "float", "low": 1.0, "high": 100.0, "scale": "log"}}


def study(space: dict[str, Any] | None = None, *, metric: str = "val_accuracy", **objective: Any) -> dict[str, Any]:
    return {
        "name": "wide",
        "objective": {"recipe": RECIPE, "data": "digits", "epochs": 3, **objective},
        "metrics": [{"name": metric, "goal": "maximize"}],
        "space": space or SPACE,
        "search": {"strategy": "random"},
        "budget": {"trials": 8},
    }


def faults(raw: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    return {fault.path: fault.message for fault in refused.value.faults}


def test_everything_of_the_network_can_be_searched() -> None:
    space = {
        **SPACE,
        "width": {"type": "int", "low": 1000, "high": 100_000, "scale": "log"},
        "threshold_by": {"type": "categorical", "choices": ["fixed"]},
        "threshold": {"type": "float", "low": 1.0, "high": 3.0},
        "slack": {"type": "float", "low": 0.1, "high": 1.0},
        "batch_size": {"type": "int", "low": 1, "high": 128},
        "activation": {"type": "categorical", "choices": ["shifted_relu", "top_k"]},
    }
    definition = parse_study(study(space))
    assert isinstance(definition.objective, RecipeObjective)
    point = {"lr": 10.0, "width": 2000, "slack": 0.5}
    assert definition.objective.handed(point) == point
    assert not definition.in_population
    assert parse_study(definition.model_dump(mode="json")) == definition


def test_a_preset_brings_what_pays_off_in_so_many_trials() -> None:
    definition = parse_study(study({"preset": "sparse_sgd"}) | {"budget": {"trials": 30}})
    assert {"lr", "width", "threshold_factor", "weight_decay"} <= definition.space.keys()
    assert "slack" not in definition.space  # it changes no result


def test_defaults_and_focus_know_its_only_optimizer() -> None:
    space = {**SPACE, "width": {"type": "int", "low": 1000, "high": 100_000, "scale": "log"}}
    definition = parse_study(study(space) | {"budget": {"trials": 5}})
    assert default_of(definition, "width", definition.space["width"], {}) == (16_384, "catalog")  # type: ignore[arg-type]
    assert focus.advised(definition) == ("width",)


@pytest.mark.parametrize("data", [data.name for data in RECIPES[RECIPE].data])
def test_it_takes_classes_and_numbers(data: str) -> None:
    parse_study(study(data=data, metric="val_loss"))


@pytest.mark.parametrize(
    ("objective", "path", "message"),
    [
        ({"network": {"kind": "mlp", "hidden": [8]}}, "objective.network", "is its own network: leave it out"),
        (
            {"optimizer": "adam"},
            "objective.optimizer",
            "has no optimizer 'adam'; valid are sparse_sgd: it moves the rows",
        ),
        ({"optimizer": "adma"}, "objective.optimizer", "unknown optimizer 'adma'; valid are sparse_sgd"),
        (
            {"momentum": 0.9},
            "objective.momentum",
            "is no option of sparse_sgd: it moves the rows of active neurons alone",
        ),
        ({"clip_norm": 1.0}, "objective.clip_norm", "no hyperparameter 'clip_norm'"),
        ({"device": "gpu"}, "objective.device", "runs on cpu alone, got 'gpu'"),
        ({"precision": "bfloat16"}, "objective.precision", "float32 alone, got 'bfloat16'"),
        ({"curvature": ["laplace"]}, "objective.curvature[0]", "it has none: leave curvature out"),
        ({"data": "imports"}, "objective.data", "imports is for the recipe classifier"),
        ({"width": 1}, "objective.width", "must be in [2, 4.1943e+06], got 1"),
        ({"active_share": 1.5}, "objective.active_share", "must be in (0, 1], got 1.5"),
        ({"slack": 0}, "objective.slack", "must be in (0, 10], got 0"),
        ({"reporter": "magic"}, "objective.reporter", "must be one of auto, lists, dense, ball_tree"),
        ({"threshold": -1.0}, "objective.threshold", "must be in [0, 100], got -1.0"),
    ],
)
def test_refused(objective: dict[str, Any], path: str, message: str) -> None:
    assert message in faults(study(**objective))[path]


@pytest.mark.parametrize(
    ("data", "metric"), [("digits_parity", "val_mae"), ("even_quadratic", "val_accuracy"), ("diabetes", "grad_norm")]
)
def test_a_metric_that_such_data_do_not_give_is_refused(data: str, metric: str) -> None:
    assert "metrics[0].name" in faults(study(data=data, metric=metric))


def test_of_a_file_it_is_not_known_what_it_gives() -> None:
    for metric in ("val_mae", "val_accuracy"):
        parse_study(study(data="mine.csv", metric=metric))


@pytest.mark.parametrize(
    ("fixed", "idle"),
    [
        ({"threshold_by": "width"}, "threshold"),
        ({"threshold_by": "fixed"}, "threshold_factor"),
        ({"threshold_by": "share"}, "threshold_factor"),
        ({"activation": "top_k"}, "threshold_factor"),
    ],
)
def test_what_has_no_effect_is_not_searched(fixed: dict[str, str], idle: str) -> None:
    space = {**SPACE, idle: {"type": "float", "low": 0.5, "high": 1.0}}
    option, value = next(iter(fixed.items()))
    assert faults(study(space, **fixed))[f"space.{idle}"] == f"does nothing with {option} {value}: drop one of the two"


def test_other_optimizers_are_one_fault_each() -> None:
    assert faults(study(optimizer="adam", width=2000)).keys() == {"objective.optimizer"}


def test_a_misspelt_option_has_nothing_to_do_with_momentum() -> None:
    assert faults(study(widht=2000))["objective.widht"].endswith("slack")


def test_its_trials_are_not_trained_together() -> None:
    assert "is too wide for that" in faults(study() | {"execution": "population"})["execution"]


def test_its_trainer_is_for_it_alone() -> None:
    raw = study(recipe="classifier", network={"kind": "mlp", "hidden": [8]}, optimizer="sparse_sgd")
    assert "the classifier has no optimizer 'sparse_sgd'" in faults(raw)["objective.optimizer"]


def test_other_recipes_need_a_network() -> None:
    assert faults(study(recipe="classifier"))["objective.network"] == "is required"
