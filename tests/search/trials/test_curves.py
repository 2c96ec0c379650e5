"""Learning curves as evidence: rung scores of trials that run, wait or were tried again, in suggestions and in replay."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from models.ids import show_trial
from models.states import TrialState
from search.records import Params, TrialRecord
from search.studies import interventions
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from search.trials.replaying import replay
from tests.search.trials.test_statements import counting
from tests.support.ledger import Ledger, done, report, together

LAST = 4
STOP: Mapping[str, Any] = {"kind": "asha", "reduction": 2}
PROMOTE: Mapping[str, Any] = {**STOP, "mode": "promote"}
# Every step is a rung, and nobody is stopped there.
WATCH: Mapping[str, Any] = {"kind": "median", "startup": 1000}
NUMBERS = {"lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}}
MODEL = {"strategy": "bayesian", "seed": 5, "startup": 4}


def study_of(
    ledger: Ledger, *, trials: int = 28, pruning: Mapping[str, Any] | None = WATCH, search: Mapping[str, Any] = MODEL
) -> str:
    return ledger.create(
        {
            "name": "learning curves",
            "objective": {"external": True, "steps": LAST},
            "metrics": [{"name": "val_loss", "goal": "minimize"}],
            "space": NUMBERS,
            "search": search,
            "pruning": pruning,
            "budget": {"trials": trials},
        }
    )


def claim(worker: Dispatcher, capacity: int = 1) -> list[Claim]:
    return worker.claim(queue="external", capacity=capacity)


def loss(params: Params, step: int) -> float:
    """Return a loss that falls the faster the worse it is: what a curve comes to depends on where it was cut."""
    found: float = 10 * abs(params["lr"] - 0.3) * (0.5 + 1 / step) + 2 / step
    return found


def train(worker: Dispatcher, running: Claim, steps: range) -> bool:
    """Report these steps; say whether the trial is to stop."""
    reports = [report(running, step, loss(running.params, step)) for step in steps]
    return any(verdict.stop for verdict in worker.report(reports))


def complete(worker: Dispatcher, running: Claim, begin: int = 1) -> None:
    train(worker, running, range(begin, LAST + 1))
    worker.finish([done(running, loss(running.params, LAST))])


def replays(ledger: Ledger, trials: list[TrialRecord]) -> list[bool | None]:
    return [replay(ledger.database, ledger.project, show_trial(each.study_id, each.number)).matches for each in trials]


def test_what_runs_at_rungs_is_seen_and_derived_again(ledger: Ledger) -> None:
    """One worker at a time reads the rungs that others wrote since it looked, though nothing moved a `seq`."""
    study = study_of(ledger)
    worker, other = ledger.worker(), ledger.worker("other")
    running, *whole = claim(worker, 4)
    for each in whole:
        complete(worker, each)
    train(other, running, range(1, 2))
    (second,) = claim(worker)
    train(other, running, range(2, 4))
    (third,) = claim(worker)
    seen = [(trial.why.get("reached"), trial.why["pending"]) for trial in ledger.trials(study)[4:]]
    assert seen == [({"0": 1}, []), ({"0": 3}, [4])]
    for each, begin in ((running, LAST), (second, 1), (third, 1)):
        complete(other, each, begin)
    assert replays(ledger, ledger.trials(study)) == [True] * 6


def test_a_rung_that_was_reached_since_is_read(ledger: Ledger) -> None:
    study = study_of(ledger)
    worker = ledger.worker()
    running, *whole = claim(worker, 4)
    for each in whole:
        complete(worker, each)
    seen = []
    for step in range(1, LAST):
        train(worker, running, range(step, step + 1))
        claim(worker)
        seen.append(ledger.trials(study)[-1].why.get("reached", {}).get("0"))
    assert seen == [1, 2, 3]
    assert replays(ledger, ledger.trials(study)) == [True] * 7


@pytest.mark.parametrize("end", [TrialState.DIVERGED, TrialState.FAILED, TrialState.QUEUED])
def test_what_it_had_come_to_stands_whatever_becomes_of_it(ledger: Ledger, end: TrialState) -> None:
    """It diverges, fails and is tried again, or is given back; its next attempt begins anew, and its rungs stand."""
    study = study_of(ledger)
    worker = ledger.worker()
    running, *whole = claim(worker, 4)
    for each in whole:
        complete(worker, each)
    train(worker, running, range(1, 4))
    claim(worker)
    failure = Failure.USER_ERROR if end is TrialState.FAILED else None
    worker.finish([Result(running, end, failure=failure, reason="so it goes")])
    if end is TrialState.FAILED:
        ledger.act(interventions.retry_trial, running.id)
    (again,) = claim(worker)
    assert (again.number, again.attempt) == ((0, 2) if end is not TrialState.DIVERGED else (5, 1))
    claim(worker)
    suggested = [trial.why for trial in ledger.trials(study)[4:]]
    goes_on = end is not TrialState.DIVERGED
    assert [why.get("reached") for why in suggested] == [{"0": 3}, {"0": 3} if goes_on else None, *[None][goes_on:]]
    assert replays(ledger, ledger.trials(study)) == [True] * len(ledger.trials(study))


def test_what_waited_is_known_though_it_has_no_result_in_the_end(ledger: Ledger) -> None:
    study = study_of(ledger, pruning={**PROMOTE, "reduction": 3}, search={**MODEL, "startup": 0})
    worker = ledger.worker()
    while (each := claim(worker)[0]).attempt == 1:
        train(worker, each, range(1, 2))
        worker.finish([Result(each, TrialState.QUEUED, values={"val_loss": loss(each.params, 1)})])
    worker.finish([Result(each, TrialState.DIVERGED)])
    trials = ledger.trials(study)
    assert [trial.why.get("waiting") for trial in trials] == [None, {"0": 1}, {"0": 1, "1": 1}]
    assert each.number == 0
    assert trials[2].origin == "model"
    assert replays(ledger, trials) == [True] * 3


def play(ledger: Ledger, worker: Dispatcher, rng: Random, *, capacity: int) -> None:
    """Train up to so many trials at once, a step of any of them at a time, until there is nothing left."""
    held: dict[int, tuple[Claim, int]] = {}
    while True:
        if len(held) < capacity:
            held |= {each.number: (each, 1) for each in claim(worker, capacity - len(held))}
        if not held:
            return
        running, step = held.pop(rng.choice(sorted(held)))
        stops = train(worker, running, range(step, step + 1))
        if not stops and step < LAST and rng.random() > 0.05:
            held[running.number] = running, step + 1
            continue
        result = ending(rng, running, step, stops=stops)
        worker.finish([result])
        if result.target is TrialState.FAILED and running.attempt == 1:
            ledger.act(interventions.retry_trial, running.id)


def ending(rng: Random, running: Claim, step: int, *, stops: bool) -> Result:
    """Say how an attempt ends that was told to stop, has come to the last step, or ends before its time."""
    values = {"val_loss": loss(running.params, step)}
    if stops or step == LAST:
        return Result(running, TrialState.COMPLETED, values=values)
    return rng.choice(
        [
            Result(running, TrialState.QUEUED, reason="released"),
            Result(running, TrialState.QUEUED, failure=Failure.LANE, error="killed"),
            Result(running, TrialState.FAILED, failure=Failure.USER_ERROR, error="ValueError"),
            Result(running, TrialState.DIVERGED, reason="loss is NaN"),
        ]
    )


@pytest.mark.parametrize(
    ("pruning", "workers"),
    [(STOP, 1), (PROMOTE, 1), ({"kind": "hyperband", "reduction": 2}, 3), ({"kind": "median"}, 3)],
)
def test_whole_studies_are_derived_again(ledger: Ledger, pruning: Mapping[str, Any], workers: int) -> None:
    study = study_of(ledger, pruning=pruning)
    together(workers, lambda place: play(ledger, ledger.worker(f"w{place}"), Random(place), capacity=6 // workers))
    assert ledger.study(study).record.state == "completed"
    trials = ledger.trials(study)
    # Of several workers it is chance who has completed while points are asked for.
    assert workers > 1 or sum("reached" in trial.why for trial in trials) > 5
    assert not any(set(map(str, trial.why["pending"])) & trial.why.get("reached", {}).keys() for trial in trials)
    assert replays(ledger, trials) == [True] * len(trials)


@pytest.mark.parametrize(
    ("search", "pruning", "curves"),
    [
        (MODEL, WATCH, 1),
        (MODEL, {"kind": "threshold", "upper": 1e9}, 0),
        (MODEL, None, 0),
        ({"strategy": "cmaes"}, WATCH, 0),
        ({"strategy": "nsga2"}, WATCH, 0),
        ({"strategy": "random"}, WATCH, 0),
    ],
)
def test_rungs_are_read_in_one_statement_where_curves_are_wanted(
    ledger: Ledger, search: Mapping[str, Any], pruning: Mapping[str, Any] | None, curves: int
) -> None:
    study_of(ledger, search=search, pruning=pruning)
    worker = ledger.worker()
    running, *whole = claim(worker, 4)
    train(worker, running, range(1, 2))
    for each in whole:
        complete(worker, each)
    with counting(ledger.database) as sent:
        claim(worker)
    assert sum("rung.score" in statement for statement in sent) == curves
