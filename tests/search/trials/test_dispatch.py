"""The worker's side: reports and endings."""

from collections.abc import Mapping
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest

from models.states import TrialState
from search.records import TrialRecord
from search.studies import views
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, drain, report, together


def _claim(ledger: Ledger, number: int, **more: Any) -> tuple[str, Dispatcher, list[Claim]]:
    study = ledger.create(definition(trials=number, **more))
    worker = ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=number)


def _measured(ledger: Ledger, claim: Claim) -> list[tuple[int, Mapping[str, float]]]:
    trial = ledger.read(views.get_trial, claim.id)
    found = ledger.database.read(lambda c: views.measurements(c, trial))
    return [(measurement.step, measurement.values) for measurement in found]


def test_a_report_again_is_accepted_and_another_value_is_not(ledger: Ledger) -> None:
    _, worker, (claim,) = _claim(ledger, 1)
    assert worker.report([report(claim, 1, 0.5)])[0].accepted
    before = ledger.dump()
    assert worker.report([report(claim, 1, 0.5)])[0].accepted
    (refused,) = worker.report([report(claim, 1, 0.6)])
    assert (refused.accepted, refused.stop) == (False, False)
    assert refused.reason == "another value was reported at this step"
    assert ledger.dump() == before


def test_a_batch_is_answered_in_order(ledger: Ledger) -> None:
    _, worker, (first, second) = _claim(ledger, 2)
    worker.report([report(first, 2, 0.5)])
    batch = [report(first, 1, 0.7), report(second, 1, 0.6), report(first, 2, 0.4), report(second, 2, 0.3)]
    assert [verdict.accepted for verdict in worker.report(batch)] == [True, True, False, True]
    assert _measured(ledger, first) == [(1, {"val_loss": 0.7}), (2, {"val_loss": 0.5})]
    assert worker.report([]) == []


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_refused_whole(ledger: Ledger, value: float) -> None:
    _, worker, (first, second) = _claim(ledger, 2)
    before = ledger.dump()
    with pytest.raises(ValueError, match="finite"):
        worker.report([report(first, 1, 0.5), report(second, 1, value)])
    with pytest.raises(ValueError, match="JSON compliant"):
        worker.finish([done(first, value)])
    assert ledger.dump() == before


@pytest.mark.parametrize("value", [1e16, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0, 123456789.123456789])
def test_values_come_back_as_they_were(ledger: Ledger, value: float) -> None:
    study, worker, (claim,) = _claim(ledger, 1)
    worker.report([report(claim, 1, value)])
    worker.finish([done(claim, value)])
    (trial,) = ledger.trials(study)
    assert trial.values == {"val_loss": value}
    assert trial.score == value
    assert _measured(ledger, claim) == [(1, {"val_loss": value})]


def test_the_latest_attempt_speaks_for_a_step(ledger: Ledger) -> None:
    _, worker, (claim,) = _claim(ledger, 1)
    worker.report([report(claim, step, 0.9) for step in (1, 2, 3)])
    worker.release([claim], reason="yielded")
    (again,) = worker.claim(queue="cpu", capacity=1)
    worker.report([report(again, step, 0.1) for step in (1, 2)])
    assert [values["val_loss"] for _, values in _measured(ledger, claim)] == [0.1, 0.1, 0.9]


def test_measurements_are_thinned_with_their_ends_kept(ledger: Ledger) -> None:
    _, worker, (claim,) = _claim(ledger, 1)
    worker.report([report(claim, step, 1.0 / step) for step in range(1, 101)])
    trial = ledger.read(views.get_trial, claim.id)
    for points in (1, 2, 7, 100, 1000):
        steps = [m.step for m in ledger.database.read(lambda c, points=points: views.measurements(c, trial, points))]  # type: ignore[misc]
        assert len(steps) == min(points, 100)
        assert steps[-1] == 100
        assert points == 1 or steps[0] == 1
        assert steps == sorted(steps)


def test_maximized_metrics_are_ranked_the_other_way(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 3, metrics=[{"name": "val_accuracy", "goal": "maximize"}])
    for claim, value in zip(claims, (0.5, 0.9, 0.7), strict=True):
        worker.finish([Result(claim, TrialState.COMPLETED, values={"val_accuracy": value})])
    assert ledger.read(views.best_trial, study).number == 1


def test_the_best_of_equals_is_the_first(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 3)
    worker.finish([done(claim, 0.5) for claim in reversed(claims)])
    assert ledger.read(views.best_trial, study).number == 0


def test_every_change_has_its_event(ledger: Ledger) -> None:
    study, worker, (first, second) = _claim(ledger, 2)
    worker.release([second], reason="yielded")
    worker.finish([done(first)])
    (second,) = worker.claim(queue="cpu", capacity=1)
    worker.finish([Result(second, TrialState.DIVERGED, reason="loss is not finite")])
    events = [(event.number, event.source, event.target, event.attempt) for event in ledger.rows("event")]
    assert events == [
        (None, None, "running", None),
        (0, None, "running", 1),
        (1, None, "running", 1),
        (1, "running", "queued", 1),
        (0, "running", "completed", 1),
        (1, "queued", "running", 2),
        (1, "running", "diverged", 2),
        (None, "running", "completed", None),
    ]
    assert [event.seq for event in ledger.rows("event")] == list(range(1, 9))
    assert ledger.study(study).record.seq == 8


def test_since_skips_no_change(ledger: Ledger) -> None:
    """A reader that only asks for what is newer than it knows ends with what the tables say."""
    study = ledger.create(definition("bayesian", space="discrete", trials=24))
    known: dict[int, TrialRecord] = {}
    seen = [0]

    def work(place: int) -> None:
        if place:
            drain(ledger.worker(f"w{place}"), capacity=2)
            return
        while len(known) < 24 or any(trial.state != "completed" for trial in known.values()):
            fresh = [trial for trial in ledger.trials(study) if trial.seq > seen[-1]]
            known.update({trial.number: trial for trial in fresh})
            seen.append(max([seen[-1], *(trial.seq for trial in fresh)]))

    together(4, work)
    assert [known[number] for number in range(24)] == ledger.trials(study)
    assert all(earlier <= later for earlier, later in pairwise(seen))


def test_the_study_completes_with_its_last_trial(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2)
    worker.finish([done(claims[0])])
    assert ledger.study(study).record.state == "running"
    worker.finish([done(claims[1])])
    record = ledger.study(study).record
    assert (record.state, record.finished_at) == ("completed", ledger.clock())


def test_a_study_without_a_completed_trial_has_failed(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2)
    worker.finish([Result(claim, TrialState.DIVERGED) for claim in claims])
    record = ledger.study(study).record
    assert (record.state, record.reason) == ("failed", "no trial completed")


def _failed(claim: Claim) -> Result:
    return Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR, error="ValueError: no")


def test_too_many_failures_end_the_study(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 4, max_failed=1)
    worker.release(claims[3:], reason="yielded")
    worker.finish([_failed(claims[0])])
    assert ledger.study(study).record.state == "running"
    worker.finish([_failed(claims[1])])
    view = ledger.study(study)
    assert (view.record.state, view.record.reason) == ("failed", "2 trials failed, more than max_failed=1")
    assert view.counts == {"failed": 2, "running": 1, "cancelled": 1}
    assert worker.heartbeat([claims[2]]) == {claims[2].token: "failed"}
    assert worker.claim(queue="cpu", capacity=1) == []
    assert worker.release([claims[2]], reason="yielded") == {claims[2].token: "accepted"}
    assert ledger.trials(study)[2].state == "cancelled"


def test_too_many_failures_count_on_the_last_trial_too(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2, max_failed=0)
    worker.finish([done(claims[0])])
    worker.finish([_failed(claims[1])])
    assert ledger.study(study).record.state == "failed"


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [(Failure.USER_ERROR, 1), (Failure.OUT_OF_MEMORY, 1), (Failure.POISON, 3), (Failure.INFRASTRUCTURE, 5)],
)
def test_failures_are_bounded_by_their_class(ledger: Ledger, failure: Failure, attempts: int) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    for attempt in range(1, attempts + 1):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        assert claim.attempt == attempt
        result = Result(claim, TrialState.FAILED, failure=failure, error="it broke")
        assert worker.finish([result]) == {claim.token: "accepted"}
        assert worker.finish([result]) == {claim.token: "repeated"}
        ledger.clock.move(3600)
    (trial,) = ledger.trials(study)
    assert (trial.state, trial.reason, trial.attempt, trial.values) == ("failed", failure.value, attempts, None)
    assert {(row.reason, row.error) for row in ledger.rows("attempt")} == {(failure.value, "it broke")}


def test_a_trial_given_back_has_no_strike(ledger: Ledger) -> None:
    """Strikes count what went wrong: workers that were restarted under a trial do not make it poison."""
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    for _ in range(4):
        worker.release(worker.claim(queue="cpu", capacity=1), reason="released")
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.finish([Result(claim, TrialState.FAILED, failure=Failure.POISON, error="killed")])
    assert ledger.trials(study)[0].state == "queued"
