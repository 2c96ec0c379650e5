"""Halving by promotion: who waits, who is claimed again, and how a study ends in which others wait."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from models.ids import show_trial
from models.states import TrialState
from search.definition.prunings import AshaPruning
from search.pruners.simulate import simulate
from search.records import Measurement
from search.studies import interventions, service
from search.trials import asking, remote
from search.trials.asking import Ask, Leased
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim, Dispatcher, Kept, Result
from search.trials.failures import Failure
from search.trials.remote import Tell
from tests.support.ledger import Ledger, definition, done, report, together

PROMOTE: Mapping[str, Any] = {"kind": "asha", "reduction": 3, "mode": "promote"}
LAST = 20


def _study(ledger: Ledger, number: int, **more: Any) -> tuple[str, Dispatcher]:
    return ledger.create(definition(trials=number, pruning=PROMOTE, **more)), ledger.worker()


def _report(worker: Dispatcher, claim: Claim, step: int, value: float) -> bool:
    (verdict,) = worker.report([report(claim, step, value)])
    assert verdict.waits is verdict.stop
    return verdict.stop


def _waits(worker: Dispatcher, claim: Claim, step: int, value: float) -> None:
    """Report at a rung, be told to wait, and give the trial back."""
    assert _report(worker, claim, step, value)
    assert worker.finish([_given_back(claim, value)]) == {claim.token: "accepted"}


def _given_back(claim: Claim, value: float) -> Result:
    return Result(claim, TrialState.QUEUED, values={"val_loss": value}, reason="asha")


def _claim(worker: Dispatcher, capacity: int = 1) -> list[Claim]:
    return worker.claim(queue="cpu", capacity=capacity)


def _states(ledger: Ledger, study: str) -> list[str]:
    return [trial.state for trial in ledger.trials(study)]


def test_who_is_behind_waits_and_is_claimed_again_once_promoted(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    first, second, third = _claim(worker, 3)
    _waits(worker, first, 1, 0.2)
    trial = ledger.trials(study)[0]
    assert (trial.state, trial.values, trial.waiting_step) == ("queued", {"val_loss": 0.2}, 1)
    assert _claim(worker) == []
    assert not worker.others_wait(queue="cpu", study=0)
    _waits(worker, second, 1, 0.5)
    assert _claim(worker) == []
    assert _report(worker, third, 1, 0.6)  # it waits itself, and lets the first go on
    assert worker.others_wait(queue="cpu", study=0)
    (again,) = _claim(worker, 3)
    assert (again.number, again.attempt, again.params) == (0, 2, first.params)
    trial = ledger.trials(study)[0]
    assert (trial.state, trial.values, trial.score) == ("running", None, None)


def test_the_best_third_of_those_that_have_come_goes_on_at_once(ledger: Ledger) -> None:
    _, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    assert [_report(worker, claim, 1, value) for claim, value in zip(claims, (0.5, 0.6, 0.4), strict=True)] == [
        True,
        True,
        False,
    ]


def test_a_promoted_trial_hears_nothing_of_its_wait_any_more(ledger: Ledger) -> None:
    """Without a checkpoint it begins anew, and comes by the rung once more; the next rung is judged as ever."""
    _, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    for claim, value in zip(claims, (0.2, 0.5, 0.6), strict=True):
        _waits(worker, claim, 1, value)
    (again,) = _claim(worker)
    assert not _report(worker, again, 1, 0.2)
    assert not _report(worker, again, 2, 0.2)
    _waits(worker, again, 3, 0.1)
    assert [(row.step, row.stop, row.promoted) for row in ledger.rows("rung") if row.number == 0] == [
        (1, True, True),
        (3, True, True),  # nothing else was left: somebody has to come to a result
    ]


def test_it_goes_on_from_its_checkpoint(ledger: Ledger) -> None:
    _, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    assert _report(worker, claims[0], 1, 0.2)
    assert worker.keep(Kept(claims[0], 1, "place", "0" * 64, 10, {"val_loss": 0.2}))
    worker.finish([_given_back(claims[0], 0.2)])
    for claim in claims[1:]:
        _waits(worker, claim, 1, 0.9)
    (again,) = _claim(worker)
    assert [(kept.step, kept.path) for kept in again.checkpoints] == [(1, "place")]
    assert again.companions is None


@pytest.mark.parametrize("target", [TrialState.COMPLETED, TrialState.PRUNED])
def test_whatever_its_holder_says_a_trial_that_is_to_wait_waits(ledger: Ledger, target: TrialState) -> None:
    study, worker = _study(ledger, 3)
    claim = _claim(worker, 3)[0]
    assert _report(worker, claim, 1, 0.2)
    said = Result(claim, target, values={"val_loss": 0.2})
    assert worker.finish([said]) == {claim.token: "accepted"}
    before = ledger.dump()
    assert worker.finish([said]) == {claim.token: "repeated"}
    assert worker.finish([Result(claim, target, values={"val_loss": 0.1})]) == {claim.token: "stale"}
    assert ledger.dump() == before
    trial = ledger.trials(study)[0]
    assert (trial.state, trial.waiting_step, trial.reason) == (
        "queued",
        1,
        "asha: waits at step 1; of 1 there the best 0 go on",
    )
    assert [row.state for row in ledger.rows("attempt") if row.number == 0] == ["released"]


def test_promoted_before_it_was_given_back_it_is_no_result(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    for claim, value in zip(claims, (0.2, 0.5, 0.6), strict=True):
        assert _report(worker, claim, 1, value)
    worker.finish([done(claims[0], 0.2)])
    assert _states(ledger, study)[0] == "queued"
    (again,) = _claim(worker)
    assert again.number == 0


def test_promoted_meanwhile_it_may_just_go_on(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    for claim, value in zip(claims, (0.2, 0.5, 0.6), strict=True):
        assert _report(worker, claim, 1, value)
    assert not _report(worker, claims[0], 1, 0.2)
    worker.report([report(claims[0], LAST, 0.1)])
    worker.finish([done(claims[0], 0.1)])
    assert _states(ledger, study)[0] == "completed"


def test_lost_where_it_was_to_wait_it_waits(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    claim = _claim(worker, 3)[0]
    assert _report(worker, claim, 1, 0.2)
    worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error="gone")])
    ledger.clock.move(3600)
    trial = ledger.trials(study)[0]
    assert (trial.state, trial.waiting_step, trial.values) == ("queued", 1, {"val_loss": 0.2})
    assert _claim(worker) == []


def test_what_waits_at_the_end_is_pruned(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    for claim, value in zip(claims[:2], (0.5, 0.6), strict=True):
        _waits(worker, claim, 1, value)
    assert not _report(worker, claims[2], 1, 0.1)
    # Alone at step 3 it waits, and goes on because the study has nothing else.
    _waits(worker, claims[2], 3, 0.1)
    (again,) = _claim(worker)
    _waits(worker, again, 9, 0.1)
    (last,) = _claim(worker)
    worker.finish([done(last, 0.05)])
    view = ledger.study(study)
    assert (view.record.state, view.record.reason) == ("completed", None)
    trials = ledger.trials(study)
    assert [trial.state for trial in trials] == ["pruned", "pruned", "completed"]
    assert trials[0].reason == "promotion: it waited at step 1 until the study ended"
    assert [trial.values for trial in trials[:2]] == [{"val_loss": 0.5}, {"val_loss": 0.6}]
    assert trials[2].attempt == 3


def test_a_study_without_a_result_fails_though_nobody_waits(ledger: Ledger) -> None:
    study, worker = _study(ledger, 1)
    (claim,) = _claim(worker)
    _waits(worker, claim, 1, 0.5)
    (again,) = _claim(worker)
    worker.finish([Result(again, TrialState.DIVERGED)])
    assert ledger.study(study).record.state == "failed"


def test_attempts_that_waited_are_no_strikes(ledger: Ledger) -> None:
    study, worker = _study(ledger, 1)
    for step in (1, 3, 9):
        (claim,) = _claim(worker)
        _waits(worker, claim, step, 0.5)
    (last,) = _claim(worker)
    worker.finish([Result(last, TrialState.FAILED, failure=Failure.TIMEOUT)])
    assert _states(ledger, study) == ["queued"]
    ledger.clock.move(3600)
    (again,) = _claim(worker)
    assert (again.attempt, again.companions) == (5, None)


def test_less_budget_ends_a_study_in_which_all_wait(ledger: Ledger) -> None:
    study, worker = _study(ledger, 4)
    claims = _claim(worker, 3)
    for claim, value in zip(claims[:2], (0.5, 0.6), strict=True):
        _waits(worker, claim, 1, value)
    assert not _report(worker, claims[2], 1, 0.1)
    worker.finish([done(claims[2], 0.1)])
    assert ledger.study(study).record.state == "running"
    # The fourth is not started any more: the two that wait are all there is.
    ledger.act(service.change_study, study, {"budget": {"trials": 3}})
    assert ledger.study(study).record.state == "completed"
    assert _states(ledger, study) == ["pruned", "pruned", "completed"]


def test_one_that_waits_can_be_cancelled(ledger: Ledger) -> None:
    study, worker = _study(ledger, 3)
    claims = _claim(worker, 3)
    for claim, value in zip(claims[:2], (0.5, 0.6), strict=True):
        _waits(worker, claim, 1, value)
    ledger.act(interventions.cancel_trial, f"{study}-0")
    trial = ledger.trials(study)[0]
    assert (trial.state, trial.values, trial.reason) == ("cancelled", None, "cancelled")
    _report(worker, claims[2], 1, 0.1)
    worker.finish([done(claims[2], 0.1)])
    assert _states(ledger, study) == ["cancelled", "pruned", "completed"]


@pytest.mark.parametrize("running", [False, True])
def test_an_end_before_its_time_prunes_who_waits(ledger: Ledger, *, running: bool) -> None:
    """Cancelled, or out of time: what waits has come to something, what runs or is to be run again has not."""
    study, worker = _study(ledger, 4, budget={"trials": 4, "seconds": 60})
    claims = _claim(worker, 4)
    _waits(worker, claims[0], 1, 0.5)
    worker.release([claims[1]], reason="yielded")
    ledger.clock.move(61)
    if running:
        assert _claim(worker) == []
        worker.report([report(claims[2], 1, 0.9)])
        worker.finish([_given_back(claims[2], 0.9)])
        worker.release([claims[3]], reason="yielded")
    else:
        ledger.act(service.cancel_study, study)
        worker.release(claims[2:], reason="yielded")
    assert _states(ledger, study) == ["pruned", "cancelled", "pruned" if running else "cancelled", "cancelled"]


def test_a_client_gets_a_promoted_trial_again_and_hears_where_it_waited(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3, objective={"external": True, "steps": 9}, pruning=PROMOTE))
    first, *others = _ask(ledger, study, 3)
    for leased, value in [(first, 0.1), *((other, 0.5) for other in others)]:
        assert _measure(ledger, leased, 1, value) is not None
        assert _tell(ledger, leased).state == "queued"
    (again,) = _ask(ledger, study, 3)
    assert (again.record.number, again.record.attempt, again.record.waiting_step) == (0, 2, 1)
    assert _measure(ledger, again, 2, 0.1) is None
    assert _measure(ledger, again, 9, 0.05) is None
    told = _tell(ledger, again)
    assert (told.state, told.values) == ("completed", {"val_loss": 0.05})
    assert _states(ledger, study) == ["completed", "pruned", "pruned"]


def _ask(ledger: Ledger, study: str, count: int) -> Sequence[Leased]:
    claimer = Claimer(ledger.database, clock=ledger.clock)
    wanted = Ask("c", count, None)
    taken = ledger.database.write(lambda c: asking.take(c, ledger.project, study, wanted, claimer))
    return ledger.read(asking.offer, study, taken).trials


def _measure(ledger: Ledger, leased: Leased, step: int, value: float) -> str | None:
    points = [Measurement(step, {"val_loss": value})]
    address = show_trial(leased.record.study_id, leased.record.number)
    return ledger.database.write(lambda c: remote.measure(c, ledger.project, address, leased.token, points)).reason


def _tell(ledger: Ledger, leased: Leased) -> Any:
    address = show_trial(leased.record.study_id, leased.record.number)
    return ledger.act(remote.tell, address, Tell(leased.token, TrialState.COMPLETED))


@pytest.mark.parametrize("seed", range(3))
def test_one_worker_trains_what_the_simulation_says(ledger: Ledger, seed: int) -> None:
    rng = Random(seed)
    curves = [[round(rng.random(), 3) for _ in range(LAST)] for _ in range(14)]
    study, worker = _study(ledger, len(curves))
    trained = dict.fromkeys(range(len(curves)), 0)
    while claims := _claim(worker):
        _train(worker, claims[0], curves[claims[0].number], trained)
    steps = simulate(AshaPruning(**PROMOTE), curves)
    assert [trained[number] for number in range(len(curves))] == steps
    assert [state == "completed" for state in _states(ledger, study)] == [step == LAST for step in steps]


def _train(worker: Dispatcher, claim: Claim, curve: Sequence[float], trained: dict[int, int]) -> None:
    while trained[claim.number] < LAST:
        trained[claim.number] += 1
        value = curve[trained[claim.number] - 1]
        if _report(worker, claim, trained[claim.number], value):
            worker.finish([_given_back(claim, value)])
            return
    worker.finish([done(claim, curve[-1])])


def test_many_workers_bring_a_study_to_its_end(ledger: Ledger) -> None:
    study, _ = _study(ledger, 18)

    def work(place: int) -> None:
        worker, rng = ledger.worker(f"worker {place}"), Random(place)
        while ledger.study(study).record.state == "running":
            for claim in _claim(worker, 2):
                _train(worker, claim, [rng.random() for _ in range(LAST)], {claim.number: 0})

    together(4, work)
    states = _states(ledger, study)
    assert set(states) == {"completed", "pruned"}
    reached = [sum(row.step == step for row in ledger.rows("rung")) for step in (1, 3)]
    assert reached[0] == 18
    # With everyone there a third has gone on, and whoever was among it for a while.
    assert reached[1] >= 6
    assert states.count("completed") >= 1
