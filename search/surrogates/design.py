"""The first points, before there is a model: spread evenly over every column, however many there will be.

The additive recurrence of M. Roberts ("The unreasonable effectiveness of quasirandom sequences", 2018): column d of point i
is the fraction of start_d + i * phi^-d, phi the root of x^(columns+1) = x + 1.
"""

import numpy as np

from search.surrogates.columns import Columns, Matrix


def spread(columns: Columns, starts: Matrix, index: int) -> Matrix:
    """Return row `index` of the sequence that `starts` (a share for each column) chooses."""
    ratio = 2.0
    for _ in range(40):
        ratio = (1.0 + ratio) ** (1.0 / (len(columns) + 1))
    steps = ratio ** -np.arange(1.0, len(columns) + 1)
    shares = (starts + (index + 1) * steps) % 1.0
    return np.asarray(columns.settle(columns.spread(shares[None, :]))[0])
