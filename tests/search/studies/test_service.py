"""The life of a study: every verb in every state, and what another project sees of it."""

from collections.abc import Callable
from typing import Any

import pytest

from models.ids import show_study
from models.session import Connection
from models.states import StudyState, TrialState
from models.studies import ensure_project
from search.errors import Conflict, InvalidStudy, NotFound
from search.studies import service, views
from search.trials.dispatch import Result
from tests.support.ledger import Ledger, definition, done, drain, together

Verb = Callable[..., service.Changed]


def _state(ledger: Ledger, study: str) -> str:
    return ledger.study(study).record.state


def _delete(ledger: Ledger, study: str) -> None:
    ledger.database.write(lambda c: service.delete_study(c, ledger.project, study))


def _over(ledger: Ledger, state: StudyState) -> str:
    """Make a study that ended in this way."""
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    if state is StudyState.CANCELLED:
        ledger.act(service.cancel_study, study)
    ending = done if state is StudyState.COMPLETED else lambda claim: Result(claim, TrialState.CANCELLED)
    worker.finish([ending(claim) for claim in claims])
    assert _state(ledger, study) == state
    return study


def test_a_new_study_runs_and_says_so(ledger: Ledger) -> None:
    raw = definition(trials=9, parallelism=3, labels={"team": "vision"})
    made = ledger.database.write(lambda c: service.create_study(c, ledger.project, raw, now=ledger.clock()))
    record = made.view.record
    assert made.wake == "cpu"
    assert (record.state, record.seq, record.seed, record.parallelism) == ("running", 1, 7, 3)
    assert (record.progress.budget, record.progress.allocated) == (9, 0)
    assert record.labels == {"team": "vision"}
    assert record.created_at == ledger.clock()
    assert (made.view.counts, made.view.best) == ({}, None)


def test_a_seed_is_drawn_and_kept(ledger: Ledger) -> None:
    studies = [ledger.create(definition(search={"strategy": "random"})) for _ in range(2)]
    seeds = {ledger.study(study).record.seed for study in studies}
    assert len(seeds) == 2
    assert all(0 <= seed < 2**53 for seed in seeds)


def test_a_bad_study_leaves_nothing(ledger: Ledger) -> None:
    before = ledger.dump()
    with pytest.raises(InvalidStudy) as caught:
        ledger.create({**definition(), "budget": {"trials": 0}, "metrics": []})
    assert {fault.path for fault in caught.value.faults} == {"budget.trials", "metrics"}
    assert ledger.dump() == before


def test_pause_and_resume(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    paused = ledger.act(service.pause_study, study)
    assert (paused.view.record.state, paused.wake) == ("paused", None)
    assert worker.heartbeat([claim]) == {claim.token: None}
    assert worker.finish([done(claim)]) == {claim.token: "accepted"}
    assert worker.claim(queue="cpu", capacity=4) == []
    resumed = ledger.act(service.resume_study, study)
    assert (resumed.view.record.state, resumed.wake) == ("running", "cpu")
    assert len(drain(worker)) == 3
    assert _state(ledger, study) == "completed"


def test_a_paused_study_ends_with_its_last_trial(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    ledger.act(service.pause_study, study)
    worker.finish([done(claim)])
    assert _state(ledger, study) == "completed"


@pytest.mark.parametrize("verb", [service.pause_study, service.resume_study, service.cancel_study])
def test_a_verb_again_changes_nothing(ledger: Ledger, verb: Verb) -> None:
    study = ledger.create(definition())
    ledger.act(verb, study)
    before = ledger.dump()
    ledger.clock.move(5)
    ledger.act(verb, study)
    assert ledger.dump() == before


@pytest.mark.parametrize("state", [StudyState.COMPLETED, StudyState.FAILED, StudyState.CANCELLED])
def test_what_is_over_takes_no_verb(ledger: Ledger, state: StudyState) -> None:
    study = _over(ledger, state)
    before = ledger.dump()
    for verb in (service.pause_study, service.resume_study):
        with pytest.raises(Conflict, match=state):
            ledger.act(verb, study)
    if state is not StudyState.CANCELLED:
        with pytest.raises(Conflict, match=state):
            ledger.act(service.cancel_study, study)
    assert ledger.dump() == before


def test_cancel_ends_what_waits_and_stops_what_runs(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=10))
    worker = ledger.worker()
    first, second, third, fourth = worker.claim(queue="cpu", capacity=4)
    worker.finish([done(first)])
    worker.release([second, third], reason="yielded")
    cancelled = ledger.act(service.cancel_study, study)
    assert (cancelled.view.record.state, cancelled.wake) == ("cancelled", None)
    assert cancelled.view.counts == {"completed": 1, "cancelled": 2, "running": 1}
    assert worker.claim(queue="cpu", capacity=4) == []
    assert worker.heartbeat([fourth]) == {fourth.token: "cancelled"}
    worker.finish([Result(fourth, TrialState.CANCELLED, reason="cancelled")])
    view = ledger.study(study)
    assert (view.record.progress.running, view.record.progress.finished) == (0, 4)
    assert [trial.reason for trial in ledger.trials(study)] == [None, "cancelled", "cancelled", "cancelled"]


def test_what_is_given_back_after_a_cancel_is_cancelled(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    ledger.act(service.cancel_study, study)
    assert set(worker.release(claims, reason="yielded").values()) == {"accepted"}
    assert [(trial.state, trial.reason) for trial in ledger.trials(study)] == [("cancelled", "cancelled")] * 2


def test_a_paused_study_can_be_cancelled(ledger: Ledger) -> None:
    study = ledger.create(definition())
    ledger.act(service.pause_study, study)
    ledger.act(service.cancel_study, study)
    assert _state(ledger, study) == "cancelled"


def test_name_and_labels_change(ledger: Ledger) -> None:
    study = ledger.create(definition(labels={"a": "1", "b": "2"}))
    before = ledger.study(study).record
    after = ledger.act(service.change_study, study, {"name": "better", "labels": {"c": "3"}}).view.record
    assert (after.name, after.labels) == ("better", {"c": "3"})
    assert (after.definition.name, after.definition.labels) == ("better", {"c": "3"})
    assert after.seq > before.seq
    assert after.state == "running"
    assert len(ledger.rows("event")) == 1


def test_parallelism_changes_what_a_claim_takes(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8, parallelism=1))
    worker = ledger.worker()
    assert len(worker.claim(queue="cpu", capacity=8)) == 1
    ledger.act(service.change_study, study, {"parallelism": 3})
    assert len(worker.claim(queue="cpu", capacity=8)) == 2
    ledger.act(service.change_study, study, {"parallelism": None})
    assert len(worker.claim(queue="cpu", capacity=8)) == 5


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"seed": 3}, "seed"),
        ({"space": {}}, "space"),
        ({"state": "completed"}, "state"),
        ({"name": ""}, "name"),
        ({"parallelism": 0}, "parallelism"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"budget": {"trails": 5}}, "budget.trails"),
        ({"budget": {"trials": 3}}, "budget.trials"),
        ([], ""),
    ],
)
def test_a_bad_edit_changes_nothing(ledger: Ledger, edits: Any, path: str) -> None:
    study = ledger.create(definition(trials=8))
    ledger.worker().claim(queue="cpu", capacity=4)
    before = ledger.dump()
    with pytest.raises(InvalidStudy) as caught:
        ledger.act(service.change_study, study, edits)
    assert [fault.path for fault in caught.value.faults] == [path]
    assert ledger.dump() == before


def test_a_raised_budget_reopens_what_is_completed(ledger: Ledger) -> None:
    study = _over(ledger, StudyState.COMPLETED)
    changed = ledger.act(service.change_study, study, {"budget": {"trials": 5}})
    assert (changed.view.record.state, changed.wake) == ("running", "cpu")
    assert changed.view.record.finished_at is None
    assert [claim.number for claim in drain(ledger.worker())] == [2, 3, 4]
    assert _state(ledger, study) == "completed"
    own = [event.target for event in ledger.rows("event") if event.number is None]
    assert own == ["running", "completed", "running", "completed"]


@pytest.mark.parametrize("state", [StudyState.CANCELLED, StudyState.FAILED])
def test_the_budget_of_what_ended_for_good_stays(ledger: Ledger, state: StudyState) -> None:
    study = _over(ledger, state)
    with pytest.raises(Conflict, match="for good"):
        ledger.act(service.change_study, study, {"budget": {"trials": 500}})
    assert ledger.act(service.change_study, study, {"name": "kept"}).view.record.name == "kept"


def test_a_rename_does_not_reopen(ledger: Ledger) -> None:
    study = _over(ledger, StudyState.COMPLETED)
    assert ledger.act(service.change_study, study, {"name": "done"}).view.record.state == "completed"


def test_a_budget_lowered_to_what_is_finished_ends_the_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8))
    worker = ledger.worker()
    first, second = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(first)])
    ledger.act(service.change_study, study, {"budget": {"trials": 2}})
    assert _state(ledger, study) == "running"
    worker.finish([done(second)])
    assert _state(ledger, study) == "completed"
    other = ledger.create(definition(trials=8))
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=2)])
    assert ledger.act(service.change_study, other, {"budget": {"trials": 2}}).view.record.state == "completed"


def test_the_clock_stands_while_a_study_is_over(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3, budget={"trials": 3, "seconds": 60}))
    worker = ledger.worker()
    # Two that take no time: by the median such a trial can be started to the last moment.
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=2)])
    (claim,) = worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(50)
    worker.finish([done(claim)])
    ledger.clock.move(1000)
    assert ledger.act(service.change_study, study, {"budget": {"trials": 9}}).view.record.state == "running"
    ledger.clock.move(9)
    assert worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(1)
    assert worker.claim(queue="cpu", capacity=1) == []


def test_a_study_whose_seconds_are_spent_needs_more_of_them(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=9, budget={"trials": 9, "seconds": 60}))
    worker = ledger.worker()
    first, second = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(first)])
    ledger.clock.move(61)
    assert worker.claim(queue="cpu", capacity=1) == []
    worker.finish([Result(second, TrialState.CANCELLED, reason="budget")])
    assert _state(ledger, study) == "completed"
    with pytest.raises(InvalidStudy, match="60 seconds are spent"):
        ledger.act(service.change_study, study, {"budget": {"trials": 20}})
    assert ledger.act(service.change_study, study, {"name": "short"}).view.record.state == "completed"
    assert ledger.act(service.change_study, study, {"budget": {"seconds": 120}}).view.record.state == "running"
    assert len(drain(worker, capacity=7)) == 7
    assert _state(ledger, study) == "completed"


def test_more_seconds_while_a_study_is_closing_let_it_go_on(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4, budget={"trials": 4, "seconds": 60}))
    worker = ledger.worker()
    (first,) = worker.claim(queue="cpu", capacity=1)
    ledger.clock.move(61)
    assert worker.claim(queue="cpu", capacity=1) == []
    ledger.act(service.change_study, study, {"budget": {"seconds": 1000}})
    assert worker.heartbeat([first]) == {first.token: None}
    assert len(worker.claim(queue="cpu", capacity=2)) == 2
    assert _state(ledger, study) == "running"


def test_an_edit_of_nothing_changes_nothing(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4))
    before = ledger.dump()
    ledger.act(service.change_study, study, {})
    assert ledger.dump() == before


def test_a_creation_that_runs_again_makes_one_study(ledger: Ledger) -> None:
    def work(connection: Connection) -> str:
        made = service.create_study(connection, ledger.project, definition(trials=2), now=ledger.clock(), study_id=4711)
        return show_study(made.view.record.id)

    assert ledger.database.write(work) == ledger.database.write(work) == show_study(4711)
    assert len(ledger.rows("study")) == 1


def test_a_running_study_is_not_deleted(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=1)
    for verb in (service.pause_study, service.cancel_study):
        with pytest.raises(Conflict, match="still running"):
            _delete(ledger, study)
        ledger.act(verb, study)
    with pytest.raises(Conflict, match="still running"):
        _delete(ledger, study)
    worker.release(claims, reason="cancelled")
    _delete(ledger, study)
    assert {name: rows for name, rows in ledger.dump().items() if rows and name != "project"} == {}


def test_another_project_sees_nothing(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    drain(ledger.worker())
    other = ledger.database.write(lambda c: ensure_project(c, "other", ledger.clock()))
    foreign = Ledger(ledger.database, other, ledger.clock)
    before = ledger.dump()
    for verb in (service.pause_study, service.resume_study, service.cancel_study):
        with pytest.raises(NotFound):
            foreign.act(verb, study)
    with pytest.raises(NotFound):
        foreign.act(service.change_study, study, {"name": "mine"})
    with pytest.raises(NotFound):
        _delete(foreign, study)
    for query, text in ((views.view_study, study), (views.best_trial, study), (views.get_trial, f"{study}-0")):
        with pytest.raises(NotFound):
            foreign.read(query, text)
    assert ledger.dump() == before


@pytest.mark.parametrize("text", ["", "x", "0" * 13, "i" * 13, "\u0663" * 13])
def test_an_id_that_names_nothing_is_not_found(ledger: Ledger, text: str) -> None:
    for query in (views.view_study, views.best_trial, views.get_trial):
        with pytest.raises(NotFound):
            ledger.read(query, text)
    with pytest.raises(NotFound):
        ledger.act(service.cancel_study, text)


def test_there_is_no_best_before_one_completed(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=3)
    worker.finish([Result(claims[0], TrialState.PRUNED, values={"val_loss": 0.0}, reason="asha")])
    with pytest.raises(NotFound, match="no trial"):
        ledger.read(views.best_trial, study)
    worker.finish([done(claims[1], 0.3), done(claims[2], 0.2)])
    assert ledger.read(views.best_trial, study).number == 2
    best = ledger.study(study).best
    assert best is not None
    assert best.values == {"val_loss": 0.2}


def test_projects_made_at_once_are_one(ledger: Ledger) -> None:
    made = together(4, lambda _: ledger.database.write(lambda c: ensure_project(c, "new", ledger.clock())))
    assert len(set(made)) == 1
