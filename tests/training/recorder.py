"""Runs a recipe in this process and keeps what it reported."""

from typing import Any

from training.channel import Outcome
from training.recipes import run
from training.watch import Pause

Measured = list[tuple[int, dict[str, float]]]

MLP = {"kind": "mlp", "hidden": [16]}


class Recorder:
    """Keeps what was reported; asks for a stop after step `stop_at`."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.seen: Measured = []
        self._stop_at = stop_at

    def resume(self, fits: Any) -> None:
        del fits

    def report(self, step: int, values: dict[str, float]) -> None:
        self.seen.append((step, values))

    def between(self) -> Pause:
        return Pause.STOP if self.seen and self.seen[-1][0] == self._stop_at else Pause.NONE

    def save(self, step: int, snapshot: Any) -> None:
        raise AssertionError(f"not asked to save at {step}: {snapshot}")


def objective(**changes: Any) -> dict[str, Any]:
    return {"recipe": "classifier", "data": "iris", "network": MLP, "epochs": 3} | changes


def measure(
    goal: dict[str, Any], params: dict[str, Any], *, seed: int = 1, stop_at: int | None = None
) -> tuple[Outcome, Measured]:
    watch = Recorder(stop_at=stop_at)
    return run(goal, params, seed=seed, watch=watch), watch.seen
