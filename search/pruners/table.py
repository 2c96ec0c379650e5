"""Pruning by kind: when a decision is due, how many go on, and the words that are stored with a stop.

Decisions compare scores (lower is better) of the trials that reached the same step. Of `size` scores the best `keep` go
on; a score equal to the last of those goes on as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search.definition.prunings import Pruning
from search.pruners import asha, median


@dataclass(frozen=True, slots=True)
class Pruner:
    """One kind of pruning: pure functions of its settings."""

    rung: Callable[[Any, int], bool]
    rungs: Callable[[Any, int], list[int]]
    keep: Callable[[Any, int], int]


PRUNERS: Mapping[str, Pruner] = {
    "asha": Pruner(rung=asha.rung, rungs=asha.rungs, keep=asha.keep),
    "median": Pruner(rung=median.rung, rungs=median.rungs, keep=median.keep),
}


def rung(pruning: Pruning, step: int, *, last: int | None = None) -> bool:
    """Say whether a decision is due at `step` (from 1). Never at `last`: who has finished cannot be stopped any more."""
    return (last is None or step < last) and PRUNERS[pruning.kind].rung(pruning, step)


def rungs(pruning: Pruning | None, *, last: int) -> list[int]:
    """Return the steps at which `rung` says that a decision is due, for trials that finish with step `last`; none unpruned."""
    return PRUNERS[pruning.kind].rungs(pruning, last) if pruning is not None else []


def keep(pruning: Pruning, size: int) -> int:
    """Return how many of the `size` scores at a rung go on; from 1 to `size`."""
    return PRUNERS[pruning.kind].keep(pruning, size)


def reason(pruning: Pruning, *, step: int, kept: int, size: int, rank: int | None = None) -> str:
    """Say why a trial stops; `rank` counts from 1, the best."""
    place = f"rank {rank} of {size}" if rank is not None else f"behind the best {kept} of {size}"
    return f"{pruning.kind}: {place} at step {step}; the best {kept} go on"
