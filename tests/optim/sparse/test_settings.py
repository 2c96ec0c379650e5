"""What the options of a trial come to."""

from typing import Any

import pytest

from optim.sparse.network import INITIALISATIONS
from optim.sparse.settings import settings
from tests.optim.sparse import cases

OPTIONS: dict[str, Any] = {
    "width": 1001,
    "activation": "top_k",
    "initialisation": "paired",
    "threshold_by": "width",
    "threshold_factor": 0.4,
    "threshold": 2.0,
    "active_share": 0.021,
    "centered": True,
    "train_examples": 0,
    "reporter": "auto",
    "slack": 0.4,
}


@pytest.mark.parametrize(("share", "most"), [(1e-6, 2), (0.02, 20), (0.021, 22), (0.9995, 1000), (1.0, 1000)])
def test_of_pairs_an_even_number_is_kept_so_that_they_begin_as_zero(share: float, most: int) -> None:
    wide = settings({**OPTIONS, "active_share": share})
    assert (wide.width, wide.network.most) == (1000, most)
    weights, signs = INITIALISATIONS["paired"](cases.seeded(0), wide.width, 16, 2)
    assert wide.network.outputs(weights, signs, cases.points(50, 16, seed=1)).abs().max() < 1e-5


def test_of_others_as_many_are_kept_as_are_asked_for() -> None:
    wide = settings({**OPTIONS, "initialisation": "gaussian"})
    assert (wide.width, wide.network.most) == (1001, 21)
