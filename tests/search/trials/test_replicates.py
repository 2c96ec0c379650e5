"""The end of a study with a verdict: replicates are queued once, run unpruned on fresh seeds, and judged."""

from collections import Counter
from typing import Any

import pytest

from models.closings import close_if_spent
from models.ids import read_study
from models.states import TrialState
from search.errors import Conflict, InvalidStudy, NotFound
from search.records import TrialRecord
from search.space.sampling import derive_seed
from search.studies import service
from search.studies.enqueueing import Given, enqueue_trials
from search.studies.verdicts import VerdictView, view_verdict
from search.trials.dispatch import Claim, Dispatcher, Result
from tests.support.ledger import Ledger, definition, done, report, together

ASKED = {"replicates": 3, "finalists": 2}
KEPT = 9


def _study(ledger: Ledger, strategy: str = "random", *, searched: int = 4, **more: Any) -> str:
    verdict = {**ASKED, **more.pop("verdict", {})}
    return ledger.create(definition(strategy, trials=searched + KEPT, verdict=verdict, **more))


def _loss(claim: Claim) -> float:
    """Return a loss that is least for the largest lr, and shakes a little with the seed."""
    return float(1.0 - claim.params["lr"] + claim.seed % 1000 / 1e6)


def _run(worker: Dispatcher, *, capacity: int = 4, value: Any = _loss) -> list[Claim]:
    every: list[Claim] = []
    while claims := worker.claim(queue="cpu", capacity=capacity):
        every += claims
        worker.finish([done(claim, value(claim)) for claim in claims])
    return every


def _replicates(ledger: Ledger, study: str) -> list[TrialRecord]:
    return [trial for trial in ledger.trials(study) if trial.origin == "replicate"]


def _verdict(ledger: Ledger, study: str) -> VerdictView:
    return ledger.read(view_verdict, study)


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_the_best_and_the_baseline_are_run_again_inside_the_budget(ledger: Ledger, strategy: str) -> None:
    study = _study(ledger, strategy)
    claims = _run(ledger.worker())
    assert [claim.number for claim in claims] == list(range(4 + KEPT))
    assert ledger.study(study).record.state == "completed"
    again = _replicates(ledger, study)
    assert [trial.number for trial in again] == list(range(4, 4 + KEPT))
    ranked = sorted(ledger.trials(study)[:4], key=lambda trial: trial.score or 0.0)
    assert Counter((trial.why["role"], trial.why["replicate_of"]) for trial in again) == {
        ("baseline", None): 3,
        ("finalist", ranked[0].number): 3,
        ("finalist", ranked[1].number): 3,
    }
    assert [claim.seed for claim in claims[4:]] == [derive_seed(7, trial.number) for trial in again]
    assert len({claim.seed for claim in claims}) == len(claims)
    best = ledger.study(study).best
    assert best is not None
    assert best.number == ranked[0].number


def test_the_verdict_is_from_replicates_alone(ledger: Ledger) -> None:
    study = _study(ledger)

    def lucky(claim: Claim) -> float:
        return 0.0 if claim.number == 2 else _loss(claim)

    _run(ledger.worker(), value=lucky)
    view = _verdict(ledger, study)
    winner = view.finalists[view.judgement.winner or 0]
    assert 0.0 not in winner.values
    assert view.baseline.params == {"lr": 1e-3, "warmup": 0.0}
    assert (len(view.baseline.values), len(winner.values)) == (3, 3)
    assert view.judgement.verdict == "improved"
    assert view.judgement.difference is not None
    assert view.judgement.difference < 0


def test_workers_at_once_queue_them_once(ledger: Ledger) -> None:
    study = _study(ledger, searched=6)
    together(4, lambda place: _run(ledger.worker(f"worker-{place}"), capacity=2))
    _run(ledger.worker())  # whoever found nothing while the last search trial ran is gone
    assert ledger.study(study).record.state == "completed"
    assert len(_replicates(ledger, study)) == KEPT


def test_the_search_does_not_touch_what_is_kept(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=100)
    assert len(claims) == 4
    assert worker.claim(queue="cpu", capacity=100) == []
    worker.finish([done(claim) for claim in claims[:3]])
    assert worker.claim(queue="cpu", capacity=100) == []
    assert _replicates(ledger, study) == []
    worker.finish([done(claims[3])])
    assert ledger.study(study).record.state == "running"
    assert len(worker.claim(queue="cpu", capacity=100)) == KEPT


def test_a_last_trial_that_is_lost_or_fails_brings_them_too(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    *first, last = worker.claim(queue="cpu", capacity=4)
    worker.finish([done(claim) for claim in first])
    worker.finish([Result(last, TrialState.FAILED, reason="it broke")])
    assert len(worker.claim(queue="cpu", capacity=100)) == KEPT
    assert ledger.study(study).counts == {"completed": 3, "failed": 1, "running": KEPT}


def test_nothing_prunes_a_replicate(ledger: Ledger) -> None:
    study = _study(ledger, pruning={"kind": "asha", "min_steps": 1, "reduction": 2})
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=4)
    assert any(verdict.stop for verdict in worker.report([report(claim, 1, _loss(claim)) for claim in claims]))
    worker.finish([done(claim, _loss(claim)) for claim in claims])
    again = worker.claim(queue="cpu", capacity=KEPT)
    assert not any(verdict.stop for verdict in worker.report([report(claim, 1, 9.0) for claim in again]))
    worker.finish([done(claim, 9.0) for claim in again])
    assert {trial.state for trial in _replicates(ledger, study)} == {"completed"}


def test_fewer_finalists_get_more_runs_and_the_budget_is_spent(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=4)
    worker.finish([done(claims[0]), *(Result(claim, TrialState.DIVERGED) for claim in claims[1:])])
    _run(worker)
    assert Counter(trial.why["role"] for trial in _replicates(ledger, study)) == {"baseline": 5, "finalist": 4}


def test_a_search_without_a_result_fails_without_replicates(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    worker.finish([Result(claim, TrialState.DIVERGED) for claim in worker.claim(queue="cpu", capacity=4)])
    assert worker.claim(queue="cpu", capacity=4) == []
    record = ledger.study(study).record
    assert (record.state, record.reason, record.progress.allocated) == ("failed", "no trial completed", 4)
    assert _verdict(ledger, study).judgement.verdict == "not distinguishable"


def test_a_search_that_knows_the_baseline_alone_says_so(ledger: Ledger) -> None:
    study = _study(ledger, searched=1, start_from_default=True)
    _run(ledger.worker())
    assert ledger.study(study).record.state == "completed"
    assert "besides the baseline" in _verdict(ledger, study).judgement.reason


def test_the_baseline_may_be_named_and_is_no_finalist(ledger: Ledger) -> None:
    point = {"lr": 1.0, "warmup": 0.0}
    study = _study(ledger, verdict={"baseline": {"params": point}}, start_from_default=True)
    _run(ledger.worker())
    view = _verdict(ledger, study)
    assert view.baseline.params == point
    assert view.judgement.verdict == "worse"


def test_a_grid_keeps_its_points_beside_the_replicates(ledger: Ledger) -> None:
    study = ledger.create(definition("grid", space="discrete", trials=None, verdict=ASKED))
    _run(ledger.worker(), value=lambda claim: claim.params["batch_size"] / 100)
    trials = ledger.trials(study)
    assert [trial.grid_index for trial in trials[6:]] == [None] * KEPT
    assert sorted(trial.grid_index or 0 for trial in trials[:6]) == list(range(6))
    assert ledger.study(study).record.progress.budget == 6 + KEPT


def test_a_study_that_ends_early_has_no_replicates(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=20, budget={"trials": 20, "seconds": 60}, verdict=ASKED))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(claims[0])])
    ledger.clock.move(61)
    worker.finish([done(claims[1])])
    assert worker.claim(queue="cpu", capacity=2) == []
    assert (ledger.study(study).record.state, _replicates(ledger, study)) == ("completed", [])
    assert _verdict(ledger, study).judgement.verdict == "not distinguishable"


def test_there_is_none_before_the_end_and_none_unasked(ledger: Ledger) -> None:
    study = _study(ledger)
    with pytest.raises(Conflict, match="the search goes on: 0 of 13"):
        _verdict(ledger, study)
    worker = ledger.worker()
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=4)])
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=4)])
    with pytest.raises(Conflict, match="4 of 9 replicates"):
        _verdict(ledger, study)
    other = ledger.create(definition(trials=2))
    with pytest.raises(NotFound, match="asked for no verdict"):
        _verdict(ledger, other)


def test_the_budget_is_raised_before_the_replicates_and_never_after(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    worker.finish([done(claim, _loss(claim)) for claim in worker.claim(queue="cpu", capacity=4)])
    with pytest.raises(InvalidStudy, match="9 kept for the verdict"):
        ledger.act(service.change_study, study, {"budget": {"trials": 12}})
    ledger.act(service.change_study, study, {"budget": {"trials": 14}})
    claims = worker.claim(queue="cpu", capacity=4)
    assert [claim.number for claim in claims] == [4]
    worker.finish([done(claim, _loss(claim)) for claim in claims])
    assert len(worker.claim(queue="cpu", capacity=100)) == KEPT
    with pytest.raises(Conflict, match="stays what it is"):
        ledger.act(service.change_study, study, {"budget": {"trials": 40}})
    ledger.act(service.change_study, study, {"name": "renamed"})


def test_a_paused_or_cancelled_study_queues_none(ledger: Ledger) -> None:
    study = _study(ledger)
    worker = ledger.worker()
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=4)])
    ledger.act(service.pause_study, study)
    assert worker.claim(queue="cpu", capacity=4) == []
    ledger.act(service.resume_study, study)
    assert len(worker.claim(queue="cpu", capacity=4)) == 4
    ledger.act(service.cancel_study, study)
    assert worker.claim(queue="cpu", capacity=4) == []


def test_the_baseline_is_filled_in_and_keeps_the_constraints(ledger: Ledger) -> None:
    share = {"type": "float", "low": 0.0625, "high": 0.9375}
    changed: dict[str, Any] = {
        "space": {"lr": share, "warmup": share, "optimizer": {"type": "fixed", "value": "sgd"}},
        "constraints": [{"terms": {"lr": 1, "warmup": 1}, "at_most": 1}],
    }

    def create(**verdict: Any) -> str:
        raw = definition(trials=4 + KEPT, verdict={**ASKED, **verdict})
        return ledger.create({**raw, **changed})

    with pytest.raises(InvalidStudy, match=r"verdict.baseline.params.lr"):
        create(baseline={"params": {"lr": 0.75, "warmup": 0.5}})
    with pytest.raises(InvalidStudy, match=r"verdict.baseline.params.lr"):
        create(baseline={"params": {"lr": [], "warmup": 0.5}})
    study = create(baseline={"params": {"lr": 0.25, "warmup": 0.5}})
    _run(ledger.worker())
    assert _verdict(ledger, study).baseline.params == {"lr": 0.25, "warmup": 0.5, "optimizer": "sgd"}
    study = create()
    _run(ledger.worker())
    view = _verdict(ledger, study)
    assert view.baseline.params["optimizer"] == "sgd"
    assert len(view.baseline.values) == 3


def test_a_rule_that_ends_the_search_leaves_the_replicates(ledger: Ledger) -> None:
    study = _study(ledger, searched=20, stopping={"target": 0.5})
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=4)
    worker.release([claims[3]], reason="yielded")
    worker.finish([done(claims[0], 0.4)])
    record = ledger.study(study).record
    why = f"stopping: target 0.5 reached by trial {study}-0 with val_loss 0.4"
    assert (record.state, record.reason, record.progress.budget) == ("running", why, 4 + KEPT)
    assert ledger.trials(study)[3].state == "cancelled"
    assert worker.claim(queue="cpu", capacity=100) == []
    ledger.act(service.change_study, study, {"name": "renamed"})
    worker.finish([done(claims[1], 0.3), done(claims[2], 0.9)])
    again = worker.claim(queue="cpu", capacity=100)
    assert len(again) == KEPT
    # What replicates come to ends nothing, and they are run again like others.
    worker.release([again[0]], reason="shutdown")
    worker.finish([done(claim, 0.1 + claim.seed % 100 / 1e4) for claim in again[1:]])
    _run(worker, value=lambda _: 0.1)
    record = ledger.study(study).record
    assert (record.state, record.reason, record.definition.trials) == ("completed", why, 4 + KEPT)
    assert {trial.state for trial in _replicates(ledger, study)} == {"completed"}
    assert len(_verdict(ledger, study).baseline.values) == 3


def test_a_search_that_a_rule_ended_goes_on_with_more_budget(ledger: Ledger) -> None:
    study = _study(ledger, searched=20, stopping={"target": 0.5})
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(claims[0], 0.4)])
    ledger.act(service.change_study, study, {"stopping": None, "budget": {"trials": 4 + KEPT}})
    record = ledger.study(study).record
    assert (record.state, record.reason) == ("running", None)
    worker.finish([done(claims[1], 0.6)])
    assert [claim.number for claim in worker.claim(queue="cpu", capacity=100)] == [2, 3]


def test_replicates_and_imported_trials_do_not_stop_a_study(ledger: Ledger) -> None:
    rules = {"target": 0.5, "no_improvement": {"trials": 2}}
    study = ledger.create(definition(trials=6, stopping=rules))
    worker = ledger.worker()
    found = [Given({"lr": 0.1, "warmup": 0.1}, TrialState.COMPLETED, {"val_loss": 0.25})] * 3
    ledger.act(enqueue_trials, study, found)
    claims = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(claim, 0.9 - claim.number / 100) for claim in claims])
    assert ledger.study(study).record.reason is None
    claims = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(claim, 0.95) for claim in claims])
    assert ledger.study(study).record.reason == "stopping: no improvement in 2 trials"


def test_trials_that_wait_at_a_rung_are_settled_first(ledger: Ledger) -> None:
    pruning = {"kind": "asha", "mode": "promote", "min_steps": 5, "reduction": 2}
    study = _study(ledger, pruning=pruning)
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=4)
    worker.report([report(claim, 5, claim.number / 10) for claim in claims])
    worker.finish([Result(claim, TrialState.PRUNED, values={"val_loss": 0.5}) for claim in claims])
    (more,) = worker.claim(queue="cpu", capacity=1)
    while more.number < 4:
        worker.report([report(more, step, more.number / 10) for step in (6, 10, 20)])
        worker.finish([done(more, more.number / 10)])
        (more,) = worker.claim(queue="cpu", capacity=1)
    trials = ledger.trials(study)
    assert {trial.state for trial in trials[:4]} <= {"completed", "pruned"}
    assert any(trial.state == "pruned" and "waited" in (trial.reason or "") for trial in trials[:4])
    assert len(trials) == 4 + KEPT
    assert more.definition.pruning is None
    worker.finish([done(more)])
    _run(worker)
    assert ledger.study(study).record.state == "completed"
    assert {trial.state for trial in _replicates(ledger, study)} == {"completed"}


def test_what_no_second_is_left_for_is_said(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4 + KEPT, budget={"trials": 4 + KEPT, "seconds": 60}, verdict=ASKED))
    worker = ledger.worker()
    for _ in range(4):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        ledger.clock.move(14)
        worker.finish([done(claim, _loss(claim))])
    record = ledger.study(study).record
    assert (record.state, len(_replicates(ledger, study))) == ("completed", 0)
    judgement = _verdict(ledger, study).judgement
    assert (judgement.verdict, judgement.winner) == ("not distinguishable", None)
    assert judgement.reason.startswith("nothing was run again, as the study ended before (budget: ")
    # With more time it owes them still.
    ledger.act(service.change_study, study, {"budget": {"seconds": None}})
    assert ledger.study(study).record.state == "running"
    _run(worker)
    assert len(_verdict(ledger, study).baseline.values) == 3


def test_what_is_owed_is_had_back_later_too(ledger: Ledger) -> None:
    study = ledger.create(
        definition(trials=9, budget={"trials": 9, "seconds": 60}, verdict={"replicates": 3, "finalists": 1})
    )
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=3)
    ledger.clock.move(60)
    study_id = read_study(study) or 0
    assert ledger.database.write(lambda c: close_if_spent(c, study_id, ledger.clock())) is None  # as a reaper does
    worker.finish([done(claim, _loss(claim)) for claim in claims])
    record = ledger.study(study).record
    assert (record.state, record.reason) == ("completed", "budget")
    ledger.clock.move(3600)
    ledger.act(service.change_study, study, {"budget": {"seconds": 1000}})
    assert ledger.study(study).record.state == "running"
    assert len(worker.claim(queue="cpu", capacity=100)) == 6
    assert len(_replicates(ledger, study)) == 6


LIMITED = [
    {"name": "val_loss", "goal": "minimize"},
    {"name": "train_loss", "goal": "minimize", "role": "constraint", "threshold": 0.5},
]


def test_constraints_choose_finalists_and_disqualify_them(ledger: Ledger) -> None:
    study = _study(ledger, metrics=LIMITED, verdict={"finalists": 1, "replicates": 3}, searched=7)
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=100)

    def end(claim: Claim, loss: float, other: float) -> Result:
        return Result(claim, TrialState.COMPLETED, values={"val_loss": loss, "train_loss": other})

    worker.finish([end(claims[0], 0.1, 0.9), end(claims[1], 0.2, 0.1), *(end(claim, 0.3, 0.1) for claim in claims[2:])])
    again = worker.claim(queue="cpu", capacity=100)
    assert {trial.why["replicate_of"] for trial in _replicates(ledger, study)} == {None, 1}
    worker.finish([end(claim, 0.1, 0.1 if claim.number % 3 else 0.9) for claim in again])
    view = _verdict(ledger, study)
    assert view.finalists[0].diverged + view.baseline.diverged == sum(claim.number % 3 == 0 for claim in again)
    assert view.judgement.verdict == "not distinguishable"


def test_several_optimized_metrics_have_no_verdict(ledger: Ledger) -> None:
    several = [LIMITED[0], {"name": "train_loss", "goal": "minimize"}]
    with pytest.raises(InvalidStudy, match="verdict: compares by one metric"):
        _study(ledger, "nsga2", metrics=several)
    with pytest.raises(InvalidStudy, match="warm_start: takes over the best"):
        ledger.create(definition("nsga2", metrics=several, warm_start="auto"))
