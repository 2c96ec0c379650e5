"""The worker's side: reports, pruning, endings, and model-based claims with their second transaction."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest

from models.states import TrialState
from search import service, views
from search.dispatch import Claim, Dispatcher, Report, Result
from search.failures import Failure
from search.records import TrialRecord
from search.strategies.table import make
from tests.support.ledger import Ledger, definition, done, drain, opened, report, together

ASHA = {"kind": "asha", "reduction": 3, "min_steps": 1}
MEDIAN = {"kind": "median", "startup": 3}


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger on each kind of database."""
    with opened(database_url) as made:
        yield made


def _claim(ledger: Ledger, number: int, **more: Any) -> tuple[str, Dispatcher, list[Claim]]:
    study = ledger.create(definition(trials=number, **more))
    worker = ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=number)


def _measured(ledger: Ledger, claim: Claim) -> list[tuple[int, Mapping[str, float]]]:
    trial = ledger.read(views.get_trial, claim.id)
    found = ledger.database.read(lambda c: views.measurements(c, trial))
    return [(measurement.step, measurement.values) for measurement in found]


# Reports.


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


# Endings.


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
        worker.finish([Result(claim, TrialState.FAILED, failure=failure, error="it broke")])
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


# Pruning.


def _stops(worker: Dispatcher, claims: Sequence[Claim], step: int, values: Sequence[float]) -> list[bool]:
    return [worker.report([report(c, step, v)])[0].stop for c, v in zip(claims, values, strict=True)]


def test_asha_by_hand(ledger: Ledger) -> None:
    """One in three goes on at steps 1, 3, 9; of fewer than three the best; whoever equals the last of those too."""
    _, worker, claims = _claim(ledger, 7, pruning=ASHA)
    #  size          1    2    3    4    5    6    7
    #  kept          1    1    1    1    1    2    2
    #  cutoff        .5   .4   .4   .4   .3   .4   .4
    values = [0.5, 0.4, 0.6, 0.4, 0.3, 0.35, 0.4]
    assert _stops(worker, claims, 1, values) == [False, False, True, False, False, False, True]
    assert not any(_stops(worker, claims[3:6], 2, [9.0, 9.0, 9.0]))  # no rung
    assert _stops(worker, claims[4:6], 3, [0.2, 0.3]) == [False, True]


def test_median_by_hand(ledger: Ledger) -> None:
    """From the fourth value on a step, the worse half stops; the middle one goes on."""
    _, worker, claims = _claim(ledger, 6, pruning=MEDIAN)
    #  size      1    2    3    4    5    6
    #  kept      1    2    3    2    3    3
    #  cutoff                  .3   .3   .3
    values = [0.1, 0.9, 0.3, 0.4, 0.2, 0.35]
    assert _stops(worker, claims, 5, values) == [False, False, False, True, False, True]


def test_a_decision_is_made_once(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 4, pruning=ASHA)
    for claim, value in zip(claims, (0.1, 0.2, 0.3, 0.05), strict=True):
        worker.report([report(claim, 1, value)])
    rungs = [(row.number, row.step, row.stop) for row in ledger.rows("rung")]
    assert rungs == [(0, 1, False), (1, 1, True), (2, 1, True), (3, 1, False)]
    before = ledger.dump()
    again = worker.report([report(claim, 1, value) for claim, value in zip(claims, (0.1, 0.2, 0.3, 0.05), strict=True)])
    assert [verdict.stop for verdict in again] == [False, True, True, False]
    assert again[1].reason == "asha: behind the best 1 of 2 at step 1; the best 1 go on"
    assert ledger.dump() == before


def test_a_batch_of_reports_is_decided_together(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 3, pruning=ASHA)
    verdicts = worker.report([report(c, 1, v) for c, v in zip(claims, (0.3, 0.1, 0.2), strict=True)])
    assert [verdict.stop for verdict in verdicts] == [True, False, True]


def test_who_has_trained_to_the_end_is_not_stopped(ledger: Ledger) -> None:
    raw = definition(trials=2, pruning=ASHA)
    ledger.create({**raw, "objective": {**raw["objective"], "epochs": 3}})
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    assert _stops(worker, claims, 3, [0.1, 0.9]) == [False, False]


def test_completed_after_a_stop_is_pruned(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2, pruning=ASHA)
    _stops(worker, claims, 1, [0.1, 0.2])
    assert worker.finish([done(claims[1], 0.01)]) == {claims[1].token: "accepted"}
    assert worker.finish([done(claims[1], 0.01)]) == {claims[1].token: "repeated"}
    worker.finish([done(claims[0], 0.1)])
    trial = ledger.trials(study)[1]
    assert (trial.state, trial.values) == ("pruned", {"val_loss": 0.01})
    assert (trial.reason or "").startswith("asha: behind the best")
    assert ledger.read(views.best_trial, study).number == 0


def test_a_decision_stands_for_the_next_attempt(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2, pruning=ASHA)
    _stops(worker, claims, 1, [0.1, 0.2])
    worker.release(claims[1:], reason="yielded")
    (again,) = worker.claim(queue="cpu", capacity=1)
    assert _stops(worker, [again], 1, [0.05]) == [True]
    assert [row.score for row in ledger.rows("rung")] == [0.1, 0.2]
    worker.finish([done(again)])
    assert ledger.trials(study)[1].state == "pruned"


def test_pruning_looks_at_the_optimized_metric(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 2, pruning=ASHA, metrics=[{"name": "val_accuracy", "goal": "maximize"}])
    values = [{"val_accuracy": 0.9, "val_loss": 9.0}, {"val_accuracy": 0.8, "val_loss": 0.1}]
    reports = [Report(claim, 1, value) for claim, value in zip(claims, values, strict=True)]
    assert [verdict.stop for verdict in worker.report(reports)] == [False, True]
    assert not worker.report([Report(claims[0], 3, {"val_loss": 0.1})])[0].stop


# Model-based claims.


def test_a_model_based_claim_is_filled(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=6, search={"strategy": "bayesian", "seed": 3, "startup": 2}))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=4)
    trials = ledger.trials(study)
    assert [claim.number for claim in claims] == [0, 1, 2, 3]
    assert [dict(claim.params) for claim in claims] == [trial.params for trial in trials]
    assert [trial.origin for trial in trials] == ["startup", "startup", "model", "model"]
    assert [trial.why["draw"] for trial in trials] == [0, 1, 2, 3]
    assert all(trial.why["cutoff"] > 0 for trial in trials)
    assert {trial.dedupe_key for trial in ledger.rows("trial")} == {None}


def test_others_see_what_is_under_way(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=6))
    first = ledger.worker("first").claim(queue="cpu", capacity=2)
    ledger.worker("second").claim(queue="cpu", capacity=1)
    assert [claim.number for claim in first] == [0, 1]
    assert ledger.trials(study)[2].why["pending"] == [0, 1]


def test_a_small_space_has_no_duplicates_until_it_is_spent(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", space="discrete", trials=6))
    together(4, lambda place: drain(ledger.worker(f"w{place}"), capacity=1))
    points = [tuple(sorted((trial.params or {}).items())) for trial in ledger.trials(study)]
    assert len(set(points)) == 6
    assert None not in {trial.dedupe_key for trial in ledger.rows("trial")}
    ledger.act(service.change_study, study, {"budget": {"trials": 10}})
    together(4, lambda place: drain(ledger.worker(f"w{place}"), capacity=1))
    trials = ledger.trials(study)
    assert len(trials) == 10
    assert [row.dedupe_key for row in ledger.rows("trial")][6:] == [None] * 4
    assert {trial.state for trial in trials} == {"completed"}


class _Interrupted(Exception):
    """Stands for a worker that dies between its two transactions."""


def _dies(worker: Dispatcher, monkeypatch: pytest.MonkeyPatch, capacity: int) -> None:
    def die(*_: object) -> None:
        raise _Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_suggest", die)
        with pytest.raises(_Interrupted):
            worker.claim(queue="cpu", capacity=capacity)


def test_a_reservation_whose_owner_died_is_suggested_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    study = ledger.create(definition("bayesian", trials=4))
    _dies(ledger.worker("dead"), monkeypatch, 2)
    assert [trial.params for trial in ledger.trials(study)] == [None, None]
    worker = ledger.worker("alive")
    (other,) = worker.claim(queue="cpu", capacity=1)
    leases = [row for row in ledger.rows("lease") if row.worker == "dead"]
    for lease in leases:
        lost = Claim(lease.study_id, lease.number, lease.attempt, lease.token, {}, other.definition, 0)
        worker.release([lost], reason="lost")
    claims = worker.claim(queue="cpu", capacity=3)
    assert [(claim.number, claim.attempt) for claim in claims] == [(0, 2), (1, 2), (3, 1)]
    trials = ledger.trials(study)
    assert [trial.why["draw"] for trial in trials] == [0, 1, 2, 3]
    assert None not in [trial.params for trial in trials]


def test_every_suggestion_can_be_derived_again(ledger: Ledger) -> None:
    """From the stored history up to a trial's cut-off, and what was pending then, comes the very same point."""
    raw = definition("bayesian", trials=24, search={"strategy": "bayesian", "seed": 11, "startup": 4})
    study = ledger.create(raw)
    together(3, lambda place: drain(ledger.worker(f"w{place}"), capacity=2))
    record = ledger.study(study).record
    trials = ledger.trials(study)
    assert sum(trial.origin == "model" for trial in trials) == 20
    for trial in trials:
        strategy = make(record.definition, record.seed)
        strategy.update(_history(trials, trial.why["cutoff"], trial.why["pending"]))
        again = strategy.suggest(range(trial.why["batch"], trial.why["draw"] + 1))[-1]
        assert dict(again.params) == trial.params


def _history(trials: Sequence[TrialRecord], cutoff: int, pending: Sequence[int]) -> list[TrialRecord]:
    finished = [trial for trial in trials if trial.seq <= cutoff]
    running = [_running(trial) for trial in trials if trial.number in pending]
    return sorted([*finished, *running], key=lambda trial: trial.seq)


def _running(trial: TrialRecord) -> TrialRecord:
    fields = {name: getattr(trial, name) for name in TrialRecord.__slots__}
    return TrialRecord(**{**fields, "state": "running", "values": None, "score": None, "seq": 0})
