"""Trials that wait at a rung until enough others are behind them, and the end of a study in which all do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Integer, case, exists, func, not_, select

from models import rungs
from models.candidates import goes_on
from models.closings import cancel_waiting, has_completed
from models.ledger import lock_counters
from models.rowsets import among, pack
from models.states import LIVE_STUDY, StudyState, TrialState
from models.tables import Rung, Trial


@dataclass(frozen=True, slots=True)
class Wait:
    """That a trial was told to wait at a rung, and whether it has been promoted there since."""

    step: int
    reason: str
    promoted: bool


def promote_all(connection: Connection, study_id: int, keep: Callable[[int], int]) -> None:
    """Promote at every rung of a locked study who is among the best `keep(size)` there.

    Reports do so at their own rungs; two that come at once may not see each other, but their trials' ends see both.
    """
    waits = func.sum(case((Rung.stop.is_(True) & Rung.promoted.is_(False), 1), else_=0), type_=Integer)
    query = select(Rung.step, func.count().label("size")).where(Rung.study_id == study_id)
    for row in connection.execute(query.group_by(Rung.step).having(waits > 0).order_by(Rung.step)).all():
        rungs.promote(connection, study_id, row.step, rank=keep(row.size))


def waits_of(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, Wait]:
    """Return the last wait of each of these trials that has one."""
    query = (
        select(Rung.number, Rung.step, Rung.reason, Rung.promoted)
        .where(
            Rung.study_id == study_id,
            among(connection.dialect.name, Rung.number.expression, "numbers"),
            Rung.stop.is_(True),
        )
        .order_by(Rung.step)
    )
    rows = connection.execute(query, {"numbers": pack(numbers)})
    return {row.number: Wait(row.step, row.reason or "", row.promoted) for row in rows}


def conclude(connection: Connection, study_id: int, now: datetime) -> None:
    """End a study, or the search of one with a verdict, of which nothing is left but trials that wait: they are pruned.

    If none has completed, the best at the highest rung is promoted first, so that the study comes to a result.
    """
    study = lock_counters(connection, study_id)
    if study is None or study.state not in LIVE_STUDY or study.running > 0:
        return
    if study.allocated + study.reserved < study.budget:
        return
    queued = (Trial.study_id == study_id, Trial.state == TrialState.QUEUED)
    ready = select(exists().where(*queued, goes_on(Trial.__table__)))
    if study.finished == study.allocated or connection.execute(ready).scalar_one():
        return
    if has_completed(connection, study_id):
        # With replicates to come the study is not over yet.
        move = None if study.reserved else StudyState.COMPLETED
        cancel_waiting(connection, study, reason=study.reason, now=now, move=move)
        return
    best = select(Trial.number, Trial.waiting_step).where(*queued, not_(goes_on(Trial.__table__)))
    order = (Trial.waiting_step.desc(), Trial.score, Trial.number)
    first = connection.execute(best.order_by(*order).limit(1)).one()
    rungs.promote_one(connection, study_id, first.number, first.waiting_step)
