"""W&B sweeps as studies: configurations in the shapes of its documentation, each distribution, and nonsense."""

import math
from typing import Any

import pytest

from search.definition.parse import parse_study
from search.errors import InvalidStudy
from search.importing.formats import translate
from search.importing.sweep_parameters import DISTRIBUTIONS
from search.importing.text import read_text

BAYES = """
program: train.py
name: keyword spotting
method: bayes
metric:
  name: validation_loss
  goal: minimize
  target: 0.05
parameters:
  learning_rate:
    min: 0.0001
    max: 0.1
  weight_decay:
    distribution: log_uniform_values
    min: 1e-6
    max: 1e-2
  layers:
    min: 2
    max: 6
  optimizer:
    values: ["adam", "sgd"]
  epochs:
    value: 20
early_terminate:
  type: hyperband
  min_iter: 3
  eta: 2
command:
  - ${env}
  - python
  - ${program}
  - ${args}
run_cap: 60
"""
GRID = """
method: grid
parameters:
  batch_size: {values: [16, 32, 64]}
  dropout: {distribution: q_uniform, min: 0.1, max: 0.5, q: 0.1}
  depth: {min: 1, max: 3}
"""
NESTED = """
method: random
metric: {name: val.accuracy, goal: maximize}
parameters:
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      schedule:
        parameters:
          warmup: {min: 0.0, max: 0.3}
  seed: {value: 1}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}
"""


def read(text: str, **study: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the definition and the notes by path."""
    found = translate("wandb", read_text(text, "source"), study)
    return found.definition, {note.path: note.message for note in found.notes}


def test_a_bayesian_sweep() -> None:
    definition, notes = read(BAYES)
    assert definition == {
        "name": "keyword spotting",
        "objective": {"external": True},
        "metrics": [{"name": "validation_loss", "goal": "minimize"}],
        "search": {"strategy": "bayesian"},
        "space": {
            "learning_rate": {"type": "float", "low": 0.0001, "high": 0.1},
            "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "scale": "log"},
            "layers": {"type": "int", "low": 2, "high": 6},
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
            "epochs": {"type": "categorical", "choices": [20]},
        },
        "pruning": {"kind": "asha", "reduction": 2, "min_steps": 3},
        "budget": {"trials": 60},
    }
    assert set(notes) == {"source.program", "source.command", "source.metric.target", "source.early_terminate"}


def test_a_grid_has_as_many_trials_as_points() -> None:
    definition, notes = read(GRID)
    assert parse_study(definition).trials == 3 * 5 * 3
    assert set(notes) == {"source.metric"}


def test_nested_parameters_get_dots() -> None:
    definition, notes = read(NESTED)
    assert list(definition["space"]) == ["optimizer.name", "optimizer.schedule.warmup", "seed"]
    assert definition["metrics"] == [{"name": "val.accuracy", "goal": "maximize"}]
    assert definition["objective"] == {"external": True, "steps": 27}
    assert definition["pruning"] == {"kind": "asha", "reduction": 3, "min_steps": 3}
    assert definition["budget"] == {"trials": 100}
    assert "dots" in notes["source.parameters.optimizer"]
    assert "100 trials are assumed" in notes["source.run_cap"]


def test_what_the_caller_brings_replaces_what_was_found() -> None:
    objective = {"name": "train", "options": {"depth": 3}}
    definition, notes = read(NESTED, objective=objective, budget={"trials": 5}, pruning=None)
    assert (definition["objective"], definition["budget"], definition["pruning"]) == (objective, {"trials": 5}, None)
    assert "source.run_cap" not in notes


FLOAT, LOG = {"type": "float"}, {"type": "float", "scale": "log"}
RANGE = {"min": -2, "max": 3}
MADE: dict[str, list[tuple[dict[str, Any], dict[str, Any], bool]]] = {
    "constant": [({"value": "x"}, {"type": "categorical", "choices": ["x"]}, False)],
    "categorical": [({"values": [1, "a"]}, {"type": "categorical", "choices": [1, "a"]}, False)],
    "categorical_w_probabilities": [
        ({"values": [1, 2], "probabilities": [0.9, 0.1]}, {"type": "categorical", "choices": [1, 2]}, True)
    ],
    "int_uniform": [(RANGE, {"type": "int", "low": -2, "high": 3}, False)],
    "uniform": [(RANGE, FLOAT | {"low": -2.0, "high": 3.0}, False)],
    "q_uniform": [
        ({"min": 0, "max": 1, "q": 0.1}, FLOAT | {"low": 0.0, "high": 1.0, "step": 0.1}, False),
        ({"min": 3, "max": 10}, {"type": "int", "low": 3, "high": 10}, False),
        ({"min": 3, "max": 30, "q": 8}, {"type": "int", "low": 0, "high": 32, "step": 8}, True),
        ({"min": 0.01, "max": 0.02, "q": 1.0}, FLOAT | {"low": 0.0, "high": 0.0}, True),
    ],
    "log_uniform": [(RANGE, LOG | {"low": math.exp(-2), "high": math.exp(3)}, False)],
    "log_uniform_values": [({"min": 0.1, "max": 3}, LOG | {"low": 0.1, "high": 3.0}, False)],
    "inv_log_uniform": [(RANGE, LOG | {"low": math.exp(-3), "high": math.exp(2)}, False)],
    "inv_log_uniform_values": [({"min": 0.1, "max": 3}, LOG | {"low": 0.1, "high": 3.0}, False)],
    "q_log_uniform": [
        ({"min": 0, "max": math.log(100)}, {"type": "int", "scale": "log", "low": 1, "high": 100}, False)
    ],
    "q_log_uniform_values": [
        ({"min": 1, "max": 256, "q": 1}, {"type": "int", "scale": "log", "low": 1, "high": 256}, False),
        ({"min": 8, "max": 256, "q": 8}, LOG | {"low": 8.0, "high": 256.0}, True),
    ],
    "normal": [({}, FLOAT | {"low": -3.0, "high": 3.0}, True)],
    "q_normal": [({"mu": 5, "sigma": 1}, {"type": "int", "low": 2, "high": 8}, True)],
    "log_normal": [({"mu": 0, "sigma": 1}, LOG | {"low": math.exp(-3), "high": math.exp(3)}, True)],
    "q_log_normal": [
        ({"mu": 3, "sigma": 0.5}, {"type": "int", "scale": "log", "low": 4, "high": 90}, True),
    ],
    "beta": [({}, FLOAT | {"low": 0.0, "high": 1.0}, False), ({"a": 2}, FLOAT | {"low": 0.0, "high": 1.0}, True)],
    "q_beta": [({"a": 2, "b": 2, "q": 0.25}, FLOAT | {"low": 0.0, "high": 1.0, "step": 0.25}, True)],
}


def test_a_constant_that_is_no_scalar_is_left_out() -> None:
    sweep = {"method": "grid", "parameters": {"x": {"value": [64, 64]}, "y": {"values": [1, 2]}}}
    found = translate("wandb", sweep, {})
    assert set(found.definition["space"]) == {"y"}
    assert "source.parameters.x" in {note.path for note in found.notes}


def test_every_distribution_has_a_case() -> None:
    assert set(MADE) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", MADE)
def test_every_distribution(name: str) -> None:
    for fields, made, noted in MADE[name]:
        sweep = {"method": "random", "parameters": {"x": {"distribution": name, **fields}}, "run_cap": 1}
        found = translate("wandb", sweep, {"metrics": [{"name": "l", "goal": "minimize"}]})
        assert found.definition["space"] == {"x": made}
        assert any(note.path == "source.parameters.x" for note in found.notes) is noted


@pytest.mark.parametrize("name", ["constant", "categorical", "categorical_w_probabilities", "int_uniform", "uniform"])
def test_the_commonest_show_themselves_by_their_fields(name: str) -> None:
    fields, made, _ = MADE[name][0]
    fields = {**fields, **({"min": -2.0} if name == "uniform" else {})}
    sweep = {"method": "random", "parameters": {"x": fields}, "run_cap": 1}
    assert translate("wandb", sweep, {}).definition["space"] == {"x": made}


def faults(source: object, **study: Any) -> dict[str, str]:
    with pytest.raises(InvalidStudy) as refused:
        translate("wandb", source, study)
    return {fault.path: fault.message for fault in refused.value.faults}


def sweep(parameter: object = None, **more: Any) -> dict[str, Any]:
    return {"method": "random", "parameters": {"x": parameter or {"min": 0, "max": 1}}, "run_cap": 1, **more}


@pytest.mark.parametrize(
    ("parameter", "path", "says"),
    [
        (3, "", "must be an object"),
        ({"min": 0}, "", "shows no distribution"),
        ({"distribution": "cauchy"}, ".distribution", "valid are constant"),
        ({"distribution": "uniform", "min": 0}, ".max", "is required by uniform"),
        ({"min": 0, "max": 1, "q": 1}, ".q", "no field of int_uniform"),
        ({"min": 2, "max": 1}, ".min", "must not be above max"),
        ({"min": "0", "max": 1}, ".min", "must be a number"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, ".low", "above 0"),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "", "takes exponents"),
        ({"distribution": "q_uniform", "min": 1, "max": 2, "q": 0}, ".q", "above 0"),
        ({"distribution": "normal", "sigma": -1}, ".sigma", "above 0"),
        ({"values": []}, ".choices", "must not be empty"),
        ({"values": "abc"}, ".choices", "must be a list"),
        ({"values": [1, 1]}, ".choices[1]", "listed already"),
        ({"values": [[1, 2]]}, ".choices[0]", "must be a string"),
        ({"parameters": {}}, ".parameters", "at least one"),
        ({"parameters": {"y": {"value": 1}}, "value": 2}, ".value", "stands beside nested"),
    ],
)
def test_a_bad_parameter_is_named(parameter: object, path: str, says: str) -> None:
    assert says in faults(sweep(parameter))[f"source.parameters.x{path}"]


@pytest.mark.parametrize(
    ("source", "path", "says"),
    [
        ([], "source", "must be an object"),
        (sweep(method="custom"), "source.method", "valid are grid, random, bayes"),
        ({"parameters": {"x": {"value": 1}}}, "source.method", "is required"),
        ({"method": "grid"}, "source.parameters", "must be an object"),
        (sweep(metric={"goal": "minimize"}), "source.metric.name", "is required"),
        (sweep(metric={"name": "l", "goal": "min"}), "source.metric.goal", "valid are minimize"),
        (sweep(run_cap=0), "source.run_cap", "at least 1"),
        (sweep(run_cap=True), "source.run_cap", "whole number"),
        (sweep(early_terminate={"type": "envelope"}), "source.early_terminate.type", "valid is hyperband"),
        (sweep(early_terminate={"type": "hyperband"}), "source.early_terminate", "needs min_iter"),
        (sweep(early_terminate={"type": "hyperband", "max_iter": 9}), "source.early_terminate", "max_iter and s"),
        (
            sweep(early_terminate={"type": "hyperband", "min_iter": "3"}),
            "source.early_terminate.min_iter",
            "must be a number",
        ),
    ],
)
def test_a_bad_sweep_is_named(source: object, path: str, says: str) -> None:
    assert says in faults(source)[path]


def test_every_fault_is_named_at_once() -> None:
    found = faults({"method": "x", "metric": {}, "parameters": {"a": {"min": 0}, "b": 1}, "run_cap": -1})
    assert set(found) == {
        "source.method",
        "source.metric.name",
        "source.parameters.a",
        "source.parameters.b",
        "source.run_cap",
    }


def test_two_names_that_dots_make_one() -> None:
    twice = {"a.b": {"value": 1}, "a": {"parameters": {"b": {"value": 2}}}}
    assert "stands twice" in faults(sweep() | {"parameters": twice})["source.parameters.a.parameters.b"]


def test_what_came_out_is_checked_as_a_study() -> None:
    assert "space.x" in " ".join(faults(sweep({"min": 0.0, "max": 1.0}, method="grid")))
    assert set(faults(sweep(), parallelism=0, zzz=1)) == {"parallelism", "zzz"}


def test_odd_things_are_noted() -> None:
    stop = {"type": "hyperband", "min_iter": 2, "eta": 2.6, "strict": True, "x": 1}
    metric = {"name": "l", "impute": "worst", "y": 1}
    notes = {note.path for note in translate("wandb", sweep(early_terminate=stop, metric=metric, zzz=1), {}).notes}
    assert {f"source.early_terminate{end}" for end in ("", ".eta", ".strict", ".x")} <= notes
    assert {"source.metric.impute", "source.metric.y", "source.zzz"} <= notes
