"""Several metrics and constraints on the ledger: what is stored, what is best, what the front is."""

from collections.abc import Mapping
from typing import Any

import pytest

from models.states import TrialState
from models.trials import list_trials
from search.errors import Conflict, InvalidValue, NotFound
from search.studies import fronts, views
from search.trials.dispatch import Claim, Result
from tests.support.ledger import Ledger, definition

LOSS = {"name": "val_loss", "goal": "minimize"}
ACCURACY = {"name": "val_accuracy", "goal": "maximize"}
BOUND = {"name": "train_loss", "goal": "minimize", "role": "constraint", "threshold": 2.0}


def run(ledger: Ledger, study: str, *values: Mapping[str, float]) -> list[Claim]:
    """Complete a trial with each of these values, by number."""
    worker = ledger.worker()
    claims = sorted(worker.claim(queue="cpu", capacity=len(values)), key=lambda claim: claim.number)
    assert len(claims) == len(values)
    worker.finish([Result(c, TrialState.COMPLETED, values=v) for c, v in zip(claims, values, strict=True)])
    assert {claim.study_id for claim in claims} == {ledger.study(study).record.id}
    return claims


def ordered(ledger: Ledger, study: str, sort: str) -> list[int]:
    study_id = ledger.study(study).record.id
    return [row.number for row in ledger.database.read(lambda c: list_trials(c, study_id, limit=10, sort=sort))]


def test_violations_are_stored_and_the_best_is_feasible(ledger: Ledger) -> None:
    study = ledger.create(definition(metrics=[LOSS, BOUND]))
    with pytest.raises(NotFound, match="keeps the constraints yet"):
        ledger.read(views.best_trial, study)
    values: list[dict[str, float]] = [
        {"val_loss": 0.1, "train_loss": 3.0},
        {"val_loss": 0.5, "train_loss": 2.0},
        {"val_loss": 0.4, "train_loss": 1.0},
        {"val_loss": 0.2},
    ]
    run(ledger, study, *values[:1])
    assert ledger.study(study).best is None
    with pytest.raises(NotFound):
        ledger.read(views.best_trial, study)
    run(ledger, study, *values[1:])
    trials = ledger.trials(study)
    assert [trial.violation for trial in trials] == [0.5, 0.0, 0.0, None]
    assert [trial.score for trial in trials] == [0.1, 0.5, 0.4, 0.2]
    assert trials[2].reason is None
    assert trials[3].reason == "no value of 'train_loss', which is a constraint: it counts as infeasible"
    assert ledger.read(views.best_trial, study).number == 2
    best = ledger.study(study).best
    assert best is not None
    assert best.number == 2
    assert ordered(ledger, study, "best") == [2, 1, 0, 3]
    assert ledger.read(fronts.front, study).found.front == (2,)


def test_several_objectives_have_a_front_and_no_best(ledger: Ledger) -> None:
    study = ledger.create(definition(metrics=[LOSS, ACCURACY, BOUND]))
    assert ledger.read(fronts.front, study).found.front == ()
    fine = {"train_loss": 1.0}
    run(
        ledger,
        study,
        {"val_loss": 0.5, "val_accuracy": 0.9, **fine},
        {"val_loss": 0.6, "val_accuracy": 0.8, **fine},
        {"val_loss": 0.1, "val_accuracy": 0.99, "train_loss": 2.1},
        {"val_loss": 0.3, "val_accuracy": 0.5, **fine},
    )
    assert [trial.score for trial in ledger.trials(study)] == [None] * 4
    found = ledger.read(fronts.front, study)
    assert [trial.number for trial in found.trials] == [3, 0]
    assert found.found.reference == {"val_loss": 0.6, "val_accuracy": 0.5}
    assert found.found.hypervolume == pytest.approx(0.1 * 0.4)
    given = ledger.read(fronts.front, study, [("val_loss", 1.0), ("val_accuracy", 0.0)])
    assert given.found.hypervolume == pytest.approx(0.5 * 0.9 + 0.2 * 0.5)
    with pytest.raises(Conflict, match=f"val_loss, val_accuracy.*GET /v1/studies/{study}/pareto"):
        ledger.read(views.best_trial, study)
    assert ledger.study(study).best is None
    assert ordered(ledger, study, "best") == [0, 1, 2, 3]
    assert ordered(ledger, study, "-best") == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ([("val_loss", 1.0)], "'val_accuracy' is missing"),
        ([("val_loss", 1.0), ("val_accuracy", 0.0), ("train_loss", 0.0)], "valid are val_loss, val_accuracy"),
        ([("val_loss", 1.0), ("val_accuracy", 0.0), ("val_loss", 2.0)], "more than once"),
    ],
)
def test_a_reference_names_each_objective_once(ledger: Ledger, reference: list[Any], says: str) -> None:
    study = ledger.create(definition(metrics=[LOSS, ACCURACY]))
    with pytest.raises(InvalidValue, match=says):
        ledger.read(fronts.front, study, reference)


def test_a_study_bred_by_nsga2_runs_to_its_end(ledger: Ledger) -> None:
    search = {"strategy": "nsga2", "seed": 3, "population_size": 4}
    study = ledger.create(definition(metrics=[LOSS, ACCURACY, BOUND], search=search, trials=20))
    worker = ledger.worker()
    while claims := worker.claim(queue="cpu", capacity=3):
        worker.finish(
            [
                Result(
                    claim,
                    TrialState.COMPLETED,
                    values={"val_loss": claim.params["lr"], "val_accuracy": claim.params["warmup"], "train_loss": 1.0},
                )
                for claim in claims
            ]
        )
    view = ledger.study(study)
    assert (view.record.state, view.record.progress.finished) == ("completed", 20)
    trials = ledger.trials(study)
    assert {trial.origin for trial in trials[:4]} == {"startup"}
    assert {trial.origin for trial in trials[4:]} == {"model"}
    assert all(set(trial.why["parents"]) <= {other.number for other in trials} for trial in trials)
    assert max(trial.why["generation"] for trial in trials) > 1


def test_a_cancelled_trial_has_no_violation(ledger: Ledger) -> None:
    study = ledger.create(definition(metrics=[LOSS, BOUND]))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=1)
    worker.finish([Result(claims[0], TrialState.CANCELLED)])
    assert [(trial.state, trial.violation) for trial in ledger.trials(study)] == [("cancelled", None)]
