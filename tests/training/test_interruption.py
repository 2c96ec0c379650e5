"""The trainer process and its checkpoints over a real socket pair: on time, on a stop, and in a new process."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.supervisor import Supervisor, of_type
from training import channel, protocol
from training.checkpoint import read
from training.files import Saved
from training.reporter import Reporter
from training.watch import Pause

Message = dict[str, Any]

# 180 batches an epoch
GOAL = {
    "recipe": "classifier",
    "data": "digits",
    "network": {"kind": "mlp", "hidden": [16]},
    "epochs": 6,
    "batch_size": 8,
}
PARAMS = {"optimizer": "adam", "lr": 0.005, "schedule": "cosine", "warmup": 0.1}
LONG_EPOCH = GOAL | {"network": {"kind": "cnn", "channels": [64, 64]}, "batch_size": 1, "epochs": 1000}


@pytest.fixture
def supervisors() -> Iterator[list[Supervisor]]:
    started: list[Supervisor] = []
    yield started
    for supervisor in started:
        supervisor.close()


@pytest.fixture(scope="module")
def warm() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


def checkpoints(folder: Path, *resume: Message, seconds: float = 3600) -> Message:
    files = [{name: message[name] for name in ("path", "sha256", "step")} for message in resume]
    return {"folder": str(folder), "seconds": seconds, "resume": files}


def sound(message: Message) -> bool:
    saved = Saved(Path(message["path"]), message["sha256"], message["step"])
    return read(saved) is not None and saved.path.stat().st_size == message["bytes"]


def values(messages: list[Message]) -> list[tuple[int, Message]]:
    return [(message["step"], message["values"]) for message in of_type(messages, "measurement")]


def test_stopped_with_a_checkpoint_and_gone_on_with_in_a_new_process(
    supervisors: list[Supervisor], warm: Supervisor, tmp_path: Path
) -> None:
    goal = GOAL | {"epochs": 12}
    warm.start("t", goal, PARAMS)
    whole = values(warm.receive_until("done"))
    assert len(whole) == 12

    warm.start("t", goal, PARAMS, checkpoints=checkpoints(tmp_path))
    before = warm.receive_until("measurement")
    warm.stop("t", checkpoint=True)
    before += warm.receive_until("done")
    (saved,) = of_type(before, "checkpoint")
    assert sound(saved)
    assert (before[-1]["outcome"], before[-1]["reason"]) == ("stopped", "cancelled")
    assert saved["step"] == len(of_type(before, "measurement"))
    assert Path(saved["path"]).name == f"1-{saved['step']}-1.pt"

    supervisors.append(new := Supervisor())
    new.start("t", goal, PARAMS, attempt=2, checkpoints=checkpoints(tmp_path, saved))
    after = new.receive_until("done")
    assert after[1] == {"type": "resumed", "trial": "t", "step": saved["step"]}
    assert after[-1]["outcome"] == "completed"
    assert values(before) + values(after) == whole


def test_killed_with_9_and_gone_on_with(supervisors: list[Supervisor], warm: Supervisor, tmp_path: Path) -> None:
    """From the checkpoint that was announced last: what it repeats has the values that it had."""
    goal = GOAL | {"epochs": 20}
    warm.start("t", goal, PARAMS)
    whole = values(warm.receive_until("done"))

    supervisors.append(killed := Supervisor())
    killed.start("t", goal, PARAMS, checkpoints=checkpoints(tmp_path, seconds=0.1))
    killed.receive_until("measurement")
    seen = killed.receive_until("checkpoint")
    killed.kill()
    killed.process.wait()
    # By the time it died it may have written more, and removed this one.
    saved = of_type(seen + killed.receive_rest(), "checkpoint")[-1]
    assert saved["step"] >= 1

    warm.start("t", goal, PARAMS, attempt=2, checkpoints=checkpoints(tmp_path, saved))
    after = warm.receive_until("done")
    assert [message["step"] for message in of_type(after, "resumed")] == [saved["step"]]
    assert values(after) == whole[saved["step"] :]


def test_checkpoints_come_in_time_and_few_stay(warm: Supervisor, tmp_path: Path) -> None:
    warm.start("t", GOAL, PARAMS, attempt=3, checkpoints=checkpoints(tmp_path / "new" / "trial", seconds=0.02))
    seen = warm.receive_until("done")
    saved = of_type(seen, "checkpoint")
    assert len(saved) > 3
    assert sound(saved[-1])
    steps = [message["step"] for message in saved]
    assert steps == sorted(steps)
    reported = list(itertools.accumulate(int(message["type"] == "measurement") for message in seen))
    assert steps == [count for count, message in zip(reported, seen, strict=True) if message["type"] == "checkpoint"]
    left = {path.name for path in (tmp_path / "new" / "trial").iterdir()}
    assert len(left) <= 3
    assert {Path(message["path"]).name for message in saved[-2:]} <= left


def test_without_checkpoints_nothing_is_written(warm: Supervisor, tmp_path: Path) -> None:
    warm.start("t", GOAL | {"epochs": 1000}, PARAMS)
    warm.receive_until("measurement")
    warm.stop("t", checkpoint=True)
    seen = warm.receive_until("done")
    assert of_type(seen, "checkpoint") == []
    assert seen[-1]["outcome"] == "stopped"
    assert list(tmp_path.iterdir()) == []


def test_a_torn_checkpoint_is_not_gone_on_from(warm: Supervisor, tmp_path: Path) -> None:
    warm.start("t", GOAL, PARAMS, checkpoints=checkpoints(tmp_path, seconds=0.02))
    older, newer = of_type(warm.receive_until("done"), "checkpoint")[-2:]
    whole = Path(newer["path"]).read_bytes()
    Path(newer["path"]).write_bytes(whole[: len(whole) // 2])
    warm.start("t", GOAL, PARAMS, attempt=2, checkpoints=checkpoints(tmp_path, newer, older))
    seen = warm.receive_until("done")
    assert [message["step"] for message in of_type(seen, "resumed")] == [older["step"]]
    Path(older["path"]).unlink()
    warm.start("t", GOAL, PARAMS, attempt=2, checkpoints=checkpoints(tmp_path, newer, older))
    seen = warm.receive_until("done")
    assert of_type(seen, "resumed") == []
    assert [step for step, _ in values(seen)] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_fails_no_trial(warm: Supervisor, tmp_path: Path) -> None:
    for serial in range(1, 2000):
        (tmp_path / f"1-0-{serial}.pt.tmp").symlink_to("/dev/full")
    warm.start("t", GOAL, PARAMS, checkpoints=checkpoints(tmp_path, seconds=0))
    seen = warm.receive_until("measurement")
    assert of_type(seen, "checkpoint") == []
    seen += warm.receive_until("done")
    assert seen[-1]["outcome"] == "completed"
    assert of_type(seen, "checkpoint")[0]["step"] == 1


def test_a_stop_inside_a_long_epoch_is_heeded_there(warm: Supervisor, tmp_path: Path) -> None:
    """The first epoch takes seconds; the checkpoint that proves the batches comes before any measurement."""
    warm.start("t", LONG_EPOCH, PARAMS, checkpoints=checkpoints(tmp_path, seconds=0.05))
    assert of_type(warm.receive_until("checkpoint"), "measurement") == []
    warm.stop("t")
    seen = warm.receive_until("done")
    assert (seen[-1]["outcome"], seen[-1]["reason"]) == ("stopped", "cancelled")
    assert of_type(seen, "measurement") == []


class Heard(channel.Channel):
    """A supervisor that keeps what it hears and says nothing."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def send(self, message: Any) -> None:
        self.heard.append(message["type"])

    def next_order(self, seconds: float) -> None:
        del seconds


def test_signs_of_life_are_few_and_none_beside_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    reporter = Reporter(heard := Heard(), channel.Start("t", GOAL, {}, seed=1, wait=False))
    for _ in range(13):  # 6 seconds
        assert reporter.between() is Pause.NONE
        now += 0.5
    assert heard.heard == ["alive"] * 3
    now = 107.5
    reporter.report(1, {"loss": 0.5})
    now += protocol.ALIVE_SECONDS - 0.5
    reporter.between()
    assert heard.heard == ["alive"] * 3 + ["measurement"]


@pytest.mark.parametrize(
    "given", [5, {"seconds": 3}, {"folder": "/x", "seconds": "soon"}, {"folder": "/x", "seconds": 1, "resume": [{}]}]
)
def test_what_says_nothing_of_checkpoints_is_refused(given: Any) -> None:
    start = {"type": "start", "trial": "t", "objective": {}, "params": {}, "seed": 1, "checkpoints": given}
    with pytest.raises((ValueError, KeyError, TypeError)):
        channel.understand(protocol.encode(start))
