"""Several metrics and constraints over HTTP: told, refused, listed, drawn."""

import copy
from typing import Any

import pytest

from search.definition.examples import FURTHER_STUDIES
from tests.api.stage import Stage, Study, faults, problem

TRADEOFFS = FURTHER_STUDIES["small-and-accurate"]
VALUES = {"error": 0.1, "parameters": 1e4, "latency_ms": 10.0}


def made(stage: Stage, **changes: Any) -> str:
    found: str = stage.create({**copy.deepcopy(TRADEOFFS), **changes})["id"]
    return found


def ask(stage: Stage, study: str) -> Study:
    asked = stage.client.post(f"/v1/studies/{study}/trials:ask", json={}).json()
    trial: Study = asked["data"][0]
    return trial


def tell(stage: Stage, trial: Study, values: Any) -> Any:
    return stage.client.post(f"/v1/trials/{trial['id']}:tell", json={"token": trial["token"], "values": values})


def run(stage: Stage, study: str, *rows: tuple[float, float, float]) -> None:
    for error, parameters, latency in rows:
        told = tell(stage, ask(stage, study), {"error": error, "parameters": parameters, "latency_ms": latency})
        assert told.status_code == 200, told.text


def test_the_front_with_its_volume_and_history(stage: Stage) -> None:
    study = made(stage)
    empty = stage.get(f"/studies/{study}/pareto")
    assert empty == {
        "data": [],
        "objectives": [{"name": "error", "goal": "minimize"}, {"name": "parameters", "goal": "minimize"}],
        "hypervolume": None,
        "reference": {},
        "history": [],
    }
    run(stage, study, (0.5, 100, 5), (0.25, 200, 20), (0.0, 1, 20.5), (0.5, 300, 5))
    found = stage.get(f"/studies/{study}/pareto")
    assert [trial["number"] for trial in found["data"]] == [1, 0]
    assert [trial["violation"] for trial in found["data"]] == [0.0, 0.0]
    assert (found["reference"], found["hypervolume"]) == ({"error": 0.5, "parameters": 300.0}, 25.0)
    assert found["history"] == [
        {"number": 0, "hypervolume": 0.0},
        {"number": 1, "hypervolume": 25.0},
        {"number": 3, "hypervolume": 25.0},
    ]
    given = stage.get(f"/studies/{study}/pareto", reference=["error=1", "parameters=400"])
    assert given["hypervolume"] == 0.5 * 300 + 0.25 * 200
    assert [trial["violation"] for trial in stage.get(f"/studies/{study}/trials")["data"]] == [0, 0, 0.025, 0]


def test_the_front_is_tagged(stage: Stage) -> None:
    path = f"/v1/studies/{made(stage)}/pareto"
    tag = stage.client.get(path).headers["etag"]
    assert stage.client.get(path, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (["error=1"], "'parameters' is missing"),
        (["error=nan", "parameters=1"], "finite number, got 'error=nan'"),
        (["error=inf", "parameters=1"], "finite number"),
        (["=1"], "`metric=value`"),
        (["error"], "`metric=value`"),
        (["loss=1"], "no objective 'loss'; valid are error, parameters"),
    ],
)
def test_a_bad_reference(stage: Stage, reference: list[str], says: str) -> None:
    reply = stage.client.get(f"/v1/studies/{made(stage)}/pareto", params={"reference": reference})
    assert says in faults(reply)["query.reference"]


def test_there_is_no_front_of_no_study(stage: Stage) -> None:
    assert stage.client.get("/v1/studies/0000000000000/pareto").status_code == 404


def test_the_best_of_several_metrics_points_to_the_front(stage: Stage) -> None:
    study = made(stage)
    reply = stage.client.get(f"/v1/studies/{study}/best")
    assert reply.status_code == 409
    assert f"GET /v1/studies/{study}/pareto" in problem(reply)["detail"]
    run(stage, study, (0.5, 100, 5))
    assert stage.get(f"/studies/{study}")["best"] is None


def test_of_one_metric_the_best_alone(stage: Stage) -> None:
    study = stage.create()["id"]
    stage.run(3)
    found = stage.get(f"/studies/{study}/pareto")
    assert found["data"] == [stage.get(f"/studies/{study}/best")["trial"]]
    assert found["hypervolume"] == pytest.approx(2 / 3)


def test_a_result_needs_every_objective_and_constraint(stage: Stage) -> None:
    trial = ask(stage, made(stage))
    said = faults(tell(stage, trial, {"error": 0.5}))
    assert said == {
        "values.parameters": "is required: it is a metric that the study optimizes",
        "values.latency_ms": "is required: it is a constraint of the study",
    }
    assert "is required with error, parameters, latency_ms" in faults(tell(stage, trial, None))["values"]
    assert tell(stage, trial, VALUES).json()["violation"] == 0.0


def test_a_bad_study_is_refused_whole(stage: Stage) -> None:
    before = stage.rows()
    raw = {
        **copy.deepcopy(TRADEOFFS),
        "search": {"strategy": "bayesian"},
        "pruning": {"kind": "patience", "patience": 2},
    }
    raw["metrics"][2].pop("threshold")
    refused = faults(stage.client.post("/v1/studies", json=raw))
    assert refused.keys() == {"metrics[2].threshold", "search.strategy", "pruning.kind"}
    assert stage.rows() == before


def test_pictures_and_pages_of_several_metrics(stage: Stage) -> None:
    study = made(stage)
    for _ in range(2):
        assert stage.client.get(f"/v1/studies/{study}/history.svg").status_code == 200
        page = stage.client.get(f"/studies/{study}")
        assert page.status_code == 200
        assert stage.client.get("/").status_code == 200
        run(stage, study, (0.5, 100, 5), (0.25, 200, 20), (0.0, 1, 99))
    assert "hypervolume" in stage.client.get(f"/v1/studies/{study}/history.svg").text
    assert "minimize error, minimize parameters" in page.text
    assert "at most 20" in page.text
    assert "2 of the completed trials are beaten by no other" in page.text


def test_the_picture_of_one_metric_leaves_out_the_infeasible(stage: Stage) -> None:
    metrics = [TRADEOFFS["metrics"][0], TRADEOFFS["metrics"][2]]
    study = made(stage, metrics=metrics, search={"strategy": "random"})
    for latency in (5.0, 50.0):
        assert tell(stage, ask(stage, study), {"error": 1 / latency, "latency_ms": latency}).status_code == 200
    assert "1 completed and 0 pruned trials" in stage.client.get(f"/v1/studies/{study}/history.svg").text
    assert stage.get(f"/studies/{study}")["best"] == {"number": 0, "value": 0.2}


def test_a_client_is_told_to_stop_by_front_and_rank(stage: Stage) -> None:
    """Two of four are the ends of the front; the third lies between them, and the fourth behind."""
    study = made(stage, pruning={"kind": "asha", "reduction": 2, "min_steps": 3})
    trials = [ask(stage, study) for _ in range(4)]
    points = [(0.1, 9e4), (0.9, 1e3), (0.5, 5e4), (0.6, 6e4)]
    said = [measure(stage, trial, 3, error, size) for trial, (error, size) in zip(trials, points, strict=True)]
    assert [(reply["should_stop"], reply["reason"]) for reply in said] == [
        (False, None),
        (False, None),
        (True, "asha: rank 3 of 3, on front 1, at step 3; the best 1 go on"),
        (True, "asha: rank 4 of 4, on front 2, at step 3; the best 2 go on"),
    ]
    assert measure(stage, trials[2], 3, *points[2]) == said[2]
    told = tell(stage, trials[3], {"error": 0.1, "parameters": 1.0, "latency_ms": 1.0}).json()
    assert (told["state"], told["reason"]) == ("pruned", said[3]["reason"])
    assert tell(stage, trials[0], VALUES).json()["state"] == "completed"
    assert [trial["number"] for trial in stage.get(f"/studies/{study}/pareto")["data"]] == [trials[0]["number"]]


def measure(stage: Stage, trial: Study, step: int, error: float, parameters: float) -> Any:
    values = {"error": error, "parameters": parameters, "latency_ms": 10.0}
    body = {"token": trial["token"], "measurements": [{"step": step, "values": values}]}
    reply = stage.client.post(f"/v1/trials/{trial['id']}/measurements", json=body)
    assert reply.status_code == 200, reply.text
    said = reply.json()
    said.pop("lease_expires_at")
    return said
