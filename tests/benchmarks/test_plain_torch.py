"""What the peers train with is the same training as ours: else a ratio of speeds would say nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.plain_torch import WAYS, Run, Values, train
from training.data.bundled import load
from training.loop import train as train_ours
from training.networks.table import build_network
from training.plan import plan_of
from training.state import Snapshot
from training.watch import Pause

EPOCHS = 3
TRIALS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.05, "batch_size": 32},
    "momentum": {"optimizer": "momentum", "lr": 0.02, "momentum": 0.8, "warmup": 0.3, "batch_size": 64},
    "nesterov": {"optimizer": "nesterov", "lr": 0.02, "momentum": 0.9, "warmup": 0.25, "batch_size": 128},
    "adam": {"optimizer": "adam", "lr": 0.003, "warmup": 0.1, "batch_size": 64},
}


@dataclass(slots=True)
class Recorder:
    """Follows a run of either side; stops the peers' after the epoch `last`."""

    last: int | None = None
    seen: list[tuple[int, Values]] = field(default_factory=list)

    def take(self, step: int, values: Values) -> bool:
        self.seen.append((step, values))
        return step == self.last

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        del fits
        return None

    def report(self, step: int, values: Values) -> None:
        self.seen.append((step, values))

    def between(self) -> Pause:
        return Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        raise AssertionError(f"nobody asked for a snapshot at {step}: {snapshot.keys()}")


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize("way", WAYS)
def test_a_seed_gives_the_run_that_the_recipe_gives(name: str, way: str) -> None:
    data, recorder, peer = load("digits"), Recorder(), Recorder()
    plan = plan_of({"recipe": "classifier", "epochs": EPOCHS}, TRIALS[name])
    train_ours(build_network({"kind": "mlp", "hidden": [32]}, data), data, plan, seed=7, watch=recorder)
    assert train(Run([32], EPOCHS, TRIALS[name], seed=7), peer.take, way=way) == "completed"
    assert [step for step, _ in peer.seen] == [step for step, _ in recorder.seen] == [1, 2, 3]
    for (_, theirs), (_, ours) in zip(peer.seen, recorder.seen, strict=True):
        # float32, with sums in another order; one example of the 360 may fall on the other side.
        assert theirs["train_loss"] == pytest.approx(ours["train_loss"], rel=1e-3)
        assert theirs["val_loss"] == pytest.approx(ours["val_loss"], rel=1e-3)
        assert theirs["val_accuracy"] == pytest.approx(ours["val_accuracy"], abs=1.5 / 360)


def test_a_report_stops_the_run() -> None:
    recorder = Recorder(last=2)
    assert train(Run([8], 5, TRIALS["sgd"], seed=1), recorder.take) == "stopped"
    assert [step for step, _ in recorder.seen] == [1, 2]


def test_a_run_that_leaves_the_numbers_has_diverged() -> None:
    params = {"optimizer": "momentum", "lr": 1e20, "momentum": 0.99}
    assert train(Run([8], 5, params, seed=1), lambda *_: False) == "diverged"
