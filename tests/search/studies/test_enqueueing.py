"""Trials that a person gives a study: stored whole or not at all, run once, counted exactly."""

from collections import Counter
from typing import Any

import pytest

from models.states import TrialState
from search.errors import Conflict, InvalidValue
from search.studies import service
from search.studies.enqueueing import Enqueued, Given, enqueue_trials
from tests.support.ledger import Ledger, definition, done, drain, together

POINT = {"lr": 0.1, "warmup": 0.25}


def _give(ledger: Ledger, study: str, *given: Given) -> Enqueued:
    return ledger.act(enqueue_trials, study, list(given))


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_queued_points_are_run_first_and_cost_budget(ledger: Ledger, strategy: str) -> None:
    study = ledger.create(definition(strategy, trials=5))
    given = _give(ledger, study, Given(POINT), Given({**POINT, "lr": 0.2}))
    assert given.wake == "cpu"
    assert [(trial.number, trial.state, trial.origin) for trial in given.trials] == [
        (0, "queued", "queued"),
        (1, "queued", "queued"),
    ]
    claims = drain(ledger.worker(), capacity=2)
    assert [claim.number for claim in claims] == [0, 1, 2, 3, 4]
    assert [claim.attempt for claim in claims] == [1] * 5
    assert claims[0].params == POINT
    assert ledger.study(study).record.state == "completed"
    assert [row.draw for row in ledger.rows("trial")] == [None, None, 0, 1, 2]


def test_random_points_do_not_depend_on_what_is_queued(ledger: Ledger) -> None:
    plain = ledger.create(definition(trials=3))
    drain(ledger.worker())
    other = ledger.create(definition(trials=4))
    _give(ledger, other, Given(POINT))
    drain(ledger.worker())
    assert [trial.params for trial in ledger.trials(other)[1:]] == [trial.params for trial in ledger.trials(plain)]


def test_a_queued_trial_is_taken_by_a_client_and_lost_and_run_again(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    _give(ledger, study, Given(POINT))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.release([claim], reason="shutdown")
    (again,) = worker.claim(queue="cpu", capacity=1)
    assert (again.number, again.attempt, again.params) == (0, 2, POINT)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_grid_has_each_point_once_whatever_is_queued(ledger: Ledger, workers: int) -> None:
    study = ledger.create(definition("grid", space="grid24", trials=None))
    points = [{"optimizer": "adam", "batch_size": size} for size in (8, 64)]
    _give(ledger, study, Given(points[0]), Given(points[1], TrialState.COMPLETED, {"val_loss": 0.25}))
    together(workers, lambda place: drain(ledger.worker(f"worker-{place}"), capacity=3))
    trials = ledger.trials(study)
    assert sorted(trial.grid_index or 0 for trial in trials) == list(range(24))
    assert len({tuple(sorted(trial.params.items())) for trial in trials if trial.params}) == 24
    assert [trial.origin for trial in trials[:3]] == ["queued", "imported", "grid"]
    assert ledger.study(study).record.state == "completed"
    assert ledger.study(study).record.progress.budget == 24


def test_the_last_point_of_a_grid_may_be_imported(ledger: Ledger) -> None:
    study = ledger.create(definition("grid", space="discrete", trials=None))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=5)
    worker.finish([done(claim) for claim in claims])
    tried = [claim.params for claim in claims]
    space = [{"optimizer": name, "batch_size": size} for name in ("sgd", "adam") for size in (16, 32, 64)]
    (left,) = [point for point in space if point not in tried]
    _give(ledger, study, Given(left, TrialState.COMPLETED, {"val_loss": 0.25}))
    assert ledger.study(study).record.state == "completed"


def test_imported_trials_cost_nothing_and_count_as_evidence(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=4))
    given = _give(
        ledger,
        study,
        Given(POINT, TrialState.COMPLETED, {"val_loss": 0.01}, reason="by hand"),
        Given({**POINT, "lr": 1.0}, TrialState.DIVERGED),
        Given({**POINT, "lr": 0.3}, TrialState.PRUNED, {"val_loss": 0.9}),
    )
    assert given.wake is None
    progress = ledger.study(study).record.progress
    assert (progress.budget, progress.allocated, progress.finished, progress.running) == (7, 3, 3, 0)
    assert len(drain(ledger.worker())) == 4
    view = ledger.study(study)
    assert (view.record.state, view.record.progress.budget) == ("completed", 7)
    assert view.best is not None
    assert (view.best.number, view.best.origin, view.best.reason) == (0, "imported", "by hand")
    ledger.act(service.change_study, study, {"name": "another"})
    assert ledger.study(study).record.progress.budget == 7


def test_a_point_of_a_lattice_is_held_by_the_first_that_has_it(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", space="discrete", trials=8))
    point = {"optimizer": "adam", "batch_size": 32}
    found = Given(point, TrialState.COMPLETED, {"val_loss": 0.25})
    for given in ([found, found], [Given(point), Given({**point, "batch_size": 16})]):
        _give(ledger, study, *given)
    assert [row.dedupe_key is not None for row in ledger.rows("trial")] == [True, False, False, True]
    drain(ledger.worker())
    assert len({tuple(sorted((trial.params or {}).items())) for trial in ledger.trials(study)}) == 6


def _kinds(ledger: Ledger, study: str) -> Counter[str]:
    return Counter(trial.origin for trial in ledger.trials(study))


def test_points_beyond_the_budget_are_refused_together(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    before = ledger.dump()
    with pytest.raises(Conflict, match="no room") as caught:
        _give(ledger, study, Given(POINT), Given(POINT), Given(POINT))
    assert [fault.path for fault in caught.value.faults] == ["trials"]
    assert ledger.dump() == before


def test_many_who_queue_at_once_keep_the_budget(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=5))

    def give(place: int) -> bool:
        try:
            _give(ledger, study, Given({**POINT, "lr": 0.1 + place / 100}), Given(POINT))
        except Conflict:
            return False
        return True

    assert sum(together(4, give)) == 2
    assert _kinds(ledger, study) == {"queued": 4}
    assert len(drain(ledger.worker())) == 5


BAD: list[tuple[str, Any, list[str]]] = [
    ("outside the range", Given({**POINT, "lr": 2.0}), ["trials[1].params.lr"]),
    ("unknown and missing", Given({"lr": 0.1, "lrr": 1}), ["trials[1].params.lrr", "trials[1].params.warmup"]),
    ("a word for a number", Given({**POINT, "lr": "big"}), ["trials[1].params.lr"]),
    ("completed without its metric", Given(POINT, TrialState.COMPLETED, {"acc": 1.0}), ["trials[1].values.val_loss"]),
    ("diverged with values", Given(POINT, TrialState.DIVERGED, {"val_loss": 1.0}), ["trials[1].values"]),
]


@pytest.mark.parametrize(("given", "paths"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_points_are_named_and_nothing_is_stored(ledger: Ledger, given: Given, paths: list[str]) -> None:
    study = ledger.create(definition(trials=5))
    before = ledger.dump()
    with pytest.raises(InvalidValue) as caught:
        _give(ledger, study, Given(POINT), given)
    assert sorted(fault.path for fault in caught.value.faults) == paths
    assert ledger.dump() == before


def test_what_a_grid_has_already_or_not_at_all_is_refused(ledger: Ledger) -> None:
    study = ledger.create(definition("grid", space="discrete", trials=None))
    (claim,) = ledger.worker().claim(queue="cpu", capacity=1)
    with pytest.raises(InvalidValue, match="trial 0 already"):
        _give(ledger, study, Given(claim.params))
    other = {"optimizer": "sgd" if claim.params["optimizer"] == "adam" else "adam", "batch_size": 16}
    with pytest.raises(InvalidValue, match=r"trials\[0\] already"):
        _give(ledger, study, Given(other), Given(other))
    leveled = {"lr": {"type": "float", "low": 0.1, "high": 1.0, "levels": [0.1, 0.5]}}
    study = ledger.create(definition("grid", trials=None, space="discrete") | {"space": leveled})
    with pytest.raises(InvalidValue, match="no point of the grid"):
        _give(ledger, study, Given({"lr": 0.25}))


RATES: dict[str, Any] = {
    "base": {"type": "float", "low": 0.1, "high": 0.4, "step": 0.1},
    "batch_size": {"type": "int", "low": 16, "high": 64, "step": 16},
    "optimizer": {"type": "fixed", "value": "sgd"},
    "lr": {"type": "derived", "of": "base", "by": "batch_size", "rule": "linear", "reference": 32},
}
LIMIT = [{"terms": {"base": 100, "batch_size": 1}, "at_most": 64}]


def test_what_is_fixed_or_derived_may_be_left_out(ledger: Ledger) -> None:
    study = ledger.create({**definition(trials=3), "space": RATES, "constraints": LIMIT})
    whole = {"base": 0.2, "batch_size": 16, "optimizer": "sgd", "lr": 0.1}
    imported = Given({"base": 0.2, "batch_size": 32}, TrialState.COMPLETED, {"val_loss": 0.5})
    given = _give(ledger, study, Given({"base": 0.2, "batch_size": 16}), Given(whole), imported)
    assert [trial.params for trial in given.trials] == [whole, whole, {**whole, "batch_size": 32, "lr": 0.2}]
    with pytest.raises(InvalidValue) as caught:
        _give(
            ledger,
            study,
            Given({**whole, "optimizer": "adam"}),
            Given({**whole, "lr": 0.3}),
            Given({"base": 0.4, "batch_size": 64}),
            Given({"base": [0.1], "batch_size": 16}),
        )
    assert sorted(fault.path for fault in caught.value.faults) == [
        "trials[0].params.optimizer",
        "trials[1].params.lr",
        "trials[2].params.base",
        "trials[3].params.base",
    ]


def test_a_constrained_grid_has_each_point_once(ledger: Ledger) -> None:
    study = ledger.create({**definition("grid", trials=None), "space": RATES, "constraints": LIMIT})
    assert ledger.study(study).record.progress.budget == 4 + 3 + 1
    done_elsewhere = Given({"base": 0.3, "batch_size": 32}, TrialState.COMPLETED, {"val_loss": 0.25})
    _give(ledger, study, Given({"base": 0.1, "batch_size": 48}), done_elsewhere)
    drain(ledger.worker(), capacity=3)
    trials = ledger.trials(study)
    assert sorted(trial.grid_index or 0 for trial in trials) == list(range(8))
    assert len({tuple(sorted((trial.params or {}).items())) for trial in trials}) == 8


@pytest.mark.parametrize("verb", [service.cancel_study, None])
def test_a_study_that_has_ended_takes_none(ledger: Ledger, verb: Any) -> None:
    study = ledger.create(definition(trials=1))
    if verb is not None:
        ledger.act(verb, study)
    else:
        drain(ledger.worker())
    with pytest.raises(Conflict, match="can be added to one that runs"):
        _give(ledger, study, Given(POINT))


def test_imported_trials_keep_constraints_or_not(ledger: Ledger) -> None:
    metrics = [
        {"name": "val_loss", "goal": "minimize"},
        {"name": "train_loss", "goal": "minimize", "role": "constraint", "threshold": 0.5},
    ]
    study = ledger.create(definition(trials=2, metrics=metrics))
    with pytest.raises(InvalidValue, match=r"train_loss: is required: it is a constraint"):
        _give(ledger, study, Given(POINT, TrialState.COMPLETED, {"val_loss": 0.1}))
    kept = [
        Given(POINT, TrialState.COMPLETED, {"val_loss": 0.1 * place, "train_loss": 2.0 - place}) for place in (1, 2)
    ]
    assert [trial.violation for trial in _give(ledger, study, *kept).trials] == [1.0, 0.0]
    best = ledger.study(study).best
    assert best is not None
    assert best.number == 1
