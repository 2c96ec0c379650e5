"""Idempotency keys: the reply to a POST, stored in the transaction that did its work."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import OperationalError

from models.leases import insert_new
from models.tables import IdempotencyKey

WAIT_SECONDS = 2


class KeyInUse(Exception):
    """Another request with this key is still being worked on."""


class KeyMismatch(Exception):
    """The key was used before, with another request."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What the first request with this key was answered."""

    status: int
    body: str


def take(
    connection: Connection, project_id: int, key: str, *, fingerprint: str, now: datetime, goes_on: bool = False
) -> StoredReply | None:
    """Take a key for this transaction; None when it is new, else the stored reply.

    A concurrent twin waits for the first one's commit, at most WAIT_SECONDS. Raise KeyInUse past that, and
    KeyMismatch when the stored request was another. With `goes_on` the work may take several transactions: a key
    that has no reply yet is taken on, and None is returned.
    """
    postgres = connection.dialect.name == "postgresql"
    if postgres:
        connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
    row = {"project_id": project_id, "key": key, "fingerprint": fingerprint, "created_at": now}
    query = select(IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.body).where(
        IdempotencyKey.project_id == project_id, IdempotencyKey.key == key
    )
    try:
        fresh = insert_new(connection, IdempotencyKey, [row], IdempotencyKey.key)
        # Locked, so that of two who go on with one key's work only one stores its reply.
        stored = None if fresh else connection.execute(query.with_for_update()).one()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            raise KeyInUse(key) from error
        raise
    if postgres:
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    if stored is None:
        return None
    if stored.fingerprint != fingerprint:
        raise KeyMismatch(key)
    if stored.status is not None and stored.body is not None:
        return StoredReply(stored.status, stored.body)
    if goes_on:
        return None
    raise KeyInUse(key)


def complete(connection: Connection, project_id: int, key: str, *, status: int, body: str) -> None:
    """Store the reply under a key taken in this transaction."""
    connection.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.project_id == project_id, IdempotencyKey.key == key)
        .values(status=status, body=body)
    )


def forget_keys(connection: Connection, *, before: datetime) -> None:
    """Remove the keys taken before that time, with their replies."""
    connection.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
