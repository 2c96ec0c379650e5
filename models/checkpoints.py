"""Checkpoints: which files an attempt may go on from. A row is written only once its file is whole and on disk."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, insert, select

from models.states import FINAL_TRIAL_STATES, LIVE_STUDY
from models.tables import Checkpoint, Study, Trial

KEPT = 2


def add_checkpoint(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store a checkpoint of an attempt whose lease the caller has locked; one of the same step is replaced.

    Of the trial's checkpoints the KEPT newest stay.
    """
    _forget(connection, row["study_id"], row["number"], row["attempt"], row["step"])
    connection.execute(insert(Checkpoint).values(**row))
    ranked = _ranked().where(Checkpoint.study_id == row["study_id"], Checkpoint.number == row["number"]).subquery()
    old = select(ranked.c.attempt, ranked.c.step).where(ranked.c.place > KEPT)
    for gone in connection.execute(old).all():
        _forget(connection, row["study_id"], row["number"], gone.attempt, gone.step)


def _forget(connection: Connection, study_id: int, number: int, attempt: int, step: int) -> None:
    connection.execute(
        delete(Checkpoint).where(
            Checkpoint.study_id == study_id,
            Checkpoint.number == number,
            Checkpoint.attempt == attempt,
            Checkpoint.step == step,
        )
    )


def checkpoints_of(connection: Connection, study_id: int, attempts: Mapping[int, int]) -> dict[int, Sequence[Row[Any]]]:
    """Return by trial number the newest checkpoints, the newest first, of attempts before the given one (number -> attempt)."""
    if not attempts:
        return {}
    query = (
        select(Checkpoint.__table__)
        .where(Checkpoint.study_id == study_id, Checkpoint.number.in_(list(attempts)))
        .order_by(Checkpoint.number, Checkpoint.attempt.desc(), Checkpoint.step.desc())
    )
    found: dict[int, list[Row[Any]]] = {number: [] for number in attempts}
    for row in connection.execute(query):
        if row.attempt < attempts[row.number] and len(found[row.number]) < KEPT:
            found[row.number].append(row)
    return {number: rows for number, rows in found.items() if rows}


def forget_checkpoints(connection: Connection) -> None:
    """Remove the rows of trials that have ended for good and will be nobody's parent: their files are gone."""
    ended = exists().where(
        Trial.study_id == Checkpoint.study_id,
        Trial.number == Checkpoint.number,
        Trial.state.in_(FINAL_TRIAL_STATES),
        Study.id == Trial.study_id,
        ~may_inherit(),
    )
    connection.execute(delete(Checkpoint).where(ended))


def inherits(connection: Connection, study_id: int) -> bool:
    """Say whether trials of this study may still go on from the checkpoints of others."""
    return connection.execute(select(Study.id).where(Study.id == study_id, may_inherit())).one_or_none() is not None


def may_inherit() -> ColumnElement[bool]:
    """Say so of a study's row."""
    return and_(Study.inherits, Study.state.in_(LIVE_STUDY))


def _ranked() -> Any:  # noqa: ANN401  a select of labelled columns
    place = func.row_number().over(order_by=(Checkpoint.attempt.desc(), Checkpoint.step.desc()))
    return select(Checkpoint.attempt, Checkpoint.step, place.label("place"))
