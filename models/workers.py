"""Workers that said they are there, and the leases a reaper watches."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from models.tables import Lease, Study, Worker

# A worker counts among those of its queue until it has missed this many heartbeats.
SEEN_HEARTBEATS = 3


@dataclass(frozen=True, slots=True)
class Peers:
    """The workers of one queue, each by the names of the objectives that it has registered."""

    registered: Sequence[Collection[str]] = ()

    def able(self, objective: str | None) -> int:
        """Count those that can run a registered objective; all of them where none is needed (None)."""
        return sum(objective is None or objective in names for names in self.registered)


def greet(connection: Connection, row: Mapping[str, Any], *, heartbeat_seconds: float = 10.0) -> Peers:
    """Store or renew a worker's row; return the workers that serve its queue, itself included.

    Those count that were seen within SEEN_HEARTBEATS heartbeats and have not said goodbye.
    """
    fresh = {"objectives": [], "stopped_at": None, **row}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    renewed = {name: fresh[name] for name in ("seen_at", "stopped_at", "objectives", "capacity")}
    connection.execute(
        dialect.insert(Worker).values(fresh).on_conflict_do_update(index_elements=[Worker.id], set_=renewed)
    )
    since = row["seen_at"] - timedelta(seconds=SEEN_HEARTBEATS * heartbeat_seconds)
    here = (Worker.queue == row["queue"], Worker.seen_at >= since, Worker.stopped_at.is_(None))
    return Peers(list(connection.scalars(select(Worker.objectives).where(*here))))


def part(connection: Connection, worker: str, now: datetime) -> None:
    """Mark a worker as gone on purpose."""
    connection.execute(update(Worker).where(Worker.id == worker).values(stopped_at=now, seen_at=now))


def list_workers(connection: Connection, *, since: datetime) -> Sequence[Row[Any]]:
    """List the workers seen since then and not parted, by id."""
    query = select(Worker.__table__).where(Worker.seen_at >= since, Worker.stopped_at.is_(None)).order_by(Worker.id)
    return connection.execute(query).all()


def registered_objectives(connection: Connection) -> set[tuple[str, str]]:
    """Return (name, queue) of the objectives that some worker has said it can run, until its row is forgotten."""
    rows = connection.execute(select(Worker.objectives, Worker.queue))
    return {(name, row.queue) for row in rows for name in row.objectives}


def forget_workers(connection: Connection, *, before: datetime) -> None:
    """Remove the rows of workers not seen since `before`."""
    connection.execute(delete(Worker).where(Worker.seen_at < before))


def all_leases(connection: Connection) -> Sequence[Row[Any]]:
    """Return every lease, and of its study (state, closing)."""
    query = select(Lease.__table__, Study.state, Study.closing).join(Study, Study.id == Lease.study_id)
    return connection.execute(query).all()


def unmoved(connection: Connection, tokens: Mapping[str, int]) -> list[Row[Any]]:
    """Of these leases (token -> beat last seen) return, locked, those whose counter has not moved since."""
    query = (
        select(Lease.__table__)
        .where(Lease.token.in_(list(tokens)))
        .order_by(Lease.study_id, Lease.number)
        .with_for_update()
    )
    return [row for row in connection.execute(query) if row.beat == tokens[row.token]]


def count_held(connection: Connection, study_id: int, workers: Collection[str]) -> dict[str, int]:
    """Count the trials of a study that each of these workers holds, beaten for or not."""
    query = (
        select(Lease.worker, func.count().label("trials"))
        .where(Lease.study_id == study_id, Lease.worker.in_(workers))
        .group_by(Lease.worker)
    )
    return {row.worker: row.trials for row in connection.execute(query)}
