"""Candidates for a claim: which studies have a trial that may start, for whom, and in which queues.

None of these looks takes a lock, so a claim looks again at what it found.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, bindparam, exists, literal, or_, select

from models.rowsets import among, pack
from models.states import StudyState, TrialState
from models.tables import Moment, Rung, Study, Trial


def find_candidate(
    connection: Connection, *, queue: str, objectives: Sequence[str], passed: frozenset[int], now: datetime
) -> int | None:
    """Find a study with work for `queue`, the least served first, that is not among `passed`; None when there is none.

    A study that runs a registered objective is found only where `objectives` has its name.
    """
    given = {"queue": queue, "now": now, "passed": pack(sorted(passed)), "objectives": pack(objectives)}
    return connection.execute(_candidate(connection.dialect.name), given).scalar_one_or_none()


def has_work(connection: Connection, *, queue: str, objectives: Sequence[str], besides: int, now: datetime) -> bool:
    """Say whether a study other than `besides` has work for `queue`, as `find_candidate` sees it."""
    found = find_candidate(connection, queue=queue, objectives=objectives, passed=frozenset({besides}), now=now)
    return found is not None


def queues_with_work(connection: Connection, now: datetime) -> list[str]:
    """List the queues of which some running study may have a trial to start now."""
    query = select(Study.queue).where(_claimable(literal(now, Moment)))
    return list(connection.scalars(query.distinct()))


@cache
def _candidate(dialect: str) -> Select[int]:
    return (
        select(Study.id)
        .where(
            Study.queue == bindparam("queue"),
            or_(Study.objective.is_(None), among(dialect, Study.objective.expression, "objectives")),
            _claimable(bindparam("now", type_=Moment)),
            ~among(dialect, Study.id.expression, "passed"),
        )
        .order_by(Study.running, Study.allocated, Study.id)
        .limit(1)
    )


def _claimable(now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Say of a study's row whether a trial of it may start: a fresh one, or one that waits no longer."""
    waiting = exists().where(Trial.study_id == Study.id, due(Trial.__table__, now))
    return and_(
        Study.state == StudyState.RUNNING,
        Study.closing.is_(None),
        or_(Study.full_seq.is_(None), Study.full_seq != Study.seq),
        or_(Study.parallelism.is_(None), Study.running < Study.parallelism),
        or_(
            Study.allocated + Study.reserved < Study.budget,
            waiting,
            # What it keeps for its replicates is due: whoever claims queues them.
            and_(Study.reserved > 0, Study.finished == Study.allocated),
        ),
    )


def due(trial: FromClause, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Say of a trial's row that it is queued and may start now."""
    return and_(
        trial.c.state == TrialState.QUEUED,
        or_(trial.c.next_run_at.is_(None), trial.c.next_run_at <= now),
        goes_on(trial),
    )


def goes_on(trial: FromClause) -> ColumnElement[bool]:
    """Say of a queued trial's row that it does not wait at a rung, or was promoted there."""
    promoted = exists().where(
        Rung.study_id == trial.c.study_id,
        Rung.number == trial.c.number,
        Rung.step == trial.c.waiting_step,
        Rung.promoted.is_(True),
    )
    return or_(trial.c.waiting_step.is_(None), promoted)
