"""Lives of studies drawn at random: whatever workers, reapers, people and clocks do, the ledger is as its model says.

That the machine would notice is shown by faults planted in the product, one at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from models import claims, endings, leases, reservations, trials
from models.endings import Ending, Verdicts
from models.ledger import lock_counters
from models.reservations import Reservation
from models.session import Connection, Database
from models.tables import Lease, Study
from tests.models.machine import TrialLife
from tests.support.ledger import Ledger, opened
from workers.reaper import Reaper

LIVES = {"sqlite": 30, "postgresql": 15}
BASE = settings(database=None, print_blob=False, suppress_health_check=list(HealthCheck))


def _live(ledger: Ledger, profile: settings) -> None:
    run_state_machine_as_test(lambda: TrialLife(ledger), settings=profile)  # type: ignore[arg-type]


def test_lives(ledger: Ledger) -> None:
    lives = LIVES[ledger.database.dialect]
    _live(ledger, settings(BASE, max_examples=lives, stateful_step_count=30, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_long_lives(ledger: Ledger) -> None:
    _live(ledger, settings(BASE, max_examples=300, stateful_step_count=60))


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    end = endings.end

    def believing(connection: Connection, study_id: int, said: Sequence[Ending], **more: Any) -> Any:
        rows = connection.execute(select(Lease).where(Lease.study_id == study_id).with_only_columns(*Lease.__table__.c))
        now = {row.number: {"token": row.token, "attempt": row.attempt} for row in rows}
        late = [replace(ending, **now.get(ending.number, {})) for ending in said]
        verdicts = end(connection, study_id, late, **more)
        own = {taken.token: given.token for taken, given in zip(late, said, strict=True)}
        words = (verdicts.accepted, verdicts.repeated, verdicts.stale)
        accepted, repeated, stale = (tuple(own[token] for token in each) for each in words)
        return Verdicts(accepted, repeated, stale, verdicts.study)

    patch.setattr(endings, "end", believing)


def _no_fence_for_reports(patch: pytest.MonkeyPatch) -> None:
    held = leases.held

    class Everywhere(dict[str, Any]):
        def get(self, token: str, _: object = None) -> object:
            return self[token] if token in self else _Same()

    patch.setattr(leases, "held", lambda connection, tokens: Everywhere(held(connection, tokens)))


class _Same:
    """Equal to everything."""

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def _retries_cost_budget(patch: pytest.MonkeyPatch) -> None:
    take = claims.take

    def costly(connection: Connection, reservation: Reservation, *rest: Any, **more: Any) -> Any:
        taken = take(connection, reservation, *rest, **more)
        spent = Study.allocated + len(reservation.again)
        connection.execute(update(Study).where(Study.id == reservation.study.id).values(allocated=spent))
        return taken

    patch.setattr(claims, "take", costly)


def _reaper_by_wall_clock(patch: pytest.MonkeyPatch) -> None:
    first: dict[str, float] = {}

    def observe(reaper: Reaper, rows: Sequence[Any]) -> list[Any]:
        now = reaper._clock().timestamp()
        reaper._seen = {row.token: _Beat(row.beat) for row in rows}  # type: ignore[misc]
        return [row for row in rows if now - first.setdefault(f"{row.token}{row.beat}", now) >= reaper._lease]

    patch.setattr(Reaper, "_observe", observe)


class _Beat:
    def __init__(self, beat: int) -> None:
        self.beat = beat


def _reaper_deaf_to_heartbeats(patch: pytest.MonkeyPatch) -> None:
    observe = Reaper._observe
    patch.setattr(Reaper, "_observe", lambda reaper, rows: observe(reaper, rows) or list(rows)[:1])


def _token_used_again(patch: pytest.MonkeyPatch) -> None:
    claimed = claims._claimed
    patch.setattr(claims, "_claimed", lambda *given: replace(claimed(*given), token=f"{given[0]}-{given[1]}"))


def _conflicts_unseen(patch: pytest.MonkeyPatch) -> None:
    add = leases.add_measurements

    def blind(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[int]:
        add(connection, rows)
        return set()

    patch.setattr(leases, "add_measurements", blind)


def _strikes_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trials, "count_strikes", lambda *_: {})


def _every_result_is_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(endings, "_repeated", lambda *_: set())


def _commit_before_the_end(patch: pytest.MonkeyPatch) -> None:
    run = Database._run

    def hasty(database: Database, work: Callable[[Connection], Any], options: dict[str, Any]) -> Any:
        def unit(connection: Connection) -> Any:
            try:
                return work(connection)
            finally:
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("BEGIN")

        return run(database, unit, options)

    patch.setattr(Database, "_run", hasty)


def _parallelism_unread(patch: pytest.MonkeyPatch) -> None:
    lock = lock_counters

    def unlimited(connection: Connection, study_id: int) -> Any:
        row = lock(connection, study_id)
        return None if row is None else _Without(row, parallelism=None)

    patch.setattr(reservations, "lock_counters", unlimited)


class _Without:
    """A row with some columns changed."""

    def __init__(self, row: Any, **changed: object) -> None:
        self._row, self._changed = row, changed

    def __getattr__(self, name: str) -> Any:
        return self._changed[name] if name in self._changed else getattr(self._row, name)


FAULTS = {
    plant.__name__.strip("_"): plant
    for plant in (
        _no_fence,
        _no_fence_for_reports,
        _retries_cost_budget,
        _reaper_by_wall_clock,
        _reaper_deaf_to_heartbeats,
        _token_used_again,
        _conflicts_unseen,
        _strikes_forgotten,
        _every_result_is_new,
        _commit_before_the_end,
        _parallelism_unread,
    )
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = settings(BASE, max_examples=200, stateful_step_count=30, derandomize=True, phases=[Phase.generate])
    FAULTS[fault](monkeypatch)
    with opened(sqlite_url) as ledger, pytest.raises((AssertionError, IntegrityError)):
        _live(ledger, settings(profile, report_multiple_bugs=False))
