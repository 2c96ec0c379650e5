"""Fencing: who has lost its lease changes nothing, and a result is accepted once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from models.claims import Claimed
from models.filling import fill
from models.ledger import lock_study
from models.states import TrialState
from search.studies import service
from search.trials.dispatch import Claim, Dispatcher, Result, Verdict
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, report, together


@pytest.fixture
def lost(ledger: Ledger) -> tuple[Dispatcher, Claim, Claim]:
    """Claim a trial, lose it, and let another worker claim it; return the old worker, its claim, and the new claim."""
    ledger.create(definition(trials=2))
    old, new = ledger.worker("old"), ledger.worker("new")
    (claim,) = old.claim(queue="cpu", capacity=1)
    old.report([report(claim, 1, 0.9)])
    new.release([claim], reason="preempted")
    (again,) = new.claim(queue="cpu", capacity=1)
    return old, claim, again


def _heartbeat(worker: Dispatcher, claim: Claim) -> None:
    assert worker.heartbeat([claim]) == {}


def _report(worker: Dispatcher, claim: Claim) -> None:
    answer = worker.report([report(claim, 1, 0.9), report(claim, 2, 0.1)])
    assert answer == [Verdict(accepted=False, stop=True, reason="stale")] * 2


def _finish(worker: Dispatcher, claim: Claim) -> None:
    assert worker.finish([done(claim)]) == {claim.token: "stale"}


def _fail(worker: Dispatcher, claim: Claim) -> None:
    result = Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR, error="late")
    assert worker.finish([result]) == {claim.token: "stale"}


def _release(worker: Dispatcher, claim: Claim) -> None:
    assert worker.release([claim], reason="yielded") == {claim.token: "stale"}


@pytest.mark.parametrize("write", [_heartbeat, _report, _finish, _fail, _release])
def test_a_stale_token_changes_nothing(
    ledger: Ledger, lost: tuple[Dispatcher, Claim, Claim], write: Callable[[Dispatcher, Claim], None]
) -> None:
    old, claim, again = lost
    assert (again.number, again.attempt, claim.attempt) == (claim.number, 2, 1)
    before = ledger.dump()
    write(old, claim)
    assert ledger.dump() == before


def test_a_stale_token_beside_a_good_one_spoils_nothing(ledger: Ledger, lost: tuple[Dispatcher, Claim, Claim]) -> None:
    old, claim, _ = lost
    (other,) = old.claim(queue="cpu", capacity=1)
    assert old.heartbeat([claim, other]) == {other.token: None}
    verdicts = old.report([report(claim, 3, 0.1), report(other, 1, 0.2)])
    assert [verdict.accepted for verdict in verdicts] == [False, True]
    assert old.finish([done(claim), done(other)]) == {claim.token: "stale", other.token: "accepted"}
    assert [(row.number, row.step) for row in ledger.rows("measurement")] == [(0, 1), (1, 1)]


def test_a_fill_after_the_lease_was_lost_changes_nothing(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=2))
    (claim,) = ledger.worker().claim(queue="cpu", capacity=1)
    (row,) = ledger.rows("study")
    late = Claimed(study_id=row.id, number=0, attempt=1, token="0" * 32, draw=0, params=None)
    point = {"params": {"lr": 0.5, "warmup": 0.0}, "origin": "model", "why": {}, "dedupe_key": None}
    before = ledger.dump()

    def work(connection: object) -> list[Claimed]:
        locked = lock_study(connection, row.id)  # type: ignore[arg-type]
        assert locked is not None
        return fill(connection, locked, [(late, point)])  # type: ignore[arg-type]

    assert ledger.database.write(work) == []
    assert ledger.dump() == before
    assert ledger.trials(study)[0].params == dict(claim.params)


def test_a_token_speaks_for_its_own_trial_alone(ledger: Ledger) -> None:
    ledger.create(definition(trials=2))
    worker = ledger.worker()
    mine, other = worker.claim(queue="cpu", capacity=2)
    before = ledger.dump()
    for forged in (replace(mine, number=other.number), replace(mine, attempt=2)):
        assert worker.finish([done(forged)]) == {mine.token: "stale"}
        assert not worker.report([report(forged, 1, 0.5)])[0].accepted
    assert ledger.dump() == before


def test_the_same_result_again_is_repeated(ledger: Ledger) -> None:
    ledger.create(definition(trials=2))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    assert worker.finish([done(claim, 0.25)]) == {claim.token: "accepted"}
    before = ledger.dump()
    assert worker.finish([done(claim, 0.25)]) == {claim.token: "repeated"}
    assert worker.finish([done(claim, 0.26)]) == {claim.token: "stale"}
    assert worker.finish([Result(claim, TrialState.DIVERGED)]) == {claim.token: "stale"}
    assert ledger.dump() == before


@pytest.mark.parametrize(
    ("target", "failure"),
    [(TrialState.DIVERGED, None), (TrialState.CANCELLED, None), (TrialState.FAILED, Failure.USER_ERROR)],
)
def test_an_end_without_values_is_repeated_too(ledger: Ledger, target: TrialState, failure: Failure | None) -> None:
    ledger.create(definition(trials=2))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    result = Result(claim, target, reason="as told", failure=failure)
    assert worker.finish([result]) == {claim.token: "accepted"}
    assert worker.finish([result]) == {claim.token: "repeated"}
    assert worker.finish([done(claim)]) == {claim.token: "stale"}
    assert ledger.rows("trial")[0].values is None


def test_one_of_many_twins_is_accepted(ledger: Ledger) -> None:
    ledger.create(definition(trials=2))
    (claim,) = ledger.worker().claim(queue="cpu", capacity=1)
    said = together(6, lambda place: ledger.worker().finish([done(claim, float(place))])[claim.token])
    assert sorted(said) == ["accepted", *["stale"] * 5]


def test_a_late_result_of_a_study_that_is_gone_is_stale(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.finish([done(claim)])
    ledger.database.write(lambda c: service.delete_study(c, ledger.project, study))
    assert worker.finish([done(claim)]) == {claim.token: "stale"}
    assert worker.heartbeat([claim]) == {}
    assert not worker.report([report(claim, 1, 0.5)])[0].accepted


def test_attempts_have_no_gaps_under_a_scramble(ledger: Ledger) -> None:
    """Workers that claim, lose, give back and finish at once leave attempts 1, 2, 3 ... (the fixture looks)."""
    ledger.create(definition(trials=12))

    def work(place: int) -> None:
        worker = ledger.worker(f"w{place}")
        for turn in range(12):
            for claim in worker.claim(queue="cpu", capacity=2):
                if (turn + claim.number + place) % 3:
                    worker.release([claim], reason="yielded")
                else:
                    worker.finish([done(claim)])

    together(4, work)
    assert max(trial.attempt for trial in ledger.rows("trial")) > 1
