"""All that a verdict is drawn from: the rows of the database beside what was seen from outside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.history import History, Place
from tests.faults.ledger_rules import Tables


@dataclass(frozen=True, slots=True)
class World:
    """The rows of every study by its id, the stored keys, and what was seen from outside before and after they were read.

    What was promised before must be there; what is there must have been asked for, or made, until after.
    """

    studies: Mapping[int, tuple[Any, Tables]]
    keys: Sequence[Any]
    seen: History
    after: History

    def holders(self) -> dict[str, Place]:
        """Say which attempt each token was given for. A token that was given twice speaks for the last one."""
        return {
            row.token: (study_id, row.number, row.attempt)
            for study_id, (_, tables) in self.studies.items()
            for row in tables["attempt"]
            if row.token is not None
        }


# Yields what contradicts it.
Rule = Callable[[World], Iterator[str]]
