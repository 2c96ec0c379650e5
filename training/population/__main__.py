"""`python -m training.population`: compile what lanes are stepped by, so that no trial has to wait for it."""

import torch

from training import loop, recipes
from training.population.lane import Lane
from training.watch import Nobody

_OBJECTIVE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [4]}, "epochs": 1}


def main() -> None:
    """Train a lane of one, which compiles everything, and keeps it beside the source or in the user's cache."""
    given = recipes.prepare(_OBJECTIVE, {"optimizer": "adam", "lr": 0.01}, folder=None)
    lane = Lane(given.network, given.data)
    device = torch.device("cpu")
    lane.join([loop.start(given.network, given.data, given.plan, seed=0, watch=Nobody(), device=device)])
    while lane.runs:
        lane.advance()


if __name__ == "__main__":
    main()
