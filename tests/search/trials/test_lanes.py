"""What the ledger does for trainers that run many trials at once: shares, companions, halving, how each was run."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import update

from models.ids import read_study
from models.session import Work
from models.states import TrialState
from models.tables import Attempt
from models.workers import greet
from search.studies import interventions, service
from search.trials.dispatch import Claim, Dispatcher, Ran, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done


def _key(study: str) -> int:
    key = read_study(study)
    assert key is not None
    return key


def _take(worker: Dispatcher, capacity: int, **more: Any) -> list[int]:
    return [claim.number for claim in worker.claim(queue="cpu", capacity=capacity, **more)]


def _killed(claim: Claim, ran: Ran | None = None) -> Result:
    """A trainer died under several trials."""
    return Result(claim, TrialState.QUEUED, failure=Failure.LANE, error="killed", ran=ran)


def test_each_worker_leaves_the_others_their_share(ledger: Ledger) -> None:
    ledger.create(definition(trials=10))
    assert _take(ledger.worker("first"), 64, workers=3) == [0, 1, 2, 3]
    assert _take(ledger.worker("second"), 64, workers=3) == [4, 5, 6, 7]
    assert _take(ledger.worker("third"), 64, workers=3) == [8, 9]


def test_what_is_held_counts_in_the_share(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=10))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=3, workers=2)
    assert _take(worker, 64, study=_key(study), workers=2, held=3) == [3, 4]
    assert _take(worker, 64, study=_key(study), workers=2, held=5) == []
    worker.finish([done(claim) for claim in claims])
    # Seven are open, of which four are one worker's; two are still held.
    assert _take(worker, 64, study=_key(study), workers=2, held=2) == [5, 6]


def test_who_has_room_for_one_may_always_take_it(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    assert _take(ledger.worker(), 1, workers=2) == [0]
    assert _take(ledger.worker(), 1, study=_key(study), workers=2, held=1) == [1]


def test_parallelism_is_shared_too(ledger: Ledger) -> None:
    ledger.create(definition(trials=100, parallelism=6))
    assert _take(ledger.worker("first"), 64, workers=2) == [0, 1, 2]
    assert _take(ledger.worker("second"), 64, workers=2) == [3, 4, 5]


def test_trials_that_wait_to_run_again_are_shared(ledger: Ledger) -> None:
    ledger.create(definition(trials=8))
    worker = ledger.worker()
    worker.release(worker.claim(queue="cpu", capacity=8), reason="yielded")
    assert _take(ledger.worker("first"), 64, workers=2) == [0, 1, 2, 3]
    # What pauses is not open: six are, of eight.
    lost = worker.claim(queue="cpu", capacity=2)
    worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE) for claim in lost])
    assert _take(ledger.worker("second"), 64, workers=6) == [6]


def test_suggested_points_are_few_at_a_time(ledger: Ledger) -> None:
    search = {"strategy": "bayesian", "seed": 3, "startup": 4}
    study = ledger.create(definition("bayesian", trials=40, search=search))
    worker = ledger.worker()
    assert _take(worker, 64) == [0, 1, 2, 3]
    assert _take(worker, 64, study=_key(study), held=4) == []


def test_a_claim_of_one_study_takes_of_no_other(ledger: Ledger) -> None:
    first, second = (ledger.create(definition(trials=2, labels={"copy": copy})) for copy in "ab")
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=8, study=_key(second))
    assert {claim.study_id for claim in claims} == {_key(second)}
    assert len(claims) == 2
    assert _take(worker, 8, study=_key(second), held=2) == []
    assert _take(worker, 8, study=_key(first)) == [0, 1]
    assert _take(worker, 8, study=1) == []


def test_a_claim_of_one_study_keeps_to_its_queue(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=2))
    assert ledger.worker().claim(queue="gpu", capacity=2, study=_key(study)) == []


def test_others_wait_while_another_study_has_work(ledger: Ledger) -> None:
    first, second = (ledger.create(definition(trials=2, labels={"copy": copy})) for copy in "ab")
    worker = ledger.worker()
    assert worker.others_wait(queue="cpu", study=_key(first))
    assert not worker.others_wait(queue="gpu", study=_key(first))
    claims = worker.claim(queue="cpu", capacity=2, study=_key(second))
    assert not worker.others_wait(queue="cpu", study=_key(first))
    assert worker.others_wait(queue="cpu", study=_key(second))
    worker.release(claims[:1], reason="yielded")
    assert worker.others_wait(queue="cpu", study=_key(first))
    ledger.act(service.pause_study, second)
    assert not worker.others_wait(queue="cpu", study=_key(first))


def test_who_has_left_a_study_to_others_comes_back_to_it_last(ledger: Ledger) -> None:
    """The one that waited has had more trials, and would come second otherwise."""
    waited, left = (ledger.create(definition(trials=6, labels={"copy": copy})) for copy in "ab")
    worker = ledger.worker()
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=5, study=_key(waited))])
    worker.release(worker.claim(queue="cpu", capacity=2, study=_key(left)), reason="yielded")
    assert [claim.id for claim in worker.claim(queue="cpu", capacity=1, after=[_key(left)])] == [f"{waited}-5"]
    assert [claim.id for claim in worker.claim(queue="cpu", capacity=1, after=[_key(left)])] == [f"{left}-0"]
    assert worker.claim(queue="gpu", capacity=1, after=[_key(left)]) == []


def test_of_studies_that_were_left_the_one_left_longest_ago_comes_first(ledger: Ledger) -> None:
    """Of two trials each the second study has had one more than the others, the third has none left."""
    first, second, third = (ledger.create(definition(trials=2, labels={"copy": copy})) for copy in "abc")
    worker = ledger.worker()
    for study, count in ((second, 1), (third, 2)):
        worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=count, study=_key(study))])
    left = [_key(third), _key(second), _key(first)]
    assert [claim.id for claim in worker.claim(queue="cpu", capacity=1, after=left)] == [f"{second}-1"]
    assert [claim.id for claim in worker.claim(queue="cpu", capacity=1, after=left)] == [f"{first}-0"]


def test_only_those_wait_that_this_worker_can_run(ledger: Ledger) -> None:
    own = ledger.create(definition(trials=2))
    row = {"id": "w", "host": "h", "pid": 1, "queue": "cpu", "device": None, "capacity": 1, "objectives": ["mine"]}
    times = {"started_at": ledger.clock(), "seen_at": ledger.clock()}
    ledger.database.write(lambda connection: greet(connection, row | times))
    ledger.create(definition(trials=2, objective={"name": "mine"}))
    worker = ledger.worker()
    assert not worker.others_wait(queue="cpu", study=_key(own))
    assert worker.others_wait(queue="cpu", study=_key(own), objectives=["mine"])


def test_an_attempt_tells_with_how_many_it_shared_at_most(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=6))
    worker = ledger.worker()
    worker.claim(queue="cpu", capacity=3)
    worker.claim(queue="cpu", capacity=2, study=_key(study), held=3)
    assert [row.population for row in ledger.rows("attempt")] == [3, 3, 3, 5, 5]


def test_who_may_have_little_company_tells_of_no_more(ledger: Ledger) -> None:
    """Eight were lost together, so four may be; the two that are new may meet anyone."""
    study = ledger.create(definition(trials=11))
    worker = ledger.worker()
    worker.finish([_killed(claim) for claim in worker.claim(queue="cpu", capacity=8)])
    worker.claim(queue="cpu", capacity=10)
    worker.claim(queue="cpu", capacity=1, study=_key(study), held=2)
    again = {row.number: row.population for row in ledger.rows("attempt") if row.state == "running"}
    assert again == {**dict.fromkeys(range(8), 4), 8: 10, 9: 10, 10: 3}


def test_what_was_said_of_a_run_is_stored(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=3))
    worker = ledger.worker()
    together, alone, silent = worker.claim(queue="cpu", capacity=3)
    ran = Ran("mlp 4, iris, batch 16, cpu", 2, 0.52, None)
    own = Ran(None, 1, 1.25, "its optimizer is no rule for lanes")
    worker.finish(
        [
            Result(together, TrialState.COMPLETED, values={"val_loss": 0.5}, ran=ran),
            Result(alone, TrialState.DIVERGED, ran=own),
            done(silent),
        ]
    )
    assert [trial.execution for trial in ledger.trials(study)] == [
        {"lane": "mlp 4, iris, batch 16, cpu", "population": 2, "seconds": 0.52, "alone": None},
        {"lane": None, "population": 1, "seconds": 1.25, "alone": "its optimizer is no rule for lanes"},
        None,
    ]
    rows = [(row.population, row.seconds) for row in ledger.rows("attempt")]
    assert rows == [(2, 0.52), (1, 1.25), (3, None)]


def test_a_run_that_goes_on_elsewhere_is_told_by_its_attempt(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    ran = Ran("lane", 1, 3.5, None)
    worker.finish([Result(claim, TrialState.QUEUED, reason="yielded", ran=ran)])
    assert ledger.trials(study)[0].execution is None
    assert [row.seconds for row in ledger.rows("attempt")] == [3.5]


def test_a_retried_trial_is_told_by_its_last_run(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    failed = Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR, ran=Ran(None, 1, 9.0, "why"))
    worker.finish([failed])
    assert (ledger.trials(study)[0].execution or {})["seconds"] == 9.0
    ledger.act(interventions.retry_trial, f"{study}-0")
    assert ledger.trials(study)[0].execution is None
    worker.finish([done(claim) for claim in worker.claim(queue="cpu", capacity=1)])
    assert ledger.trials(study)[0].execution is None


def _companions(claims: Sequence[Claim]) -> list[int | None]:
    return [claim.companions for claim in claims]


def test_a_member_that_kills_trainers_is_found_by_halving(ledger: Ledger) -> None:
    """Trial 3 of 9 kills whatever trains it. Of those claimed as many are run as each may have for company."""
    study = ledger.create(definition(trials=9))
    worker = ledger.worker()
    deaths: list[int] = []
    for _ in range(20):
        claims = worker.claim(queue="cpu", capacity=9)
        room = min((claim.companions or 9 for claim in claims), default=0)
        worker.release(claims[room:], reason="released")
        dead = 3 in [claim.number for claim in claims[:room]]
        ran = Ran(None, len(claims[:room]), 0.0, None)
        worker.finish([_killed(claim, ran) if dead and room > 1 else done(claim) for claim in claims[:room]])
        deaths += [room] if dead else []
    assert deaths == [9, 4, 2, 1]
    assert {trial.state for trial in ledger.trials(study)} == {"completed"}


def test_members_of_a_killed_lane_run_again_at_once(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=5))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=5)
    assert _companions(claims) == [None] * 5
    said = worker.finish([_killed(claim) for claim in claims])
    assert set(said.values()) == {"accepted"}
    assert [(trial.state, trial.reason) for trial in ledger.trials(study)] == [("queued", "lane")] * 5
    assert {(row.state, row.reason, row.error) for row in ledger.rows("attempt")} == {("lost", "lane", "killed")}
    again = worker.claim(queue="cpu", capacity=5)
    assert [(claim.number, claim.attempt, claim.companions) for claim in again] == [(n, 2, 2) for n in range(5)]


def test_what_is_known_of_a_dead_trainer_counts_more_than_the_claim(ledger: Ledger) -> None:
    ledger.create(definition(trials=5))
    worker = ledger.worker()
    worker.finish([_killed(claim, Ran(None, 2, 0.0, None)) for claim in worker.claim(queue="cpu", capacity=5)])
    assert _companions(worker.claim(queue="cpu", capacity=5)) == [1] * 5


def test_a_suspicion_outlasts_a_release_but_no_run(ledger: Ledger) -> None:
    ledger.create(definition(trials=8))
    worker = ledger.worker()
    worker.finish([_killed(claim) for claim in worker.claim(queue="cpu", capacity=8)])
    for _ in range(2):
        claims = worker.claim(queue="cpu", capacity=8)
        assert _companions(claims) == [4] * 8
        worker.release(claims, reason="released")
    timed_out = [
        Result(claim, TrialState.QUEUED, failure=Failure.TIMEOUT) for claim in worker.claim(queue="cpu", capacity=8)
    ]
    worker.finish(timed_out)
    ledger.clock.move(3600)
    assert _companions(worker.claim(queue="cpu", capacity=8)) == [None] * 8


def test_the_company_of_a_claim_is_settled_with_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written once the claim stands, changes nothing of what it says."""
    ledger.create(definition(trials=8))
    worker = ledger.worker()
    worker.finish([_killed(claim) for claim in worker.claim(queue="cpu", capacity=8)])
    write = ledger.database.write

    def overtaken(work: Work[Any], **options: Any) -> Any:
        said = write(work, **options)
        write(lambda connection: connection.execute(update(Attempt).values(population=2)))
        return said

    monkeypatch.setattr(ledger.database, "write", overtaken)
    assert _companions(worker.claim(queue="cpu", capacity=8)) == [4] * 8


def test_who_is_suspected_and_lost_alone_stays_alone(ledger: Ledger) -> None:
    ledger.create(definition(trials=4))
    worker = ledger.worker()
    worker.finish([_killed(claim) for claim in worker.claim(queue="cpu", capacity=4)])
    for expected in (2, 1, 1):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        assert (claim.number, claim.companions) == (0, expected)
        worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE)])
        ledger.clock.move(3600)


def test_who_was_with_a_lost_worker_alone_may_have_any_company(ledger: Ledger) -> None:
    ledger.create(definition(trials=2))
    worker = ledger.worker()
    for _ in range(2):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE)])
    ledger.clock.move(3600)
    assert _companions(worker.claim(queue="cpu", capacity=2)) == [None, None]


def test_who_killed_a_trainer_alone_has_no_company_again(ledger: Ledger) -> None:
    ledger.create(definition(trials=3))
    worker = ledger.worker()
    claim, *others = worker.claim(queue="cpu", capacity=3)
    worker.release(others, reason="released")
    for reason in ("released", "yielded"):
        worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.POISON)])
        ledger.clock.move(3600)
        claims = worker.claim(queue="cpu", capacity=3)
        assert {claim.number: claim.companions for claim in claims} == {0: 1, 1: None, 2: None}
        worker.release(claims, reason=reason)
        (claim,) = worker.claim(queue="cpu", capacity=1)
        assert (claim.number, claim.companions) == (0, 1)


def test_killed_lanes_are_no_strikes_towards_poison(ledger: Ledger) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    for _ in range(8):
        worker.finish([_killed(claim) for claim in worker.claim(queue="cpu", capacity=1)])
    for _ in range(3):
        assert ledger.trials(study)[0].state == "queued"
        (claim,) = worker.claim(queue="cpu", capacity=1)
        worker.finish([Result(claim, TrialState.QUEUED, failure=Failure.POISON)])
        ledger.clock.move(3600)
    assert (ledger.trials(study)[0].state, ledger.trials(study)[0].reason) == ("failed", "poison")
