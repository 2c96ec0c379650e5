"""Many trials on one trainer that we play: who joins whom, and what is written together."""

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from models.session import Unavailable
from search.studies.service import cancel_study, change_study
from search.trials.dispatch import Claim
from tests.support.ledger import Ledger, definition, done, opened
from tests.support.players import Message, completes, measured, over, room, trains_on
from tests.support.stage import SECONDS, Stage, number_of, until
from workers.checkpoints import Shelf
from workers.networks import NetworkFile
from workers.running import Terms


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def stage(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(ledger, monkeypatch)


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
        number = number_of(start)
        change = {10: [room(6)], 20: [room(2)]}.get(number, [])
        if number == 20:
            player.most = 0
        return [*change, *completes(start)]

    player = stage.plays(act, room=3)
    stage.ledger.create(definition(trials=40))
    assert stage.supervisor.turn() == 40
    assert stage.states() == ["completed"] * 40
    assert player.most <= 6
    assert stage.supervisor._desk.rooms.of(stage.ledger.rows("study")[0].id) == 2


@pytest.mark.parametrize("members", [0, -3, None, "many", 1.5])
def test_a_senseless_room_is_room_for_one(stage: Stage, members: object) -> None:
    player = stage.plays(room=None)
    player.say(room(members))
    stage.ledger.create(definition(trials=3))
    assert stage.supervisor.turn() == 3
    assert player.most == 1


def test_those_that_cannot_run_a_study_have_no_share_of_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Four workers serve the queue, of which one has registered the study's network."""
    mine = Stage(ledger, monkeypatch, terms=Terms({"network:mine": NetworkFile("mine", tmp_path / "mine.py")}))
    for supervisor in [*(Stage(ledger, monkeypatch).supervisor for _ in range(3)), mine.supervisor]:
        supervisor._beat()
    player = mine.plays(trains_on, room=8)
    raw = definition(trials=8)
    ledger.create({**raw, "objective": {**raw["objective"], "network": {"kind": "registered", "name": "mine"}}})
    turn = mine.in_background()
    until(lambda: len(player.on) == 8)
    mine.supervisor.ask_to_stop()
    turn.join(SECONDS)


def test_a_study_that_asks_for_it_is_run_one_by_one(stage: Stage) -> None:
    player = stage.plays(room=8)
    stage.ledger.create(definition(trials=4, execution="single"))
    assert stage.supervisor.turn() == 4
    assert player.most == 1
    assert {start["lane"] for start in player.of("start")} == {False}


def test_another_study_gets_its_turn(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not done when the slice is over has a moment to end by itself, and is then given back, uncharged."""
    monkeypatch.setattr("workers.slices.YIELD_SECONDS", 0.0)
    stage = Stage(ledger, monkeypatch, slice_seconds=0.2)
    long = ledger.create(definition(trials=3))

    def act(start: Message) -> list[Message]:
        return trains_on(start) if start["trial"].startswith(long) else completes(start)

    player = stage.plays(act, room=3)
    turn = stage.in_background()
    until(lambda: len(player.on) == 3)
    assert player.of("stop") == []
    short = ledger.create(definition(trials=2))
    until(lambda: [trial.state for trial in ledger.trials(short)] == ["completed"] * 2)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    stops = [message for message in player.of("stop") if message["reason"] == "yielded"]
    assert len(stops) == 3
    assert all(stop["checkpoint"] for stop in stops)
    first = [row for row in ledger.rows("attempt") if row.attempt == 1 and row.reason == "yielded"]
    assert {row.state for row in first} == {"released"}
    assert len(first) == 3


def test_who_waited_is_next_though_it_has_had_more(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.slices.YIELD_SECONDS", 0.0)
    # Long enough for both of the new ones to have joined.
    stage = Stage(ledger, monkeypatch, slice_seconds=2.0)
    old = ledger.create(definition(trials=6))
    other = ledger.worker("other")
    other.finish([done(claim) for claim in other.claim(queue="cpu", capacity=5)])
    new = ledger.create(definition(trials=2))
    player = stage.plays(lambda start: trains_on(start) if start["trial"].startswith(new) else completes(start), room=2)
    turn = stage.in_background()
    until(lambda: len(player.of("start")) >= 3)
    assert [start["trial"] for start in player.of("start")][:3] == [f"{new}-0", f"{new}-1", f"{old}-5"]
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)


def test_studies_that_yield_to_each_other_leave_a_third_its_turn(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has had more trials than both will ever have, and still they take turns."""
    monkeypatch.setattr("workers.slices.YIELD_SECONDS", 0.0)
    stage = Stage(ledger, monkeypatch, slice_seconds=0.05)
    third = ledger.create(definition(trials=6, labels={"copy": "third"}))
    other = ledger.worker("other")
    other.finish([done(claim) for claim in other.claim(queue="cpu", capacity=5)])
    both = [ledger.create(definition(trials=2, labels={"copy": copy})) for copy in "ab"]
    player = stage.plays(lambda start: [room(2), *trains_on(start)])
    turn = stage.in_background()

    def served() -> list[str]:
        studies = [start["trial"].rpartition("-")[0] for start in player.of("start")]
        return [study for study, _ in groupby(studies)]

    until(lambda: len(served()) >= 7)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    turns = served()
    assert set(turns[:3]) == {third, *both}
    assert turns[3:6] == turns[:3]


def test_nobody_yields_while_nobody_waits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.slices.YIELD_SECONDS", 0.0)
    stage = Stage(ledger, monkeypatch, slice_seconds=0.0)
    player = stage.plays(room=2)
    ledger.create(definition(trials=20))
    assert stage.supervisor.turn() == 20
    assert player.of("stop") == []


def test_a_shutdown_gives_back_all_in_one_finish(stage: Stage) -> None:
    player = stage.plays(trains_on, room=4)
    stage.ledger.create(definition(trials=6))
    turn = stage.in_background()
    until(lambda: len(player.on) == 4)
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
    until(lambda: stage.calls["report"])
    stage.supervisor.ask_to_stop()
    until(lambda: player.of("stop"))
    assert turn.is_alive()
    go.set()
    turn.join(SECONDS)
    assert len(player.of("start")) == 1
    assert stage.attempts() == [("released", "released")] * 4


def test_one_of_many_is_cancelled(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    study = stage.ledger.create(definition(trials=3))
    turn = stage.in_background()
    until(lambda: len(player.on) == 3)
    first = next(claim for claim in stage.supervisor._held.claims() if claim.number == 1)
    stage.supervisor._held.hear([first], {first.token: "cancelled"})
    until(lambda: stage.states() == ["running", "cancelled", "running"])
    stage.ledger.act(cancel_study, study)
    stage.supervisor._beat()
    turn.join(SECONDS)
    assert stage.states() == ["cancelled"] * 3
    assert {stop["checkpoint"] for stop in player.of("stop")} == {False}


def test_those_of_many_that_are_behind_are_pruned_and_told_in_one_message(stage: Stage) -> None:
    waiting: list[Message] = []

    def act(start: Message) -> list[Message]:
        """All report their first step at once; those that go on complete with the next."""
        waiting.append(measured(start["trial"], 1, 1.0 + number_of(start)))
        return waiting if len(waiting) == 6 else []

    player = stage.plays(act, room=6)
    stage.ledger.create(definition(trials=6, pruning={"kind": "asha", "reduction": 3}))
    turn = stage.in_background()
    until(lambda: player.of("verdicts"))
    (verdicts,) = player.of("verdicts")
    assert len(verdicts["of"]) == 6
    stopped = {trial for trial, _, stop, _ in verdicts["of"] if stop}
    assert len(stopped) == 4
    player.say(*(over(trial) for trial in player.on - stopped))
    turn.join(SECONDS)
    assert stage.states() == ["completed", "completed", "pruned", "pruned", "pruned", "pruned"]


def test_who_waits_for_promotion_leaves_a_checkpoint_and_makes_room_for_others(stage: Stage) -> None:
    def act(start: Message) -> list[Message]:
        trial = start["trial"]
        if start["attempt"] == 1:
            return [measured(trial, 1, 1.0 + number_of(start))]
        return [measured(trial, 20, 0.5), over(trial)]

    player = stage.plays(act, room=1)
    stage.ledger.create(definition(trials=3, pruning={"kind": "asha", "reduction": 3, "mode": "promote"}))
    assert stage.supervisor.turn() == 4
    assert stage.states() == ["completed", "pruned", "pruned"]
    assert [(stop["checkpoint"], stop["reason"]) for stop in player.of("stop")] == [
        (True, f"asha: waits at step 1; of {size} there the best {kept} go on")
        for size, kept in ((1, 0), (2, 0), (3, 1))
    ]
    assert not player.of("verdict")
    assert [state for state, _ in stage.attempts()] == ["released", "ended", "released", "released"]


def test_while_the_database_is_away_all_go_on_and_what_they_said_is_written_later(stage: Stage) -> None:
    player = stage.plays(trains_on, room=3)
    stage.ledger.create(definition(trials=3, pruning={"kind": "asha", "reduction": 3}))
    turn = stage.in_background()
    until(lambda: len(player.on) == 3 and len(stage.ledger.rows("measurement")) == 3)
    away = threading.Event()
    away.set()
    dispatcher = stage.supervisor.dispatcher
    for name in ("report", "finish"):
        _cut(stage, getattr(dispatcher, name), name, away)
    before = len(player.told)
    trials = sorted(player.on)
    player.say(*(measured(trial, 3, 0.5) for trial in trials))
    until(lambda: len(player.told) > before)
    (verdicts,) = player.told[before:]
    assert verdicts["of"] == [(trial, 3, False, None) for trial in trials]
    player.say(*(over(trial) for trial in trials))
    until(lambda: not player.on)
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


def test_checkpoints_of_many_are_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "checkpoints", 5.0)
    stage = Stage(ledger, monkeypatch, terms=Terms(shelf=shelf))
    player = stage.plays(lambda start: [*trains_on(start), _saved(start)], room=3)
    ledger.create(definition(trials=3))
    turn = stage.in_background()
    until(lambda: len(ledger.rows("checkpoint")) == 3)
    stage.supervisor.ask_to_stop()
    turn.join(SECONDS)
    assert [(row.number, row.step, row.values) for row in ledger.rows("checkpoint")] == [
        (number, 1, {"val_loss": 0.5}) for number in range(3)
    ]
    assert len(player.of("start")) == 3


def _saved(start: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(start["checkpoints"]["folder"]) / "1-1-1.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    said = {"step": 1, "path": str(path), "sha256": "0" * 64, "bytes": 1}
    return {"type": "checkpoint", "trial": start["trial"], **said}
