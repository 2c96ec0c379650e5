"""Pruning: what is decided at a rung, by hand, once, and for good."""

from collections.abc import Sequence
from typing import Any

from search.pruners.table import bracket
from search.studies import views
from search.trials.dispatch import Claim, Dispatcher, Report
from tests.support.ledger import Ledger, definition, done, report

ASHA = {"kind": "asha", "reduction": 3, "min_steps": 1}
MEDIAN = {"kind": "median", "startup": 3}


def _claim(ledger: Ledger, number: int, **more: Any) -> tuple[str, Dispatcher, list[Claim]]:
    study = ledger.create(definition(trials=number, **more))
    worker = ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=number)


def _stops(worker: Dispatcher, claims: Sequence[Claim], step: int, values: Sequence[float]) -> list[bool]:
    return [worker.report([report(c, step, v)])[0].stop for c, v in zip(claims, values, strict=True)]


def test_asha_by_hand(ledger: Ledger) -> None:
    """One in three goes on at steps 1, 3, 9; of fewer than three the best; whoever equals the last of those too."""
    _, worker, claims = _claim(ledger, 7, pruning=ASHA)
    #  size          1    2    3    4    5    6    7
    #  kept          1    1    1    1    1    2    2
    #  cutoff        .5   .4   .4   .4   .3   .4   .4
    values = [0.5, 0.4, 0.6, 0.4, 0.3, 0.35, 0.4]
    assert _stops(worker, claims, 1, values) == [False, False, True, False, False, False, True]
    assert not any(_stops(worker, claims[3:6], 2, [9.0, 9.0, 9.0]))  # no rung
    assert _stops(worker, claims[4:6], 3, [0.2, 0.3]) == [False, True]


def test_median_by_hand(ledger: Ledger) -> None:
    """From the fourth value on a step, the worse half stops; the middle one goes on."""
    _, worker, claims = _claim(ledger, 6, pruning=MEDIAN)
    #  size      1    2    3    4    5    6
    #  kept      1    2    3    2    3    3
    #  cutoff                  .3   .3   .3
    values = [0.1, 0.9, 0.3, 0.4, 0.2, 0.35]
    assert _stops(worker, claims, 5, values) == [False, False, False, True, False, True]


def test_a_decision_is_made_once(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 4, pruning=ASHA)
    for claim, value in zip(claims, (0.1, 0.2, 0.3, 0.05), strict=True):
        worker.report([report(claim, 1, value)])
    rungs = [(row.number, row.step, row.stop) for row in ledger.rows("rung")]
    assert rungs == [(0, 1, False), (1, 1, True), (2, 1, True), (3, 1, False)]
    before = ledger.dump()
    again = worker.report([report(claim, 1, value) for claim, value in zip(claims, (0.1, 0.2, 0.3, 0.05), strict=True)])
    assert [verdict.stop for verdict in again] == [False, True, True, False]
    assert again[1].reason == "asha: behind the best 1 of 2 at step 1; the best 1 go on"
    assert ledger.dump() == before


def test_a_batch_of_reports_is_decided_together(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 3, pruning=ASHA)
    verdicts = worker.report([report(c, 1, v) for c, v in zip(claims, (0.3, 0.1, 0.2), strict=True)])
    assert [verdict.stop for verdict in verdicts] == [True, False, True]


def test_who_has_trained_to_the_end_is_not_stopped(ledger: Ledger) -> None:
    raw = definition(trials=2, pruning=ASHA)
    ledger.create({**raw, "objective": {**raw["objective"], "epochs": 3}})
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    assert _stops(worker, claims, 3, [0.1, 0.9]) == [False, False]


def test_completed_after_a_stop_is_pruned(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2, pruning=ASHA)
    _stops(worker, claims, 1, [0.1, 0.2])
    assert worker.finish([done(claims[1], 0.01)]) == {claims[1].token: "accepted"}
    assert worker.finish([done(claims[1], 0.01)]) == {claims[1].token: "repeated"}
    worker.finish([done(claims[0], 0.1)])
    trial = ledger.trials(study)[1]
    assert (trial.state, trial.values) == ("pruned", {"val_loss": 0.01})
    assert (trial.reason or "").startswith("asha: behind the best")
    assert ledger.read(views.best_trial, study).number == 0


def test_a_decision_stands_for_the_next_attempt(ledger: Ledger) -> None:
    study, worker, claims = _claim(ledger, 2, pruning=ASHA)
    _stops(worker, claims, 1, [0.1, 0.2])
    worker.release(claims[1:], reason="yielded")
    (again,) = worker.claim(queue="cpu", capacity=1)
    assert _stops(worker, [again], 1, [0.05]) == [True]
    assert [row.score for row in ledger.rows("rung")] == [0.1, 0.2]
    worker.finish([done(again)])
    assert ledger.trials(study)[1].state == "pruned"


def test_pruning_looks_at_the_optimized_metric(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 2, pruning=ASHA, metrics=[{"name": "val_accuracy", "goal": "maximize"}])
    values = [{"val_accuracy": 0.9, "val_loss": 9.0}, {"val_accuracy": 0.8, "val_loss": 0.1}]
    reports = [Report(claim, 1, value) for claim, value in zip(claims, values, strict=True)]
    assert [verdict.stop for verdict in worker.report(reports)] == [False, True]
    assert not worker.report([Report(claims[0], 3, {"val_loss": 0.1})])[0].stop


def test_several_steps_in_one_call_are_judged_rung_by_rung(ledger: Ledger) -> None:
    """By hand, one in three goes on: at step 1 trials 0 and 1 of six, at step 3 trial 2 of those six and no other."""
    _, worker, claims = _claim(ledger, 6, pruning=ASHA)
    at = {1: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2: [9.0] * 6, 3: [0.6, 0.5, 0.1, 0.4, 0.3, 0.9]}
    reports = [report(claim, step, at[step][claim.number]) for claim in claims for step in (1, 2, 3)]
    verdicts = worker.report(reports)
    stops = {(row.number, row.step) for row in ledger.rows("rung") if row.stop}
    assert stops == {(2, 1), (3, 1), (4, 1), (5, 1), (0, 3), (1, 3), (3, 3), (5, 3)}
    told = {(sent.claim.number, sent.step) for sent, verdict in zip(reports, verdicts, strict=True) if verdict.stop}
    # Every trial has a decision against it by now, and hears of it with each report at a rung; at step 2 there is none.
    assert told == {(number, step) for number in range(6) for step in (1, 3)}
    assert worker.report(reports) == verdicts


def test_all_scores_of_a_call_count_before_anyone_is_judged(ledger: Ledger) -> None:
    """Whatever the order of the reports: the same trials stop."""
    _, worker, claims = _claim(ledger, 12, pruning=ASHA)
    halves = [claims[:6], claims[6:]]
    for half, order in zip(halves, (1, -1), strict=True):
        worker.report([report(claim, 1, (claim.number % 6 + 1) / 10) for claim in half[::order]])
    stopped = [row.number for row in ledger.rows("rung") if row.stop]
    # Of the first six two go on; of all twelve four, so of the latter half 0.1 and 0.2 once more.
    assert stopped == [2, 3, 4, 5, 8, 9, 10, 11]


def test_a_call_of_two_studies_judges_each_by_itself(ledger: Ledger) -> None:
    _, worker, first = _claim(ledger, 3, pruning=ASHA)
    ledger.create(definition(trials=4, pruning=MEDIAN))
    second = worker.claim(queue="cpu", capacity=4)
    values = (0.1, 0.2, 0.3, 0.4)
    mixed = [
        report(claim, 1, value) for claims in (first, second) for claim, value in zip(claims, values, strict=False)
    ]
    assert [verdict.stop for verdict in worker.report(mixed)] == [False, True, True, False, False, True, True]


def test_one_contradiction_refuses_no_other_report_of_the_call(ledger: Ledger) -> None:
    """The same step twice in one call: the first one stands, and is judged."""
    _, worker, claims = _claim(ledger, 2, pruning=ASHA)
    verdicts = worker.report([report(claims[0], 1, 0.1), report(claims[1], 1, 0.2), report(claims[1], 1, 0.05)])
    assert [(verdict.accepted, verdict.stop) for verdict in verdicts] == [(True, False), (True, True), (False, False)]
    assert [(row.score, row.stop) for row in ledger.rows("rung")] == [(0.1, False), (0.2, True)]


def test_percentile_by_hand(ledger: Ledger) -> None:
    """The best quarter, rounded up, from the third value on."""
    pruning = {"kind": "percentile", "percentile": 25.0, "startup": 2}
    _, worker, claims = _claim(ledger, 6, pruning=pruning)
    #  size      1    2    3    4    5    6
    #  kept      1    2    1    1    2    2
    assert _stops(worker, claims, 4, [0.5, 0.9, 0.6, 0.4, 0.5, 0.45]) == [False, False, True, False, False, False]


def test_hyperband_compares_within_a_bracket(ledger: Ledger) -> None:
    """At step 4, a rung of all three brackets, those of the third are judged among themselves."""
    _, worker, claims = _claim(ledger, 16, pruning={"kind": "hyperband", "reduction": 2, "max_steps": 4})
    pruning = claims[0].definition.pruning
    assert pruning is not None
    places = [bracket(pruning, claim.number, seed=7) for claim in claims]
    assert set(places) == {0, 1, 2}
    first, third = places.index(0), places.index(2)
    later = places.index(2, third + 1)
    assert _stops(worker, [claims[third]], 1, [9.0]) == [False]  # no rung of its own
    assert _stops(worker, [claims[first], claims[third], claims[later]], 4, [0.1, 0.8, 0.9]) == [False, False, True]
    assert {(row.number, row.step, row.bracket) for row in ledger.rows("rung")} == {
        (first, 4, 0),
        (third, 4, 2),
        (later, 4, 2),
    }


def test_patience_looks_at_the_trial_alone(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 2, pruning={"kind": "patience", "patience": 2})
    assert _stops(worker, [claims[0]] * 2, 1, [0.5, 0.5]) == [False, False]
    worker.report([report(claims[1], 1, 0.1)])
    (second,) = worker.report([report(claims[0], 2, 0.6)])
    (third,) = worker.report([report(claims[0], 3, 0.5)])
    assert (second.stop, third.stop, third.reason) == (False, True, "patience: no improvement in 2 measurements")
    assert worker.report([report(claims[0], 3, 0.5)]) == [third]


def test_patience_judges_a_batch_step_by_step(ledger: Ledger) -> None:
    _, worker, claims = _claim(ledger, 2, pruning={"kind": "patience", "patience": 2})
    curves = [[0.5, 0.4, 0.45, 0.4, 0.3], [0.5, 0.4, 0.3, 0.2, 0.1]]
    worker.report([report(claims[n], step, curves[n][step - 1]) for step in (1, 2, 3, 4, 5) for n in (0, 1)])
    assert [(row.number, row.step) for row in ledger.rows("rung") if row.stop] == [(0, 4)]


def test_patience_around_a_rule_stops_nothing_that_improves(ledger: Ledger) -> None:
    """At step 3 both are behind the best third; one of them still improves."""
    _, worker, claims = _claim(ledger, 3, pruning={"kind": "patience", "patience": 2, "rule": ASHA})
    curves = [[0.3, 0.2, 0.1], [0.9, 0.8, 0.7], [0.5, 0.6, 0.6]]
    for step in (1, 2):
        assert not any(_stops(worker, claims, step, [curve[step - 1] for curve in curves]))
    assert _stops(worker, claims, 3, [0.1, 0.7, 0.6]) == [False, False, True]
    (reason,) = [row.reason for row in ledger.rows("rung") if row.stop]
    assert reason == (
        "patience: no improvement in 2 measurements; asha: behind the best 1 of 3 at step 3; the best 1 go on"
    )


def test_threshold_on_a_named_metric(ledger: Ledger) -> None:
    pruning = {"kind": "threshold", "metric": "train_loss", "upper": 2.0, "warmup": 1}
    _, worker, claims = _claim(ledger, 1, pruning=pruning)
    values = [{"val_loss": 0.1, "train_loss": 5.0}, {"val_loss": 9.0}, {"val_loss": 0.1, "train_loss": 2.5}]
    verdicts = worker.report([Report(claims[0], step, said) for step, said in enumerate(values, start=1)])
    assert [verdict.stop for verdict in verdicts] == [False, False, True]
    assert verdicts[2].reason == "threshold: train_loss 2.5 is above 2"
    assert [(row.step, row.score, row.stop) for row in ledger.rows("rung")] == [(3, 2.5, True)]


def test_a_threshold_bounds_the_value_not_the_score(ledger: Ledger) -> None:
    more = {"metrics": [{"name": "val_accuracy", "goal": "maximize"}], "pruning": {"kind": "threshold", "lower": 0.5}}
    _, worker, claims = _claim(ledger, 1, **more)
    verdicts = [worker.report([Report(claims[0], step, {"val_accuracy": 1 - step / 4})])[0] for step in (1, 2, 3)]
    assert [verdict.stop for verdict in verdicts] == [False, False, True]
