"""What a person does to one trial: cancel it, or give a failed one another try."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from models import interventions
from models.ids import read_study
from models.ledger import lock_study
from models.session import Connection
from models.states import TrialState
from models.trials import find_trial
from search.studies import service
from search.trials.dispatch import Claim, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, drain


def _intervene(ledger: Ledger, act: Any, study: str, number: int) -> None:
    def work(connection: Connection) -> None:
        study_id = read_study(study)
        assert study_id is not None
        locked = lock_study(connection, study_id)
        trial = find_trial(connection, ledger.project, study_id, number)
        act(connection, locked, trial, ledger.clock())

    ledger.database.write(work)


def _failed(claim: Claim, failure: Failure = Failure.USER_ERROR) -> Result:
    return Result(claim, TrialState.FAILED, failure=failure)


def test_a_waiting_trial_is_cancelled_and_not_claimed_again(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.release([claim], reason="preempted")
    _intervene(ledger, interventions.cancel_trial, study, 0)
    assert [claim.number for claim in drain(worker)] == [1]
    assert [trial.state for trial in ledger.trials(study)] == ["cancelled", "completed"]
    assert ledger.study(study).record.state == "completed"


def test_cancelling_the_last_waiting_trial_ends_the_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    first, second = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(first)])
    worker.release([second], reason="preempted")
    _intervene(ledger, interventions.cancel_trial, study, second.number)
    assert ledger.study(study).record.state == "completed"


@pytest.mark.parametrize("ended", [done, partial(_failed, failure=Failure.INFRASTRUCTURE)], ids=["done", "dead"])
def test_the_holder_of_a_cancelled_trial_hears_it_and_it_has_no_result(
    ledger: Ledger, ended: Callable[[Claim], Result]
) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    assert worker.heartbeat([claim]) == {claim.token: None}
    _intervene(ledger, interventions.cancel_trial, study, 0)
    assert worker.heartbeat([claim]) == {claim.token: "cancelled"}
    # It ends before it can obey.
    worker.finish([ended(claim)])
    (trial,) = ledger.trials(study)
    assert (trial.state, trial.reason, trial.values) == ("cancelled", "cancelled", None)


@pytest.mark.parametrize("others", [0, 1])
def test_a_failed_trial_runs_again_and_its_study_goes_on(ledger: Ledger, others: int) -> None:
    """With another trial completed the study was completed, without one it had failed; both reopen."""
    study = ledger.create(definition(trials=1 + others))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=1 + others)
    worker.finish([_failed(claims[0]), *map(done, claims[1:])])
    assert ledger.study(study).record.state == ("completed" if others else "failed")
    _intervene(ledger, interventions.retry_trial, study, 0)
    assert ledger.study(study).record.state == "running"
    (again,) = worker.claim(queue="cpu", capacity=4)
    assert (again.number, again.attempt, again.params) == (0, 2, claims[0].params)
    worker.finish([done(again)])
    record = ledger.study(study).record
    assert (record.state, record.progress.allocated) == ("completed", 1 + others)


def test_what_failed_before_a_retry_is_no_strike(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()

    def die() -> None:
        ledger.clock.move(3600)
        (claim,) = worker.claim(queue="cpu", capacity=1)
        worker.finish([_failed(claim, Failure.POISON)])

    for _ in range(3):
        die()
    assert ledger.trials(study)[0].state == "failed"
    _intervene(ledger, interventions.retry_trial, study, 0)
    die()
    die()
    assert ledger.trials(study)[0].state == "queued"
    die()
    assert (ledger.trials(study)[0].state, ledger.trials(study)[0].attempt) == ("failed", 6)


def test_only_a_failed_trial_is_retried(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=1)])
    before = ledger.dump()
    with pytest.raises(ValueError, match="the trial is completed; only a failed one can be retried"):
        _intervene(ledger, interventions.retry_trial, study, 0)
    assert ledger.dump() == before


def test_a_cancelled_study_stays_over(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    first, second = worker.claim(queue="cpu", capacity=2)
    worker.finish([_failed(first)])
    ledger.act(service.cancel_study, study)
    worker.finish([done(second)])
    with pytest.raises(ValueError, match="a cancelled study cannot become running"):
        _intervene(ledger, interventions.retry_trial, study, 0)
