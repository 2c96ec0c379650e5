"""Trials run by clients: what they are given, what they may say, and that whatever is refused changes nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from models.ids import show_trial
from models.states import StudyState, TrialState
from search.errors import Conflict, InvalidValue, NotFound
from search.records import Measurement, TrialRecord
from search.studies import interventions, service
from search.studies.views import get_trial
from search.trials import asking, remote
from search.trials.asking import Ask, Leased, Offer
from search.trials.claiming import Claimer
from search.trials.remote import Renewal, Tell
from tests.support.ledger import Ledger, definition, done, together
from workers.reaper import Reaper

PRUNED: Mapping[str, Any] = {"kind": "asha", "reduction": 2}
ADDRESS_OF_NOBODY = "0" * 13


def ask(
    ledger: Ledger,
    study: str,
    client: str = "c",
    count: int = 1,
    seconds: float | None = None,
    *,
    claimer: Claimer | None = None,
) -> Offer:
    """Ask as the API does: take, then fill what has no parameters yet."""
    asks = claimer or Claimer(ledger.database, clock=ledger.clock)
    wanted = Ask(client, count, seconds)
    taken = ledger.database.write(lambda c: asking.take(c, ledger.project, study, wanted, asks))
    waiting = [claim for claim in taken if claim.params is None]
    if not waiting:
        return ledger.read(asking.offer, study, taken)
    ready = [claim for claim in taken if claim.params is not None]
    with asks.suggesting(waiting[0].study_id, waiting) as fill:
        return ledger.database.write(lambda c: asking.offer(c, ledger.project, study, ready + fill(c)))


def one(ledger: Ledger, **more: Any) -> Leased:
    """Return the only trial of a new study, asked for."""
    (leased,) = ask(ledger, ledger.create(definition(trials=more.pop("trials", 1), **more))).trials
    return leased


def address(leased: Leased | TrialRecord) -> str:
    record = leased.record if isinstance(leased, Leased) else leased
    return show_trial(record.study_id, record.number)


def tell(ledger: Ledger, leased: Leased, value: float | None = 0.5, **more: Any) -> TrialRecord:
    values = None if value is None else {"val_loss": value}
    said = Tell(**{"token": leased.token, "state": TrialState.COMPLETED, "values": values, **more})
    return ledger.act(remote.tell, address(leased), said)


def measure(ledger: Ledger, leased: Leased, *points: tuple[int, float]) -> Renewal:
    measurements = [Measurement(step, {"val_loss": value}) for step, value in points]
    return ledger.database.write(
        lambda c: remote.measure(c, ledger.project, address(leased), leased.token, measurements)
    )


def release(ledger: Ledger, leased: Leased, reason: str | None = None) -> TrialRecord:
    return ledger.act(remote.release, address(leased), leased.token, reason).trial


def lose(ledger: Ledger) -> None:
    """Let every lease run out."""
    now = [0.0]
    reaper = Reaper(ledger.database, lease_seconds=60, period_seconds=7, clock=ledger.clock, monotonic=lambda: now[0])
    reaper.sweep()
    for _ in range(9):
        now[0] += 7.0
        reaper.sweep()
    ledger.clock.move(3600)


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_a_study_is_run_by_clients_alone(ledger: Ledger, strategy: str) -> None:
    study = ledger.create(definition(strategy, trials=8))
    claimer = Claimer(ledger.database, clock=ledger.clock)
    for place in range(4):
        offer = ask(ledger, study, f"client {place}", 2, claimer=claimer)
        assert offer.study_state == "running"
        for leased in offer.trials:
            assert leased.record.params is not None
            assert tell(ledger, leased, 1.0 / (1 + leased.record.number)).state == "completed"
    assert ledger.study(study).record.state == StudyState.COMPLETED
    assert ask(ledger, study, claimer=claimer) == Offer("completed", [])
    assert [trial.number for trial in ledger.trials(study)] == list(range(8))


def test_what_a_client_holds_comes_first_with_the_same_token(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8))
    first = ask(ledger, study, "a", 2).trials
    assert [leased.record.number for leased in ask(ledger, study, "b", 1).trials] == [2]
    again = ask(ledger, study, "a", 3).trials
    assert again[:2] == first
    assert [leased.record.number for leased in again] == [0, 1, 3]
    assert ask(ledger, study, "a", 1).trials == first[:1]
    tell(ledger, first[0])
    assert [leased.record.number for leased in ask(ledger, study, "a", 2).trials] == [1, 3]


def test_asking_again_is_a_sign_of_life(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    ask(ledger, study)
    ask(ledger, study)
    assert [lease.beat for lease in ledger.rows("lease")] == [1]


def test_a_point_reserved_by_a_client_that_broke_off_is_filled_for_it(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", trials=4))
    claimer = Claimer(ledger.database, clock=ledger.clock)
    taken = ledger.database.write(lambda c: asking.take(c, ledger.project, study, Ask("c", 2, None), claimer))
    assert [claim.params for claim in taken] == [None, None]
    offered = ask(ledger, study, "c", 2, claimer=Claimer(ledger.database, clock=ledger.clock)).trials
    assert [leased.token for leased in offered] == [claim.token for claim in taken]
    assert None not in [leased.record.params for leased in offered]
    assert len(ledger.trials(study)) == 2


@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_twins_get_the_same_trials(ledger: Ledger, strategy: str) -> None:
    study = ledger.create(definition(strategy, trials=40))
    shared = Claimer(ledger.database, clock=ledger.clock)
    offers = together(6, lambda place: ask(ledger, study, "twin", 3, claimer=shared if place % 2 else None))
    seen = {tuple((t.record.number, t.token, str(t.record.params)) for t in offer.trials) for offer in offers}
    assert len(seen) == 1
    assert len(ledger.trials(study)) == 3


def test_many_clients_of_one_claimer_share_nothing(ledger: Ledger) -> None:
    study = ledger.create(definition("bayesian", space="discrete", trials=6))
    shared = Claimer(ledger.database, clock=ledger.clock)
    offers = together(6, lambda place: ask(ledger, study, f"client {place}", claimer=shared))
    assert sorted(offer.trials[0].record.number for offer in offers) == list(range(6))
    assert len({str(offer.trials[0].record.params) for offer in offers}) == 6


def test_parallelism_and_pause_bind_clients_too(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8, parallelism=2))
    assert len(ask(ledger, study, "a", 5).trials) == 2
    assert ask(ledger, study, "b", 5) == Offer("running", [])
    ledger.act(service.pause_study, study)
    assert len(ask(ledger, study, "a", 5).trials) == 2
    assert ask(ledger, study, "b", 5) == Offer("paused", [])


def test_a_cancelled_study_gives_nothing_more(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8))
    (leased,) = ask(ledger, study).trials
    ledger.act(service.cancel_study, study)
    assert ask(ledger, study) == Offer("cancelled", [])
    assert measure(ledger, leased).reason == "cancelled"
    assert release(ledger, leased).state == "cancelled"
    assert release(ledger, leased).state == "cancelled"


def test_another_projects_studies_and_trials_are_not_there(ledger: Ledger) -> None:
    leased = one(ledger)
    claimer = Claimer(ledger.database)
    before = ledger.dump()
    for work in (
        lambda c: asking.take(c, ledger.project + 1, address(leased)[:-2], Ask("c", 1, None), claimer),
        lambda c: remote.measure(c, ledger.project + 1, address(leased), leased.token, []),
        lambda c: remote.tell(c, ledger.project + 1, address(leased), Tell(leased.token, TrialState.DIVERGED), now=ledger.clock()),
        lambda c: remote.release(c, ledger.project + 1, address(leased), leased.token, None, now=ledger.clock()),
        lambda c: remote.measure(c, ledger.project, f"{ADDRESS_OF_NOBODY}-0", leased.token, []),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            ledger.database.write(work)
    assert ledger.dump() == before


def test_long_names_of_clients_stay_apart(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8))
    names = ["n" * 127 + end for end in "ab"]
    tokens = [ask(ledger, study, name).trials[0].token for name in names * 2]
    assert tokens[:2] == tokens[2:]
    assert tokens[0] != tokens[1]
    assert len({asking.holder("é" * length) for length in range(1, 129)}) == 128


def test_measurements_are_stored_and_renew_the_lease(ledger: Ledger) -> None:
    (leased,) = ask(ledger, ledger.create(definition(trials=1)), seconds=600).trials
    assert measure(ledger, leased, (1, 0.5), (2, 0.4)) == Renewal(None, 600.0)
    assert measure(ledger, leased, (2, 0.4), (3, 0.3)) == Renewal(None, 600.0)
    assert measure(ledger, leased) == Renewal(None, 600.0)
    assert [(row.step, row.values) for row in ledger.rows("measurement")] == [
        (1, {"val_loss": 0.5}),
        (2, {"val_loss": 0.4}),
        (3, {"val_loss": 0.3}),
    ]
    assert [lease.beat for lease in ledger.rows("lease")] == [3]


@pytest.mark.parametrize("points", [[(3, 0.3), (2, 0.9), (4, 0.2)], [(5, 0.1), (5, 0.2)]])
def test_a_contradiction_stores_nothing_of_its_request(ledger: Ledger, points: list[tuple[int, float]]) -> None:
    leased = one(ledger)
    measure(ledger, leased, (1, 0.5), (2, 0.4))
    before = ledger.dump()
    with pytest.raises(Conflict) as refused:
        measure(ledger, leased, *points)
    (fault,) = refused.value.faults
    step, stands = (2, 0.4) if points[0][0] == 3 else (5, 0.1)
    assert fault.path in {"measurements[0]", "measurements[1]"}
    assert f"step {step} has" in fault.message
    assert str(stands) in fault.message
    assert ledger.dump() == before


def test_a_told_trial_has_the_values_it_was_told_with(ledger: Ledger) -> None:
    leased = one(ledger)
    measure(ledger, leased, (1, 0.5))
    first = tell(ledger, leased, 0.25)
    assert (first.state, first.values, first.score) == ("completed", {"val_loss": 0.25}, 0.25)
    before = ledger.dump()
    assert tell(ledger, leased, 0.25) == first
    assert ledger.dump() == before


@pytest.mark.parametrize(("report", "value"), [("last", 0.4), ("best", 0.2)])
def test_a_trial_told_without_values_has_those_of_its_measurements(ledger: Ledger, report: str, value: float) -> None:
    leased = one(ledger, report=report)
    measure(ledger, leased, (1, 0.5), (2, 0.2), (3, 0.4))
    first = tell(ledger, leased, None)
    assert first.values == {"val_loss": value}
    assert tell(ledger, leased, None) == first
    assert tell(ledger, leased, value) == first


def test_measurements_of_an_earlier_attempt_are_no_result(ledger: Ledger) -> None:
    leased = one(ledger)
    measure(ledger, leased, (1, 0.5))
    release(ledger, leased)
    (again,) = ask(ledger, address(leased)[:-2]).trials
    with pytest.raises(InvalidValue, match="no measurement"):
        tell(ledger, again, None)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"values": None}, "values"),
        ({"values": {"val_accuracy": 0.5}}, "values.val_loss"),
        ({"state": TrialState.DIVERGED}, "values"),
        ({"state": TrialState.FAILED}, "values"),
    ],
)
def test_what_cannot_be_a_result_is_refused(ledger: Ledger, more: Any, path: str) -> None:
    leased = one(ledger)
    before = ledger.dump()
    with pytest.raises(InvalidValue) as refused:
        tell(ledger, leased, **more)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert ledger.dump() == before


def test_another_result_is_refused_and_the_one_that_stands_named(ledger: Ledger) -> None:
    leased = one(ledger)
    tell(ledger, leased, 0.25)
    before = ledger.dump()
    for more, path in (
        ({"values": {"val_loss": 0.5}}, "values"),
        ({"values": None, "state": TrialState.FAILED}, "state"),
    ):
        with pytest.raises(Conflict) as refused:
            tell(ledger, leased, **more)
        (fault,) = refused.value.faults
        assert fault.path == path
        assert "completed" in fault.message
        assert "0.25" in fault.message
    assert ledger.dump() == before


def test_diverged_and_failed_trials(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3))
    unstable, broken, fine = ask(ledger, study, count=3).trials
    said = tell(ledger, unstable, None, state=TrialState.DIVERGED, reason="loss is not finite")
    assert (said.state, said.reason, said.values) == ("diverged", "loss is not finite", None)
    text = "Traceback:\n  line 1\nKeyError: 'lr'\n"
    said = tell(ledger, broken, None, state=TrialState.FAILED, reason=text)
    assert (said.state, said.reason) == ("failed", "user_error: KeyError: 'lr'")
    assert tell(ledger, broken, None, state=TrialState.FAILED, reason=text) == said
    assert [row.error for row in ledger.rows("attempt")] == ["loss is not finite", text, None]
    tell(ledger, fine)
    assert ledger.study(study).record.state == StudyState.COMPLETED


def test_too_many_failures_end_the_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=8, max_failed=0))
    tell(ledger, ask(ledger, study).trials[0], None, state=TrialState.FAILED)
    assert ask(ledger, study) == Offer("failed", [])


def test_pruning_stops_the_worse_and_makes_completed_pruned(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2, pruning=PRUNED))
    good, bad = ask(ledger, study, count=2).trials
    assert measure(ledger, good, (1, 0.1)).reason is None
    why = measure(ledger, bad, (1, 0.9)).reason
    assert why is not None
    assert why.startswith("asha: ")
    assert measure(ledger, bad).reason == why
    assert measure(ledger, bad, (1, 0.9)).reason == why
    said = tell(ledger, bad, None)
    assert (said.state, said.values, said.reason) == ("pruned", {"val_loss": 0.9}, why)
    assert tell(ledger, bad, None) == said
    with pytest.raises(Conflict):
        tell(ledger, bad, 0.8)
    assert tell(ledger, good, None).state == "completed"


def test_a_release_is_free_and_may_be_repeated(ledger: Ledger) -> None:
    leased = one(ledger)
    said = release(ledger, leased, "shutdown")
    assert (said.state, said.reason, said.attempt) == ("queued", "shutdown", 1)
    before = ledger.dump()
    assert release(ledger, leased) == said
    assert ledger.dump() == before
    (again,) = ask(ledger, address(leased)[:-2], "other").trials
    assert (again.record.number, again.record.attempt, again.record.params) == (0, 2, leased.record.params)
    with pytest.raises(Conflict, match="stale"):
        release(ledger, leased)


STALE = ("released", "taken again", "told again", "lost")


def _fall_behind(ledger: Ledger, how: str) -> tuple[Leased, str]:
    """Return a trial whose token is good no more, and what is said about it."""
    leased = one(ledger, trials=2)
    if how == "lost":
        lose(ledger)
        return leased, "waits for attempt 2"
    release(ledger, leased)
    if how == "released":
        return leased, "waits for attempt 2"
    (again,) = ask(ledger, address(leased)[:-2], "other").trials
    if how == "taken again":
        return leased, "attempt 2 runs it now"
    tell(ledger, again)
    return leased, "attempt 2 ended it as completed"


@pytest.mark.parametrize("how", STALE)
@pytest.mark.parametrize("write", ["tell", "tell nothing", "measure", "renew", "release"])
def test_a_stale_token_changes_nothing(ledger: Ledger, how: str, write: str) -> None:
    leased, said = _fall_behind(ledger, how)
    before = ledger.dump()
    if write == "release" and how in {"released", "lost"}:
        # What it asks for has come true already.
        assert release(ledger, leased).state == "queued"
        assert ledger.dump() == before
        return
    with pytest.raises(Conflict) as refused:
        _write(ledger, leased, write)
    (fault,) = refused.value.faults
    assert fault.path == "token"
    assert said in fault.message
    assert "trials:ask" in fault.message
    assert ledger.dump() == before


@pytest.mark.parametrize("write", ["tell", "tell nothing", "measure", "renew", "release"])
def test_a_token_of_another_trial_or_of_none_changes_nothing(ledger: Ledger, write: str) -> None:
    study = ledger.create(definition(trials=2))
    first, second = ask(ledger, study, count=2).trials
    before = ledger.dump()
    for token in (second.token, "f" * 32, "x"):
        with pytest.raises(Conflict) as refused:
            _write(ledger, Leased(first.record, token, None), write)
        assert [fault.path for fault in refused.value.faults] == ["token"]
        assert "never given" in refused.value.faults[0].message
    assert ledger.dump() == before


@pytest.mark.parametrize("write", ["measure", "renew", "release"])
def test_a_trial_that_has_ended_takes_nothing_more(ledger: Ledger, write: str) -> None:
    leased = one(ledger)
    tell(ledger, leased)
    before = ledger.dump()
    with pytest.raises(Conflict) as refused:
        _write(ledger, leased, write)
    assert [fault.path for fault in refused.value.faults] == ["token"]
    assert "completed" in refused.value.faults[0].message
    assert ledger.dump() == before


def _write(ledger: Ledger, leased: Leased, write: str) -> None:
    if write == "tell":
        tell(ledger, leased)
    elif write == "tell nothing":
        tell(ledger, leased, None)
    elif write == "release":
        release(ledger, leased)
    else:
        measure(ledger, leased, *([(1, 0.5)] if write == "measure" else []))


def test_workers_and_clients_share_a_study(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=4))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=2)
    offered = ask(ledger, study, count=4).trials
    assert [leased.record.number for leased in offered] == [2, 3]
    worker.finish([done(claim) for claim in claims])
    for leased in offered:
        tell(ledger, leased)
    assert ledger.study(study).record.state == StudyState.COMPLETED


def test_the_same_result_told_by_many_at_once_stands_once(ledger: Ledger) -> None:
    leased = one(ledger)

    def say(place: int) -> str:
        try:
            return tell(ledger, leased, 0.5 if place % 2 else 0.25).state
        except Conflict:
            return "refused"

    said = together(6, say)
    assert said.count("completed") == 3
    value = ledger.read(get_trial, address(leased)).values
    assert value is not None
    assert value["val_loss"] in {0.25, 0.5}


def test_measuring_beside_a_cancel_waits_for_nobody(ledger: Ledger) -> None:
    leased = one(ledger)

    def act(place: int) -> None:
        if place % 2:
            measure(ledger, leased, *((step, 0.5) for step in range(20)))
        else:
            ledger.act(interventions.cancel_trial, address(leased))

    together(6, act)
    assert measure(ledger, leased).reason == "cancelled"


@pytest.mark.parametrize("points", [[(1, 0.001)], []], ids=["measured", "nothing measured"])
@pytest.mark.parametrize("what", ["trial", "study"])
def test_what_was_cancelled_is_no_result_whatever_is_told(
    ledger: Ledger, what: str, points: list[tuple[int, float]]
) -> None:
    """The holder stops and tells what it had by then, if anything: it must not become the best trial."""
    leased = one(ledger, trials=2)
    measure(ledger, leased, *points)
    if what == "trial":
        ledger.act(interventions.cancel_trial, address(leased))
    else:
        ledger.act(service.cancel_study, address(leased).rpartition("-")[0])
    told = tell(ledger, leased, None)
    assert (told.state, told.values, told.reason) == (TrialState.CANCELLED, None, "cancelled")
    before = ledger.dump()
    assert tell(ledger, leased, None) == told
    assert ledger.dump() == before
