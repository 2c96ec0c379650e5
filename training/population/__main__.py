"""`python -m training.population`: compile what lanes are stepped by, so that no trial has to wait for it."""

from collections.abc import Callable

import torch

from training import loop, recipes
from training.population.lane import Lane
from training.state import Snapshot
from training.watch import Pause

_OBJECTIVE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [4]}, "epochs": 1}


class _Nobody:
    """Follows a run, and wants nothing of it."""

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        del fits
        return None

    def report(self, step: int, values: dict[str, float]) -> None:
        pass

    def between(self) -> Pause:
        return Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        pass


def main() -> None:
    """Train a lane of one, which compiles everything, and keeps it beside the source or in the user's cache."""
    given = recipes.prepare(_OBJECTIVE, {"optimizer": "adam", "lr": 0.01}, folder=None)
    lane = Lane(given.network, given.data)
    device = torch.device("cpu")
    lane.join([loop.start(given.network, given.data, given.plan, seed=0, watch=_Nobody(), device=device)])
    while lane.runs:
        lane.advance()


if __name__ == "__main__":
    main()
