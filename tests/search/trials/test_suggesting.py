"""Model-based claims: reserved in one transaction, suggested outside any lock, filled in a second one."""

from collections.abc import Sequence
from typing import Any

import pytest

from models.claims import Claimed
from models.session import Unavailable
from search.records import TrialRecord
from search.strategies.table import make
from search.studies import service
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim, Dispatcher
from tests.support.ledger import Ledger, definition, drain, together


def test_a_model_based_claim_is_filled(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=6, search={"strategy": "bayesian", "seed": 3, "startup": 2}))
    worker = ledger.worker()
    claims = [*worker.claim(queue="cpu", capacity=4), *worker.claim(queue="cpu", capacity=4)]
    trials = ledger.trials(study)
    assert [claim.number for claim in claims] == [0, 1, 2, 3]
    assert [dict(claim.params) for claim in claims] == [trial.params for trial in trials]
    assert [trial.origin for trial in trials] == ["startup"] * 4  # the model has nothing to go by yet
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
        patch.setattr(Claimer, "_suggest", die)
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


def test_a_fill_that_runs_again_gives_what_is_stored(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose reply was lost is done again, and finds its own points taken."""
    study = ledger.create(definition("bayesian", space="discrete", trials=6))
    worker = ledger.worker()
    real = ledger.database.write

    def twice(work: Any, **more: Any) -> Any:
        real(work, **more)
        return real(work, **more)

    suggest = Claimer._suggest

    def suggest_twice(self: Claimer, *given: Any) -> list[Claimed]:
        with monkeypatch.context() as patch:
            patch.setattr(ledger.database, "write", twice)
            return suggest(self, *given)

    monkeypatch.setattr(Claimer, "_suggest", suggest_twice)
    claims = worker.claim(queue="cpu", capacity=2)
    assert [claim.params for claim in claims] == [trial.params for trial in ledger.trials(study)]


def test_every_suggestion_can_be_derived_again(ledger: Ledger) -> None:
    """From the stored history up to a trial's cut-off, and what was pending then, comes the very same point."""
    raw = definition("bayesian", trials=24, search={"strategy": "bayesian", "seed": 11, "startup": 4})
    study = ledger.create(raw)
    together(3, lambda place: drain(ledger.worker(f"w{place}"), capacity=2))
    record = ledger.study(study).record
    trials = ledger.trials(study)
    assert sum(trial.origin == "model" for trial in trials) >= 16
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


def test_what_no_parameters_can_be_found_for_is_given_back(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database went away between the two transactions: nobody beats for the trial, and it has done nothing wrong."""
    study = ledger.create(definition("bayesian", trials=4))

    def away(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Claimer, "_read_history", away)
        with pytest.raises(Unavailable):
            ledger.worker().claim(queue="cpu", capacity=2)
    assert [trial.state for trial in ledger.trials(study)] == ["queued", "queued"]
    assert {row.state for row in ledger.rows("attempt")} == {"released"}
    assert ledger.rows("lease") == []
