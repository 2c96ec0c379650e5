"""Studies: create, read, change, delete, and the counts shown with them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, insert, or_, select
from sqlalchemy.orm import aliased

from models.leases import insert_new
from models.ledger import Change, record, update_study
from models.states import IMPORTED, REPLICATE, StudyState, TrialState
from models.tables import Event, Project, Study, Trial

DEFAULT_PROJECT = "default"


def ensure_project(connection: Connection, name: str, now: datetime) -> int:
    """Return the id of the project of that name; make it if there is none."""
    query = select(Project.id).where(Project.name == name)
    found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return found
    # Another process may make it at this very moment; then ours is skipped, and the next look finds that one.
    insert_new(connection, Project, [{"name": name, "created_at": now}], Project.id)
    return connection.execute(query).scalar_one()


def insert_study(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store a new study, running, with its first event."""
    connection.execute(insert(Study).values(state=StudyState.RUNNING, seq=1, **row))
    connection.execute(insert(Event).values(study_id=row["id"], seq=1, target=StudyState.RUNNING, at=row["created_at"]))


def find_study(connection: Connection, project_id: int, study_id: int) -> Row[Any] | None:
    """Read one study of a project; None for another project's."""
    query = select(Study.__table__).where(Study.id == study_id, Study.project_id == project_id)
    return connection.execute(query).one_or_none()


def list_studies(
    connection: Connection,
    project_id: int,
    *,
    limit: int,
    state: str | None = None,
    labels: Sequence[tuple[str, str | None]] = (),
    before: tuple[datetime, int] | None = None,
) -> Sequence[Row[Any]]:
    """List a project's studies, the newest first; `before` is (created_at, id) of the last one already seen.

    Each of `labels` is a name that a study must have, with a value or (None) with any.
    """
    query = select(Study.__table__).where(
        Study.project_id == project_id, *(_labelled(connection, name, value) for name, value in labels)
    )
    if state is not None:
        query = query.where(Study.state == state)
    if before is not None:
        at, study_id = before
        query = query.where(or_(Study.created_at < at, and_(Study.created_at == at, Study.id < study_id)))
    return connection.execute(query.order_by(Study.created_at.desc(), Study.id.desc()).limit(limit)).all()


def _labelled(connection: Connection, name: str, value: str | None) -> ColumnElement[bool]:
    each = func.json_each_text if connection.dialect.name == "postgresql" else func.json_each
    pair = each(Study.labels).table_valued("key", "value")
    wanted = pair.c.key == name if value is None else and_(pair.c.key == name, pair.c.value == value)
    return exists(select(pair.c.key).where(wanted).correlate(Study))


def change_study(
    connection: Connection, study: Row[Any], values: Mapping[str, Any], now: datetime, *, event: str | None = None
) -> None:
    """Change columns of a locked study; `event` names its new state where that changes."""
    changes = [Change(target=event, source=study.state, reason=values.get("reason"))] if event is not None else []
    record(connection, study, changes, now)
    update_study(connection, study, {**values, "seq": study.seq + max(1, len(changes))})


def delete_study(connection: Connection, study_id: int) -> None:
    """Remove a study with everything that hangs on it."""
    connection.execute(delete(Study).where(Study.id == study_id))


def count_states(connection: Connection, study_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Count each study's trials by state."""
    query = (
        select(Trial.study_id, Trial.state, func.count().label("trials"))
        .where(Trial.study_id.in_(study_ids))
        .group_by(Trial.study_id, Trial.state)
    )
    counts: dict[int, dict[str, int]] = {study_id: {} for study_id in study_ids}
    for row in connection.execute(query):
        counts[row.study_id][row.state] = row.trials
    return counts


def best_trials(connection: Connection, study_ids: Sequence[int]) -> dict[int, Row[Any]]:
    """Return each study's best completed and feasible trial (lowest score, then lowest number); none for those without."""
    rival = aliased(Trial)
    # One look into the index on (study, state, violation, score, number) for each study, however many trials it has.
    best = (
        select(rival.number)
        .where(
            rival.study_id == Study.id,
            rival.state == TrialState.COMPLETED,
            rival.violation == 0,
            rival.score.is_not(None),
            # The luckiest of a configuration's replicates says no more of it than the others do.
            rival.origin != REPLICATE,
        )
        .order_by(rival.score, rival.number)
        .limit(1)
        .correlate(Study)
        .scalar_subquery()
    )
    query = (
        select(Trial.__table__)
        .join(Study, Study.id == Trial.study_id)
        .where(Study.id.in_(study_ids), Trial.number == best)
    )
    return {row.study_id: row for row in connection.execute(query)}


def with_fingerprint(
    connection: Connection, project_id: int, fingerprint: str | None, *, limit: int
) -> Sequence[Row[Any]]:
    """List the completed studies of a project with this fingerprint, the newest first; none for None."""
    if fingerprint is None:
        return []
    query = select(Study.__table__).where(
        Study.project_id == project_id, Study.fingerprint == fingerprint, Study.state == StudyState.COMPLETED
    )
    return connection.execute(query.order_by(Study.created_at.desc(), Study.id.desc()).limit(limit)).all()


def count_imported(connection: Connection, study_ids: Sequence[int]) -> dict[int, int]:
    """Count the trials that each study was given with their end; none for those without."""
    query = (
        select(Trial.study_id, func.count().label("trials"))
        .where(Trial.study_id.in_(study_ids), Trial.origin == IMPORTED)
        .group_by(Trial.study_id)
    )
    return {row.study_id: row.trials for row in connection.execute(query)}


def leading_trials(connection: Connection, study_id: int, *, limit: int) -> Sequence[Row[Any]]:
    """Return a study's completed and feasible trials from the best score on, replicates left out."""
    query = (
        select(Trial.__table__)
        .where(
            Trial.study_id == study_id,
            Trial.state == TrialState.COMPLETED,
            Trial.violation == 0,
            Trial.score.is_not(None),
            Trial.origin != REPLICATE,
        )
        .order_by(Trial.score, Trial.number)
        .limit(limit)
    )
    return connection.execute(query).all()


def running_with_seconds(connection: Connection) -> list[int]:
    """List the studies whose clock must be watched."""
    query = select(Study.id).where(
        Study.seconds.is_not(None), Study.state == StudyState.RUNNING, Study.closing.is_(None)
    )
    return list(connection.scalars(query))
