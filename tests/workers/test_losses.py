"""Trials that share a trainer which dies, is stuck or is ended: who bears what."""

import threading
from collections.abc import Iterator

import pytest

from models.states import TrialState
from search.trials.dispatch import Ran, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, opened
from tests.support.players import Message, Troupe, completes, measured, over, room, trains_on
from tests.support.stage import SECONDS, Stage, number_of, until
from workers.trainer import TrainerDied


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def stage(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(ledger, monkeypatch)


def test_a_trainer_that_dies_under_many_is_a_strike_for_none_and_they_run_in_halves(stage: Stage) -> None:
    def act(start: Message) -> list[Message]:
        """Number 3 kills whatever trainer it gets; on the first one the others wait for it."""
        if number_of(start) == 3:
            stage.started[-1].epitaph = "the trainer was killed by signal SIGKILL"
        return [] if number_of(start) == 3 or len(stage.started) == 1 else completes(start)

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


@pytest.mark.parametrize(
    ("first_words", "ends"),
    [
        ([], [("ended", None), ("ended", None), ("lost", "poison"), ("released", "released")]),
        # What cannot be read says nothing of anyone.
        ([{"type": "measurement", "trial": "1"}], [("lost", "lane")] * 3 + [("released", "released")]),
    ],
)
def test_what_a_dead_trainer_had_said_counts(
    stage: Stage, first_words: list[Message], ends: list[tuple[str, str | None]]
) -> None:
    """Two of its three trials are over by the time that it cannot be given a fourth."""

    def act(start: Message) -> list[Message]:
        if len(stage.started) > 1:
            return completes(start)
        if number_of(start) == 3:
            player.say(*first_words, *(over(trial) for trial in sorted(player.on)[:2]))
            raise TrainerDied("the trainer was killed by signal SIGKILL")
        return trains_on(start)

    player = stage.plays(act, room=4)
    stage.ledger.create(definition(trials=4))
    stage.supervisor.turn()
    assert [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1] == ends


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


def _one_of_three_is_late(stage: Stage, *, deaf: bool) -> tuple[Troupe, threading.Thread]:
    """The first one is heard of no more, the others are; return once it was asked to stop."""
    player = stage.plays(trains_on, room=3, deaf=deaf)
    stage.ledger.create(definition(trials=3, timeouts={"progress": 1.0}))
    turn = stage.in_background()
    until(lambda: len(player.on) == 3)
    stage.plays(completes)  # in its place, should it be replaced
    others = sorted(player.on)[1:]

    def only_others_speak() -> bool:
        player.say(*({"type": "alive", "trial": trial} for trial in others))
        return bool(player.of("stop"))

    until(only_others_speak)
    return player, turn


def test_a_trial_that_is_late_stops_and_its_companions_go_on(stage: Stage) -> None:
    """As long as the others are heard it alone is stuck."""
    player, turn = _one_of_three_is_late(stage, deaf=False)
    late = next(start["trial"] for start in player.of("start") if number_of(start) == 0)
    assert player.of("stop") == [{"type": "stop", "trial": late, "reason": "timeout", "checkpoint": False}]
    until(lambda: late not in player.on)
    player.say(*(over(trial) for trial in sorted(player.on)))
    turn.join(SECONDS)
    assert stage.states() == ["queued", "completed", "completed"]
    first = {row.number: (row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1}
    assert first == {0: ("ended", "timeout"), 1: ("ended", None), 2: ("ended", None)}
    assert "timeouts.progress" in stage.ledger.rows("attempt")[0].error


def test_a_trial_that_is_late_and_does_not_stop_is_charged_for_the_trainer(stage: Stage) -> None:
    stage.patch.setattr("workers.running.GRACE_SECONDS", 0.1)
    player, turn = _one_of_three_is_late(stage, deaf=True)
    turn.join(SECONDS)
    assert not player.alive
    first = {row.number: (row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1}
    assert first == {0: ("ended", "timeout"), 1: ("released", "lane"), 2: ("released", "lane")}


def test_a_trainer_that_is_stuck_as_a_whole_is_nobodys_fault(stage: Stage) -> None:
    stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3, timeouts={"progress": 1.0}))
    turn = stage.in_background()
    until(lambda: stage.started and len(stage.started[0].on) == 3)
    stage.plays(completes)
    turn.join(SECONDS)
    first = [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1]
    assert first == [("lost", "lane")] * 3
    assert stage.states() == ["completed"] * 3


def test_what_the_trainer_gives_back_runs_again(stage: Stage) -> None:
    given_back: set[str] = set()

    def act(start: Message) -> list[Message]:
        if number_of(start) == 2 and not given_back:
            given_back.add(start["trial"])
            return [room(2), over(start["trial"], "released", reason="memory ran out")]
        return completes(start)

    stage.plays(act, room=4)
    stage.ledger.create(definition(trials=6))
    assert stage.supervisor.turn() == 7
    assert stage.states() == ["completed"] * 6
    assert [row for row in stage.attempts() if row[0] != "ended"] == [("released", "lane")]


def test_one_of_many_is_stale(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3))
    turn = stage.in_background()
    until(lambda: len(player.on) == 3 and len(stage.ledger.rows("measurement")) == 3)
    lost = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    other = stage.ledger.worker("other")
    other.finish([done(lost, 0.25)])
    player.say(*(measured(trial, 2, 0.5) for trial in player.on))
    until(lambda: [message for message in player.of("verdict") if message["reason"] == "stale"])
    until(lambda: len(stage.supervisor._held.claims()) == 2)
    player.say(*(over(trial) for trial in player.on))
    turn.join(SECONDS)
    assert stage.states() == ["completed"] * 3
    assert [trial.values["val_loss"] for trial in stage.ledger.rows("trial")] == [0.5, 0.25, 0.5]


def test_the_failure_of_one_leaves_the_others_running(stage: Stage) -> None:
    player = stage.plays(
        lambda start: (
            [over(start["trial"], "failed", reason="out_of_memory: too large")]
            if number_of(start) == 1
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
    until(lambda: len(player.on) == 3)
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
    until(lambda: len(player.on) == 3)
    stage.plays(completes)
    asked = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    stage.supervisor._held.hear([asked], {asked.token: "cancelled"})
    turn.join(SECONDS)
    assert not player.alive
    first = [(row.state, row.reason) for row in stage.ledger.rows("attempt") if row.attempt == 1]
    assert first == [("released", "lane"), ("ended", "cancelled"), ("released", "lane")]
    assert stage.states() == ["completed", "cancelled", "completed"]


def test_a_trial_lost_and_claimed_again_waits_for_its_earlier_attempt(stage: Stage) -> None:
    """The trainer knows trials by their names: two attempts of one must not be on it at once."""
    player = stage.plays(trains_on, room=2, deaf=True)
    stage.ledger.create(definition(trials=1))
    turn = stage.in_background()
    until(lambda: len(player.on) == 1)
    (lost,) = stage.supervisor._held.claims()
    stage.ledger.worker("reaper").release([lost], reason="lost")
    until(lambda: len(stage.supervisor._held.claims()) == 2)
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
    until(lambda: len(player.on) == 2)
    stage.plays(completes)
    player.say({"type": "measurement", "trial": min(player.on), "step": "no step", "values": {}})
    turn.join(SECONDS)
    assert "broke off" in caplog.text
    assert not player.alive
    assert stage.attempts()[0] == ("lost", "lane")
    assert stage.states() == ["completed"] * 2
