"""Idempotency keys: the work behind a key is done once, whoever asks, and however the first try ended."""

from threading import Barrier, Event
from typing import TypeAlias

import pytest

from models import idempotency
from models.idempotency import KeyInUse, KeyMismatch, StoredReply
from models.session import Connection
from models.studies import ensure_project
from search.studies import service
from tests.support.ledger import Ledger, definition, opened, together

Answer: TypeAlias = tuple[str, StoredReply]


def _post(ledger: Ledger, connection: Connection, key: str = "k", fingerprint: str = "f") -> Answer:
    """Do what a route does: create a study once for a key; say whether it was made now or before."""
    stored = idempotency.take(connection, ledger.project, key, fingerprint=fingerprint, now=ledger.clock())
    if stored is not None:
        return "before", stored
    made = service.create_study(connection, ledger.project, definition(), now=ledger.clock())
    body = str(made.view.record.id)
    idempotency.complete(connection, ledger.project, key, status=201, body=body)
    return "now", StoredReply(201, body)


def test_the_same_request_gets_the_same_reply(ledger: Ledger) -> None:
    first, second, third = (ledger.database.write(lambda c: _post(ledger, c)) for _ in range(3))
    assert (first[0], second[0], third[0]) == ("now", "before", "before")
    assert first[1] == second[1] == third[1]
    assert len(ledger.rows("study")) == 1


def test_another_request_under_the_key_is_refused(ledger: Ledger) -> None:
    ledger.database.write(lambda c: _post(ledger, c))
    before = ledger.dump()
    with pytest.raises(KeyMismatch):
        ledger.database.write(lambda c: _post(ledger, c, fingerprint="other"))
    assert ledger.dump() == before


def test_keys_and_projects_are_apart(ledger: Ledger) -> None:
    other = ledger.database.write(lambda c: ensure_project(c, "other", ledger.clock()))
    foreign = Ledger(ledger.database, other, ledger.clock)
    ledger.database.write(lambda c: _post(ledger, c))
    assert ledger.database.write(lambda c: _post(ledger, c, key="K"))[0] == "now"
    assert ledger.database.write(lambda c: _post(foreign, c))[0] == "now"
    assert len(ledger.rows("study")) == 3


def test_twins_at_once_do_the_work_once(ledger: Ledger) -> None:
    said = together(6, lambda _: ledger.database.write(lambda c: _post(ledger, c)))
    assert sorted(word for word, _ in said) == [*["before"] * 5, "now"]
    assert len({reply for _, reply in said}) == 1
    assert len(ledger.rows("study")) == 1


def test_a_rollback_frees_the_key(ledger: Ledger) -> None:
    def fails(connection: Connection) -> None:
        _post(ledger, connection)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ledger.database.write(fails)
    assert ledger.rows("idempotency_key") == []
    assert ledger.database.write(lambda c: _post(ledger, c, fingerprint="other"))[0] == "now"


def test_a_twin_takes_over_when_the_first_one_fails(ledger: Ledger) -> None:
    barrier = Barrier(2)

    def work(place: int) -> str:
        def first(connection: Connection) -> str:
            _post(ledger, connection)
            barrier.wait()
            Event().wait(0.2)
            raise RuntimeError("no")

        if place == 0:
            with pytest.raises(RuntimeError):
                ledger.database.write(first)
            return "failed"
        barrier.wait()
        return ledger.database.write(lambda c: _post(ledger, c))[0]

    assert together(2, work) == ["failed", "now"]
    assert len(ledger.rows("study")) == 1


def test_a_reply_that_was_never_written_is_in_use(ledger: Ledger) -> None:
    begun = ledger.database.write(
        lambda c: idempotency.take(c, ledger.project, "k", fingerprint="f", now=ledger.clock())
    )
    assert begun is None
    with pytest.raises(KeyInUse):
        ledger.database.write(lambda c: _post(ledger, c))


def test_a_twin_does_not_wait_for_ever(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite there is one writer at a time, and a twin waits for it as every writer does."""
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.2)
    begun, over = Event(), Event()

    def work(ledger: Ledger, place: int) -> str:
        def first(connection: Connection) -> str:
            word, _ = _post(ledger, connection)
            begun.set()
            over.wait(10)
            return word

        if place == 0:
            return ledger.database.write(first)
        begun.wait(10)
        try:
            with pytest.raises(KeyInUse):
                ledger.database.write(lambda c: _post(ledger, c))
        finally:
            over.set()
        return "gave up"

    with opened(postgres_url) as ledger:
        assert together(2, lambda place: work(ledger, place)) == ["now", "gave up"]
