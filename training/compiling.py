"""`python -m training.compiling`: compile the loops that trials are stepped by, so that none has to wait for it.

They are kept beside their source, or in the user's cache.
"""

import torch

from training import loop, recipes
from training.population.lane import Lane
from training.recipes import WIDE
from training.watch import Nobody

_LANE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [4]}, "epochs": 1, "lr": 0.01}
_WIDE = {"recipe": WIDE, "data": "iris", "epochs": 1, "width": 1000, "threshold_factor": 0.1}
# What compiles all that wide networks are stepped by; at so high a rate lists are refreshed.
_WAYS = ({"reporter": "lists", "lr": 1000.0}, {"reporter": "auto"}, {"activation": "top_k"})


def main() -> None:
    """Train a lane of one, and a few wide networks."""
    given = recipes.prepare(_LANE, {})
    lane = Lane(given.network, given.data)
    device = torch.device("cpu")
    lane.join([loop.start(given.network, given.data, given.plan, seed=0, watch=Nobody(), device=device)])
    while lane.runs:
        lane.advance()
    for way in _WAYS:
        recipes.run(_WIDE, way, seed=0, watch=Nobody())


if __name__ == "__main__":
    main()
