"""One trial on a trainer that we play: what is relayed, what stops it, and what it ends as."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from models.session import Unavailable
from models.states import TrialState
from search.dispatch import Claim, Dispatcher, Result
from search.failures import Failure
from tests.support.ledger import Ledger, definition, done, opened, report
from workers.running import Run, start_message
from workers.supervisor import _after_death
from workers.trainer import Trainer, TrainerDied


class Player:
    """Says what it was given to say, one message at a time, and keeps what it is told."""

    def __init__(self, *messages: Mapping[str, Any] | None) -> None:
        self.messages = deque(messages)
        self.told: list[Mapping[str, Any]] = []

    def send(self, message: Mapping[str, Any]) -> None:
        self.told.append(message)

    def receive(self, *, timeout: float) -> Mapping[str, Any] | None:
        del timeout
        if not self.messages:
            raise TrainerDied("it said no more")
        return self.messages.popleft()


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


def _measured(claim: Claim, step: int, value: float) -> dict[str, Any]:
    return {"type": "measurement", "trial": claim.id, "step": step, "values": {"val_loss": value}}


def _done(claim: Claim, outcome: str, **more: Any) -> dict[str, Any]:
    return {"type": "done", "trial": claim.id, "outcome": outcome, **more}


def _claim(ledger: Ledger, trials: int = 1, **more: Any) -> tuple[Dispatcher, list[Claim]]:
    ledger.create(definition(trials=trials, **more))
    worker = ledger.worker()
    return worker, worker.claim(queue="cpu", capacity=trials)


def _run(worker: Dispatcher, claim: Claim, player: Player, *, asked: str | None = None) -> Result | None:
    return Run(claim, cast("Trainer", player), worker, lambda: asked).follow()


def test_a_trial_is_followed_to_its_end(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    player = Player(_measured(claim, 1, 0.5), None, _measured(claim, 2, 0.7), _done(claim, "completed"))
    assert _run(worker, claim, player) == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.7})
    assert player.told[0] == start_message(claim)
    assert [(told["type"], told.get("step"), told.get("stop")) for told in player.told[1:]] == [
        ("verdict", 1, False),
        ("verdict", 2, False),
    ]
    assert [row.step for row in ledger.rows("measurement")] == [1, 2]


def test_the_best_epoch_may_speak_for_a_trial(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger, report="best")
    player = Player(
        *(_measured(claim, step, v) for step, v in ((1, 0.5), (2, 0.4), (3, 0.7))), _done(claim, "completed")
    )
    assert _run(worker, claim, player) == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.4})


def test_the_start_says_all_that_a_trainer_needs(ledger: Ledger) -> None:
    _, (claim,) = _claim(ledger, pruning={"kind": "asha"})
    said = start_message(claim)
    assert (said["trial"], said["attempt"], said["seed"], said["wait"]) == (claim.id, 1, claim.seed, True)
    assert said["params"] == claim.params
    assert said["objective"]["data"] == "iris"


def test_a_decision_prunes(ledger: Ledger) -> None:
    worker, (good, bad) = _claim(ledger, 2, pruning={"kind": "asha"})
    worker.report([report(good, 1, 0.1)])
    player = Player(_measured(bad, 1, 0.9), _done(bad, "stopped"))
    result = _run(worker, bad, player)
    assert player.told[-1]["stop"]
    assert result is not None
    assert (result.target, result.values) == (TrialState.PRUNED, {"val_loss": 0.9})


@pytest.mark.parametrize(
    ("asked", "target", "reason"),
    [
        ("cancelled", TrialState.CANCELLED, "cancelled"),
        ("budget", TrialState.CANCELLED, "budget"),
        ("shutdown", TrialState.QUEUED, "released"),
    ],
)
def test_a_stop_from_outside(ledger: Ledger, asked: str, target: TrialState, reason: str) -> None:
    worker, (claim,) = _claim(ledger)
    player = Player(_measured(claim, 1, 0.9), _done(claim, "stopped"))
    assert _run(worker, claim, player, asked=asked) == Result(claim, target, reason=reason)
    assert player.told[1] == {"type": "stop", "trial": claim.id, "reason": asked}


def test_who_finished_before_the_stop_has_completed(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Player(_measured(claim, 1, 0.9), _done(claim, "completed")), asked="cancelled")
    assert result == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.9})


def test_a_stale_trial_ends_without_a_word(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    worker.release([claim], reason="lost")
    player = Player(_measured(claim, 1, 0.9), _done(claim, "completed"))
    assert _run(worker, claim, player) is None
    assert player.told[-1]["stop"]
    worker.finish([done(worker.claim(queue="cpu", capacity=1)[0])])


@pytest.mark.parametrize(
    ("reason", "failure", "said"),
    [
        ("out_of_memory", Failure.OUT_OF_MEMORY, None),
        ("device", Failure.INFRASTRUCTURE, "device"),
        ("ValueError: bad shape", Failure.USER_ERROR, "ValueError: bad shape"),
        (None, Failure.USER_ERROR, None),
    ],
)
def test_failures_have_a_class_and_keep_what_was_said(
    ledger: Ledger, reason: str | None, failure: Failure, said: str | None
) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Player(_done(claim, "failed", reason=reason, error="trace")))
    assert result is not None
    assert (result.failure, result.reason, result.error) == (failure, said, "trace")


def test_a_failed_trial_shows_what_was_said(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    said = "ValueError: bad shape " + "x" * 1000
    result = _run(worker, claim, Player(_done(claim, "failed", reason=said, error="trace")))
    assert result is not None
    worker.finish([result])
    (trial,), (attempt,) = ledger.rows("trial"), ledger.rows("attempt")
    assert trial.reason == f"user_error: {said}"[:500]
    assert attempt.error == "trace"


def test_a_broken_device_is_tried_again_elsewhere_and_bounded(ledger: Ledger) -> None:
    """The words must not keep one strike from being counted with the next."""
    worker, (claim,) = _claim(ledger)
    seen = []
    for attempt in range(1, 6):
        result = _run(worker, claim, Player(_done(claim, "failed", reason="device", error="trace")))
        assert result is not None
        worker.finish([result])
        (trial,) = ledger.rows("trial")
        seen.append((trial.attempt, trial.state, trial.reason))
        ledger.clock.move(3600)
        if attempt < 5:
            (claim,) = worker.claim(queue="cpu", capacity=1)
    waits = [(attempt, "queued", "infrastructure") for attempt in range(1, 5)]
    assert seen == [*waits, (5, "failed", "infrastructure: device")]


def test_a_trainer_that_never_got_the_trial_is_no_strike_of_the_trial(ledger: Ledger) -> None:
    class Deaf(Player):
        def send(self, message: Mapping[str, Any]) -> None:
            raise TrainerDied(f"nobody hears {message['type']}")

    worker, (claim,) = _claim(ledger)
    run = Run(claim, cast("Trainer", Deaf()), worker, lambda: None)
    with pytest.raises(TrainerDied):
        run.follow()
    result = _after_death(run, "it was gone")
    assert result is not None
    assert (result.target, result.failure) == (TrialState.QUEUED, Failure.INFRASTRUCTURE)


def test_divergence_has_no_values(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    player = Player(_measured(claim, 1, 0.9), _done(claim, "diverged", reason="loss is not finite"))
    assert _run(worker, claim, player) == Result(claim, TrialState.DIVERGED, reason="loss is not finite")


def test_reports_wait_while_the_database_is_away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, (claim,) = _claim(ledger)
    real, away = worker.report, [True, True, False]

    def sometimes(reports: Any) -> Any:
        if away.pop(0):
            raise Unavailable("away")
        return real(reports)

    monkeypatch.setattr(worker, "report", sometimes)
    player = Player(*(_measured(claim, step, 1.0 / step) for step in (1, 2, 3)), _done(claim, "completed"))
    assert _run(worker, claim, player) is not None
    assert [row.step for row in ledger.rows("measurement")] == [1, 2, 3]


def test_a_trainer_that_ignores_a_stop_is_given_up(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.running.GRACE_SECONDS", 0.0)
    worker, (claim,) = _claim(ledger)
    with pytest.raises(TrainerDied, match="did not stop"):
        _run(worker, claim, Player(*[None] * 1000), asked="cancelled")


@pytest.mark.parametrize(
    ("stopping", "pruned", "expected"),
    [
        (None, False, (TrialState.QUEUED, Failure.POISON)),
        ("shutdown", False, (TrialState.QUEUED, None)),
        ("cancelled", False, (TrialState.CANCELLED, None)),
        ("asha: behind", True, (TrialState.PRUNED, None)),
        ("stale", False, None),
    ],
)
def test_a_death_is_a_strike_only_where_nobody_asked_for_it(
    ledger: Ledger, stopping: str | None, pruned: bool, expected: tuple[TrialState, Failure | None] | None
) -> None:
    worker, (claim,) = _claim(ledger)
    run = Run(claim, cast("Trainer", Player()), worker, lambda: None, started=True, stopping=stopping, pruned=pruned)
    result = _after_death(run, "the trainer was killed by signal SIGKILL")
    assert (None if result is None else (result.target, result.failure)) == expected
