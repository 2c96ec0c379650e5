"""Pruning over recorded curves: cases by hand, and the very decisions of the ledger, whoever reports in whatever order."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from search.definition.prunings import COMPARING, AshaPruning, Pruning
from search.pruners.simulate import Judge, simulate
from search.trials.dispatch import Claim, Dispatcher, Report
from tests.support.ledger import Ledger, definition

ASHA = AshaPruning(kind="asha", reduction=3)
PROMOTE = AshaPruning(kind="asha", reduction=3, mode="promote")
RULES: list[dict[str, Any]] = [
    {"kind": "asha", "reduction": 2},
    {"kind": "asha", "reduction": 2, "mode": "promote"},
    {"kind": "hyperband", "reduction": 2},
    {"kind": "median", "startup": 2},
    {"kind": "percentile", "percentile": 30.0, "startup": 1, "interval": 2},
    {"kind": "patience", "patience": 2, "min_delta": 0.05},
    {"kind": "patience", "patience": 1, "rule": {"kind": "median", "startup": 1, "warmup": 2}},
    {"kind": "patience", "patience": 1, "rule": {"kind": "hyperband", "reduction": 2}},
    {"kind": "threshold", "upper": 0.8, "lower": 0.05, "warmup": 2},
]


METRICS = ("val_loss", "train_loss", "val_accuracy")


def _flat(*scores: float, steps: int = 9) -> list[list[float]]:
    return [[score] * steps for score in scores]


def test_without_pruning_all_curves_are_whole() -> None:
    assert simulate(None, [[1.0] * 4, [2.0] * 2]) == [4, 2]
    assert simulate(ASHA, []) == []


def test_asha_one_after_the_other() -> None:
    """By hand: the first goes on, then only who beats the best third of those before."""
    assert simulate(ASHA, _flat(0.5, 0.6, 0.4, 0.7, 0.3)) == [9, 1, 9, 1, 9]


def test_promotion_by_hand() -> None:
    """One after the other: 0.4 is the best of three at step 1, and 0.3 of five; at step 3 both wait for a third.

    That is 0.2, the best there, as 0.1 is later. Before three have come nobody goes on, unlike where trials are stopped.
    """
    scores = (0.5, 0.6, 0.4, 0.7, 0.3, 0.8, 0.2, 0.9, 0.1)
    assert simulate(PROMOTE, _flat(*scores)) == [1, 1, 3, 1, 3, 1, 9, 1, 9]


def test_who_waits_goes_on_once_enough_are_behind() -> None:
    """0.2 comes first, and waits; with the third one there it is the best of three."""
    assert simulate(PROMOTE, _flat(0.2, 0.5, 0.6)) == [9, 1, 1]


def test_without_a_whole_curve_the_best_goes_on_in_the_end() -> None:
    """Two of three that promotion would want: neither is the best third, and yet a study should have a result."""
    assert simulate(PROMOTE, _flat(0.5, 0.4)) == [1, 9]


def test_workers_side_by_side_report_in_rounds() -> None:
    """All three are at the first rung before anyone is at the second."""
    assert simulate(AshaPruning(kind="asha", reduction=3), _flat(0.3, 0.2, 0.1), workers=3) == [9, 9, 9]
    assert simulate(AshaPruning(kind="asha", reduction=3), _flat(0.1, 0.2, 0.3), workers=3) == [9, 1, 1]


def test_two_losses_by_hand() -> None:
    """One after the other at step 1, by their points: 1 is dominated; 2, 3 and 4 are the best in one loss at their arrival.

    4 makes 2 an inner one of the front, too late for that to matter; 5, alone between them, is behind two ends.
    """
    points = [(0.5, 0.5), (0.6, 0.6), (0.4, 0.6), (0.6, 0.4), (0.1, 0.9), (0.3, 0.65)]
    curves = [[point] * 3 for point in points]
    assert simulate(AshaPruning(kind="asha", reduction=3, min_steps=2), curves) == [3, 2, 3, 3, 3, 2]


def test_equals_in_all_losses_go_on_together() -> None:
    assert simulate(ASHA, [[(0.5, 0.5)] * 2] * 4) == [2, 2, 2, 2]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(str(value) for value in rule.values())[:40])
def test_the_ledger_decides_the_same(ledger: Ledger, rule: dict[str, Any]) -> None:
    """Twelve trials report in a random order of steps; each stops, or waits, when both say so."""
    _agree(ledger, definition(trials=12, pruning=rule), METRICS[:1])


@pytest.mark.parametrize("several", [2, 3])
@pytest.mark.parametrize(
    "rule",
    [rule for rule in RULES if rule["kind"] in COMPARING and "mode" not in rule],
    ids=lambda rule: str(rule["kind"]),
)
def test_the_ledger_decides_the_same_by_several_losses(ledger: Ledger, rule: dict[str, Any], several: int) -> None:
    metrics = [{"name": name, "goal": "minimize"} for name in METRICS[:several]]
    _agree(ledger, definition(trials=12, pruning=rule, metrics=metrics), METRICS[:several])
    assert {len(row.losses) for row in ledger.rows("rung")} == {several}


def _agree(ledger: Ledger, raw: Any, metrics: Sequence[str]) -> None:
    ledger.create(raw)
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=12)
    said = _reported(worker, claims, Judge(_pruning(claims), last=20, seed=7), Random(3), metrics)
    assert any(ours is not None for ours, _ in said)
    assert any(ours is None for ours, _ in said)
    assert all(ours == theirs for ours, theirs in said), said


def _pruning(claims: list[Claim]) -> Pruning:
    pruning = claims[0].definition.pruning
    assert pruning is not None
    return pruning


def _reported(
    worker: Dispatcher, claims: list[Claim], judge: Judge, rng: Random, metrics: Sequence[str]
) -> list[tuple[str | None, str | None]]:
    """Report until all have stopped or come to step 9; return what the judge and the ledger said each time."""
    said, steps = [], {claim.number: 0 for claim in claims}
    going = list(claims)
    while going:
        claim = rng.choice(going)
        steps[claim.number] += 1
        losses = tuple(round(rng.random(), 2) for _ in metrics)
        values = dict(zip(metrics, losses, strict=True))
        (verdict,) = worker.report([Report(claim, steps[claim.number], values)])
        said.append((judge.report(claim.number, steps[claim.number], losses), verdict.reason))
        if verdict.stop or steps[claim.number] == 9:
            going.remove(claim)
    return said
