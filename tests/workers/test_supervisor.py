"""The supervisor without a real trainer: its heartbeats, what it says about itself, and when it claims."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search.trials.dispatch import Claim
from tests.support.ledger import Ledger, definition, opened
from tests.support.players import Troupe
from workers.checkpoints import Shelf
from workers.habits import Habits
from workers.objectives import Registered
from workers.running import Terms
from workers.supervisor import Supervisor
from workers.trainer import TrainerDied


class Actor(Troupe):
    """A trainer that is ready when `prepare(give_up)` says so, and completes every trial at once."""

    def __init__(self, prepare: Callable[[Callable[[], bool]], bool], kind: str) -> None:
        super().__init__()
        self.prepare = prepare
        self.kind = kind
        self.ready = False

    def wait_ready(self, *, give_up: Callable[[], bool]) -> bool:
        self.ready = self.ready or self.prepare(give_up)
        return self.ready


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def supervisor(ledger: Ledger) -> Supervisor:
    """Make a supervisor whose threads do not run."""
    return Supervisor(ledger.database, Habits(queue="cpu", device="0"), nudge=lambda _: None, clock=ledger.clock)


def _hold(ledger: Ledger, supervisor: Supervisor, trials: int = 1) -> list[Claim]:
    ledger.create(definition(trials=trials))
    claims = supervisor.dispatcher.claim(queue="cpu", capacity=trials)
    supervisor._held.take(claims)
    return claims


def test_a_heartbeat_moves_every_lease_and_shows_the_worker(ledger: Ledger, supervisor: Supervisor) -> None:
    _hold(ledger, supervisor, 2)
    for _ in range(3):
        supervisor._beat()
    assert [row.beat for row in ledger.rows("lease")] == [3, 3]
    (worker,) = ledger.rows("worker")
    assert (worker.id, worker.queue, worker.device) == (supervisor.worker, "cpu", "0")


def test_a_lost_lease_is_heard_of_at_the_next_heartbeat(ledger: Ledger, supervisor: Supervisor) -> None:
    (claim,) = _hold(ledger, supervisor)
    assert supervisor._held.why_stop(claim) is None
    supervisor.dispatcher.release([claim], reason="lost")
    supervisor._beat()
    assert supervisor._held.why_stop(claim) == "stale"


def test_heartbeats_keep_their_pace_while_it_stops(ledger: Ledger, supervisor: Supervisor) -> None:
    _hold(ledger, supervisor)
    beats = supervisor._threads[0]
    supervisor.ask_to_stop()
    beats.start()
    time.sleep(0.5)
    moved = ledger.rows("lease")[0].beat
    supervisor._held.drop(supervisor._held.claims())
    supervisor.close()
    beats.join(timeout=20)
    assert not beats.is_alive()
    assert moved <= 2


def test_it_says_goodbye(ledger: Ledger, supervisor: Supervisor) -> None:
    supervisor._beat()
    supervisor.close()
    (worker,) = ledger.rows("worker")
    assert worker.stopped_at == ledger.clock()
    assert supervisor.turn() == 0


def _play(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Callable[[], bool]], bool]) -> list[Actor]:
    """Let supervisors start players; return those that were started."""
    started: list[Actor] = []

    def start(kind: str, *, threads: int) -> Actor:
        assert threads == 1
        started.append(Actor(prepare, kind))
        return started[-1]

    monkeypatch.setattr("workers.keeper.Trainer", start)
    return started


def test_nothing_is_claimed_before_a_trainer_is_ready(
    ledger: Ledger, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def prepare(_: Callable[[], bool]) -> bool:
        held.append(len(ledger.rows("lease")))
        return True

    started = _play(monkeypatch, prepare)
    ledger.create(definition(trials=2))
    assert supervisor.turn() == 2
    assert held == [0]
    assert (len(started), started[0].trials) == (1, 2)
    assert [trial.state for trial in ledger.rows("trial")] == ["completed", "completed"]


def test_what_goes_wrong_before_a_trial_starts_lets_go_of_it(
    ledger: Ledger, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is beaten no more, so that a reaper finds it."""
    looks: list[int] = []

    def prepare(_: Callable[[], bool]) -> bool:
        looks.append(len(ledger.rows("lease")))
        if looks[-1]:
            raise RuntimeError("words that no trainer says")
        return True

    monkeypatch.setattr(Actor, "wait_ready", lambda actor, *, give_up: actor.prepare(give_up))
    _play(monkeypatch, prepare)
    ledger.create(definition(trials=1))
    with pytest.raises(RuntimeError, match="no trainer says"):
        supervisor.turn()
    assert looks == [0, 1]
    supervisor._beat()
    assert supervisor._held.claims() == []
    assert [row.beat for row in ledger.rows("lease")] == [0]


def test_a_host_whose_trainer_cannot_start_takes_no_trial(
    ledger: Ledger, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def prepare(_: Callable[[], bool]) -> bool:
        raise TrainerDied("the trainer exited with status 1")

    started = _play(monkeypatch, prepare)
    ledger.create(definition(trials=1))
    for looks in (1, 2):
        assert supervisor.turn() == 0
        assert [player.alive for player in started] == [False] * looks
    assert ledger.rows("attempt") == []
    assert "the trainer exited with status 1" in caplog.text


def test_who_stops_waits_for_no_trainer(
    ledger: Ledger, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(give_up: Callable[[], bool]) -> bool:
        supervisor.ask_to_stop()
        end = time.monotonic() + 10
        while not give_up():
            assert time.monotonic() < end
        return False

    _play(monkeypatch, prepare)
    ledger.create(definition(trials=1))
    assert supervisor.turn() == 0
    assert ledger.rows("attempt") == []


def test_a_trainer_that_died_while_idle_is_replaced(
    ledger: Ledger, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = _play(monkeypatch, lambda _: True)
    supervisor.turn()
    started[0].alive = False
    ledger.create(definition(trials=1))
    assert supervisor.turn() == 1
    assert [player.trials for player in started] == [0, 1]
    assert [(row.number, row.reason) for row in ledger.rows("attempt")] == [(0, None)]


def test_asking_to_stop_waits_for_no_lock(supervisor: Supervisor) -> None:
    """A signal handler runs inside the very `wait` that it interrupted, which may hold the event's lock."""
    asked = threading.Thread(target=supervisor.ask_to_stop, daemon=True)
    event: Any = supervisor._stopping
    with event._cond:
        asked.start()
        asked.join(5)
        assert not asked.is_alive()
    assert event.wait(5)


COMMAND: dict[str, Any] = {"objective": {"name": "mine"}, "timeouts": {"progress": 60}}


def _with_command(ledger: Ledger, tmp_path: Path) -> Supervisor:
    """Make a supervisor that has registered `mine`, and has said so."""
    registry = {"mine": Registered("mine", ("true",), tmp_path, {})}
    habits = Habits(queue="cpu", terms=Terms(registry, Shelf(tmp_path / "checkpoints", 30.0)))
    made = Supervisor(ledger.database, habits, nudge=lambda _: None, clock=ledger.clock)
    made._beat()
    return made


def test_it_announces_what_is_registered(ledger: Ledger, tmp_path: Path) -> None:
    _with_command(ledger, tmp_path)
    (worker,) = ledger.rows("worker")
    assert worker.objectives == ["mine"]


def test_a_trainer_of_the_kind_that_is_needed_takes_the_place_of_the_other(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _with_command(ledger, tmp_path)
    started = _play(monkeypatch, lambda _: True)
    ledger.create(definition(trials=1))
    assert both.turn() == 1
    ledger.create(definition(trials=2, **COMMAND))
    assert both.turn() == 2
    assert [(player.kind, player.trials, player.alive) for player in started] == [
        ("training", 1, False),
        ("training.command", 2, True),
    ]
    assert {trial.state for trial in ledger.rows("trial")} == {"completed"}


def test_who_has_not_registered_an_objective_claims_none_of_it(
    ledger: Ledger, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _with_command(ledger, tmp_path)
    _play(monkeypatch, lambda _: True)
    ledger.create(definition(trials=1, **COMMAND))
    assert supervisor.turn() == 0
    assert both.turn() == 1


def test_a_trainer_of_the_other_kind_that_cannot_start_is_no_fault_of_the_trial(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _with_command(ledger, tmp_path)
    started: list[Actor] = []

    def prepare(_: Callable[[], bool]) -> bool:
        if started[-1].kind == "training.command":
            raise TrainerDied("the trainer exited with status 1")
        return True

    started = _play(monkeypatch, prepare)
    ledger.create(definition(trials=1, **COMMAND))
    assert both.turn() == 1
    (attempt,) = ledger.rows("attempt")
    assert (attempt.state, attempt.reason) == ("lost", "infrastructure")
    assert ledger.rows("trial")[0].state == "queued"


def test_the_folder_of_a_trial_that_has_ended_is_removed(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _with_command(ledger, tmp_path)
    _play(monkeypatch, lambda _: True)
    ledger.create(definition(trials=2))
    assert both.turn() == 2
    assert not [path for path in (tmp_path / "checkpoints").rglob("*") if path.name.isdecimal()]


def test_checkpoints_are_tidied_at_the_start(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _play(monkeypatch, lambda _: True)
    both = _with_command(ledger, tmp_path)
    left = tmp_path / "checkpoints" / "0000000000000" / "7"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    both.start()
    end = time.monotonic() + 20
    while left.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    both.close()
