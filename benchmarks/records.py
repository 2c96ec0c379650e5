"""Trials as the ledger would give them, for strategies that run without one: in benchmarks, and in tests."""

from datetime import UTC, datetime

from search.records import Params, TrialRecord

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def record(number: int, *, seq: int, state: str, params: Params | None, score: float | None = None) -> TrialRecord:
    """Return a trial that a strategy drew as its `number`; `score` is its `val_loss`, to be minimized."""
    return TrialRecord(
        study_id=1,
        number=number,
        state=state,
        origin="model",
        params=params,
        values=None if score is None else {"val_loss": score},
        score=score,
        reason=None,
        attempt=1,
        seq=seq,
        queue="cpu",
        grid_index=None,
        why={},
        created_at=_LONG_AGO,
        started_at=_LONG_AGO,
        finished_at=None,
        violation=None if score is None else 0.0,
        draw=number,
    )
