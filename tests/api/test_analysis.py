"""Importance, history and savings over HTTP, beside what the trials themselves say."""

import pytest

from models.states import TrialState
from search.trials.dispatch import Report, Result
from tests.api.stage import Stage, faults, problem, study

LOSS = {"name": "val_loss", "goal": "minimize", "role": "store"}


def run_all(stage: Stage) -> str:
    """Run a study of 30 trials by hand: val_accuracy falls with the distance of lr from 0.01."""
    raw = study("digits-mlp", name="analysed", search={"strategy": "random", "seed": 2}, budget={"trials": 30})
    raw |= {"metrics": [{"name": "val_accuracy", "goal": "maximize"}, LOSS], "pruning": None, "parallelism": None}
    made: str = stage.create(raw)["id"]
    for claim in stage.worker.claim(queue="cpu", capacity=30):
        accuracy = 1 / (1 + abs(claim.params["lr"] - 0.01))
        state = TrialState.DIVERGED if claim.number == 4 else TrialState.COMPLETED
        values = None if claim.number == 4 else {"val_accuracy": accuracy, "val_loss": claim.params["warmup"]}
        stage.worker.report([Report(claim, step, {"val_accuracy": accuracy}) for step in (1, 2)])
        stage.worker.finish([Result(claim, state, values=values)])
    return made


@pytest.mark.parametrize("method", ["ped_anova", "fanova"])
def test_importance_ranks_what_the_metric_depends_on(stage: Stage, method: str) -> None:
    made = run_all(stage)
    path = f"/studies/{made}/importance"
    found = stage.get(path, method=method)
    assert found["metric"] == {"name": "val_accuracy", "goal": "maximize"}
    assert (found["completed"], found["used"], found["diverged"]) == (29, 29, 1)
    assert {row["parameter"] for row in found["data"]} == set(stage.get(f"/studies/{made}")["definition"]["space"])
    assert sum(row["importance"] for row in found["data"]) == pytest.approx(1.0)
    assert found["data"][0]["parameter"] == "lr"
    assert stage.get(path, method=method, metric="val_loss")["data"][0]["parameter"] == "warmup"
    assert stage.get(path, method=method) == found


def test_importance_waits_for_ten_trials(stage: Stage) -> None:
    made = stage.create()["id"]
    stage.run(9)
    refused = stage.client.get(f"/v1/studies/{made}/importance")
    assert refused.status_code == 409
    assert "needs 10 completed trials" in problem(refused)["detail"]
    stage.run(1)
    assert stage.get(f"/studies/{made}/importance")["used"] == 10


def test_history_is_the_best_so_far_in_the_metrics_own_sign(stage: Stage) -> None:
    made = run_all(stage)
    found = stage.get(f"/studies/{made}/history")
    trials = [trial for page in stage.pages(f"/studies/{made}/trials", since=0) for trial in page]
    assert found["total"] == 30
    assert [row["seq"] for row in found["data"]] == sorted(row["seq"] for row in found["data"])
    best: float | None = None
    for row, trial in zip(found["data"], trials, strict=True):
        value = (trial["values"] or {}).get("val_accuracy")
        best = value if best is None or (value is not None and value > best) else best
        shown = {"number": trial["number"], "seq": trial["seq"], "state": trial["state"], "value": value, "best": best}
        assert row == {**shown, "finished_at": trial["finished_at"]}
    assert found["data"][-1]["best"] == stage.get(f"/studies/{made}/best")["values"]["val_accuracy"]
    losses = stage.get(f"/studies/{made}/history", metric="val_loss")
    assert losses["metric"]["goal"] == "minimize"
    assert losses["data"][-1]["best"] == min(trial["values"]["val_loss"] for trial in trials if trial["values"])


def test_history_is_thinned(stage: Stage) -> None:
    made = run_all(stage)
    whole, few = (stage.get(f"/studies/{made}/history", points=points)["data"] for points in (1000, 12))
    bests = [row["best"] for row in whole if row["best"] is not None]
    assert len(few) == 12
    assert [row for row in whole if row in few] == few
    assert {row["best"] for row in few if row["best"] is not None} == set(bests)


def test_savings_count_what_pruned_trials_left_out(stage: Stage) -> None:
    raw = study("digits-mlp", search={"strategy": "random", "seed": 2}, pruning={"kind": "median", "startup": 1})
    made = stage.create({**raw, "budget": {"trials": 4}})["id"]
    epochs = raw["objective"]["epochs"]
    metric = raw["metrics"][0]["name"]
    steps = []
    for claim in stage.worker.claim(queue="cpu", capacity=4):
        end = epochs if claim.number == 0 else claim.number
        verdicts = stage.worker.report(
            [Report(claim, step, {metric: 1.0 + claim.number}) for step in range(1, end + 1)]
        )
        stopped = any(verdict.stop for verdict in verdicts)
        values = {metric: 1.0 + claim.number}
        stage.worker.finish([Result(claim, TrialState.PRUNED if stopped else TrialState.COMPLETED, values=values)])
        steps.append((stopped, end))
    found = stage.get(f"/studies/{made}/savings")
    saved, run = sum(epochs - end for stopped, end in steps if stopped), sum(end for _, end in steps)
    assert found["pruned"] == sum(stopped for stopped, _ in steps) > 0
    assert found["steps"] == {"run": run, "saved": saved, "full": epochs}
    assert found["share"] == pytest.approx(saved / (run + saved))
    assert found["seconds"] is None


def test_a_study_without_results_has_an_empty_analysis(stage: Stage) -> None:
    made = stage.create()["id"]
    assert stage.get(f"/studies/{made}/history")["data"] == []
    assert stage.get(f"/studies/{made}/savings")["share"] is None


@pytest.mark.parametrize("what", ["importance", "history", "savings"])
def test_another_projects_study_is_not_there(shared: Stage, what: str) -> None:
    assert shared.client.get(f"/v1/studies/aaaaaaaaaaaaa/{what}").status_code == 404


def test_what_is_not_known_is_refused_by_name(shared: Stage) -> None:
    made = shared.create()["id"]
    path = f"/v1/studies/{made}"
    assert "val_accuracy" in faults(shared.client.get(f"{path}/importance?metric=loss"))["query.metric"]
    assert "val_accuracy" in faults(shared.client.get(f"{path}/history?metric=loss"))["query.metric"]
    assert "ped_anova" in faults(shared.client.get(f"{path}/importance?method=shap"))["query.method"]
    assert "query.points" in faults(shared.client.get(f"{path}/history?points=1"))
    assert "query.pointz" in faults(shared.client.get(f"{path}/history?pointz=1"))
