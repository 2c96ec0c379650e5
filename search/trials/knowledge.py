"""What is remembered of a study between two claims: its definition, and a strategy with the history that it has read."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from models import trials
from models.session import Connection
from search.definition.parse import StudyDefinition
from search.records import TrialRecord
from search.strategies.table import Strategy
from search.studies.views import trial_record, with_curves


@dataclass(slots=True)
class Known:
    """One study. The lock is for the strategy, which serves one thread at a time."""

    definition: StudyDefinition
    seed: int
    strategy: Strategy
    seq: int = 0
    running: dict[int, TrialRecord] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def news(self, connection: Connection, study_id: int) -> list[TrialRecord]:
        """Read the trials that changed since, and those that still run where curves are wanted: a rung moves no `seq`.

        Trials come first, rungs second, so that the curve of one that has ended is whole.
        """
        changed = [trial_record(row) for row in trials.changed_trials(connection, study_id, self.seq)]
        if not self.strategy.reads_curves:
            return changed
        numbers = {record.number for record in changed}
        still = [record for number, record in self.running.items() if number not in numbers]
        return with_curves(connection, study_id, [*still, *changed])

    def learn(self, records: Sequence[TrialRecord]) -> None:
        """Take in what was read."""
        self.strategy.update(records)
        self.seq = max([self.seq, *(record.seq for record in records)])
        if self.strategy.reads_curves:
            latest = self.running | {record.number: record for record in records}
            self.running = {number: record for number, record in latest.items() if record.state == "running"}
