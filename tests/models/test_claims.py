"""Claiming: numbers, budget, grid points and parallelism stay exact under any number of workers."""

from collections import Counter
from itertools import count

import pytest

from models.states import TrialState
from search.studies import service
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, drain, together


def _work(ledger: Ledger, place: int, *, capacity: int = 2) -> list[Claim]:
    return drain(ledger.worker(f"w{place}"), capacity=capacity)


def test_numbers_start_at_zero_without_gaps(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=7))
    claimed = drain(ledger.worker(), capacity=3)
    assert [claim.number for claim in claimed] == list(range(7))
    assert [trial.number for trial in ledger.trials(study)] == list(range(7))
    assert {claim.attempt for claim in claimed} == {1}
    assert len({claim.token for claim in claimed}) == 7


def test_a_claim_gives_what_is_stored(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=5))
    claimed = ledger.worker().claim(queue="cpu", capacity=5)
    stored = ledger.trials(study)
    assert [dict(claim.params) for claim in claimed] == [trial.params for trial in stored]
    assert [claim.id for claim in claimed] == [f"{study}-{number}" for number in range(5)]
    assert len({claim.seed for claim in claimed}) == 5


@pytest.mark.parametrize("capacity", [1, 4])
def test_the_budget_is_exact_under_eight_workers(ledger: Ledger, capacity: int) -> None:
    study = ledger.create(definition(trials=30))
    claimed = together(8, lambda place: _work(ledger, place, capacity=capacity))
    assert sorted(claim.number for part in claimed for claim in part) == list(range(30))
    view = ledger.study(study)
    assert view.record.progress.allocated == view.record.progress.finished == 30
    assert view.record.state == "completed"


@pytest.mark.parametrize("workers", [4, 8])
def test_a_grid_gives_each_point_once(ledger: Ledger, workers: int) -> None:
    study = ledger.create(definition("grid", space="grid24", trials=None))
    together(workers, lambda place: _work(ledger, place, capacity=1))
    trials = ledger.trials(study)
    assert sorted(trial.grid_index for trial in trials if trial.grid_index is not None) == list(range(24))
    assert len({tuple(sorted((trial.params or {}).items())) for trial in trials}) == 24


def test_points_do_not_depend_on_the_number_of_workers(ledger: Ledger) -> None:
    alone, shared = (ledger.create(definition(trials=12, labels={"copy": copy})) for copy in "ab")
    drain(ledger.worker(), capacity=12)
    together(4, lambda place: _work(ledger, place, capacity=1))
    assert [trial.params for trial in ledger.trials(alone)] == [trial.params for trial in ledger.trials(shared)]


def test_parallelism_is_never_passed(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=24, parallelism=3))
    seen: list[int] = []

    def work(place: int) -> None:
        worker = ledger.worker(f"w{place}")
        for _ in count():
            claims = worker.claim(queue="cpu", capacity=2)
            progress = ledger.study(study).record.progress
            seen.append(progress.running)
            worker.finish([done(claim) for claim in claims])
            if progress.finished == 24:
                return

    together(6, work)
    assert max(seen) == 3
    assert len(ledger.trials(study)) == 24


def test_a_claim_takes_no_more_than_parallelism_leaves(ledger: Ledger) -> None:
    ledger.create(definition(trials=24, parallelism=5))
    worker = ledger.worker()
    assert len(worker.claim(queue="cpu", capacity=4)) == 4
    assert len(worker.claim(queue="cpu", capacity=4)) == 1
    assert worker.claim(queue="cpu", capacity=4) == []


def test_queues_are_apart(ledger: Ledger) -> None:
    raw = definition(trials=2)
    study = ledger.create({**raw, "objective": {**raw["objective"], "device": "gpu"}})
    worker = ledger.worker()
    assert worker.claim(queue="cpu", capacity=2) == []
    assert [claim.id for claim in worker.claim(queue="gpu", capacity=2)] == [f"{study}-0", f"{study}-1"]


@pytest.mark.parametrize("verb", [service.pause_study, service.cancel_study])
def test_no_claim_after_pause_or_cancel(ledger: Ledger, verb: object) -> None:
    study = ledger.create(definition(trials=8))
    worker = ledger.worker()
    assert len(worker.claim(queue="cpu", capacity=2)) == 2
    ledger.act(verb, study)  # type: ignore[arg-type]
    assert worker.claim(queue="cpu", capacity=2) == []
    assert ledger.study(study).record.progress.allocated == 2


def test_no_claim_follows_a_cancel_that_was_answered(ledger: Ledger) -> None:
    """Workers claim as fast as they can while the study is cancelled: what was allocated then stays so."""
    study = ledger.create(definition(trials=100_000))
    allocated: list[int] = []

    def work(place: int) -> None:
        if place == 0:
            while ledger.study(study).record.progress.allocated < 20:
                pass
            cancelled = ledger.act(service.cancel_study, study)
            allocated.append(cancelled.view.record.progress.allocated)
            return
        worker = ledger.worker(f"w{place}")
        while worker.claim(queue="cpu", capacity=4):
            pass

    together(4, work)
    assert [ledger.study(study).record.progress.allocated] == allocated


def test_two_studies_share_the_workers(ledger: Ledger) -> None:
    """The one with fewer trials under way is served first."""
    first, second = (ledger.create(definition(trials=50, labels={"copy": copy})) for copy in "ab")
    worker = ledger.worker()
    held = Counter(worker.claim(queue="cpu", capacity=1)[0].id.split("-")[0] for _ in range(20))
    assert held == {first: 10, second: 10}


def test_a_new_study_does_not_wait_for_an_old_one(ledger: Ledger) -> None:
    ledger.create(definition(trials=1000))
    worker = ledger.worker()
    for _ in range(3):
        worker.claim(queue="cpu", capacity=16)
    late = ledger.create(definition(trials=4))
    assert {claim.id.split("-")[0] for claim in worker.claim(queue="cpu", capacity=4)} == {late}


def test_a_trial_given_back_comes_before_new_ones(ledger: Ledger) -> None:
    ledger.create(definition(trials=10))
    worker = ledger.worker()
    first = worker.claim(queue="cpu", capacity=3)
    worker.release(first[1:2], reason="yielded")
    again = worker.claim(queue="cpu", capacity=2)
    assert [(claim.number, claim.attempt) for claim in again] == [(1, 2), (3, 1)]
    assert again[0].params == first[1].params
    assert again[0].seed == first[1].seed


def test_a_trial_that_must_pause_does_not_hold_others_up(ledger: Ledger) -> None:
    ledger.create(definition(trials=2))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.finish([_lost(claim)])
    assert [held.number for held in worker.claim(queue="cpu", capacity=2)] == [1]
    ledger.clock.move(3600)
    assert [(held.number, held.attempt) for held in worker.claim(queue="cpu", capacity=2)] == [(0, 2)]


def _lost(claim: Claim) -> Result:
    return Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE)


def test_retries_cost_no_budget(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3))
    worker = ledger.worker()
    for _ in range(3):
        worker.release(worker.claim(queue="cpu", capacity=3), reason="yielded")
    drain(worker)
    assert [trial.attempt for trial in ledger.trials(study)] == [4, 4, 4]
    assert ledger.study(study).record.progress.allocated == 3


def test_spent_seconds_close_the_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=100, budget={"trials": 100, "seconds": 60}))
    worker = ledger.worker()
    ledger.clock.move(1000)  # before the first claim: not counted
    first, second, third = worker.claim(queue="cpu", capacity=3)
    worker.finish([done(first)])
    worker.release([second], reason="yielded")
    ledger.clock.move(59)
    assert worker.heartbeat([third]) == {third.token: None}
    (second,) = worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(1)
    assert worker.claim(queue="cpu", capacity=1) == []
    assert worker.heartbeat([second, third]) == {second.token: "budget", third.token: "budget"}
    assert ledger.study(study).record.state == "running"
    worker.finish([_cancelled(second), _cancelled(third)])
    view = ledger.study(study)
    assert (view.record.state, view.record.reason) == ("completed", "budget")
    assert view.counts == {"completed": 1, "cancelled": 2}
    assert [trial.reason for trial in ledger.trials(study)] == [None, "budget", "budget"]


def test_waiting_trials_end_with_the_seconds(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=100, budget={"trials": 100, "seconds": 60}))
    worker = ledger.worker()
    worker.release(worker.claim(queue="cpu", capacity=2), reason="yielded")
    ledger.clock.move(61)
    assert worker.claim(queue="cpu", capacity=1) == []
    assert ledger.study(study).record.state == "failed"
    assert [trial.state for trial in ledger.trials(study)] == ["cancelled", "cancelled"]


def test_a_pause_stops_the_studys_clock(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=100, budget={"trials": 100, "seconds": 60}))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(50)
    ledger.act(service.pause_study, study)
    ledger.clock.move(1000)
    ledger.act(service.resume_study, study)
    ledger.clock.move(9)
    assert worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(1)
    assert worker.claim(queue="cpu", capacity=1) == []
    assert worker.heartbeat([claim]) == {claim.token: "budget"}


def _cancelled(claim: Claim) -> Result:
    return Result(claim, TrialState.CANCELLED, reason="budget")


def test_an_unknown_queue_has_no_work(ledger: Ledger) -> None:
    ledger.create(definition())
    assert Dispatcher(ledger.database, worker="w").claim(queue="tpu", capacity=1) == []
