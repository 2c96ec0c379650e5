"""Imports over HTTP: nothing is stored unless asked for, and nothing at all of what is refused."""

from typing import Any

import pytest

from tests.api.stage import Stage, faults

SWEEP = """
method: random
metric: {name: loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  depth: {values: [1, 2]}
run_cap: 4
program: train.py
"""


def post(stage: Stage, **body: Any) -> Any:
    return stage.client.post("/v1/studies:import", json=body)


def test_an_import_stores_nothing_and_can_be_posted(stage: Stage) -> None:
    before = stage.rows()
    reply = post(stage, format="wandb", source=SWEEP)
    assert reply.status_code == 200
    assert stage.rows() == before
    answer = reply.json()
    assert answer["study"] is None
    assert [note["path"] for note in answer["notes"]] == ["source.program"]
    assert stage.create(answer["definition"])["progress"]["budget"] == 4


def test_an_import_may_create_once_for_a_key(stage: Stage) -> None:
    body = {"format": "wandb", "source": SWEEP, "create": True, "study": {"name": "mine"}}
    replies = [
        stage.client.post("/v1/studies:import", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert stage.rows()["study"] == 1
    made = replies[0].json()["study"]
    assert (made["name"], made["state"]) == ("mine", "running")
    (trial,) = stage.client.post(f"/v1/studies/{made['id']}/trials:ask").json()["data"]
    assert set(trial["params"]) == {"lr", "depth"}


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"format": "wandb", "source": "a: [1"}, "source"),
        ({"format": "wandb", "source": "a: &a [1]\nb: *a"}, "source"),
        ({"format": "wandb", "source": {"method": "grid", "parameters": {"x": {"min": 0.5, "max": 1}}}}, "space.x"),
        ({"format": "optuna", "source": {"x": "{"}}, "source.x"),
        ({"format": "optuna", "source": {"x": '{"type": "float", "low": NaN, "high": 1}'}}, "source.x.low"),
        ({"format": "optuna", "source": {"x\n": {"type": "int", "low": 1, "high": 2}}}, "source.x\\n"),
        ({"format": "optuna", "source": {"x" * 129: {"type": "int", "low": 1, "high": 2}}}, f"source.{'x' * 128}..."),
        ({"format": "hyperopt", "source": {}}, "format"),
        ({"format": "optuna"}, "source"),
        ({"source": {}}, "format"),
        ({"format": "wandb", "source": SWEEP, "study": 3}, "study"),
        ({"format": "wandb", "source": SWEEP, "study": {"parallelism": 0}}, "parallelism"),
        ({"format": "wandb", "source": SWEEP, "zzz": 3}, "zzz"),
    ],
)
def test_what_is_refused_is_named_and_not_stored(shared: Stage, body: dict[str, Any], path: str, create: bool) -> None:
    before = shared.rows()
    found = faults(post(shared, **body, create=create))
    assert [each for each in found if each == path or each.startswith(f"{path}.")]
    assert shared.rows() == before


def test_a_registered_objective_must_be_known_to_create(shared: Stage) -> None:
    body = {"format": "wandb", "source": SWEEP, "study": {"objective": {"name": "nobody has it"}}}
    assert post(shared, **body).status_code == 200
    assert "objective.name" in faults(post(shared, **body, create=True))


def test_a_long_json_text_is_read_and_long_yaml_is_not(shared: Stage) -> None:
    padding = " " * 70_000
    text = '{"method": "grid", "parameters": {"x": {"values": [1, 2]}}' + padding + "}"
    assert post(shared, format="wandb", source=text).status_code == 200
    assert "at most" in faults(post(shared, format="wandb", source=SWEEP + "#" + padding))["source"]
