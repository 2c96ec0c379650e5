"""Studies that end before their trials are spent, in the transaction that ended the trial."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import update

from models.ids import read_study, show_trial
from models.states import TrialState
from models.tables import Trial
from search.errors import Conflict, InvalidStudy
from search.studies import interventions, service
from search.trials import asking, remote
from search.trials.asking import Ask
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim, Dispatcher, Ran, Result
from search.trials.failures import Failure
from search.trials.remote import Tell
from tests.search.trials.test_statements import counting
from tests.support.ledger import Ledger, definition, done, together
from workers.reaper import Reaper


def _claimed(ledger: Ledger, count: int, *, trials: int = 20, **more: Any) -> tuple[str, Dispatcher, list[Claim]]:
    study = ledger.create(definition(trials=trials, **more))
    worker = ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=count)


def _more(worker: Dispatcher, capacity: int = 1) -> list[Claim]:
    return worker.claim(queue="cpu", capacity=capacity)


def _shown(ledger: Ledger, study: str) -> tuple[str, str | None]:
    record = ledger.study(study).record
    return record.state, record.reason


def test_a_target_ends_a_study_once_what_runs_is_done(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 4, stopping={"target": 0.1})
    worker.finish([done(claims[0], 0.2)])
    assert _shown(ledger, study) == ("running", None)
    worker.release([claims[1]], reason="yielded")
    worker.finish([done(claims[2], 0.1)])
    why = f"stopping: target 0.1 reached by trial {study}-2 with val_loss 0.1"
    assert _shown(ledger, study) == ("running", why)
    assert ledger.trials(study)[1].state == "cancelled"
    assert _more(worker, 8) == []
    # What runs is not told to stop, and its result counts.
    assert worker.heartbeat([claims[3]]) == {claims[3].token: None}
    worker.finish([done(claims[3], 0.05)])
    assert _shown(ledger, study) == ("completed", why)
    assert [trial.state for trial in ledger.trials(study)] == ["completed", "cancelled", "completed", "completed"]


def test_the_last_trial_that_runs_ends_it_at_once(ledger: Ledger) -> None:
    more: dict[str, Any] = {
        "metrics": [{"name": "val_accuracy", "goal": "maximize"}],
        "stopping": {"target": 0.98},
    }
    study, worker, (claim,) = _claimed(ledger, 1, **more)
    worker.finish([Result(claim, TrialState.COMPLETED, values={"val_accuracy": 0.99})])
    why = f"stopping: target 0.98 reached by trial {study}-0 with val_accuracy 0.99"
    assert _shown(ledger, study) == ("completed", why)
    events = [row for row in ledger.rows("event") if row.number is None]
    assert [(row.source, row.target, row.reason) for row in events] == [
        (None, "running", None),
        ("running", "completed", why),
    ]


def test_a_pruned_trial_reaches_no_target(ledger: Ledger) -> None:
    study, worker, (claim, _) = _claimed(ledger, 2, stopping={"target": 0.1})
    worker.finish([Result(claim, TrialState.PRUNED, values={"val_loss": 0.0})])
    assert _shown(ledger, study) == ("running", None)


def test_no_improvement(ledger: Ledger) -> None:
    """Trials that came to nothing count; improvements by less than min_delta do not."""
    rule = {"trials": 3, "min_delta": 0.1}
    study, worker, claims = _claimed(ledger, 9, stopping={"no_improvement": rule})
    worker.finish([done(claims[0], 1.0)])
    worker.finish([done(claims[1], 0.95)])
    worker.finish([Result(claims[2], TrialState.DIVERGED)])
    worker.finish([done(claims[3], 0.8)])  # the first three did not improve by more than 0.1, this one did
    worker.finish([done(claims[4], 0.75)])
    worker.release([claims[5]], reason="yielded")  # no end
    worker.finish([Result(claims[6], TrialState.PRUNED, values={"val_loss": 0.1})])
    assert _shown(ledger, study) == ("running", None)
    worker.finish([Result(claims[7], TrialState.DIVERGED)])
    why = "stopping: no improvement of more than 0.1 in 3 trials"
    assert _shown(ledger, study) == ("running", why)
    worker.finish([done(claims[8], 0.9)])
    assert _shown(ledger, study) == ("completed", why)


def test_expected_improvement_is_read_from_the_last_suggestions(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 1, stopping={"expected_improvement_below": 0.01, "patience": 2}, **BAYES)
    study_id = read_study(study)
    worker.finish([done(claims[0], 1.0)])
    for number, gain in ((1, 0.5), (2, 0.001), (3, 0.009)):
        (claim,) = _more(worker)
        assert (claim.study_id, claim.number) == (study_id, number)
        _expect(ledger, number, gain)
        assert _shown(ledger, study) == ("running", None)
        worker.finish([done(claim, 1.0)])
    why = "stopping: the last 2 suggestions were expected to improve by less than 0.01"
    assert _shown(ledger, study) == ("completed", why)


BAYES: Mapping[str, Any] = {"search": {"strategy": "bayesian", "seed": 1, "startup": 1}}


def _expect(ledger: Ledger, number: int, gain: float) -> None:
    """Store what a model may say of its suggestion."""
    said = update(Trial).where(Trial.number == number).values(origin="model", why={"expected_improvement": gain})
    with ledger.database.engine.begin() as connection:
        connection.execute(said)


def test_a_stopped_study_says_why_it_is_not_reopened_by_more_budget(ledger: Ledger) -> None:
    study, worker, (claim,) = _claimed(ledger, 1, stopping={"target": 0.5})
    worker.finish([done(claim, 0.4)])
    state = _shown(ledger, study)
    with pytest.raises(Conflict, match=r"was stopped \(stopping: target 0.5 reached") as refused:
        ledger.act(service.change_study, study, {"budget": {"trials": 30}})
    assert "give stopping as well" in refused.value.faults[0].message
    ledger.act(service.change_study, study, {"name": "renamed", "budget": {"trials": 20}})
    assert _shown(ledger, study) == state
    changed = ledger.act(service.change_study, study, {"budget": {"trials": 30}, "stopping": {"target": 0.3}})
    assert (changed.view.record.state, changed.view.record.reason) == ("running", None)
    (next_one,) = _more(worker)
    worker.finish([done(next_one, 0.35)])
    assert _shown(ledger, study) == ("running", None)
    (next_one,) = _more(worker)
    worker.finish([done(next_one, 0.25)])
    assert _shown(ledger, study)[0] == "completed"


def test_rules_can_be_taken_back_while_the_last_ones_run(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 2, stopping={"target": 0.5})
    worker.finish([done(claims[0], 0.4)])
    ledger.act(service.pause_study, study)
    assert (_shown(ledger, study)[1] or "").startswith("stopping: target")
    ledger.act(service.resume_study, study)
    assert _more(worker) == []
    ledger.act(service.change_study, study, {"stopping": None})
    assert _shown(ledger, study) == ("running", None)
    assert len(_more(worker)) == 1


def test_rules_that_come_later_hold_for_workers_that_know_the_study(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 2)
    ledger.act(service.change_study, study, {"stopping": {"target": 0.5}})
    worker.finish([done(claims[0], 0.4)])
    assert (_shown(ledger, study)[1] or "").startswith("stopping: target")


def test_a_failed_trial_of_a_stopped_study_is_not_retried(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 2, stopping={"target": 0.5})
    worker.finish([Result(claims[0], TrialState.FAILED, failure=Failure.USER_ERROR, reason="no")])
    worker.finish([done(claims[1], 0.4)])
    with pytest.raises(Conflict, match=r"starts nothing more \(stopping: .* change its stopping with PATCH"):
        ledger.act(interventions.retry_trial, f"{study}-0")


def test_a_client_may_tell_its_result_after_the_rule_was_met(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4, objective={"external": True}, stopping={"target": 0.5}))
    claimer, wanted = Claimer(ledger.database, clock=ledger.clock), Ask("c", 2, 600.0)
    taken = ledger.database.write(lambda c: asking.take(c, ledger.project, study, wanted, claimer))
    names = [show_trial(claim.study_id, claim.number) for claim in taken]
    for name, claim, value in zip(names, taken, (0.4, 0.3), strict=True):
        told = ledger.act(remote.tell, name, Tell(claim.token, TrialState.COMPLETED, {"val_loss": value}))
        assert (told.state, told.values) == ("completed", {"val_loss": value})
    assert _shown(ledger, study)[0] == "completed"


def test_many_at_once_stop_a_study_once(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 8, stopping={"target": 0.5})
    together(8, lambda place: worker.finish([done(claims[place], 0.4)]))
    assert _shown(ledger, study)[0] == "completed"
    assert [trial.state for trial in ledger.trials(study)] == ["completed"] * 8


def _ran(claim: Claim, seconds: float, population: int = 1) -> Result:
    ran = Ran(lane=None, population=population, seconds=seconds, alone=None)
    return Result(claim, TrialState.COMPLETED, values={"val_loss": 0.5}, ran=ran)


def test_device_seconds_add_up_over_all_attempts(ledger: Ledger) -> None:
    """What was said, else the part of the time that a trial was held."""
    study, worker, claims = _claimed(ledger, 4)
    ledger.clock.move(10)
    worker.finish([_ran(claims[0], 3.0), done(claims[1], 0.5)])  # four were held together: 3 and 10 / 4
    worker.release(claims[2:3], reason="yielded")
    lost = Ran(lane=None, population=2, seconds=0.0, alone=None)
    worker.finish([Result(claims[3], TrialState.QUEUED, failure=Failure.LANE, error="dead", ran=lost)])
    assert ledger.study(study).record.gpu_spent == 3.0 + 2.5 + 2.5


def test_a_trial_that_cannot_finish_in_the_device_seconds_left_is_not_started(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 3, budget={"trials": 20, "gpu_seconds": 20.0})
    worker.finish([_ran(claims[0], 4.0)])
    # Twelve are left beside what the two that run will take: a third of four fits twice more.
    more = _more(worker, 8)
    assert len(more) == 2
    worker.finish([_ran(claim, 4.0) for claim in claims[1:]])
    assert _more(worker, 8) == []
    worker.finish([_ran(more[0], 4.0)])
    assert _shown(ledger, study) == ("running", None)
    worker.finish([_ran(more[1], 4.0)])
    why = "budget: 0 of 20 device seconds are left, and a trial takes about 4"
    assert _shown(ledger, study) == ("completed", why)
    assert ledger.study(study).record.progress.allocated == 5
    with pytest.raises(InvalidStudy, match=r"20 device seconds are spent"):
        ledger.act(service.change_study, study, {"budget": {"trials": 30}})
    assert _shown(ledger, study) == ("completed", why)
    ledger.act(service.change_study, study, {"budget": {"gpu_seconds": 24.0}})
    assert _shown(ledger, study) == ("running", None)
    assert len(_more(worker, 8)) == 1


def _nudged(ledger: Ledger) -> list[str]:
    """Return the queues whose workers a reaper would wake."""
    queues: list[str] = []
    Reaper(ledger.database, lease_seconds=9.0, period_seconds=1.0, clock=ledger.clock, nudge=queues.extend).sweep()
    return queues


def test_a_study_into_which_nothing_fits_is_no_work_until_something_changes(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 3, budget={"trials": 20, "gpu_seconds": 20.0})
    worker.finish([_ran(claims[0], 4.0)])
    assert len(_more(worker, 2)) == 2
    assert _nudged(ledger) == ["cpu"]  # nobody has looked since
    assert _more(worker) == []
    assert _nudged(ledger) == []
    assert not worker.others_wait(queue="cpu", study=0)
    # Two took five of twenty, so 2.5 each: beside the three that run there is room for three more.
    worker.finish([_ran(claims[1], 1.0)])
    assert _nudged(ledger) == ["cpu"]
    assert len(_more(worker, 8)) == 3
    assert _more(worker) == []
    assert _nudged(ledger) == []
    ledger.act(service.change_study, study, {"budget": {"gpu_seconds": 22.5}})
    assert worker.others_wait(queue="cpu", study=0)
    assert len(_more(worker, 8)) == 1


def test_a_full_study_is_noted_once(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 2, budget={"trials": 20, "seconds": 100.0})
    ledger.clock.move(60)
    worker.finish([done(claims[0], 0.5)])

    def look() -> list[str]:
        with counting(ledger.database) as sent:
            assert worker.claim(queue="cpu", capacity=1, study=read_study(study)) == []
        return [statement for statement in sent if not statement.startswith("SELECT")]

    assert len(look()) == 1
    assert look() == []
    assert _nudged(ledger) == []


def test_until_a_trial_has_completed_all_are_admitted(ledger: Ledger) -> None:
    _, _, claims = _claimed(ledger, 6, budget={"trials": 6, "gpu_seconds": 0.5})
    assert len(claims) == 6


def test_a_trial_that_cannot_finish_in_the_seconds_left_is_not_started(ledger: Ledger) -> None:
    study, worker, claims = _claimed(ledger, 2, budget={"trials": 20, "seconds": 100.0})
    ledger.clock.move(40)
    worker.finish([done(claims[0], 0.5)])
    assert len(_more(worker)) == 1  # forty of the sixty left
    ledger.clock.move(21)
    assert _more(worker) == []
    assert _shown(ledger, study) == ("running", None)
    ledger.clock.move(10)
    worker.finish([done(claims[1], 0.5)])
    running = next(trial for trial in ledger.trials(study) if trial.state == "running")
    assert running.number == 2
    Reaper(ledger.database, lease_seconds=9.0, period_seconds=1.0, clock=ledger.clock).sweep()
    assert _shown(ledger, study) == ("running", None)


def test_a_study_whose_last_trial_leaves_too_little_time_ends_with_it(ledger: Ledger) -> None:
    study, worker, (claim,) = _claimed(ledger, 1, budget={"trials": 20, "seconds": 100.0})
    ledger.clock.move(60)
    worker.finish([done(claim, 0.5)])
    assert _shown(ledger, study) == ("completed", "budget: 40 of 100 seconds are left, and a trial takes about 60")
    ledger.act(service.change_study, study, {"name": "another"})
    assert _shown(ledger, study)[0] == "completed"
    ledger.act(service.change_study, study, {"budget": {"seconds": 300.0}})
    assert len(_more(worker)) == 1


def test_an_idle_study_ends_with_the_claim_that_finds_no_room(ledger: Ledger) -> None:
    study, worker, (claim,) = _claimed(ledger, 1, budget={"trials": 20, "seconds": 100.0})
    ledger.clock.move(30)
    worker.finish([done(claim, 0.5)])
    ledger.clock.move(50)
    assert _more(worker) == []
    assert _shown(ledger, study) == ("completed", "budget: 20 of 100 seconds are left, and a trial takes about 30")


def test_parallel_claims_never_admit_more_than_fits(ledger: Ledger) -> None:
    study, worker, (claim,) = _claimed(ledger, 1, trials=50, budget={"trials": 50, "gpu_seconds": 40.0})
    worker.finish([_ran(claim, 4.0)])
    found = together(6, lambda place: ledger.worker(f"worker {place}").claim(queue="cpu", capacity=3))
    assert sum(map(len, found)) == 9
    assert ledger.study(study).record.progress.running == 9


def test_studies_without_rules_and_limits_cost_nothing_more(ledger: Ledger) -> None:
    _, worker, claims = _claimed(ledger, 2)
    with counting(ledger.database) as sent:
        worker.finish([done(claims[0], 0.5)])
    assert len(sent) == 7
    with counting(ledger.database) as sent:
        assert len(_more(worker)) == 1
    assert len(sent) == 7
