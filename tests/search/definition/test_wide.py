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
        ({"reporter": "dense"}, "slack"),
    ],
)
def test_what_has_no_effect_is_not_searched(fixed: dict[str, str], idle: str) -> None:
    space = {**SPACE, idle: {"type": "float", "low": 0.5, "high": 1.0}}
    option, value = next(iter(fixed.items()))
    assert faults(study(space, **fixed))[f"space.{idle}"] == f"does nothing with {option} {value}: drop one of the two"


BY_WIDTH = "threshold_by width, its default"
BY_THRESHOLD = "activation shifted_relu, its default"


@pytest.mark.parametrize(
    ("fixed", "idle", "message"),
    [
        ({}, "threshold", f"{BY_WIDTH}: drop it, or set threshold_by to fixed"),
        (
            {},
            "active_share",
            f"{BY_WIDTH} and {BY_THRESHOLD}: drop it, or set threshold_by to share or activation to top_k",
        ),
        (
            {"threshold_by": "fixed"},
            "active_share",
            f"threshold_by fixed and {BY_THRESHOLD}: drop it, or set activation to top_k",
        ),
        (
            {"activation": "shifted_squared_relu"},
            "active_share",
            f"{BY_WIDTH} and activation shifted_squared_relu: drop it, or set threshold_by to share",
        ),
    ],
)
def test_what_has_no_effect_by_default_is_neither_searched_nor_fixed(
    fixed: dict[str, str], idle: str, message: str
) -> None:
    space = {**SPACE, idle: {"type": "float", "low": 0.5, "high": 1.0}}
    assert faults(study(space, **fixed)) == {f"space.{idle}": f"does nothing with {message}"}
    assert faults(study(**dict[str, Any](fixed | {idle: 0.5}))) == {f"objective.{idle}": f"does nothing with {message}"}


@pytest.mark.parametrize(
    ("option", "choices"),
    [("threshold_by", ["width", "share"]), ("threshold_by", ["share"]), ("activation", ["shifted_relu", "top_k"])],
)
def test_what_has_an_effect_somewhere_is_allowed(option: str, choices: list[str]) -> None:
    parse_study(study({**SPACE, option: {"type": "categorical", "choices": choices}}, active_share=0.05))


def test_what_could_not_be_read_is_no_reason() -> None:
    unread = {**SPACE, "threshold_by": {"type": "categorical", "choices": []}}
    assert faults(study(unread, threshold=2.0)).keys() == {"space.threshold_by.choices"}


def decaying(low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"weight_decay": {"type": "float", "low": low, "high": high, **more}}


def rate(low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"lr": {"type": "float", "low": low, "high": high, **more}}


CENTERED = {"centered": {"type": "categorical", "choices": [True, False]}}
SCALED = {
    "base_lr": {"type": "float", "low": 5.0, "high": 9.0},
    "batch_size": {"type": "categorical", "choices": [32, 64]},
    "lr": {"type": "derived", "of": "base_lr", "by": "batch_size", "rule": "linear", "reference": 32},
}


@pytest.mark.parametrize(
    ("space", "fixed", "path", "got"),
    [
        (CENTERED, {"lr": 20.0, "weight_decay": 0.05}, "objective.weight_decay", "0.05 times 20"),
        (CENTERED, {"weight_decay": 0.1}, "objective.weight_decay", "0.1 times 10"),
        (rate(20, 50), {"weight_decay": 0.05}, "objective.weight_decay", "at least 0.05 times 20"),
        (decaying(0.2, 0.5), {"lr": 5.0}, "space.weight_decay", "at least 0.2 times 5"),
        (decaying(0.2, 0.5), {}, "space.weight_decay", "at least 0.2 times 10"),
        (rate(5, 10) | decaying(0.2, 0.5), {}, "space.weight_decay", "at least 0.2 times 5"),
        ({"lr": {"type": "categorical", "choices": [50, 20]}}, {"weight_decay": 0.05}, "objective.weight_decay", "at least 0.05 times 20"),
        (SCALED, {"weight_decay": 0.25}, "objective.weight_decay", "at least 0.25 times 5"),
    ],
)  # fmt: skip
def test_decay_that_leaves_nothing_in_any_trial_is_refused(
    space: dict[str, Any], fixed: dict[str, Any], path: str, got: str
) -> None:
    message = f"times lr must be under 1, or nothing is left of the weights, got {got}: lower one"
    assert faults(study(space, **fixed)) == {path: message}


@pytest.mark.parametrize(
    ("space", "fixed"),
    [
        (CENTERED, {"lr": 20.0, "weight_decay": 0.0499}),
        (rate(19, 50), {"weight_decay": 0.05}),
        (rate(5, 100) | decaying(0.0, 0.5), {}),
        (CENTERED | decaying(0.2, 0.5, when={"centered": [True]}), {}),
        (CENTERED | rate(20, 50, when={"centered": [True]}), {"weight_decay": 0.06}),
        (SCALED, {"weight_decay": 0.19}),
    ],
)
def test_decay_that_leaves_something_in_some_trial_is_allowed(space: dict[str, Any], fixed: dict[str, Any]) -> None:
    parse_study(study(space, **fixed))


def test_decay_beside_a_rate_that_could_not_be_read_is_not_judged() -> None:
    assert faults(study(rate(50, 20), weight_decay=1.0)).keys() == {"space.lr.low"}
    assert faults(study(CENTERED, lr=-20.0, weight_decay=-0.1)).keys() == {"objective.lr", "objective.weight_decay"}


def test_other_recipes_decay_as_they_like() -> None:
    network = {"kind": "mlp", "hidden": [8]}
    parse_study(study(recipe="classifier", network=network, optimizer="sgd", weight_decay=2.0))


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
