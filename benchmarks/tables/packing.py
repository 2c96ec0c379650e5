"""Curves in few bytes: whole numbers, of which only the differences from epoch to epoch are stored.

Losses are stored by their logarithm, in steps of STEP: what is read differs from what was measured by at most half a
step, a tenth of a percent. Differences are small numbers that compress well once their bytes are sorted, all low ones
before all high ones, and epochs lead, since those of one epoch are alike.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int16]
Bytes: TypeAlias = NDArray[np.uint8]
Counts: TypeAlias = NDArray[np.int64]

STEP = 1 / 500
# Relative, of a loss that was read.
PRECISION = STEP / 2
# What the logarithm's code has room for.
_MOST = 32_000 * STEP


def code_of(losses: Floats) -> Codes:
    """Return the logarithm of losses of at least 0, in steps."""
    with np.errstate(divide="ignore"):
        logarithms = np.clip(np.log(losses), -_MOST, _MOST)
    codes: Codes = np.rint(logarithms / STEP).astype(np.int16)
    return codes


def loss_of(codes: Codes) -> Floats:
    """Return what `code_of` was given, within PRECISION."""
    losses: Floats = np.exp(codes * STEP)
    return losses


def pack(codes: Codes, reached: NDArray[Any]) -> Bytes:
    """Return the bytes (2, epochs, ...) of codes (..., epochs), of which so many epochs were `reached` (...)."""
    changes: Codes = np.diff(codes, axis=-1, prepend=np.int16(0))  # it may wrap around, and so does the sum
    changes[~within(reached, codes.shape[-1])] = 0
    leading = np.ascontiguousarray(np.moveaxis(changes, -1, 0)).astype("<i2")
    return np.ascontiguousarray(np.moveaxis(leading.view(np.uint8).reshape(*leading.shape, 2), -1, 0))


def unpack(packed: Bytes) -> Codes:
    """Return the codes; behind what was reached the last one stands again."""
    pairs = np.ascontiguousarray(np.moveaxis(packed, 0, -1))
    changes = pairs.view("<i2")[..., 0].astype(np.int16)
    codes: Codes = np.moveaxis(np.cumsum(changes, axis=0, dtype=np.int16), 0, -1)
    return codes


def within(reached: NDArray[Any], epochs: int) -> NDArray[np.bool_]:
    """Say of each epoch (..., epochs) whether it was reached."""
    held: NDArray[np.bool_] = np.arange(epochs) < np.asarray(reached)[..., None]
    return held
