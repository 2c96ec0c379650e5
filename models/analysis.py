"""Whole studies in few columns, for the analysis of what has finished."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from models.states import FINAL_TRIAL_STATES, TrialState
from models.tables import Attempt, Measurement, Trial


def completed_points(connection: Connection, study_id: int) -> Sequence[Row[Any]]:
    """Return (number, params, values) of every completed trial, by number."""
    query = (
        select(Trial.number, Trial.params, Trial.values)
        .where(Trial.study_id == study_id, Trial.state == TrialState.COMPLETED)
        .order_by(Trial.number)
    )
    return connection.execute(query).all()


def finished_trials(connection: Connection, study_id: int) -> Sequence[Row[Any]]:
    """Return (number, seq, state, finished_at, values) of every finished trial, in the order of their ends."""
    query = (
        select(Trial.number, Trial.seq, Trial.state, Trial.finished_at, Trial.values)
        .where(Trial.study_id == study_id, Trial.state.in_(FINAL_TRIAL_STATES))
        .order_by(Trial.seq)
    )
    return connection.execute(query).all()


def finished_points(connection: Connection, study_id: int) -> Sequence[Row[Any]]:
    """Return (number, params, state, values) of every finished trial that was not cancelled, by number."""
    states = FINAL_TRIAL_STATES - {TrialState.CANCELLED}
    query = (
        select(Trial.number, Trial.params, Trial.state, Trial.values)
        .where(Trial.study_id == study_id, Trial.state.in_(states))
        .order_by(Trial.number)
    )
    return connection.execute(query).all()


def last_steps(connection: Connection, study_id: int) -> dict[int, int]:
    """Return by trial the last step at which it was measured."""
    query = (
        select(Measurement.number, func.max(Measurement.step).label("step"))
        .where(Measurement.study_id == study_id)
        .group_by(Measurement.number)
    )
    return {row.number: row.step for row in connection.execute(query)}


def device_seconds(connection: Connection, study_id: int) -> dict[int, float]:
    """Return by trial its share of trainers' seconds, over all its attempts; those of which none is known are absent."""
    query = (
        select(Attempt.number, func.sum(Attempt.seconds).label("seconds"))
        .where(Attempt.study_id == study_id, Attempt.seconds.is_not(None))
        .group_by(Attempt.number)
    )
    return {row.number: row.seconds for row in connection.execute(query)}
