"""What every strategy is: two verbs over frozen values."""

from collections.abc import Sequence
from typing import Protocol

from search.records import Suggestion, TrialRecord


class Strategy(Protocol):
    """Decides which points a study tries.

    `reads_history` False promises that a point depends on (seed, index) alone, so that `update` need not be called.
    `reads_curves` asks for trials with their `curve`, and for those that run again once they have come to another rung.
    A strategy is not safe for several threads at once.
    """

    reads_history: bool
    reads_curves: bool

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in the trials that changed since the last call, in order of `seq`, running ones included."""

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index, in order. Later points of one call know of the earlier ones."""
