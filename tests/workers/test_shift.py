"""Many trials on one trainer that we play: who joins whom, what is written together, and who bears what."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.session import Unavailable
from models.states import TrialState
from search.dispatch import Claim, Ran, Result
from search.failures import Failure
from search.service import cancel_study, change_study
from tests.support.ledger import Ledger, definition, done, opened
from tests.support.players import Act, Message, Troupe, completes, measured, over, trains_on
from workers.checkpoints import Shelf
from workers.habits import Habits
from workers.running import Terms
from workers.supervisor import Supervisor

SECONDS = 20.0


class Stage:
    """A supervisor whose trainers are played, and what it has asked of the ledger."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, **habits: Any) -> None:
        self.ledger = ledger
        self.patch = monkeypatch
        self.supervisor = Supervisor(
            ledger.database, Habits(queue="cpu", **habits), nudge=lambda _: None, clock=ledger.clock
        )
        self.calls: dict[str, list[int]] = {}
        self.started: list[Troupe] = []
        for name in ("report", "finish", "claim"):
            self._count(name)

    def plays(self, act: Act = completes, *, room: int | None = 8, **more: Any) -> Troupe:
        """Let every trainer act so; return the first of them, which has not started yet."""
        first = Troupe(act, room=room, **more)

        def start(kind: str, *, threads: int) -> Troupe:
            assert threads == 1
            made = Troupe(act, room=room, **more) if self.started else first
            made.kind = kind
            self.started.append(made)
            return made

        self.patch.setattr("workers.keeper.Trainer", start)
        return first

    def states(self) -> list[str]:
        return [trial.state for trial in self.ledger.rows("trial")]

    def attempts(self) -> list[tuple[str, str | None]]:
        return [(row.state, row.reason) for row in self.ledger.rows("attempt")]

    def in_background(self) -> threading.Thread:
        turn = threading.Thread(target=self.supervisor.turn, daemon=True)
        turn.start()
        return turn

    def _count(self, name: str) -> None:
        dispatcher = self.supervisor.dispatcher
        real, calls = getattr(dispatcher, name), self.calls.setdefault(name, [])

        def counted(*given: Any, **more: Any) -> Any:
            said = real(*given, **more)
            calls.append(len(said) if name == "claim" else len(given[0]))
            return said

        self.patch.setattr(dispatcher, name, counted)


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def stage(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(ledger, monkeypatch)


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def _number(message: Message) -> int:
    return int(message["trial"].rpartition("-")[2])


def test_many_trials_are_claimed_reported_and_finished_together(stage: Stage) -> None:
    together: list[Message] = []

    def act(start: Message) -> list[Message]:
        """Wait for the last one, then all end at once."""
        together.extend(completes(start))
        return together if len(together) == 2 * 8 else []

    player = stage.plays(act)
    stage.ledger.create(definition(trials=8))
    assert stage.supervisor.turn() == 8
    assert stage.states() == ["completed"] * 8
    assert [count for count in stage.calls["claim"] if count] == [1, 7]
    assert (stage.calls["report"], stage.calls["finish"]) == ([8], [8])
    assert (player.most, player.shared + player.trials) == (8, 8)
    assert {row.population for row in stage.ledger.rows("attempt")} == {1, 8}


def test_free_slots_are_filled_in_the_same_turn(stage: Stage) -> None:
    player = stage.plays(room=4)
    stage.ledger.create(definition(trials=30))
    assert stage.supervisor.turn() == 30
    assert stage.states() == ["completed"] * 30
    assert 1 < player.most <= 4
    assert len(stage.started) == 1


def test_there_is_room_for_one_until_the_trainer_says_otherwise(stage: Stage) -> None:
    player = stage.plays(room=None)
    stage.ledger.create(definition(trials=5))
    assert stage.supervisor.turn() == 5
    assert player.most == 1
    assert (player.trials, player.shared) == (5, 0)


def test_the_room_is_remembered_for_the_next_shift_and_shown(stage: Stage) -> None:
    player = stage.plays(room=3)
    study = stage.ledger.create(definition(trials=3))
    stage.supervisor.turn()
    player.most = 0
    stage.ledger.act(change_study, study, {"budget": {"trials": 9}})
    assert stage.supervisor.turn() == 6
    assert 1 < player.most <= 3
    assert len(stage.started) == 1
    stage.supervisor._beat()
    assert stage.ledger.rows("worker")[0].capacity == 3


def test_what_is_set_caps_the_room(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(ledger, monkeypatch, population=2)
    player = stage.plays(room=64)
    ledger.create(definition(trials=12))
    assert stage.supervisor.turn() == 12
    assert player.most == 2


def test_the_room_may_grow_and_shrink(stage: Stage) -> None:
    def act(start: Message) -> list[Message]:
        number = _number(start)
        change = {10: [_room(6)], 20: [_room(2)]}.get(number, [])
        if number == 20:
            player.most = 0
        return [*change, *completes(start)]

    player = stage.plays(act, room=3)
    stage.ledger.create(definition(trials=40))
    assert stage.supervisor.turn() == 40
    assert stage.states() == ["completed"] * 40
    assert player.most <= 6
    assert stage.supervisor._desk.rooms.of(stage.ledger.rows("study")[0].id) == 2


def _room(members: object) -> dict[str, Any]:
    return {"type": "room", "members": members, "lane": "a lane"}


@pytest.mark.parametrize("members", [0, -3, None, "many", 1.5])
def test_a_senseless_room_is_room_for_one(stage: Stage, members: object) -> None:
    player = stage.plays(room=None)
    player.say(_room(members))
    stage.ledger.create(definition(trials=3))
    assert stage.supervisor.turn() == 3
    assert player.most == 1


def test_a_study_that_asks_for_it_is_run_one_by_one(stage: Stage) -> None:
    player = stage.plays(room=8)
    stage.ledger.create(definition(trials=4, execution="single"))
    assert stage.supervisor.turn() == 4
    assert player.most == 1
    assert {start["lane"] for start in player.of("start")} == {False}


def test_a_trainer_that_dies_under_many_is_a_strike_for_none_and_they_run_in_halves(stage: Stage) -> None:
    def act(start: Message) -> list[Message]:
        """Number 3 kills whatever trainer it gets; on the first one the others wait for it."""
        if _number(start) == 3:
            stage.started[-1].epitaph = "the trainer was killed by signal SIGKILL"
        return [] if _number(start) == 3 or len(stage.started) == 1 else completes(start)

    stage.plays(act, room=4)
    stage.ledger.create(definition(trials=4))
    stage.supervisor.turn()
    first = [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1]
    assert first == [("lost", "lane")] * 4
    for _ in range(12):
        stage.supervisor.turn()
        stage.ledger.clock.move(3600)
    assert sorted(stage.states()) == ["completed", "completed", "completed", "failed"]
    (failed,) = [trial for trial in stage.ledger.rows("trial") if trial.state == "failed"]
    assert failed.number == 3
    assert (failed.reason or "").startswith("poison")
    poisoned = [row.number for row in stage.ledger.rows("attempt") if (row.reason or "").startswith("poison")]
    assert set(poisoned) == {3}


def test_a_trainer_that_dies_under_one_of_a_lane_is_its_strike(stage: Stage) -> None:
    player = stage.plays(trains_on, room=4)
    player.epitaph = "the trainer was killed by signal SIGKILL"
    stage.ledger.create(definition(trials=1))
    stage.supervisor.turn()
    assert stage.attempts() == [("lost", "poison")]


def test_companions_hold_everyone_to_their_limit(stage: Stage) -> None:
    """Four were lost together: no more than two of them run together then, and nobody else joins meanwhile."""
    stage.ledger.create(definition(trials=20))
    other = stage.ledger.worker("other")
    lost = other.claim(queue="cpu", capacity=4)
    other.finish(
        [Result(claim, TrialState.QUEUED, failure=Failure.LANE, ran=Ran(None, 4, 0.0, None)) for claim in lost]
    )
    limited = {claim.id for claim in lost}
    seen: list[int] = []

    def act(start: Message) -> list[Message]:
        if limited & stage.started[-1].on:
            seen.append(len(stage.started[-1].on))
        return completes(start)

    stage.plays(act, room=8)
    assert stage.supervisor.turn() == 20
    assert stage.states() == ["completed"] * 20
    assert 0 < max(seen) <= 2


def test_a_trial_that_is_late_is_charged_and_its_companions_are_not(stage: Stage) -> None:
    """As long as the others are heard it alone is stuck."""
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3, timeouts={"progress": 1.0}))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3)
    stuck, *others = sorted(player.on)
    stage.plays(completes)
    while player.alive:
        player.say(*({"type": "alive", "trial": trial} for trial in others))
        time.sleep(0.02)
    turn.join(SECONDS)
    first = {row.number: (row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1}
    assert first == {0: ("ended", "timeout"), 1: ("released", "lane"), 2: ("released", "lane")}
    assert stuck.endswith("-0")


def test_a_trainer_that_is_stuck_as_a_whole_is_nobodys_fault(stage: Stage) -> None:
    stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3, timeouts={"progress": 1.0}))
    turn = stage.in_background()
    _until(lambda: stage.started and len(stage.started[0].on) == 3)
    stage.plays(completes)
    turn.join(SECONDS)
    first = [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1]
    assert first == [("lost", "lane")] * 3
    assert stage.states() == ["completed"] * 3


def test_another_study_gets_its_turn(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not done when the slice is over has a moment to end by itself, and is then given back, uncharged."""
    monkeypatch.setattr("workers.shift.YIELD_SECONDS", 0.0)
    stage = Stage(ledger, monkeypatch, slice_seconds=0.2)
    long = ledger.create(definition(trials=3))

    def act(start: Message) -> list[Message]:
        return trains_on(start) if start["trial"].startswith(long) else completes(start)

    player = stage.plays(act, room=3)
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3)
    assert player.of("stop") == []
    short = ledger.create(definition(trials=2))
    _until(lambda: [trial.state for trial in ledger.trials(short)] == ["completed"] * 2)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    stops = [message for message in player.of("stop") if message["reason"] == "yielded"]
    assert len(stops) == 3
    assert all(stop["checkpoint"] for stop in stops)
    first = [row for row in ledger.rows("attempt") if row.attempt == 1 and row.reason == "yielded"]
    assert {row.state for row in first} == {"released"}
    assert len(first) == 3


def test_nobody_yields_while_nobody_waits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.shift.YIELD_SECONDS", 0.0)
    stage = Stage(ledger, monkeypatch, slice_seconds=0.0)
    player = stage.plays(room=2)
    ledger.create(definition(trials=20))
    assert stage.supervisor.turn() == 20
    assert player.of("stop") == []


def test_what_the_trainer_gives_back_runs_again(stage: Stage) -> None:
    given_back: set[str] = set()

    def act(start: Message) -> list[Message]:
        if _number(start) == 2 and not given_back:
            given_back.add(start["trial"])
            return [_room(2), over(start["trial"], "released", reason="memory ran out")]
        return completes(start)

    stage.plays(act, room=4)
    stage.ledger.create(definition(trials=6))
    assert stage.supervisor.turn() == 7
    assert stage.states() == ["completed"] * 6
    assert [row for row in stage.attempts() if row[0] != "ended"] == [("released", "lane")]


def test_a_shutdown_gives_back_all_in_one_finish(stage: Stage) -> None:
    player = stage.plays(trains_on, room=4)
    stage.ledger.create(definition(trials=6))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 4)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    assert stage.calls["finish"] == [4]
    assert {stop["checkpoint"] for stop in player.of("stop")} == {True}
    assert stage.attempts() == [("released", "released")] * 4
    assert stage.supervisor._held.claims() == []


def test_a_shutdown_waits_for_a_claim_and_gives_back_what_it_brought(stage: Stage) -> None:
    player = stage.plays(trains_on, room=4)
    stage.ledger.create(definition(trials=6))
    real, thinking, go = stage.supervisor.dispatcher.claim, threading.Event(), threading.Event()

    def slow(**wanted: Any) -> list[Claim]:
        if wanted.get("study") is not None:
            thinking.set()
            assert go.wait(SECONDS)
        return real(**wanted)

    stage.patch.setattr(stage.supervisor.dispatcher, "claim", slow)
    turn = stage.in_background()
    assert thinking.wait(SECONDS)
    # What runs is heard and written meanwhile.
    _until(lambda: stage.calls["report"])
    stage.supervisor.ask_to_stop()
    _until(lambda: player.of("stop"))
    assert turn.is_alive()
    go.set()
    turn.join(SECONDS)
    assert len(player.of("start")) == 1
    assert stage.attempts() == [("released", "released")] * 4


def test_one_of_many_is_cancelled(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    study = stage.ledger.create(definition(trials=3))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3)
    first = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    stage.supervisor._held.hear([first], {first.token: "cancelled"})
    _until(lambda: stage.states() == ["running", "cancelled", "running"])
    stage.ledger.act(cancel_study, study)
    stage.supervisor._beat()
    turn.join(SECONDS)
    assert stage.states() == ["cancelled"] * 3
    assert {stop["checkpoint"] for stop in player.of("stop")} == {False}


def test_those_of_many_that_are_behind_are_pruned_and_told_in_one_message(stage: Stage) -> None:
    waiting: list[Message] = []

    def act(start: Message) -> list[Message]:
        """All report their first step at once; those that go on complete with the next."""
        waiting.append(measured(start["trial"], 1, 1.0 + _number(start)))
        return waiting if len(waiting) == 6 else []

    player = stage.plays(act, room=6)
    stage.ledger.create(definition(trials=6, pruning={"kind": "asha", "reduction": 3}))
    turn = stage.in_background()
    _until(lambda: player.of("verdicts"))
    (verdicts,) = player.of("verdicts")
    assert len(verdicts["of"]) == 6
    stopped = {trial for trial, _, stop, _ in verdicts["of"] if stop}
    assert len(stopped) == 4
    player.say(*(over(trial) for trial in player.on - stopped))
    turn.join(SECONDS)
    assert stage.states() == ["completed", "completed", "pruned", "pruned", "pruned", "pruned"]


def test_one_of_many_is_stale(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3 and len(stage.ledger.rows("measurement")) == 3)
    lost = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    other = stage.ledger.worker("other")
    other.finish([done(lost, 0.25)])
    player.say(*(measured(trial, 2, 0.5) for trial in player.on))
    _until(lambda: [message for message in player.of("verdict") if message["reason"] == "stale"])
    _until(lambda: len(stage.supervisor._held.claims()) == 2)
    player.say(*(over(trial) for trial in player.on))
    turn.join(SECONDS)
    assert stage.states() == ["completed"] * 3
    assert [trial.values["val_loss"] for trial in stage.ledger.rows("trial")] == [0.5, 0.25, 0.5]


def test_the_failure_of_one_leaves_the_others_running(stage: Stage) -> None:
    player = stage.plays(
        lambda start: (
            [over(start["trial"], "failed", reason="out_of_memory: too large")]
            if _number(start) == 1
            else completes(start)
        ),
        room=3,
    )
    stage.ledger.create(definition(trials=9))
    assert stage.supervisor.turn() == 9
    assert sorted(stage.states()) == ["completed"] * 8 + ["failed"]
    assert len(player.of("start")) == 9
    # It may be spoilt, so it is replaced once the shift is over.
    assert not player.alive


def test_a_broken_device_ends_the_trainer_and_the_turn(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=6))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3)
    player.say(over(next(trial for trial in player.on if trial.endswith("-1")), "failed", reason="device"))
    turn.join(SECONDS)
    assert not turn.is_alive()
    assert not player.alive
    assert stage.attempts() == [("released", "lane"), ("lost", "infrastructure"), ("released", "lane")]
    assert {stop["reason"] for stop in player.of("stop")} == {"lane"}


def test_a_trainer_that_ignores_the_stop_of_one_costs_the_others_nothing(stage: Stage) -> None:
    stage.patch.setattr("workers.running.GRACE_SECONDS", 0.1)
    player = stage.plays(trains_on, room=3, deaf=True)
    stage.ledger.create(definition(trials=3))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3)
    stage.plays(completes)
    asked = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    stage.supervisor._held.hear([asked], {asked.token: "cancelled"})
    turn.join(SECONDS)
    assert not player.alive
    first = [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1]
    assert first == [("released", "lane"), ("ended", "cancelled"), ("released", "lane")]
    assert stage.states() == ["completed", "cancelled", "completed"]


def test_while_the_database_is_away_all_go_on_and_what_they_said_is_written_later(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3, pruning={"kind": "asha", "reduction": 3}))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 3 and len(stage.ledger.rows("measurement")) == 3)
    away = threading.Event()
    away.set()
    dispatcher = stage.supervisor.dispatcher
    for name in ("report", "finish"):
        _cut(stage, getattr(dispatcher, name), name, away)
    before = len(player.told)
    trials = sorted(player.on)
    player.say(*(measured(trial, 3, 0.5) for trial in trials))
    _until(lambda: len(player.told) > before)
    (verdicts,) = player.told[before:]
    assert verdicts["of"] == [(trial, 3, False, None) for trial in trials]
    player.say(*(over(trial) for trial in trials))
    _until(lambda: not player.on)
    assert stage.states() == ["running"] * 3
    assert len(stage.supervisor._held.claims()) == 3
    away.clear()
    turn.join(SECONDS)
    assert stage.states() == ["completed"] * 3
    assert [row.step for row in stage.ledger.rows("measurement")] == [1, 3] * 3


def _cut(stage: Stage, real: Callable[..., Any], name: str, away: threading.Event) -> None:
    def cut(*given: Any) -> Any:
        if away.is_set():
            raise Unavailable("away")
        return real(*given)

    stage.patch.setattr(stage.supervisor.dispatcher, name, cut)


def test_a_trial_lost_and_claimed_again_waits_for_its_earlier_attempt(stage: Stage) -> None:
    """The trainer knows trials by their names: two attempts of one must not be on it at once."""
    player = stage.plays(trains_on, room=2, deaf=True)
    stage.ledger.create(definition(trials=1))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 1)
    (lost,) = stage.supervisor._held.claims()
    stage.ledger.worker("reaper").release([lost], reason="lost")
    _until(lambda: len(stage.supervisor._held.claims()) == 2)
    assert len(player.of("start")) == 1
    player.act = completes
    player.say(over(lost.id))
    turn.join(SECONDS)
    assert [start["attempt"] for start in player.of("start")] == [1, 2]
    assert stage.states() == ["completed"]


def test_a_fault_of_ours_lets_them_run_again_on_another_trainer(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """In halves, and one alone is charged: it may be that its words are what we cannot read."""
    player = stage.plays(trains_on, room=2)
    stage.ledger.create(definition(trials=2))
    turn = stage.in_background()
    _until(lambda: len(player.on) == 2)
    stage.plays(completes)
    player.say({"type": "measurement", "trial": min(player.on), "step": "no step", "values": {}})
    turn.join(SECONDS)
    assert "broke off" in caplog.text
    assert not player.alive
    assert stage.attempts()[0] == ("lost", "lane")
    assert stage.states() == ["completed"] * 2


def test_checkpoints_of_many_are_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "checkpoints", 5.0)
    stage = Stage(ledger, monkeypatch, terms=Terms(shelf=shelf))
    player = stage.plays(lambda start: [*trains_on(start), _saved(start)], room=3)
    ledger.create(definition(trials=3))
    turn = stage.in_background()
    _until(lambda: len(ledger.rows("checkpoint")) == 3)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    assert [(row.number, row.step, row.values) for row in ledger.rows("checkpoint")] == [
        (number, 1, {"val_loss": 0.5}) for number in range(3)
    ]
    assert len(player.of("start")) == 3


def _saved(start: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(start["checkpoints"]["folder"]) / "1-1-1.pt"
    path.write_text("x")
    said = {"step": 1, "path": str(path), "sha256": "0" * 64, "bytes": 1}
    return {"type": "checkpoint", "trial": start["trial"], **said}
