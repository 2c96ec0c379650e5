"""Studies with constraints, fixed and derived values, from the claim to what is shown."""

from collections.abc import Mapping
from typing import Any

import pytest

from search.definition.parse import StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.space.validation import validate_point
from search.trials.dispatch import Claim
from tests.support.ledger import Ledger, definition, done, together
from tests.support.spaces import choice, derived, fixed, number, whole
from workers.running import Terms, manner_of, start_message

SPACE: Mapping[str, Any] = {
    "base_lr": number(1e-3, 1e-1, scale="log", levels=2),
    "batch_size": choice(16, 64),
    "lr": derived("base_lr", "batch_size", "sqrt", 16),
    "warmup": number(0, 0.5, step=0.25),
    "decay_last": number(0.25, 1, step=0.25),
    "decay_final": fixed(0.1),
}


def scaled(strategy: str, **more: Any) -> dict[str, Any]:
    raw: dict[str, Any] = definition(strategy, trials=None if strategy == "grid" else 12, **more)
    raw["objective"]["schedule"] = "wsd"
    raw["space"] = dict(SPACE)
    raw["constraints"] = [{"terms": {"warmup": 1, "decay_last": 1}, "at_most": 1.0}]
    return raw


def run(ledger: Ledger, raw: dict[str, Any], capacity: int = 4) -> tuple[StudyDefinition, list[Claim]]:
    ledger.create(raw)
    worker, claims = ledger.worker(), []
    while batch := worker.claim(queue="cpu", capacity=capacity):
        claims += batch
        worker.finish([done(claim, float(claim.params["lr"])) for claim in batch])
    return parse_study(raw), claims


@pytest.mark.parametrize("strategy", ["random", "bayesian", "grid"])
def test_every_trial_is_a_point_that_keeps_the_constraints(ledger: Ledger, strategy: str) -> None:
    study, claims = run(ledger, scaled(strategy))
    # Of 3 x 4 pairs of shares nine sum to at most 1.
    assert len(claims) == (2 * 2 * 9 if strategy == "grid" else 12)
    assert [validate_point(plan_of(study), claim.params) for claim in claims] == [[]] * len(claims)
    for claim in claims:
        assert claim.params["decay_final"] == 0.1
        ratio = {16: 1.0, 64: 2.0}[claim.params["batch_size"]]
        assert claim.params["lr"] == pytest.approx(claim.params["base_lr"] * ratio)


def test_a_trainer_is_handed_options_alone(ledger: Ledger) -> None:
    ledger.create(scaled("random"))
    (claim,) = ledger.worker().claim(queue="cpu", capacity=1)
    handed = start_message(claim, Terms(), manner_of(claim.definition))["params"]
    assert handed == {name: value for name, value in claim.params.items() if name != "base_lr"}
    assert handed.keys() == SPACE.keys() - {"base_lr"}


def test_constrained_random_points_are_equal_for_any_number_of_workers(ledger: Ledger) -> None:
    _, alone = run(ledger, scaled("random"), capacity=1)
    _, in_batches = run(ledger, scaled("random"), capacity=5)
    assert [claim.params for claim in alone] == [claim.params for claim in in_batches]


def test_a_constrained_grid_is_run_once_by_many_workers(ledger: Ledger) -> None:
    study = ledger.create(scaled("grid"))

    def work(_: int) -> None:
        worker = ledger.worker()
        while batch := worker.claim(queue="cpu", capacity=3):
            worker.finish([done(claim, 1.0) for claim in batch])

    together(6, work)
    trials = ledger.trials(study)
    assert sorted(trial.number for trial in trials) == list(range(36))
    assert len({str(sorted((trial.params or {}).items())) for trial in trials}) == 36


def test_a_wholly_discrete_study_runs_out_of_points_last(ledger: Ledger) -> None:
    raw = definition("bayesian", trials=8)
    raw["space"] = {"batch_size": whole(1, 4), "warmup_steps": whole(0, 3)}
    raw["constraints"] = [{"terms": {"batch_size": 1, "warmup_steps": 1}, "at_most": 3}]
    raw["search"]["startup"] = 2
    ledger.create(raw)
    worker, points = ledger.worker(), []
    while batch := worker.claim(queue="cpu", capacity=1):
        points += [tuple(sorted(claim.params.items())) for claim in batch]
        worker.finish([done(claim, 1.0) for claim in batch])
    assert len(points) == 8
    assert len(set(points)) == 6  # all there are: (1, 0..2), (2, 0..1), (3, 0)
    assert len(set(points[:6])) == 6
