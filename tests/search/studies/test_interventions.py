"""A person's verbs on one trial: retry and cancel."""

from typing import Any

import pytest

from models.ids import show_trial
from models.states import StudyState, TrialState
from search.errors import Conflict, NotFound
from search.studies import interventions, service
from search.trials import remote
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim, Result
from search.trials.failures import Failure
from search.trials.remote import Tell
from tests.support.ledger import Ledger, definition, done, drain


def failed(ledger: Ledger, **more: Any) -> tuple[str, list[Claim]]:
    """Return a study of three trials, the first of which failed and the others wait to be told, and its claims."""
    study = ledger.create(definition(trials=3, **more))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=3)
    worker.finish([Result(claims[0], TrialState.FAILED, failure=Failure.USER_ERROR)])
    return study, claims


def test_a_failed_trial_runs_again(ledger: Ledger) -> None:
    study, claims = failed(ledger)
    changed = ledger.act(interventions.retry_trial, claims[0].id)
    assert (changed.trial.state, changed.trial.attempt, changed.wake) == ("queued", 1, "cpu")
    (again,) = ledger.worker().claim(queue="cpu", capacity=3)
    assert (again.number, again.attempt, again.params) == (0, 2, claims[0].params)
    ledger.worker().finish([done(claim) for claim in (again, *claims[1:])])
    assert ledger.study(study).record.state == StudyState.COMPLETED


def test_a_retry_reopens_a_study_that_had_ended(ledger: Ledger) -> None:
    study, claims = failed(ledger)
    worker = ledger.worker()
    worker.finish([done(claim) for claim in claims[1:]])
    assert ledger.study(study).record.state == StudyState.COMPLETED
    ledger.act(interventions.retry_trial, claims[0].id)
    assert ledger.study(study).record.state == StudyState.RUNNING
    assert [claim.number for claim in drain(worker)] == [0]
    assert ledger.study(study).record.state == StudyState.COMPLETED


def test_a_retry_reopens_a_failed_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3, max_failed=0))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.finish([Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR)])
    assert ledger.study(study).record.state == StudyState.FAILED
    ledger.act(interventions.retry_trial, claim.id)
    assert [claim.number for claim in drain(worker)] == [0, 1, 2]
    assert ledger.study(study).record.state == StudyState.COMPLETED


@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.DIVERGED, TrialState.RUNNING, TrialState.QUEUED])
def test_only_failed_trials_are_retried(ledger: Ledger, state: TrialState) -> None:
    _, claims = failed(ledger)
    if state != TrialState.RUNNING:
        values = {"val_loss": 0.5} if state == TrialState.COMPLETED else None
        ledger.worker().finish([Result(claims[1], state, values=values)])
    before = ledger.dump()
    with pytest.raises(Conflict, match=f"is {state}"):
        ledger.act(interventions.retry_trial, claims[1].id)
    assert ledger.dump() == before


def test_nothing_is_retried_in_a_cancelled_study(ledger: Ledger) -> None:
    study, claims = failed(ledger)
    ledger.act(service.cancel_study, study)
    before = ledger.dump()
    with pytest.raises(Conflict, match="cancelled for good"):
        ledger.act(interventions.retry_trial, claims[0].id)
    assert ledger.dump() == before


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("completed", [False, True])
def test_spent_seconds_are_raised_before_a_retry(ledger: Ledger, *, ended: bool, completed: bool) -> None:
    study, claims = failed(ledger, budget={"trials": 3, "seconds": 100})
    ledger.clock.move(101)
    if ended:
        worker = ledger.worker()
        worker.finish([done(claim) if completed else Result(claim, TrialState.CANCELLED) for claim in claims[1:]])
        assert ledger.study(study).record.state == ("completed" if completed else "failed")
    before = ledger.dump()
    with pytest.raises(Conflict, match=r"100 seconds .* raise budget\.seconds"):
        ledger.act(interventions.retry_trial, claims[0].id)
    assert ledger.dump() == before
    ledger.act(service.change_study, study, {"budget": {"seconds": 1000}})
    assert ledger.act(interventions.retry_trial, claims[0].id).trial.state == "queued"
    assert [claim.number for claim in ledger.worker().claim(queue="cpu", capacity=1)] == [0]


def test_a_waiting_trial_is_cancelled_at_once(ledger: Ledger) -> None:
    study, claims = failed(ledger)
    worker = ledger.worker()
    worker.release([claims[1]], reason="released")
    trial = ledger.act(interventions.cancel_trial, claims[1].id)
    assert (trial.state, trial.reason) == ("cancelled", "cancelled")
    before = ledger.dump()
    assert ledger.act(interventions.cancel_trial, claims[1].id) == trial
    assert ledger.dump() == before
    worker.finish([done(claims[2])])
    assert ledger.study(study).record.state == StudyState.COMPLETED


def test_the_holder_of_a_running_trial_is_told(ledger: Ledger) -> None:
    _, claims = failed(ledger)
    assert ledger.act(interventions.cancel_trial, claims[1].id).state == "running"
    assert ledger.act(interventions.cancel_trial, claims[1].id).state == "running"
    worker = ledger.worker()
    assert worker.heartbeat(claims[1:]) == {claims[1].token: "cancelled", claims[2].token: None}
    worker.release([claims[1]], reason="released")
    assert [trial.state for trial in ledger.rows("trial")] == ["failed", "cancelled", "running"]


@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.DIVERGED, TrialState.FAILED])
def test_what_has_ended_is_not_cancelled(ledger: Ledger, state: TrialState) -> None:
    _, claims = failed(ledger)
    values = {"val_loss": 0.5} if state == TrialState.COMPLETED else None
    ledger.worker().finish([Result(claims[1], state, values=values)])
    before = ledger.dump()
    with pytest.raises(Conflict, match=f"is {state}"):
        ledger.act(interventions.cancel_trial, claims[1].id)
    assert ledger.dump() == before


def test_nothing_is_cancelled_in_a_study_that_has_ended(ledger: Ledger) -> None:
    study, claims = failed(ledger)
    ledger.act(service.cancel_study, study)
    before = ledger.dump()
    with pytest.raises(Conflict, match="is cancelled; what still runs"):
        ledger.act(interventions.cancel_trial, claims[1].id)
    assert ledger.dump() == before


@pytest.mark.parametrize("verb", [interventions.retry_trial, interventions.cancel_trial])
@pytest.mark.parametrize("text", ["", "x", "0000000000000-0", "0000000000000-00"])
def test_trials_that_are_not_there(ledger: Ledger, verb: Any, text: str) -> None:
    with pytest.raises(NotFound):
        ledger.act(verb, text)


def test_retrying_twice_is_retrying_once(ledger: Ledger) -> None:
    _, claims = failed(ledger)
    ledger.act(interventions.retry_trial, claims[0].id)
    before = ledger.dump()
    assert ledger.act(interventions.retry_trial, claims[0].id).wake == "cpu"
    assert ledger.dump() == before


def test_a_trial_that_clients_run_wakes_no_worker(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1, objective={"external": True}))
    claimer = Claimer(ledger.database, clock=ledger.clock)
    study_id = ledger.study(study).record.id
    (held,) = ledger.database.write(lambda c: claimer.hold(c, study_id, client="client:one", count=1, seconds=None))
    tell = Tell(held.token, TrialState.FAILED, reason="no data")
    trial = show_trial(study_id, 0)
    ledger.act(remote.tell, trial, tell)
    assert ledger.act(interventions.retry_trial, trial).wake is None


def test_cancelling_the_last_trial_fails_a_study_without_a_result(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.release([claim], reason="preempted")
    ledger.act(interventions.cancel_trial, claim.id)
    record = ledger.study(study).record
    assert (record.state, record.reason) == ("failed", "no trial completed")
    assert [(trial.state, trial.reason) for trial in ledger.trials(study)] == [("cancelled", "cancelled")]
