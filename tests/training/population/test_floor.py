"""A trainer that holds many trials, over a real socket pair: what is trained together, and that each is followed by itself."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.supervisor import Supervisor
from training.protocol import Message

DIGITS = {"recipe": "classifier", "data": "digits", "network": {"kind": "mlp", "hidden": [16]}, "epochs": 3}
LONG = DIGITS | {"epochs": 10_000}
PLANS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "lr": 0.05},
    {"optimizer": "adam", "lr": 0.003, "warmup": 0.2},
    {"optimizer": "momentum", "lr": 0.02, "momentum": 0.8, "batch_size": 64},
    {"optimizer": "muon", "lr": 0.01, "bfloat16": False},
    {"optimizer": "adamw", "lr": 0.01, "clip_norm": 1.0, "batch_size": 128},
    {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "ema": 0.9},
]


@pytest.fixture
def trainer() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    assert supervisor.receive()["type"] == "ready"
    yield supervisor
    supervisor.close()


class Heard:
    """What a trainer has said, by trial."""

    def __init__(self, trainer: Supervisor) -> None:
        self._trainer = trainer
        self.measured: dict[str, list[tuple[int, dict[str, float]]]] = defaultdict(list)
        self.done: dict[str, Message] = {}
        self.rooms: list[int] = []
        self.others: list[Message] = []

    def hear(self) -> Message:
        """Take the next message."""
        message = self._trainer.receive()
        if message["type"] == "measurements":
            for trial, step, values in message["of"]:
                self.measured[trial].append((step, values))
        elif message["type"] == "done":
            self.done[message["trial"]] = message
        elif message["type"] == "room":
            self.rooms.append(message["members"])
        else:
            self.others.append(message)
        return message

    def until_done(self, *trials: str) -> None:
        while not set(trials) <= self.done.keys():
            self.hear()

    def until_measured(self, *trials: str) -> None:
        while not all(self.measured[trial] for trial in trials):
            self.hear()


def start(trainer: Supervisor, trial: str, objective: dict[str, Any], params: dict[str, Any], **more: Any) -> None:
    trainer.start(trial, objective, params, **{"lane": True, "wait": []} | more)


def test_many_are_trained_together_as_each_alone(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    for number, params in enumerate(PLANS):
        start(trainer, f"t{number}", DIGITS, params, seed=number)
    heard.until_done(*(f"t{number}" for number in range(len(PLANS))))
    assert max(done["ran"]["population"] for done in heard.done.values()) > 1
    for number, params in enumerate(PLANS):
        seen, done = trainer.run(DIGITS, params, seed=number)
        together = heard.measured[f"t{number}"]
        assert heard.done[f"t{number}"]["outcome"] == done["outcome"] == "completed"
        assert [step for step, _ in together] == [message["step"] for message in seen]
        for (_, ours), message in zip(together, seen, strict=True):
            assert ours == pytest.approx(message["values"], rel=2e-3, abs=2e-3), params


def test_it_says_how_each_was_trained_and_how_many_pay(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "first", LONG, {"lr": 0.01})
    while not heard.rooms:
        heard.hear()
    assert heard.rooms[0] > 1
    for number in range(heard.rooms[0] - 1):
        start(trainer, f"t{number}", DIGITS, {"lr": 0.01})
    heard.until_done(*(f"t{number}" for number in range(heard.rooms[0] - 1)))
    ran = heard.done["t0"]["ran"]
    assert ran["lane"] == "mlp hidden=[16], digits, cpu"
    assert ran["population"] >= 2
    assert ran["seconds"] > 0
    assert ran["alone"] is None


def test_what_is_known_of_how_many_pay_is_said_again_to_the_next_study(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "first", DIGITS, {"lr": 0.01})
    heard.until_done("first")
    known = heard.rooms[-1]
    assert known > 1
    heard.rooms.clear()
    start(trainer, "second", DIGITS, {"lr": 0.01})
    heard.until_done("second")
    assert heard.rooms


def test_one_that_is_stopped_leaves_and_the_others_go_on(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    for trial in ("a", "b", "c"):
        start(trainer, trial, LONG, {"lr": 0.01})
    heard.until_measured("a", "b", "c")
    trainer.stop("b")
    heard.until_done("b")
    assert (heard.done["b"]["outcome"], heard.done["b"]["reason"]) == ("stopped", "cancelled")
    before = len(heard.measured["a"]), len(heard.measured["c"])
    while len(heard.measured["a"]) < before[0] + 3:
        heard.hear()
    assert set(heard.done) == {"b"}


def test_who_diverges_says_so_alone(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "sound", DIGITS, {"optimizer": "sgd", "lr": 0.05})
    start(trainer, "broken", DIGITS, {"optimizer": "sgd", "lr": 1e4})
    heard.until_done("sound", "broken")
    assert heard.done["sound"]["outcome"] == "completed"
    assert heard.done["broken"]["outcome"] == "diverged"
    alone = trainer.run(DIGITS, {"optimizer": "sgd", "lr": 1e4})[1]
    assert heard.done["broken"]["reason"].partition(",")[0] == alone["reason"].partition(",")[0], "the very same step"


@pytest.mark.parametrize(
    ("objective", "params", "reason"),
    [
        (DIGITS, {"optimizer": "adagard"}, "ValueError: unknown optimizer 'adagard'"),
        (DIGITS | {"data": "nowhere"}, {}, "ValueError: unknown data 'nowhere'"),
        (DIGITS | {"network": {"kind": "text"}}, {}, "ValueError: network text needs tokens"),
        (DIGITS | {"network": {"kind": "mlp", "hidden": [10**13]}}, {}, "out_of_memory"),
    ],
)
def test_what_cannot_be_run_fails_alone(
    trainer: Supervisor, objective: dict[str, Any], params: dict[str, Any], reason: str
) -> None:
    heard = Heard(trainer)
    start(trainer, "good", DIGITS, {"lr": 0.01})
    start(trainer, "bad", objective, params)
    heard.until_done("good", "bad")
    assert heard.done["good"]["outcome"] == "completed"
    assert heard.done["bad"]["outcome"] == "failed"
    assert heard.done["bad"]["reason"].startswith(reason)
    assert "Traceback" in heard.done["bad"]["error"]


def test_a_batch_larger_than_the_data_is_all_of_them(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "small", DIGITS, {"lr": 0.01})
    start(trainer, "large", DIGITS, {"lr": 0.01, "batch_size": 4096})
    heard.until_done("small", "large")
    seen, _ = trainer.run(DIGITS, {"lr": 0.01, "batch_size": 4096})
    for (_, ours), message in zip(heard.measured["large"], seen, strict=True):
        assert ours == pytest.approx(message["values"], rel=2e-3, abs=2e-3)


def test_a_lane_waits_for_verdicts_at_rungs_alone_and_lets_others_go_on(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "pruned", DIGITS | {"epochs": 50}, {"lr": 0.01}, wait=[2])
    cnn = LONG | {"network": {"kind": "cnn", "channels": [2]}}
    start(trainer, "other", cnn, {"lr": 0.01})
    while len(heard.measured["pruned"]) < 2:
        heard.hear()
    count = len(heard.measured["other"])
    while len(heard.measured["other"]) < count + 2:
        heard.hear()
    assert [step for step, _ in heard.measured["pruned"]] == [1, 2], "it trains no epoch more before its verdict"
    trainer.send({"type": "verdicts", "of": [["other", 1, False, None], ["pruned", 2, True, "rung 2"]]})
    heard.until_done("pruned")
    assert (heard.done["pruned"]["outcome"], heard.done["pruned"]["reason"]) == ("stopped", "rung 2")
    assert len(heard.measured["pruned"]) == 2


def checkpoints(folder: Path, *resume: Message) -> dict[str, Any]:
    kept = [{"path": each["path"], "sha256": each["sha256"], "step": each["step"]} for each in resume]
    return {"folder": str(folder), "seconds": 1000.0, "resume": kept}


@pytest.mark.parametrize("again_in_a_lane", [True, False])
def test_members_go_on_elsewhere_where_they_were_stopped(
    trainer: Supervisor, tmp_path: Path, again_in_a_lane: bool
) -> None:
    """In a lane or alone, with the trajectory of one that was never stopped."""
    goal = DIGITS | {"epochs": 60}
    heard = Heard(trainer)
    for number, params in enumerate(PLANS[:4]):
        start(trainer, f"t{number}", goal, params, seed=number, checkpoints=checkpoints(tmp_path / str(number)))
    heard.until_measured(*(f"t{number}" for number in range(4)))
    for number in range(4):
        trainer.stop(f"t{number}", reason="yielded", checkpoint=True)
    heard.until_done(*(f"t{number}" for number in range(4)))
    kept = {each["trial"]: each for each in heard.others if each["type"] == "checkpoint"}
    assert {done["outcome"] for done in heard.done.values()} == {"stopped"}
    for number in range(4):
        assert kept[f"t{number}"]["step"] == len(heard.measured[f"t{number}"]) < 60

    again = Supervisor()
    assert again.receive()["type"] == "ready"
    later = Heard(again)
    for number, params in enumerate(PLANS[:4]):
        more = {"seed": number, "checkpoints": checkpoints(tmp_path / str(number), kept[f"t{number}"]), "attempt": 2}
        if again_in_a_lane:
            start(again, f"t{number}", goal, params, **more)
        else:
            seen, _ = again.run(goal, params, **more)
            later.measured[f"t{number}"] = [(message["step"], message["values"]) for message in seen]
    if again_in_a_lane:
        later.until_done(*(f"t{number}" for number in range(4)))
    for number, params in enumerate(PLANS[:4]):
        seen, _ = again.run(goal, params, seed=number)
        story = heard.measured[f"t{number}"] + later.measured[f"t{number}"]
        assert [step for step, _ in story] == list(range(1, 61))
        for (_, ours), message in zip(story[:8], seen, strict=False):
            assert ours == pytest.approx(message["values"], rel=5e-3, abs=5e-3)
        assert story[-1][1]["val_accuracy"] == pytest.approx(seen[-1]["values"]["val_accuracy"], abs=0.02)
    again.close()


CURVED = DIGITS | {"curvature": ["laplace", "forgetting", "saliency", "noise_scale", "spectrum"]}


def test_members_look_back_as_each_alone(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    for number, params in enumerate(PLANS[:4]):
        start(trainer, f"t{number}", CURVED, params, seed=number)
    heard.until_done(*(f"t{number}" for number in range(4)))
    assert max(done["ran"]["population"] for done in heard.done.values()) > 1
    assert {done["ran"]["alone"] for done in heard.done.values()} == {None}
    for number, params in enumerate(PLANS[:4]):
        seen, _ = trainer.run(CURVED, params, seed=number)
        together = heard.measured[f"t{number}"]
        assert [step for step, _ in together] == [1, 2, 3]
        ours, alone = together[-1][1], seen[-1]["values"]
        assert ours.keys() == alone.keys() > {"laplace_nll", "ewc_kept", "pruned_accuracy"}
        for name in ("map_nll", "laplace_nll"):
            assert ours[name] == pytest.approx(alone[name], rel=2e-2)
        for name in ("ewc_kept", "plain_kept", "pruned_accuracy"):
            assert ours[name] == pytest.approx(alone[name], abs=0.05)


def test_others_go_on_while_one_looks_back(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    start(trainer, "long", LONG, {"lr": 0.01})
    heard.until_measured("long")
    start(trainer, "short", CURVED | {"epochs": 12}, {"lr": 0.01})
    while len(heard.measured["short"]) < 11:
        heard.hear()
    before = len(heard.measured["long"])
    heard.until_done("short")
    assert len(heard.measured["short"]) == 12
    # Three runs more were trained meanwhile: many turns, of which every other was the lane's.
    assert len(heard.measured["long"]) > before + 5


def test_one_that_looks_back_can_be_stopped(trainer: Supervisor, tmp_path: Path) -> None:
    """And goes on, in a lane or alone, to find the same."""
    heard = Heard(trainer)
    goal = CURVED | {"epochs": 12}
    start(trainer, "t", goal, {"lr": 0.01}, checkpoints=checkpoints(tmp_path))
    while len(heard.measured["t"]) < 11:
        heard.hear()
    trainer.stop("t", reason="yielded", checkpoint=True)
    heard.until_done("t")
    assert heard.done["t"]["outcome"] == "stopped"
    (kept,) = [each for each in heard.others if each["type"] == "checkpoint"]
    start(trainer, "t2", goal, {"lr": 0.01}, checkpoints=checkpoints(tmp_path, kept), attempt=2)
    heard.until_done("t2")
    assert [step for step, _ in heard.measured["t2"]] == list(range(kept["step"] + 1, 13))
    seen, _ = trainer.run(goal, {"lr": 0.01})
    assert heard.measured["t2"][-1][1].keys() == seen[-1]["values"].keys()
    assert heard.measured["t2"][-1][1]["laplace_nll"] == pytest.approx(seen[-1]["values"]["laplace_nll"], rel=2e-2)


def test_exits_at_end_of_file_with_many(trainer: Supervisor) -> None:
    heard = Heard(trainer)
    for trial in ("a", "b", "c"):
        start(trainer, trial, LONG, {"lr": 0.01})
    heard.until_measured("a", "b", "c")
    assert trainer.hang_up() == 0


def test_singles_and_lanes_by_turns(trainer: Supervisor) -> None:
    """A trainer that has trained lanes gives a single trial the numbers of a fresh one."""
    params = {"optimizer": "adam", "lr": 0.01}
    first = trainer.run(DIGITS, params)
    heard = Heard(trainer)
    for trial in ("a", "b"):
        start(trainer, trial, DIGITS, {"optimizer": "sgd", "lr": 1e3})
    heard.until_done("a", "b")
    assert trainer.run(DIGITS, params) == first
