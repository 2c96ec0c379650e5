"""The verdict: what in a database, and in what was seen from outside, contradicts what the service promises.

The rules: `ledger_rules` (the rows of one study alone), `promise_rules` (against what was answered over HTTP) and
`training_rules` (against what was trained).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from models.ids import show_study
from models.session import Database
from models.tables import Table
from tests.faults import ledger_rules
from tests.faults.history import read_history
from tests.faults.ledger_rules import ask
from tests.faults.promise_rules import PROMISES
from tests.faults.training_rules import TRAINING
from tests.faults.world import World


def violations(database_url: str, oracle: Path, *, settled: bool) -> list[str]:
    """Return one sentence for each violation: the promise, then the rows. An empty list is what must be.

    It may be asked at any moment: the rows are those of one moment. With `settled` the faults are over and every study
    has had the time to end.
    """
    before = read_history(oracle)
    rows = _snapshot(database_url)
    world = World(_by_study(rows), rows["idempotency_key"], before, read_history(oracle))
    said = [
        f"{fault} (study {show_study(study_id)})"
        for study_id, (study, tables) in world.studies.items()
        for fault in ledger_rules.faults(study, tables, settled=settled)
    ]
    for name, rule in {**PROMISES, **TRAINING}.items():
        said += ask(name, partial(rule, world))
    return said


def _by_study(rows: Mapping[str, Sequence[Any]]) -> dict[int, tuple[Any, ledger_rules.Tables]]:
    """Return each study's row, with the rows of every table that are its own."""
    groups: dict[tuple[int | None, str], list[Any]] = defaultdict(list)
    for table, found in rows.items():
        for row in found:
            groups[getattr(row, "study_id", None), table].append(row)
    return {study.id: (study, {table: groups[study.id, table] for table in rows}) for study in rows["study"]}


def _snapshot(url: str) -> dict[str, Sequence[Any]]:
    """Read every table, all as of one moment."""
    database = Database(url)
    options = (
        {"isolation_level": "REPEATABLE READ"} if database.dialect == "postgresql" else {"tuneup_mode": "DEFERRED"}
    )
    try:
        with database.engine.connect() as connection:
            connection.execution_options(**options)
            return {
                name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()
                for name, table in Table.metadata.tables.items()
            }
    finally:
        database.dispose()
