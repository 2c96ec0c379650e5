"""Reservations: under the study's lock, what a claim may take of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, and_, bindparam, func, select
from sqlalchemy.types import Integer

from models.candidates import due
from models.ledger import lock_counters, out_of_time
from models.states import StudyState
from models.tables import Moment, Trial


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a claim may take from one study: trials to run again, and fresh (number, draw) pairs.

    `open` counts the study's trials without an end that run or could start now, no more than may run together.
    """

    study: Row[Any]
    again: Sequence[Row[Any]]
    numbers: range
    draws: Sequence[int]
    open: int

    def cut(self, most: int) -> "Reservation":
        """Take no more than `most` trials."""
        again = self.again[:most]
        fresh = most - len(again)
        return replace(self, again=again, numbers=self.numbers[:fresh], draws=self.draws[:fresh])


def reserve(connection: Connection, study_id: int, *, capacity: int, now: datetime) -> Reservation | None:
    """Lock the study and say what can be taken now; None when nothing can.

    Budget, parallelism, pause and cancel are all read under the lock, so none can be passed. A grid's budget is never
    larger than the grid, so its draws end with it.
    """
    study = lock_counters(connection, study_id)
    if study is None or study.state != StudyState.RUNNING or study.closing is not None or out_of_time(study, now):
        return None
    slots = capacity if study.parallelism is None else min(capacity, study.parallelism - study.running)
    if slots <= 0:
        return None
    waiting = study.allocated - study.finished - study.running
    again = _waiting(connection, study_id, slots, now) if waiting > 0 else []
    left = study.budget - study.reserved - study.allocated
    fresh = min(slots - len(again), left)
    if fresh + len(again) <= 0:
        return None
    unfinished = study.running + (again[0].due if again else 0) + left
    return Reservation(
        study=study,
        again=again,
        numbers=range(study.allocated, study.allocated + fresh),
        draws=range(study.drawn, study.drawn + fresh),
        open=unfinished if study.parallelism is None else min(unfinished, study.parallelism),
    )


def _waiting(connection: Connection, study_id: int, limit: int, now: datetime) -> Sequence[Row[Any]]:
    """Lock the first trials that may run again now; `due` counts all of them."""
    given = {"study": study_id, "now": now, "most": limit}
    return connection.execute(_WAITING, given).all()


def _due(trial: FromClause) -> ColumnElement[bool]:
    return and_(trial.c.study_id == bindparam("study"), due(trial, bindparam("now", type_=Moment)))


_OTHERS = Trial.__table__.alias("others")
_WAITING = (
    select(
        Trial.number,
        Trial.attempt,
        Trial.draw,
        Trial.params,
        Trial.origin,
        select(func.count()).select_from(_OTHERS).where(_due(_OTHERS)).scalar_subquery().label("due"),
    )
    .where(_due(Trial.__table__))
    .order_by(Trial.number)
    .limit(bindparam("most", type_=Integer))
    .with_for_update()
)
