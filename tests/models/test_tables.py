"""What the database itself refuses, whoever writes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from models.tables import Attempt, Event, Lease, Measurement, Project, Rung, Study, Table, Trial
from search.trials.dispatch import Claim
from tests.support.ledger import Ledger, definition


@pytest.fixture
def claim(ledger: Ledger) -> Claim:
    """Claim the first trial of a grid of two."""
    ledger.create(definition("grid", space="grid24", trials=2))
    (made,) = ledger.worker().claim(queue="cpu", capacity=1)
    return made


@pytest.mark.parametrize(
    "values",
    [
        {"budget": 0},
        {"allocated": 3, "drawn": 3},
        {"running": -1},
        {"finished": 1},
        {"state": "resting"},
    ],
)
def test_a_study_keeps_its_counters(ledger: Ledger, claim: Claim, values: Mapping[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        ledger.database.write(lambda c: c.execute(update(Study).where(Study.id == claim.study_id).values(values)))


@pytest.mark.parametrize("values", [{"score": inf}, {"score": -inf}, {"score": nan}, {"state": "lost"}])
def test_a_trial_keeps_its_state_and_a_finite_score(ledger: Ledger, claim: Claim, values: Mapping[str, Any]) -> None:
    try:
        ledger.database.write(lambda c: c.execute(update(Trial).values(values)))
    except DBAPIError:
        return
    # SQLite stores NaN as NULL: it is not kept either.
    assert [trial.score for trial in ledger.rows("trial") if trial.number == claim.number] == [None]
    assert values.get("score") != inf


def test_keys_cannot_double(ledger: Ledger, claim: Claim) -> None:
    for table in (Trial, Attempt, Lease, Event):
        with pytest.raises(IntegrityError):
            ledger.database.write(lambda c, table=table: c.execute(insert(table), _first(c, table)))  # type: ignore[misc]
    assert claim.number == 0


def test_a_grid_point_cannot_double(ledger: Ledger, claim: Claim) -> None:
    def again(connection: Any) -> None:
        connection.execute(insert(Trial), {**_first(connection, Trial), "number": 1, "seq": 99})

    with pytest.raises(IntegrityError):
        ledger.database.write(again)
    assert len(ledger.rows("trial")) == claim.number + 1


@pytest.mark.parametrize("table", [Measurement, Rung, Lease])
def test_nothing_hangs_on_a_trial_that_is_not_there(ledger: Ledger, claim: Claim, table: type[Table]) -> None:
    row: dict[str, Any] = {
        "study_id": claim.study_id,
        "number": 7,
        "attempt": 1,
        "step": 1,
        "score": 0.5,
        "stop": False,
    }
    row |= {"values": {}, "token": "t", "worker": "w"}
    given = {name: value for name, value in row.items() if name in table.__table__.columns}
    with pytest.raises(IntegrityError):
        ledger.database.write(lambda c: c.execute(insert(table), given))


def test_an_absent_value_is_null_and_not_the_word(ledger: Ledger, claim: Claim) -> None:
    found = ledger.database.read(lambda c: c.execute(select(Trial.number).where(Trial.values.is_(None))).all())
    assert [row.number for row in found] == [claim.number]


def test_moments_come_back_in_utc(ledger: Ledger) -> None:
    east = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    ledger.database.write(lambda c: c.execute(insert(Project).values(name="east", created_at=east)))
    stored = next(row.created_at for row in ledger.rows("project") if row.name == "east")
    assert stored == east
    assert stored.utcoffset() == timedelta(0)
    assert stored.tzinfo is UTC or stored.tzname() == "UTC"


def _first(connection: Any, table: type[Table]) -> dict[str, Any]:
    return dict(connection.execute(select(table.__table__)).mappings().first())
