"""Lineages in the ledger: who goes on from whom, with which checkpoint, and how long it is kept."""

import copy
from typing import Any

import pytest

from models import checkpoints
from models.ids import read_study
from models.states import TrialState
from search.errors import InvalidStudy
from search.studies.service import cancel_study, change_study
from search.trials.dispatch import Claim, Dispatcher, Kept, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, drain, together

SEARCH = {"strategy": "pbt", "population": 4, "interval": 5, "seed": 3}


def posted(**more: Any) -> Any:
    raw = copy.deepcopy(definition(trials=None, search=SEARCH, **more))
    raw["objective"]["epochs"] = 15
    return raw


def keep(worker: Dispatcher, claim: Claim, step: int) -> None:
    assert worker.keep(Kept(claim, step, f"{claim.number}/{claim.attempt}-{step}-1.pt", "0" * 64, 1, {"val_loss": 9.0}))


def run(worker: Dispatcher, claims: list[Claim]) -> None:
    """Leave a checkpoint at the end of each leg, and complete; the later the worse."""
    for claim in claims:
        assert claim.leg is not None
        keep(worker, claim, claim.leg.ends)
    worker.finish([done(claim, float(claim.number)) for claim in claims])


def test_a_child_is_given_its_parents_checkpoint(ledger: Ledger) -> None:
    study = ledger.create(posted())
    worker = ledger.worker()
    first = worker.claim(queue="cpu", capacity=9)
    assert [(c.leg.parent, c.leg.begins, c.leg.ends) for c in first if c.leg] == [(None, 0, 5)] * 4
    assert [claim.checkpoints for claim in first] == [()] * 4
    run(worker, first)
    children = worker.claim(queue="cpu", capacity=9)
    assert [(c.leg.parent, c.leg.begins, c.leg.ends) for c in children if c.leg] == [(p, 5, 10) for p in (0, 1, 2, 0)]
    assert [[(kept.step, kept.path, kept.values) for kept in child.checkpoints] for child in children] == [
        [(5, f"{parent}/1-5-1.pt", None)] for parent in (0, 1, 2, 0)
    ]
    assert [trial.parent for trial in ledger.trials(study)] == [None] * 4 + [0, 1, 2, 0]


def test_a_child_that_was_lost_goes_on_from_its_own_first_and_else_from_its_parent(ledger: Ledger) -> None:
    ledger.create(posted())
    worker = ledger.worker()
    run(worker, worker.claim(queue="cpu", capacity=4))
    (child,) = worker.claim(queue="cpu", capacity=1)
    keep(worker, child, 7)
    worker.finish([Result(child, TrialState.QUEUED, failure=Failure.LANE, error="killed")])
    again = next(claim for claim in worker.claim(queue="cpu", capacity=4) if claim.number == child.number)
    assert (again.attempt, again.leg) == (2, child.leg)
    assert [kept.path for kept in again.checkpoints] == ["4/1-7-1.pt", "0/1-5-1.pt"]


def test_no_more_run_than_the_population_has_members(ledger: Ledger) -> None:
    study = ledger.create(posted())
    claims = together(3, lambda place: ledger.worker(f"w{place}").claim(queue="cpu", capacity=4))
    assert sum(map(len, claims)) == 4
    assert ledger.study(study).record.progress.running == 4


def test_more_cannot_be_asked_for_later(ledger: Ledger) -> None:
    study = ledger.create(posted())
    with pytest.raises(InvalidStudy, match="parallelism"):
        ledger.act(change_study, study, {"parallelism": 5})
    assert ledger.study(study).record.parallelism == 4


def test_every_trial_is_followed_once_whoever_runs_it(ledger: Ledger) -> None:
    study = ledger.create(posted())
    together(4, lambda place: drain(ledger.worker(f"w{place}"), capacity=1))
    drain(ledger.worker("last"))
    trials = ledger.trials(study)
    assert ledger.study(study).record.state == "completed"
    assert len(trials) == 12
    followed = [trial.why["after"] for trial in trials if "after" in trial.why]
    assert len(followed) == len(set(followed)) == 8
    assert {trial.why["ends"] for trial in trials} <= {5, 10, 15}
    assert all((trial.parent is None) == (trial.why["begins"] == 0) for trial in trials)


def test_rows_of_possible_parents_stay_until_the_study_has_ended(ledger: Ledger) -> None:
    study = ledger.create(posted())
    other = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (alone,) = worker.claim(queue="cpu", capacity=1, study=read_study(other))
    keep(worker, alone, 3)
    worker.finish([done(alone)])
    run(worker, worker.claim(queue="cpu", capacity=4, study=read_study(study)))
    ledger.database.write(checkpoints.forget_checkpoints)
    assert {row.study_id for row in ledger.rows("checkpoint")} == {read_study(study)}
    ledger.act(cancel_study, study)
    ledger.database.write(checkpoints.forget_checkpoints)
    assert ledger.rows("checkpoint") == []
