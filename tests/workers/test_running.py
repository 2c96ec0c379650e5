"""One trial on a trainer that we play: what is relayed, what stops it, and what it ends as."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from models.session import Unavailable
from models.states import TrialState
from models.workers import greet
from search.pruners.table import rungs
from search.trials.dispatch import Claim, Dispatcher, Ran, Result, Verdict
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, opened, report
from tests.support.players import Reciter, measured, over
from workers.checkpoints import Shelf
from workers.habits import Habits, Rooms
from workers.holdings import Holdings
from workers.outcomes import Loss, read_ran
from workers.running import Run, Terms, manner_of, start_message
from workers.shift import Desk, Shift
from workers.trainer import Trainer, TrainerDied


class Recorder(Dispatcher):
    """A dispatcher that remembers what trials ended as."""

    results: list[Result]

    def finish(self, results: Any) -> dict[str, str]:
        self.results = [*getattr(self, "results", []), *results]
        return super().finish(results)


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


def _measured(claim: Claim, step: int, value: float) -> dict[str, Any]:
    return measured(claim.id, step, value)


def _done(claim: Claim, outcome: str, **more: Any) -> dict[str, Any]:
    return over(claim.id, outcome, **more)


def _claim(ledger: Ledger, trials: int = 1, **more: Any) -> tuple[Recorder, list[Claim]]:
    ledger.create(definition(trials=trials, **more))
    worker = Recorder(ledger.database, worker="worker", clock=ledger.clock)
    return worker, worker.claim(queue="cpu", capacity=trials, objectives=["mine"])


def _start(claim: Claim, terms: Terms | None = None) -> dict[str, Any]:
    return start_message(claim, terms or Terms(), manner_of(claim.definition))


def _run(
    worker: Recorder, claim: Claim, player: Reciter, *, asked: str | None = None, shelf: Shelf | None = None
) -> Result | None:
    """Run one trial to its end; return what was written of it, None where nothing was. `asked` comes once it runs."""
    held = Holdings(threading.Event())
    held.take([claim])
    if asked == "shutdown":
        player.on_start = held.stopping.set
    elif asked is not None:
        held.hear([claim], {claim.token: asked})
        player.on_start = None
    desk = Desk(
        dispatcher=worker,
        habits=Habits("cpu", terms=Terms(shelf=shelf)),
        held=held,
        rooms=Rooms(most=1),
        objectives=(),
        claim_more=lambda _: lambda *_: [],
        end_trainer=player.kill,
    )
    worker.results = []
    Shift(claim, cast("Trainer", player), desk).work()
    assert held.claims() == []
    return worker.results[0] if worker.results else None


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "checkpoints", 5.0)


def _checkpoint(shelf: Shelf, claim: Claim, step: int, name: str | None = None) -> dict[str, Any]:
    path = shelf.place(claim) / (name or f"{claim.attempt}-{step}-1.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    said = {"step": step, "path": str(path), "sha256": "0" * 64, "bytes": 1}
    return {"type": "checkpoint", "trial": claim.id, **said}


def _worker_with(objective: str, ledger: Ledger) -> dict[str, Any]:
    now = ledger.clock()
    row = {"id": "a worker", "host": "h", "pid": 1, "queue": "cpu", "device": None, "capacity": 1}
    return row | {"objectives": [objective], "started_at": now, "seen_at": now}


def _verdicts(player: Reciter) -> list[tuple[Any, ...]]:
    return [(told["type"], told["step"], told["stop"]) for told in player.told if told["type"] != "start"]


def test_a_trial_is_followed_to_its_end(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    player = Reciter(_measured(claim, 1, 0.5), None, _measured(claim, 2, 0.7), _done(claim, "completed"))
    assert _run(worker, claim, player) == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.7})
    assert player.told == [_start(claim)]
    assert [row.step for row in ledger.rows("measurement")] == [1, 2]


def test_a_verdict_is_sent_for_each_measurement_that_is_held_at(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger, pruning={"kind": "asha", "reduction": 3})
    player = Reciter(*(_measured(claim, step, 0.5) for step in range(1, 6)), _done(claim, "completed"))
    assert _run(worker, claim, player) is not None
    assert player.told[0]["wait"] == [1, 3, 9]
    assert _verdicts(player) == [("verdict", 1, False), ("verdict", 3, False)]


def test_a_command_hears_every_verdict(ledger: Ledger) -> None:
    ledger.database.write(lambda c: greet(c, _worker_with("mine", ledger)))
    worker, (claim,) = _claim(ledger, objective={"name": "mine"}, pruning={"kind": "asha", "reduction": 3})
    manner = manner_of(claim.definition)
    assert (manner.wait, manner.lane) == (True, False)
    assert manner.holds_at(2)
    worker.finish([done(claim)])


def test_a_study_may_ask_for_one_trial_at_a_time(ledger: Ledger) -> None:
    for execution, lane in (("auto", True), ("population", True), ("single", False)):
        worker, (claim,) = _claim(ledger, execution=execution)
        assert _start(claim)["lane"] is lane
        worker.finish([done(claim)])


def test_the_best_epoch_may_speak_for_a_trial(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger, report="best")
    player = Reciter(
        *(_measured(claim, step, v) for step, v in ((1, 0.5), (2, 0.4), (3, 0.7))), _done(claim, "completed")
    )
    assert _run(worker, claim, player) == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.4})


def test_the_start_says_all_that_a_trainer_needs(ledger: Ledger) -> None:
    _, (claim,) = _claim(ledger, pruning={"kind": "asha"})
    said = _start(claim)
    assert (said["trial"], said["attempt"], said["seed"]) == (claim.id, 1, claim.seed)
    assert said["wait"] == rungs(claim.definition.pruning, last=20) != []
    assert said["params"] == claim.params
    assert said["objective"]["data"] == "iris"
    assert said["data"] is None
    assert _start(claim, Terms(data=Path("/data")))["data"] == "/data"


def test_a_decision_prunes(ledger: Ledger) -> None:
    worker, (good, bad) = _claim(ledger, 2, pruning={"kind": "asha"})
    worker.report([report(good, 1, 0.1)])
    player = Reciter(_measured(bad, 1, 0.9), _done(bad, "stopped"))
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
    player = Reciter(_measured(claim, 1, 0.9), _done(claim, "stopped"))
    assert _run(worker, claim, player, asked=asked) == Result(claim, target, reason=reason)
    wants = asked == "shutdown"
    assert player.told[1] == {"type": "stop", "trial": claim.id, "reason": asked, "checkpoint": wants}


def test_who_finished_before_the_stop_has_completed(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Reciter(_measured(claim, 1, 0.9), _done(claim, "completed")), asked="cancelled")
    assert result == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.9})


def test_a_stale_trial_ends_without_a_word(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    worker.release([claim], reason="lost")
    player = Reciter(_measured(claim, 1, 0.9), _done(claim, "completed"))
    assert _run(worker, claim, player) is None
    assert player.told[-1]["stop"]
    worker.finish([done(worker.claim(queue="cpu", capacity=1)[0])])


@pytest.mark.parametrize(
    ("reason", "failure", "said"),
    [
        ("out_of_memory", Failure.OUT_OF_MEMORY, None),
        ("device", Failure.INFRASTRUCTURE, "device"),
        ("out_of_memory: a batch of 8 did not fit", Failure.OUT_OF_MEMORY, "a batch of 8 did not fit"),
        ("ValueError: bad shape", Failure.USER_ERROR, "ValueError: bad shape"),
        (None, Failure.USER_ERROR, None),
    ],
)
def test_failures_have_a_class_and_keep_what_was_said(
    ledger: Ledger, reason: str | None, failure: Failure, said: str | None
) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Reciter(_done(claim, "failed", reason=reason, error="trace")))
    assert result is not None
    assert (result.failure, result.reason, result.error) == (failure, said, "trace")


def test_a_failed_trial_shows_what_was_said(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    said = "ValueError: bad shape " + "x" * 1000
    result = _run(worker, claim, Reciter(_done(claim, "failed", reason=said, error="trace")))
    assert result is not None
    (trial,), (attempt,) = ledger.rows("trial"), ledger.rows("attempt")
    assert trial.reason == f"user_error: {said}"[:500]
    assert attempt.error == "trace"


def test_a_broken_device_is_tried_again_elsewhere_and_bounded(ledger: Ledger) -> None:
    """The words must not keep one strike from being counted with the next."""
    worker, (claim,) = _claim(ledger)
    seen = []
    for attempt in range(1, 6):
        assert _run(worker, claim, Reciter(_done(claim, "failed", reason="device", error="trace"))) is not None
        (trial,) = ledger.rows("trial")
        seen.append((trial.attempt, trial.state, trial.reason))
        ledger.clock.move(3600)
        if attempt < 5:
            (claim,) = worker.claim(queue="cpu", capacity=1)
    waits = [(attempt, "queued", "infrastructure") for attempt in range(1, 5)]
    assert seen == [*waits, (5, "failed", "infrastructure: device")]


def test_a_trainer_that_never_got_the_trial_is_no_strike_of_the_trial(ledger: Ledger) -> None:
    class Deaf(Reciter):
        def send(self, message: Mapping[str, Any]) -> None:
            raise TrainerDied(f"nobody hears {message['type']}")

    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Deaf())
    assert result is not None
    assert (result.target, result.failure) == (TrialState.QUEUED, Failure.INFRASTRUCTURE)


def test_divergence_has_no_values(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    player = Reciter(_measured(claim, 1, 0.9), _done(claim, "diverged", reason="loss is not finite"))
    assert _run(worker, claim, player) == Result(claim, TrialState.DIVERGED, reason="loss is not finite")


def test_reports_wait_while_the_database_is_away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, (claim,) = _claim(ledger)
    real, away = worker.report, [True, True, False]

    def sometimes(reports: Any) -> Any:
        if away.pop(0):
            raise Unavailable("away")
        return real(reports)

    monkeypatch.setattr(worker, "report", sometimes)
    player = Reciter(*(_measured(claim, step, 1.0 / step) for step in (1, 2, 3)), _done(claim, "completed"))
    assert _run(worker, claim, player) is not None
    assert [row.step for row in ledger.rows("measurement")] == [1, 2, 3]


def test_a_trainer_that_ignores_a_stop_is_given_up(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.running.GRACE_SECONDS", 0.0)
    worker, (claim,) = _claim(ledger)
    player = Reciter(*[None] * 1000, pause=0.01)
    assert _run(worker, claim, player, asked="cancelled") == Result(claim, TrialState.CANCELLED, reason="cancelled")
    assert player.messages
    assert not player.alive


def test_a_trainer_that_dies_under_a_trial_is_its_strike(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    player = Reciter(_measured(claim, 1, 0.5))
    result = _run(worker, claim, player)
    assert result == Result(claim, TrialState.QUEUED, failure=Failure.POISON, error="it said no more")
    assert not player.alive
    assert [row.step for row in ledger.rows("measurement")] == [1]


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
    _, (claim,) = _claim(ledger)
    run = Run(claim, started=True, stopping=stopping, pruned=pruned)
    run.loss = Loss(Failure.POISON, "the trainer was killed by signal SIGKILL")
    result = run.result()
    assert (None if result is None else (result.target, result.failure)) == expected


def test_a_checkpoint_is_kept_with_the_values_that_the_trial_has_by_then(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claim(ledger, report="best")
    player = Reciter(
        *(_measured(claim, 1, 0.4), _measured(claim, 2, 0.6), _checkpoint(shelf, claim, 2)),
        *(_measured(claim, 3, 0.2), _done(claim, "stopped")),
    )
    result = _run(worker, claim, player, asked="shutdown", shelf=shelf)
    assert result == Result(claim, TrialState.QUEUED, reason="released")
    (kept,) = ledger.rows("checkpoint")
    assert (kept.attempt, kept.step, kept.values) == (1, 2, {"val_loss": 0.4})
    assert player.told[0]["checkpoints"] == {"folder": str(shelf.place(claim)), "seconds": 5.0, "resume": []}


def test_a_trial_goes_on_with_the_values_it_had(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claim(ledger, report="best")
    first = Reciter(_measured(claim, 1, 0.1), _checkpoint(shelf, claim, 1), _measured(claim, 2, 0.05))
    assert _run(worker, claim, first, shelf=shelf) is not None
    ledger.clock.move(3600)
    (again,) = worker.claim(queue="cpu", capacity=1)
    resumed = {"type": "resumed", "trial": again.id, "step": 1}
    player = Reciter(resumed, _measured(again, 2, 0.5), _done(again, "completed"))
    result = _run(worker, again, player, shelf=shelf)
    assert result == Result(again, TrialState.COMPLETED, values={"val_loss": 0.1})
    assert [file["step"] for file in player.told[0]["checkpoints"]["resume"]] == [1]
    rows = [(row.attempt, row.step) for row in ledger.rows("measurement")]
    assert rows == [(1, 1), (1, 2), (2, 2)]


def test_one_that_starts_over_has_no_values_of_before(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claim(ledger, report="best")
    first = Reciter(_measured(claim, 1, 0.1), _checkpoint(shelf, claim, 1))
    assert _run(worker, claim, first, shelf=shelf) is not None
    ledger.clock.move(3600)
    (again,) = worker.claim(queue="cpu", capacity=1)
    result = _run(worker, again, Reciter(_measured(again, 1, 0.5), _done(again, "completed")), shelf=shelf)
    assert result == Result(again, TrialState.COMPLETED, values={"val_loss": 0.5})


def test_a_checkpoint_elsewhere_is_not_kept(ledger: Ledger, shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    worker, (claim,) = _claim(ledger)
    player = Reciter(
        *(_measured(claim, 1, 0.4), _checkpoint(shelf, claim, 1, "../../out.pt"), _done(claim, "completed"))
    )
    assert _run(worker, claim, player, shelf=shelf) is not None
    assert ledger.rows("checkpoint") == []
    assert "no place for a checkpoint" in caplog.text


def test_who_has_lost_its_lease_keeps_nothing_and_stops(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claim(ledger)
    worker.release([claim], reason="lost")
    player = Reciter(_checkpoint(shelf, claim, 0), _done(claim, "stopped"))
    assert _run(worker, claim, player, shelf=shelf) is None
    assert player.told[-1] == {"type": "stop", "trial": claim.id, "reason": "stale", "checkpoint": False}
    assert ledger.rows("checkpoint") == []
    worker.finish([done(worker.claim(queue="cpu", capacity=1)[0])])


def test_a_checkpoint_is_kept_after_the_measurements_it_stands_on(
    ledger: Ledger, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever went on from it would have steps that nobody has reported."""
    worker, (claim,) = _claim(ledger)
    real, away = worker.report, [True, True, False]

    def sometimes(reports: Any) -> Any:
        if away.pop(0):
            raise Unavailable("away")
        return real(reports)

    def keep(kept: Any) -> bool:
        assert [row.step for row in ledger.rows("measurement")] == [1]
        return real_keep(kept)

    real_keep = worker.keep
    monkeypatch.setattr(worker, "report", sometimes)
    monkeypatch.setattr(worker, "keep", keep)
    player = Reciter(_measured(claim, 1, 0.5), _checkpoint(shelf, claim, 1), _done(claim, "completed"))
    assert _run(worker, claim, player, shelf=shelf) is not None
    assert [row.step for row in ledger.rows("checkpoint")] == [1]


@pytest.mark.parametrize(
    ("timeouts", "why"),
    [
        ({"progress": 0.05}, "no sign of progress for 0.05 s (timeouts.progress)"),
        ({"progress": None, "total": 0.05}, "still running after 0.05 s (timeouts.total)"),
    ],
)
def test_a_trial_that_takes_too_long_is_ended(ledger: Ledger, timeouts: dict[str, Any], why: str) -> None:
    worker, (claim,) = _claim(ledger, timeouts=timeouts)
    for state, reason in (("queued", "timeout"), ("failed", f"timeout: {why}")):
        player = Reciter(_measured(claim, 1, 0.5), *[None] * 1000, pause=0.02)
        result = _run(worker, claim, player)
        assert result == Result(claim, TrialState.FAILED, failure=Failure.TIMEOUT, reason=why, error=why)
        assert not player.alive
        (trial,) = ledger.rows("trial")
        assert (trial.state, trial.reason) == (state, reason)
        ledger.clock.move(3600)
        claim = next(iter(worker.claim(queue="cpu", capacity=1)), claim)


def test_a_sign_of_life_is_progress(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger, timeouts={"progress": 1.0})
    alive = {"type": "alive", "trial": claim.id}
    player = Reciter(*[alive, None] * 40, _measured(claim, 1, 0.5), _done(claim, "completed"), pause=0.02)
    result = _run(worker, claim, player)
    assert result is not None
    assert result.target is TrialState.COMPLETED


def test_a_trial_without_the_metric_is_no_result(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    other = {"type": "measurement", "trial": claim.id, "step": 1, "values": {"accuracy": 0.5}}
    result = _run(worker, claim, Reciter(other, _done(claim, "completed")))
    assert result is not None
    assert result.failure is Failure.USER_ERROR
    assert "without a value of 'val_loss'" in (result.reason or "")


def test_a_measurement_without_the_metric_leaves_the_last_one_with_it(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    other = {"type": "measurement", "trial": claim.id, "step": 2, "values": {"accuracy": 0.5}}
    result = _run(worker, claim, Reciter(_measured(claim, 1, 0.3), other, _done(claim, "completed")))
    assert result == Result(claim, TrialState.COMPLETED, values={"val_loss": 0.3})


def test_what_no_database_stores_is_written_out(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Reciter(_done(claim, "failed", reason="a\0b", error="line\n\ud800")))
    assert result is not None
    assert (result.reason, result.error) == (r"a\x00b", "line\n\\ud800")


def test_a_trial_that_its_trainer_gives_back_is_uncharged(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    result = _run(worker, claim, Reciter(_done(claim, "released", reason="memory ran out")))
    assert result == Result(claim, TrialState.QUEUED, reason="lane")
    (attempt,) = ledger.rows("attempt")
    assert (attempt.state, attempt.reason) == ("released", "lane")


def test_how_a_trial_was_trained_goes_to_the_ledger(ledger: Ledger) -> None:
    worker, (claim,) = _claim(ledger)
    ran = {"lane": "mlp 4, iris", "population": 37, "seconds": 0.5, "alone": None}
    result = _run(worker, claim, Reciter(_measured(claim, 1, 0.5), _done(claim, "completed", ran=ran)))
    assert result is not None
    assert result.ran == Ran("mlp 4, iris", 37, 0.5, None)
    (attempt,), (trial,) = ledger.rows("attempt"), ledger.rows("trial")
    assert (attempt.seconds, trial.execution) == (0.5, ran)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (None, None),
        ("alone", None),
        ({}, None),
        ({"population": True, "seconds": 1.0}, None),
        ({"population": 2, "seconds": float("nan")}, None),
        ({"population": 0, "seconds": -1, "lane": 7, "alone": "a\0b"}, Ran(None, 1, 0.0, r"a\x00b")),
    ],
)
def test_nonsense_about_how_a_trial_was_trained_is_left_out(said: object, read: Ran | None) -> None:
    assert read_ran(said) == read


def test_the_first_reason_to_stop_is_the_one_that_counts(ledger: Ledger) -> None:
    _, (claim,) = _claim(ledger)
    run = Run(claim, started=True)
    assert run.ask_to_stop("yielded", 0.0)["checkpoint"]
    run.take_verdict(Verdict(accepted=True, stop=True, reason="asha: behind"), 0.0)
    run.loss = Loss(None, "lane")
    assert run.result() == Result(claim, TrialState.QUEUED, reason="yielded")
