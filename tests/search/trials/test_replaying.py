"""Replay: every point of a recorded study is derived again, whatever became of the trials and however many ran it."""

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import update

from models.ids import read_study, show_trial
from models.session import Connection
from models.states import TrialState
from models.tables import Trial
from search.errors import Conflict, NotFound
from search.records import Params, TrialRecord
from search.space.sampling import Draws
from search.studies import interventions
from search.studies.enqueueing import Given, enqueue_trials
from search.trials.claiming import Claimer, Wish
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from search.trials.replaying import Replay, replay
from tests.support.ledger import Ledger, done, drain, together

CONTINUOUS: Mapping[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "levels": 10},
    "decay": {"type": "float", "low": 0.0, "high": 0.5, "levels": 6},
}
CONDITIONAL: Mapping[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
    **CONTINUOUS,
    "momentum": {"type": "float", "low": 0.1, "high": 0.9, "levels": 3, "when": {"optimizer": ["momentum"]}},
}
DISCRETE: Mapping[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
    "layers": {"type": "int", "low": 1, "high": 8},
}
STUDIES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "grid": ({"strategy": "grid"}, CONDITIONAL),
    "random": ({"strategy": "random"}, CONDITIONAL),
    "sobol": ({"strategy": "sobol"}, CONDITIONAL),
    "halton": ({"strategy": "halton"}, CONDITIONAL),
    "bayesian": ({"strategy": "bayesian", "startup": 4}, CONDITIONAL),
    "bayesian on a lattice": ({"strategy": "bayesian", "startup": 4}, DISCRETE),
    "cmaes": ({"strategy": "cmaes"}, CONTINUOUS),
    "pbt": ({"strategy": "pbt", "population": 4, "interval": 2}, CONDITIONAL),
}
TRIALS = 24


def posted(name: str) -> dict[str, Any]:
    search, space = STUDIES[name]
    return {
        "name": "to be replayed",
        "objective": {"external": True},
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": space,
        "search": {**search, "seed": 11},
        "budget": {"trials": TRIALS},
    }


def loss(params: Params) -> float:
    return float(
        abs(math.log10(params.get("lr", 0.1)) + 2) + params.get("layers", 0) / 8 + (params.get("optimizer") == "sgd")
    )


def ending(claim: Claim) -> Result:
    """Decide how an attempt ends, by the trial and the attempt: given back, lost, failed, diverged, or completed."""
    chance = Draws(5, claim.number, salt=claim.attempt).uniform()
    if chance < 0.12:
        return Result(claim, TrialState.QUEUED, reason="released")
    if chance < 0.24:
        return Result(claim, TrialState.QUEUED, failure=Failure.LANE, error="killed")
    if chance < 0.36:
        return Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR, error="ValueError")
    if chance < 0.5:
        return Result(claim, TrialState.DIVERGED, reason="loss is NaN")
    return Result(claim, TrialState.COMPLETED, values={"val_loss": loss(claim.params)})


def work(ledger: Ledger, worker: Dispatcher, *, capacity: int) -> None:
    """Claim and end until there is nothing left; each failed trial is retried once, at once."""
    while claims := worker.claim(queue="external", capacity=capacity):
        for claim in claims:
            result = ending(claim)
            worker.finish([result])
            if result.target is TrialState.FAILED and claim.attempt == 1:
                ledger.act(interventions.retry_trial, claim.id)


def recorded(ledger: Ledger, name: str, *, workers: int) -> list[TrialRecord]:
    """Run a study to its end with so many workers at once."""
    study = ledger.create(posted(name))
    together(workers, lambda place: work(ledger, ledger.worker(f"w{place}"), capacity=1 + place % 3))
    drain(ledger.worker("last"), queue="external")
    assert ledger.study(study).record.state == "completed"
    return ledger.trials(study)


def replayed(ledger: Ledger, trial: TrialRecord) -> Replay:
    return replay(ledger.database, ledger.project, show_trial(trial.study_id, trial.number))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", STUDIES)
def test_a_whole_study_is_derived_again(ledger: Ledger, name: str, workers: int) -> None:
    trials = recorded(ledger, name, workers=workers)
    ends = Counter(trial.state for trial in trials)
    assert len(trials) == TRIALS
    assert {"completed", "diverged"} <= ends.keys()
    assert max(trial.attempt for trial in trials) > 1
    found = [replayed(ledger, trial) for trial in trials]
    assert [(each.trial.params, each.matches) for each in found] == [(each.derived, True) for each in found]


def test_what_stood_in_for_a_doubled_point_is_derived_again(ledger: Ledger) -> None:
    """Workers that read the same history before any of them wrote suggest the same points; the later ones get others."""
    raw = {**posted("bayesian on a lattice"), "search": {"strategy": "bayesian", "startup": 0, "seed": 3}}
    study = ledger.create({**raw, "space": {"layers": DISCRETE["layers"]}, "budget": {"trials": 8}})
    (first,) = ledger.worker().claim(queue="external", capacity=1)
    ledger.worker().finish([done(first)])  # with a result there is a model, whose best point all of them want
    _claim_together(ledger, study, 6)
    trials = ledger.trials(study)
    assert any("instead_of" in trial.why for trial in trials)
    assert len({(trial.params or {})["layers"] for trial in trials}) == 7
    assert [replayed(ledger, trial).matches for trial in trials] == [True] * 7


def _claim_together(ledger: Ledger, study: str, count: int) -> None:
    """Claim a trial each, all having read the same history before any of them writes."""
    study_id = read_study(study)
    assert study_id is not None
    claimers = [Claimer(ledger.database, clock=ledger.clock) for _ in range(count)]
    taken = [each._take_of(study_id, Wish(f"w{place}", "external", 1)) for place, each in enumerate(claimers)]
    with ExitStack() as stack:
        fills = [
            stack.enter_context(each.suggesting(study_id, claimed))
            for each, claimed in zip(claimers, taken, strict=True)
        ]
        for fill in fills:
            ledger.database.write(fill)


def test_what_stood_in_is_no_point_given_by_hand(ledger: Ledger) -> None:
    space = {name: {"type": "int", "low": 1, "high": 3} for name in ("layers", "width")}
    given = [Given({"layers": layers, "width": width}) for layers in (1, 2) for width in (1, 2)]
    for seed in range(4):
        raw = {**posted("bayesian on a lattice"), "search": {"strategy": "bayesian", "startup": 0, "seed": seed}}
        study = ledger.create({**raw, "space": space, "budget": {"trials": 11}})
        ledger.act(enqueue_trials, study, given)
        worker = ledger.worker()
        for _ in given:
            worker.finish([done(claim) for claim in worker.claim(queue="external", capacity=1)])
        _claim_together(ledger, study, 5)
        trials = ledger.trials(study)
        assert len({tuple((trial.params or {}).items()) for trial in trials}) == 9
        standing_in = [trial for trial in trials if "instead_of" in trial.why]
        assert standing_in
        # Given by hand once it is held, it is held by the same trial still.
        ledger.act(enqueue_trials, study, [Given(standing_in[-1].params or {})] * 2)
        assert [replayed(ledger, trial).matches for trial in ledger.trials(study)] == [None] * 4 + [True] * 5 + [
            None
        ] * 2


def test_a_trial_counts_as_failed_until_it_was_retried(ledger: Ledger) -> None:
    """Its point was taken while it had failed, though by now it has completed, later than the others looked."""
    for seed in range(6):
        raw = {**posted("bayesian on a lattice"), "search": {"strategy": "bayesian", "startup": 0, "seed": seed}}
        study = ledger.create(
            {**raw, "space": {"layers": {"type": "int", "low": 1, "high": 3}}, "budget": {"trials": 3}}
        )
        worker = ledger.worker()
        (first,) = worker.claim(queue="external", capacity=1)
        worker.finish([Result(first, TrialState.FAILED, failure=Failure.USER_ERROR, error="ValueError")])
        drain(worker, queue="external", capacity=1)
        ledger.act(interventions.retry_trial, first.id)
        drain(worker, queue="external", capacity=1)
        trials = ledger.trials(study)
        assert len({(trial.params or {})["layers"] for trial in trials}) == 3
        assert trials[0].seq > max(trial.why["cutoff"] for trial in trials)
        assert [replayed(ledger, trial).matches for trial in trials] == [True] * 3


def test_a_point_that_does_not_follow_is_told(ledger: Ledger) -> None:
    for name in ("random", "cmaes"):
        trials = recorded(ledger, name, workers=1)
        changed = {**(trials[9].params or {}), "lr": 0.123}

        def falsify(connection: Connection, trial: TrialRecord = trials[9], params: Params = changed) -> None:
            key = (Trial.study_id == trial.study_id) & (Trial.number == trial.number)
            connection.execute(update(Trial).where(key).values(params=params))

        ledger.database.write(falsify)
        found = replayed(ledger, trials[9])
        assert found.matches is False
        assert found.derived == trials[9].params


def test_a_result_that_was_changed_is_told(ledger: Ledger) -> None:
    """What a model read decides what it said: another history, another point."""
    trials = recorded(ledger, "bayesian", workers=1)

    def falsify(connection: Connection) -> None:
        connection.execute(update(Trial).where(Trial.number < 12).values(score=-Trial.score))

    ledger.database.write(falsify)
    assert not all(replayed(ledger, trial).matches for trial in trials[12:])


def test_one_that_waits_for_its_point_has_none_to_derive(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    study = ledger.create(posted("bayesian"))
    with monkeypatch.context() as patch:
        patch.setattr(Claimer, "_suggest", lambda *_: [])
        ledger.worker().claim(queue="external", capacity=1)
    with pytest.raises(Conflict, match="no point yet"):
        replay(ledger.database, ledger.project, f"{study}-0")


def test_a_point_that_was_given_is_not_derived(ledger: Ledger) -> None:
    trials = recorded(ledger, "random", workers=1)

    def give(connection: Connection) -> None:
        connection.execute(update(Trial).where(Trial.number == 3).values(draw=None, origin="queued"))

    ledger.database.write(give)
    found = replayed(ledger, trials[3])
    assert (found.matches, found.derived) == (None, None)
    assert found.note == "its point was given (queued), not suggested by the strategy"


def test_another_projects_trial_is_not_found(ledger: Ledger) -> None:
    trials = recorded(ledger, "random", workers=1)
    with pytest.raises(NotFound):
        replay(ledger.database, ledger.project + 1, show_trial(trials[0].study_id, 0))


@pytest.mark.parametrize("name", ["grid", "random", "sobol", "halton"])
def test_studies_are_equal_for_any_number_of_workers(ledger: Ledger, name: str) -> None:
    """By number, however the trials ended and whoever was first."""
    points = [[trial.params for trial in recorded(ledger, name, workers=workers)] for workers in (1, 2, 5)]
    assert points[0] == points[1] == points[2]
