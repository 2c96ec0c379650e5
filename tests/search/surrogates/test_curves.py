"""What curves that were cut short would have come to."""

import math

import numpy as np

from search.surrogates.curves import foresee
from search.surrogates.results import COMPLETED, DIVERGED, PRUNED, Results


def test_it_falls_as_its_neighbours_fell() -> None:
    known = [(1.0 + i / 10, 0.5 + i / 10) for i in range(6)] + [(5.0, 4.9), (5.1, 5.0), (5.2, 5.1)]
    near, far = foresee(1.25, known), foresee(5.1, known)
    assert near is not None
    assert far is not None
    assert math.isclose(near[0], 0.75, abs_tol=1e-9)
    assert math.isclose(far[0], 5.0, abs_tol=1e-9)
    assert near[1] < 1e-12


def test_of_few_curves_nothing_is_foreseen() -> None:
    assert foresee(1.0, [(1.0, 0.5), (1.1, 0.6)]) is None


def test_pruned_points_stand_where_their_curves_led() -> None:
    kinds = np.array([COMPLETED] * 4 + [PRUNED, PRUNED, DIVERGED], dtype=float)
    scores = np.array([0.1, 0.2, 0.3, 0.4, 1.3, 1.3, np.nan])
    curves: tuple[dict[int, float], ...] = ({3: 1.1}, {3: 1.2}, {3: 1.3}, {3: 1.4}, {1: 2.0, 3: 1.25}, {}, {})
    standing, unsure = Results(np.zeros((7, 1)), scores, kinds, curves).standing()
    assert standing[4] == np.float64(1.25 - 1.0)
    assert standing[5] >= 1.3  # of which no curve is known
    assert standing[6] > standing[:6].max()
    assert (unsure[:4] == 0).all()
    assert (unsure[4:6] > 0).all()
