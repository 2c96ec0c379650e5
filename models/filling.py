"""The parameters of reserved trials, written once a strategy has thought of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, select, update
from sqlalchemy.types import JSON, BigInteger, Integer, Text

from models.claims import Claimed
from models.leases import held
from models.ledger import update_study
from models.rowsets import Columns, pack, rowset
from models.tables import Trial


def fill(connection: Connection, study: Row[Any], points: Sequence[tuple[Claimed, Mapping[str, Any]]]) -> list[Claimed]:
    """Give reserved trials of a locked study their parameters, fenced by their tokens; return those that still hold.

    Each comes back with the parameters that are stored: a unit that runs again must not give out others.
    Each trial's seq moves on, so that snapshots of other workers see the pending point.
    """
    places = held(connection, [claim.token for claim, _ in points])
    live = [
        (claim, point)
        for claim, point in points
        if places.get(claim.token) == (claim.study_id, claim.number, claim.attempt)
    ]
    if not live:
        return []
    rows = [
        {"number": claim.number, "seq": study.seq + offset, **point} for offset, (claim, point) in enumerate(live, 1)
    ]
    connection.execute(_filled_trials(connection.dialect.name), {"study": study.id, "rows": pack(rows)})
    update_study(connection, study, {"seq": study.seq + len(live)})
    query = select(Trial.number, Trial.params).where(
        Trial.study_id == study.id, Trial.number.in_([claim.number for claim, _ in live])
    )
    stored = {row.number: row.params for row in connection.execute(query)}
    return [replace(claim, params=stored[claim.number]) for claim, _ in live]


@cache
def _filled_trials(dialect: str) -> Update:
    columns: Columns = {
        "number": Integer(),
        "params": JSON(),
        "origin": Text(),
        "why": JSON(),
        "dedupe_key": Text(),
        "parent": Integer(),
        "seq": BigInteger(),
    }
    given = rowset(dialect, columns)
    return (
        update(Trial)
        .where(Trial.study_id == bindparam("study"), Trial.number == given.c.number, Trial.params.is_(None))
        .values({name: given.c[name] for name in columns if name != "number"})
    )
