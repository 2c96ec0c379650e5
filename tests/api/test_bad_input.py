"""Studies that cannot be run: each is refused whole, with every fault by its path, and nothing is stored."""

import json
from typing import Any

import pytest

from tests.api.stage import Stage, Study, faults, problem, study


def number(low: float, high: float, **more: object) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}


def choice(*choices: object) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


BIG_GRID = {f"beta{place}": number(0.1, 0.9, levels=200) for place in (1, 2)} | {"lr": number(0.1, 1, levels=100)}

# What is wrong, the study, and for each path a part of what is said about it.
REFUSED: list[tuple[str, Study, dict[str, str]]] = [
    ("log from zero", study(space__lr=number(0, 1, scale="log")), {"space.lr.low": "above 0"}),
    ("log from below zero", study(space__lr=number(-1, 1, scale="log")), {"space.lr.low": "above 0"}),
    ("low above high", study(space__lr=number(1, 0.1)), {"space.lr.low": "above high"}),
    ("step over range", study(space__warmup=number(0, 0.3, step=0.5)), {"space.warmup.step": "range"}),
    ("no choices", study(space__optimizer=choice()), {"space.optimizer.choices": "empty"}),
    ("a choice twice", study(space__batch_size=choice(16, 32, 16)), {"space.batch_size.choices[2]": "already"}),
    (
        "optimizer",
        study(space__optimizer=choice("adamm", "momentum", "nesterov")),
        {"space.optimizer.choices[0]": "valid are sgd, momentum"},
    ),
    ("fixed optimizer", study("wine-random", objective__optimizer="x"), {"objective.optimizer": "valid are sgd"}),
    ("schedule", study(space__schedule=choice("x")), {"space.schedule.choices[0]": "valid are constant"}),
    ("recipe", study(objective__recipe="x"), {"objective.recipe": "valid are classifier"}),
    ("data set", study(objective__data="digit"), {"objective.data": "valid are digits, wine, breast_cancer, iris"}),
    ("network", study(objective__network={"kind": "x"}), {"objective.network.kind": "valid are mlp, cnn"}),
    ("strategy", study(search={"strategy": "x"}), {"search.strategy": "valid are grid, random, bayesian"}),
    ("pruning", study(pruning={"kind": "x"}), {"pruning.kind": "valid are asha, hyperband, median, percentile"}),
    (
        "pruning and stopping, all at once",
        study(
            "wine-random",
            pruning={"kind": "patience", "patience": 0, "rule": {"kind": "asha", "reduction": 1, "mode": "x"}},
            stopping={"no_improvement": {"trials": 0}, "expected_improvement_below": 0.0, "patience": 0},
            budget={"trials": 5, "gpu_seconds": 0},
        ),
        {
            "pruning.patience": "at least 1, got 0",
            "pruning.rule.reduction": "at least 2",
            "pruning.rule.mode": "valid are stop, promote",
            "stopping.no_improvement.trials": "at least 1, got 0",
            "stopping.expected_improvement_below": "above 0",
            "stopping.patience": "at least 1",
            "budget.gpu_seconds": "above 0, got 0",
        },
    ),
    (
        "waiting without an end",
        study("wine-random", objective={"external": True}, pruning={"kind": "asha", "mode": "promote"}),
        {"pruning.mode": "objective.steps"},
    ),
    ("parameter's type", study(space__lr={"type": "x"}), {"space.lr.type": "valid are float, int, categorical"}),
    ("execution", study(execution="x"), {"execution": "valid are auto, single, population"}),
    ("field", study(bugdet=1), {"bugdet": "valid are name, objective"}),
    ("hyperparameter", study(space__momentun=number(0, 1)), {"space.momentun": "valid here are optimizer"}),
    ("condition", study(space__lr=number(0.1, 1, when={"x": [1]})), {"space.lr.when.x": "x"}),
    ("option that a choice lacks", study(space__momentum=number(0.5, 0.9)), {"space.momentum.when": "add `when: "}),
    ("fixed option", study(objective__momentun=0.9), {"objective.momentun": "valid here are optimizer"}),
    ("rate of zero", study(space__lr=number(0, 1)), {"space.lr.low": "must be in (0, 1e+06], got 0"}),
    ("fixed rate below zero", study(space__lr=None, objective__lr=-0.1), {"objective.lr": "must be in (0, 1e+06]"}),
    (
        "beta of one",
        study("wine-random", space__beta1=number(0.9, 1)),
        {"space.beta1.high": "must be in [0, 1), got 1"},
    ),
    (
        "beta below zero",
        study("wine-random", objective__beta2=-0.1),
        {"objective.beta2": "must be in [0, 1), got -0.1"},
    ),
    (
        "warm-up longer than training",
        study("iris-grid", objective__warmup_steps=50),
        {"objective.warmup_steps": "must be below the 50 steps of 10 epochs with batches of 24, got 50"},
    ),
    ("warm-up of the whole training", study(space__warmup=number(0, 1)), {"space.warmup.high": "must be in [0, 1)"}),
    (
        "points out of order",
        study(objective__schedule="multistep", objective__decay_milestones=[0.8, 0.5]),
        {"objective.decay_milestones": "must rise from point to point, got 0.5 after 0.8"},
    ),
    ("preset", study("digits-preset", space__preset="adamm"), {"space.preset": "valid are sgd, momentum"}),
    ("presets", study("digits-preset", space__preset=["sgd", "x"]), {"space.preset[1]": "valid are sgd, momentum"}),
    (
        "preset of an objective that is no recipe",
        study("digits-preset", objective=None) | {"objective": {"external": True}},
        {"space.preset": "recipes alone"},
    ),
    ("budget 0", study(budget__trials=0), {"budget.trials": "at least 1"}),
    ("budget of no trials", study(budget={"seconds": 5}), {"budget.trials": "required by the strategy bayesian"}),
    ("no budget", study("wine-random", budget=None), {"budget.trials": "required by the strategy random"}),
    ("grid without levels", study("iris-grid", space__warmup=number(0, 0.3)), {"space.warmup": "levels"}),
    (
        "a grid of four million",
        study("iris-grid", space=BIG_GRID | {"optimizer": choice("adam")}),
        {"space": "4,000,000"},
    ),
    (
        "a constraint that nothing satisfies",
        study("digits-scaled", constraints=[{"terms": {"warmup": 1, "decay_last": 1}, "at_most": 0.05}]),
        {"constraints[0].at_most": "no point satisfies it"},
    ),
    (
        "faults of spaces",
        study("digits-scaled", space__lr__of="base", constraints=[{"terms": {"batch_size": 0}}]),
        {
            "space.lr.of": "no parameter 'base'",
            "space.base_lr": "no hyperparameter",
            "constraints[0].terms.batch_size": "categorical",
            "constraints[0].at_most": "is required",
        },
    ),
    ("NaN", study(space__lr=number(float("nan"), 1)), {"space.lr.low": "finite"}),
    ("infinity", study(space__lr=number(0.1, float("inf"))), {"space.lr.high": "finite"}),
    ("minus infinity", study(budget__seconds=float("-inf")), {"budget.seconds": "finite"}),
    ("beyond 2^53", study(search__seed=2**53 + 1), {"search.seed": "2^53"}),
    ("a long name", study(name="n" * 129), {"name": "128"}),
    (
        "a long parameter's name",
        study(space={"n" * 129: number(0, 1)}),
        {f"space.{'n' * 128}...": "128", "space": "at least one"},
    ),
    ("a control character", study(name="a\nb"), {"name": "control"}),
    ("NUL", study(name="a\0b"), {"name": "control"}),
    ("a lone surrogate", study(name="a\ud800b"), {"name": "surrogate"}),
    ("an empty name", study(name=""), {"name": "empty"}),
    ("a control character in a label", study(labels={"a\x7f": "b"}), {"labels.a\\x7f": "control"}),
    ("false as a number", study(objective__epochs=False), {"objective.epochs": "whole number"}),
    ("a number as text", study(budget__trials="5"), {"budget.trials": "whole number"}),
    (
        "nesting",
        study(labels={"a": json.loads("[" * 40 + "]" * 40)}),
        {"labels.a" + "[0]" * 30: "nested", "labels.a": "string"},
    ),
    ("a list", [1], {"": "must be an object"}),  # type: ignore[list-item]
    ("null", None, {"": "must be an object"}),  # type: ignore[list-item]
    (
        "several things at once",
        study(
            name="",
            objective__data="digit",
            space__lr=number(-1, 1, scale="log"),
            space__warmup=number(0.3, 0),
            search__seed=-1,
            budget__trials=0,
            parallelism=0,
        ),
        {
            "name": "empty",
            "objective.data": "digits",
            "space.lr.low": "above 0",
            "space.warmup.low": "above high",
            "search.seed": "at least 0",
            "budget.trials": "at least 1",
            "parallelism": "at least 1",
        },
    ),
]


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_study_is_refused_whole(shared: Stage, raw: Study, expected: dict[str, str]) -> None:
    before = shared.rows()
    reply = shared.client.post(
        "/v1/studies",
        content=json.dumps(raw).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": "bad"},
    )
    found = faults(reply)
    assert found.keys() == expected.keys()
    assert [path for path, part in expected.items() if part not in found[path]] == []
    assert problem(reply)["detail"].startswith(f"{len(problem(reply)['errors'])} fault")
    assert shared.rows() == before


def test_a_refusal_is_the_same_on_both_databases(stage: Stage) -> None:
    assert faults(stage.client.post("/v1/studies", json=study(name="a\0b", budget=None))).keys() == {
        "name",
        "budget.trials",
    }
    assert stage.rows() == dict.fromkeys(stage.rows(), 0)


EDITS: list[tuple[object, dict[str, str]]] = [
    ({"space": {}}, {"space": "only name, labels, budget, parallelism"}),
    ({"\ud800": 1, "b": 2}, {"\\ud800": "cannot be changed", "b": "cannot be changed"}),
    ([], {"": "must be an object"}),
    (None, {"": "must be an object"}),
    ({"name": "", "parallelism": 0, "labels": {"a": 1}}, {"name": "empty", "parallelism": "1", "labels.a": "string"}),
    ({"budget": {"trials": 0}}, {"budget.trials": "at least 1"}),
    ({"budget": {"trials": None}}, {"budget.trials": "required"}),
    ({"budget": {"second": 1}}, {"budget.second": "valid are trials, seconds"}),
    ({"budget": 5}, {"budget": "object"}),
    ({"budget": {"seconds": float("nan")}}, {"budget.seconds": "finite"}),
    ({"name": "a\0"}, {"name": "control"}),
]


@pytest.mark.parametrize(("edits", "expected"), EDITS, ids=str)
def test_a_bad_edit_changes_nothing(shared: Stage, edits: object, expected: dict[str, str]) -> None:
    made = shared.create(study("wine-random"))
    reply = shared.client.patch(
        f"/v1/studies/{made['id']}",
        content=json.dumps(edits).encode(),
        headers={"Content-Type": "application/json"},
    )
    found = faults(reply)
    assert found.keys() == expected.keys()
    assert [path for path, part in expected.items() if part not in found[path]] == []
    assert shared.get(f"/studies/{made['id']}") == made
