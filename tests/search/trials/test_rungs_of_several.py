"""Pruning with several objectives: who is stopped at a rung, by hand, once, and whoever comes at the same time."""

from collections.abc import Sequence
from typing import Any

import pytest

from search.trials.dispatch import Claim, Dispatcher, Report
from tests.support.ledger import Ledger, definition, together

ASHA = {"kind": "asha", "reduction": 3, "min_steps": 1}
METRICS = [{"name": "val_loss", "goal": "minimize"}, {"name": "val_accuracy", "goal": "maximize"}]
Point = tuple[float, float]


def _claim(ledger: Ledger, number: int, **more: Any) -> tuple[str, Dispatcher, list[Claim]]:
    study = ledger.create(definition(trials=number, **{"pruning": ASHA, "metrics": METRICS, **more}))
    worker = ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=number)


def _report(claim: Claim, step: int, point: Point) -> Report:
    return Report(claim, step, {"val_loss": point[0], "val_accuracy": point[1]})


def _reasons(worker: Dispatcher, claims: Sequence[Claim], step: int, points: Sequence[Point]) -> list[str | None]:
    pairs = zip(claims, points, strict=True)
    return [worker.report([_report(claim, step, point)])[0].reason for claim, point in pairs]


def test_asha_by_hand(ledger: Ledger) -> None:
    """Each as it arrives: the first; one that it dominates; better in one metric, worse in the other; dominated twice."""
    _, worker, claims = _claim(ledger, 5)
    points = [(0.5, 0.5), (0.6, 0.4), (0.7, 0.9), (0.8, 0.4), (0.5, 0.5)]
    assert _reasons(worker, claims, 1, points) == [
        None,
        "asha: rank 2 of 2, on front 2, at step 1; the best 1 go on",
        None,
        "asha: rank 4 of 4, on front 3, at step 1; the best 1 go on",
        None,
    ]
    assert [(row.score, row.losses, row.stop) for row in ledger.rows("rung")] == [
        (0.5, [0.5, -0.5], False),
        (0.6, [0.6, -0.4], True),
        (0.7, [0.7, -0.9], False),
        (0.8, [0.8, -0.4], True),
        (0.5, [0.5, -0.5], False),
    ]


def test_who_is_crowded_on_the_front_stops(ledger: Ledger) -> None:
    """Two of six go on, and the ends are two."""
    _, worker, claims = _claim(ledger, 6)
    points = [(0.1, 0.1), (0.9, 0.9), (0.2, 0.2), (0.5, 0.5), (0.95, 0.1), (0.3, 0.3)]
    verdicts = worker.report([_report(claim, 1, point) for claim, point in zip(claims, points, strict=True)])
    assert [verdict.stop for verdict in verdicts] == [False, False, True, True, True, True]
    assert verdicts[5].reason == "asha: rank 4 of 6, on front 1, at step 1; the best 2 go on"
    assert verdicts[4].reason == "asha: rank 6 of 6, on front 2, at step 1; the best 2 go on"


def test_a_decision_is_made_once(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 3)
    reports = [_report(claims[0], 1, (0.5, 0.5)), _report(claims[1], 1, (0.6, 0.4))]
    before = worker.report(reports)
    _reasons(worker, claims[2:], 1, [(0.9, 0.1)])
    stored = ledger.dump()
    assert worker.report(reports) == before
    assert ledger.dump() == stored
    worker.release(claims[1:2], reason="yielded")
    (again,) = worker.claim(queue="cpu", capacity=1)
    assert _reasons(worker, [again], 1, [(0.0, 1.0)]) == [before[1].reason]
    assert ledger.trials(study)[1].state == "running"


def test_a_measurement_without_every_objective_is_not_judged(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 2)
    _reasons(worker, claims[:1], 1, [(0.1, 0.9)])
    assert not worker.report([Report(claims[1], 1, {"val_loss": 9.0})])[0].stop
    assert [row.number for row in ledger.rows("rung")] == [0]


def test_brackets_compare_within_themselves(ledger: Ledger) -> None:
    """All at one step: in each bracket somebody goes on, though the first trial dominates all others."""
    _, worker, claims = _claim(ledger, 16, pruning={"kind": "hyperband", "reduction": 2, "max_steps": 4})
    worker.report([_report(claim, 4, (claim.number / 20, 0.9 - claim.number / 20)) for claim in claims])
    rows = ledger.rows("rung")
    brackets = {row.bracket for row in rows}
    assert len(brackets) == 3
    for bracket in brackets:
        here = [row for row in rows if row.bracket == bracket]
        assert [row.stop for row in here] == [place >= max(1, len(here) // 2) for place in range(len(here))]
        assert all(f"of bracket {bracket}" in row.reason for row in here if row.stop)


def test_a_named_metric_may_have_bounds(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 1, pruning={"kind": "threshold", "metric": "val_accuracy", "lower": 0.5})
    assert _reasons(worker, claims * 2, 1, [(0.1, 0.6)] * 2) == [None, None]
    assert _reasons(worker, claims, 2, [(0.1, 0.4)]) == ["threshold: val_accuracy 0.4 is below 0.5"]
    assert [row.losses for row in ledger.rows("rung")] == [None, None]


@pytest.mark.parametrize("kept", [1, 4])
def test_reports_at_once(ledger: Ledger, kept: int) -> None:
    """The first dominates the second, and so on: whoever sees whom, the first goes on, and what was decided stands."""
    size = 3 * kept
    _, worker, claims = _claim(ledger, size)
    sent = [_report(claim, 1, (claim.number / size, 1 - claim.number / size)) for claim in claims]
    verdicts = together(size, lambda place: worker.report([sent[place]])[0])
    assert not verdicts[0].stop
    rows = {row.number: row for row in ledger.rows("rung")}
    assert [rows[claim.number].reason for claim in claims] == [verdict.reason for verdict in verdicts]
    stored = ledger.dump()
    assert [worker.report([one])[0] for one in sent] == verdicts
    assert ledger.dump() == stored
